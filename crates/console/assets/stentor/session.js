// One session of a client: its events in order, its messages until they are acknowledged.
// Knows nothing of sockets; the client says when there is a connection.

import { Emitter, StentorError, until } from "./events.js";

/** No answer for this long: the same as "not now". */
const ANSWER_MS = 10_000;
/** Before what was refused out of turn is sent again. */
const SOON_MS = 200;
/** Messages that are on their way at a time. */
const FLYING_MAX = 32;
const TYPING_EVERY_MS = 3_000;
/** What the router reads at most; a longer frame would only end the connection. */
const FRAME_BYTES_MAX = 65_536;
/** Room for what a frame has besides the message. */
const ENVELOPE_BYTES = 256;

export class Session extends Emitter {
  #port;
  #store;
  #key;
  #which;
  #displayName;
  #outbox = { items: [], save() {}, leave() {} };
  #prepared = false;
  #looking;
  #isOpen = false;
  #answers = new Map();
  #timer;
  /** A message was refused for now; when the timer is due, everything is sent again. */
  #refusedOnce = false;
  #typedAt = 0;
  #stopped = false;

  sid;
  you;
  view;
  epoch;
  /** The last event that was told. */
  n = 0;

  constructor(port, store, { name, sid }, displayName) {
    super();
    if (!name && !sid) throw new TypeError("name: missing; or give a sid");
    this.#port = port;
    this.#store = store;
    this.#key = sid ? `sid:${sid}` : `name:${name}`;
    this.#which = sid ? { sid } : { name };
    this.#displayName = displayName;
  }

  get isPrepared() {
    return this.#prepared;
  }

  /** Whether the router has been asked to open it. */
  get isLooking() {
    return this.#isOpen || this.#looking !== undefined;
  }

  /** Resolves when the session is open; rejects if it will not be. Messages need not wait for it, they wait by themselves. */
  async ready() {
    if (this.#stopped) throw closed();
    await until((done, failed) => {
      if (this.#isOpen) done();
      // Whether there will be a connection is the client's to say.
      this.#port.ready().catch(failed);
      return [
        this.on("opened", done),
        this.on("refused", (frame) => failed(StentorError.of(frame))),
        this.on("closed", () => failed(closed())),
      ];
    });
  }

  /** What nobody has acknowledged: `{ mid, text | request, note, state: "waiting" | "sent" | "failed", code, reason }`. */
  get outbox() {
    return this.#outbox.items.map((item) => ({ ...item, answer: undefined }));
  }

  /** Says something. Resolves with the number of its event; rejects if it will never be taken. */
  send(text) {
    return this.#say({ text });
  }

  /** Says what the bot has offered: a Stentor Request. */
  request(request) {
    return this.#say({ request });
  }

  /** Says something to colleagues only. */
  note(text) {
    return this.#say({ text, note: true });
  }

  /** Takes a failed message out of the outbox. */
  discard(item) {
    this.#outbox.items = this.#outbox.items.filter(({ id }) => id !== item.id);
    this.#changed();
  }

  typing(on) {
    const now = Date.now();
    if (!this.#isOpen || (on && now - this.#typedAt < TYPING_EVERY_MS) || (!on && this.#typedAt === 0)) return;
    this.#typedAt = on ? now : 0;
    this.#port.send({ t: "typing", sid: this.sid, on });
  }

  take(displayName) {
    return this.#port.ask({ t: "take", sid: this.sid, displayName });
  }

  release() {
    return this.#port.ask({ t: "release", sid: this.sid });
  }

  draft(turn, what) {
    return this.#port.ask({ t: "draft", sid: this.sid, turn, do: what });
  }

  end() {
    return this.#port.ask({ t: "end", sid: this.sid });
  }

  /** Leaves it. What is unsent stays in the storage. */
  close() {
    if (this.#isOpen) this.#port.send({ t: "close", sid: this.sid });
    this.stop();
    this.#port.gone(this);
    this.emit("closed", {});
  }

  // For the client.

  async prepare() {
    const outbox = await this.#store.outbox(this.#key);
    outbox.items.push(...this.#outbox.items);
    this.#outbox = outbox;
    this.#prepared = true;
    for (const item of this.#outbox.items) item.id ??= newId();
    if (this.#stopped) this.#outbox.leave();
  }

  /** The frame that opens it anew. */
  opening() {
    this.#looking = this.#port.reference();
    this.#isOpen = false;
    return this.place(this.#looking);
  }

  /** The same for a connection beside the one that listens. */
  place(ref) {
    const resume = this.epoch === undefined ? {} : { resume: { epoch: this.epoch, n: this.n } };
    const name = this.#displayName ? { displayName: this.#displayName } : {};
    const which = this.sid ? { sid: this.sid } : this.#which;
    return { t: "open", ref, ...which, client: this.#outbox.client, lastMid: this.#outbox.lastMid, ...resume, ...name };
  }

  begin() {
    if (this.isPrepared && !this.#stopped) this.#port.send(this.opening());
  }

  concerns(frame) {
    return frame.ref === undefined ? frame.sid !== undefined && frame.sid === this.sid : frame.ref === this.#looking;
  }

  receive(frame) {
    switch (frame.t) {
      case "opened":
        return this.#opened(frame);
      case "refused":
        return this.#refused(frame);
      case "event":
        return this.#isOpen && this.#event(frame);
      case "ack":
        return this.#settle(frame.mid, (item) => item.answer?.resolve({ n: frame.n }));
      case "nack":
        return this.#nack(frame);
      case "typing":
        return this.#isOpen && frame.who !== this.you && this.emit("typing", frame);
      case "resync":
        return this.begin();
    }
  }

  offline() {
    this.#isOpen = false;
    this.#refusedOnce = false;
    this.#looking = undefined;
    clearTimeout(this.#timer);
    for (const item of this.#outbox.items ?? []) if (item.state === "sent") item.state = "waiting";
    this.emit("outbox", this.outbox);
  }

  /** Answers were lost on their way. */
  lost() {
    if (this.#isOpen) this.#expect(SOON_MS);
  }

  stop() {
    this.#stopped = true;
    this.offline();
    this.#outbox.leave();
  }

  #opened(frame) {
    const { sid, epoch, from, mid, you, recovered, view } = frame;
    this.sid = sid;
    this.you = you;
    this.#looking = undefined;
    this.#isOpen = true;
    if (!recovered) {
      this.epoch = epoch;
      this.n = from - 1;
      this.view = view;
      this.emit("reset", { view, from });
    }
    this.#outbox.lastMid = Math.max(this.#outbox.lastMid, mid);
    this.emit("opened", frame);
    this.#resend();
  }

  #refused(frame) {
    this.#looking = undefined;
    if (!frame.final) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#port.isOnline() && this.begin(), frame.retryAfterMs ?? 1_000);
      return;
    }
    // It is kept no longer; under its name there may be a new one.
    if (frame.code === "noSession" && this.sid && this.#which.name) {
      this.sid = this.epoch = undefined;
      return this.begin();
    }
    const error = StentorError.of(frame);
    // What has a number was taken or was not: nobody knows any more. The rest goes on.
    if (frame.code === "expired") {
      for (const item of this.#outbox.items) if (item.mid !== undefined && item.state !== "failed") fail(item, error);
      return this.#renumber();
    }
    for (const item of this.#outbox.items) fail(item, error);
    this.stop();
    this.#port.gone(this);
    this.emit("refused", frame);
  }

  #event(frame) {
    if (frame.epoch !== this.epoch || frame.n <= this.n) return;
    // Cannot be; if it is, everything from the hole on is asked for again.
    if (frame.n > this.n + 1) return this.begin();
    this.n = frame.n;
    this.emit("event", frame);
    if (frame.kind === "erased") this.#erased();
  }

  /** Nothing is left of it. Under a name of ours a new one begins, and takes what is unsent. */
  #erased() {
    if (!this.#which.name) return;
    this.sid = this.epoch = undefined;
    this.begin();
  }

  #say(what) {
    const mistake = mistakeIn(what);
    if (mistake?.code === "malformed") return Promise.reject(mistake);
    const item = { id: newId(), ...what, state: "waiting" };
    const answered = new Promise((resolve, reject) => (item.answer = { resolve, reject }));
    // Whoever does not wait for the answer need not hear of its failure either: the outbox shows it.
    answered.catch(() => {});
    if (mistake) fail(item, mistake);
    this.#outbox.items.push(item);
    this.typing(false);
    this.#changed();
    this.#flush();
    return answered;
  }

  /** Sends what is waiting, in order; numbers are given only once the router has said where it stands. */
  #flush() {
    if (!this.#isOpen) return;
    const items = this.#outbox.items.filter(({ state }) => state !== "failed");
    let sent = false;
    for (const item of items.slice(0, FLYING_MAX)) {
      if (item.state === "sent") continue;
      item.mid ??= ++this.#outbox.lastMid;
      item.state = "sent";
      sent = true;
    }
    if (!sent) return;
    // The number is kept before it is used.
    this.#changed();
    for (const { mid, text, request, note } of items.slice(0, FLYING_MAX)) {
      if (this.#answers.has(mid)) continue;
      this.#answers.set(mid, true);
      this.#port.send({ t: "send", sid: this.sid, mid, text, request, ...(note ? { note } : {}) });
    }
    this.#expect();
  }

  #resend() {
    this.#refusedOnce = false;
    this.#answers.clear();
    for (const item of this.#outbox.items) if (item.state === "sent") item.state = "waiting";
    this.#flush();
  }

  /** Sends what is unanswered again after a while; once a refusal has said when, nothing puts that off. */
  #expect(inMs = ANSWER_MS) {
    if (this.#refusedOnce) return;
    this.#refusedOnce = inMs !== ANSWER_MS;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#isOpen && this.#resend(), inMs);
  }

  #settle(mid, tell) {
    const item = this.#outbox.items.find((known) => known.mid === mid && known.state !== "failed");
    if (!item) return;
    this.#answers.delete(mid);
    this.#outbox.items = this.#outbox.items.filter((known) => known !== item);
    if (this.#outbox.items.some(({ state }) => state === "sent")) this.#expect();
    else clearTimeout(this.#timer);
    this.#changed();
    tell(item);
    this.#flush();
  }

  async #nack(frame) {
    if (!frame.final) {
      if (frame.code === "notOpen") return this.begin();
      // What came before is lost to us: these numbers will never be taken.
      if (frame.code === "gap" && frame.expected < this.#lowest()) return this.#renumber();
      return this.#expect(frame.code === "gap" ? SOON_MS : (frame.retryAfterMs ?? 1_000));
    }
    const failed = this.#outbox.items.find(({ mid, state }) => mid === frame.mid && state !== "failed");
    if (failed) {
      this.#answers.delete(frame.mid);
      fail(failed, StentorError.of(frame));
      this.#changed();
    }
    // Whoever may never send uses up no number.
    const unused = frame.code === "forbidden" && frame.mid === this.#outbox.lastMid;
    if (unused) this.#outbox.lastMid -= 1;
    if (frame.code === "expired" || (frame.code === "forbidden" && !unused)) await this.#renumber();
  }

  #lowest() {
    return Math.min(...this.#outbox.items.filter(({ mid, state }) => mid && state !== "failed").map(({ mid }) => mid));
  }

  /** Goes on as a new client instance. */
  async #renumber() {
    const { items } = this.#outbox;
    this.#isOpen = false;
    this.#outbox = await this.#store.renewed(this.#key, this.#outbox);
    this.#outbox.items = items;
    for (const item of items) {
      if (item.state === "failed") continue;
      item.mid = undefined;
      item.state = "waiting";
    }
    this.#changed();
    if (this.#port.isOnline()) this.begin();
  }

  #changed() {
    this.#outbox.save();
    this.emit("outbox", this.outbox);
  }
}

/** Why something can never be sent, if so. */
function mistakeIn({ text, request }) {
  if (request === undefined && typeof text !== "string") return new StentorError("malformed", "text: must be a string", true);
  if (text === undefined && (typeof request !== "object" || request === null)) return new StentorError("malformed", "request: must be an object", true);
  const bytes = new TextEncoder().encode(JSON.stringify(text ?? request)).length;
  return bytes > FRAME_BYTES_MAX - ENVELOPE_BYTES ? new StentorError("tooLong", "longer than any message may be", true) : undefined;
}

function fail(item, error) {
  item.state = "failed";
  item.code = error.code;
  item.reason = error.message;
  item.answer?.reject(error);
}

function closed() {
  return new StentorError("closed", "this session was closed", true);
}

let ids = 0;
function newId() {
  return `m${++ids}`;
}
