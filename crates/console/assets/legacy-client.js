// A client of the legacy dialect: one socket, one chat, kept in localStorage.
// Emits "change" whenever what is to be shown is different. Knows nothing of the page.

const RETRY_MS = 5_000;
const KEEP_ITEMS = 500;

const uuid = () => crypto.randomUUID?.()
  ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (Number(digit) ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (Number(digit) / 4)))).toString(16));

export class LegacyClient extends EventTarget {
  #url; #key; #socket; #outbox = [];
  online = false;
  typing = false;
  chips = [];

  constructor(url) {
    super();
    this.#url = url;
    this.#key = `stentor-chat.${url}`;
    const kept = JSON.parse(localStorage.getItem(this.#key) ?? "{}");
    this.userId = kept.userId ?? uuid();
    this.sessionId = kept.sessionId ?? null;
    this.items = kept.items ?? [];
    this.#connect();
  }

  say(text) { this.#send({ type: "INTENT_REQUEST", rawQuery: text, intentId: "NLU_RESULT_PLACEHOLDER" }, text); }

  choose(token, title) { this.#send({ type: "OPTION_SELECT_REQUEST", token, intentId: "OptionSelect" }, title); }

  reset() {
    this.sessionId = null;
    this.items = [];
    this.chips = [];
    this.typing = false;
    this.#changed();
    this.#socket.close();
  }

  #connect() {
    const url = new URL(this.#url);
    url.searchParams.set("userId", this.userId);
    url.searchParams.set("isAdmin", "false");
    url.searchParams.set("createWsReason", "emitNoWs");
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = () => {
      this.online = true;
      const fresh = this.sessionId === null;
      if (fresh) this.sessionId = `stentor-chat-${uuid()}`;
      this.#write("user joined");
      if (fresh) {
        const attributes = { currentUrl: location.href, isGreeting: true };
        this.#write("new message", { type: "LAUNCH_REQUEST", isNewSession: true, intentId: "LaunchRequest", attributes });
      }
      for (const [data, at] of this.#outbox.splice(0)) this.#write("new message", data, at);
      this.#changed();
    };
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = () => {
      this.online = false;
      this.#changed();
      setTimeout(() => this.#connect(), this.sessionId === null ? 0 : RETRY_MS);
    };
  }

  #send(data, shown) {
    const at = Date.now();
    this.chips = [];
    this.#keep({ at, who: "mine", text: shown });
    if (this.online) this.#write("new message", data, at);
    else this.#outbox.push([data, at]);
  }

  #write(event, data, at = Date.now()) {
    const sender = { deviceId: "Widget", userId: this.userId, displayName: "Visitor", isAdmin: false };
    const frame = { event, data, sender, sessionId: this.sessionId, timeMs: at };
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #take({ event, data, sender, timeMs }) {
    if (event === "typing") this.typing = true;
    if (event === "stop typing" || event === "user joined" || event === "failure") this.typing = false;
    if (event === "failure") {
      const again = data.delay > 0 ? ` Trying again in ${data.delay} s.` : " Please try again later.";
      this.#keep({ at: timeMs, who: "note", text: `No answer (${data.error}).${again}` });
    }
    if (event === "new message") {
      const speech = data.outputSpeech ?? {};
      const text = sender.deviceId === "Bot" ? (speech.displayText ?? speech) : data.rawQuery;
      const options = (data.displays ?? []).flatMap((display) => display.items ?? []);
      this.chips = (speech.suggestions ?? []).map((chip) => chip.title ?? chip);
      this.#keep({ at: timeMs, who: "theirs", text: typeof text === "string" ? text : "", options });
    }
    this.#changed();
  }

  // Equal stamps are the same item: a replay carries the stamps of the first delivery.
  #keep(item) {
    if (this.items.some(({ at }) => at === item.at)) return;
    this.items.push(item);
    this.items.sort((one, two) => one.at - two.at);
    this.items.splice(0, this.items.length - KEEP_ITEMS);
    this.#changed();
  }

  #changed() {
    const { userId, sessionId, items } = this;
    localStorage.setItem(this.#key, JSON.stringify({ userId, sessionId, items }));
    this.dispatchEvent(new Event("change"));
  }
}
