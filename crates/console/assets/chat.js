// The demo page: shows where widgets connect to, and a small chat with the client of the v2 protocol where the
// published widget is absent. Knows nothing of sockets.

import { Stentor } from "/stentor.js";
import { defaultStorage } from "/stentor/store.js";
import { element, responseText } from "/agents/words.js";

const app = new URLSearchParams(location.search).get("app") ?? "demo";
const find = (id) => document.getElementById(id);
const NAME_KEY = `stentor-chat:${app}`;
const storage = defaultStorage();
const TYPING_VOID_MS = 6_000;
const ERASED = "This chat was erased. Your next message begins a new one.";

find("server-url").textContent = `${location.protocol.replace("http", "ws")}//${location.host}/dev?appId=${encodeURIComponent(app)}`;
if (find("form")) chat();

function chat() {
  const stentor = new Stentor({ app });
  let session;
  let chips = [];
  let asked = false;
  let erased = false;
  const typers = new Map();

  const row = (className, text) => {
    const made = element("li", className, text);
    const pending = find("messages").querySelector(".unsent");
    find("messages").insertBefore(made, pending);
    made.scrollIntoView({ block: "end" });
    return made;
  };
  const button = (text, act) => {
    const made = element("button", "", text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  };
  // A bot's word is no reason to run a script: only addresses of pages become links.
  const link = (text, url) => {
    const made = element("a", "", text);
    made.href = url;
    made.target = "_blank";
    made.rel = "noopener noreferrer";
    return /^https?:$/.test(made.protocol) ? made : undefined;
  };
  const chipOf = (chip) => (chip.url && link(chip.title, chip.url)) || button(chip.title, () => choose({ title: chip.title }));
  const choose = ({ token, title }) => {
    if (token) session.request({ type: "OPTION_SELECT_REQUEST", token, rawQuery: title, intentId: "OptionSelect" });
    else session.send(title);
  };

  function open() {
    session?.close();
    let name = storage.getItem(NAME_KEY);
    const fresh = name === null;
    name ??= `demo ${Date.now().toString(36)}`;
    storage.setItem(NAME_KEY, name);
    find("messages").replaceChildren();
    session = stentor.open({ name });
    session.on("reset", () => {
      find("messages").replaceChildren();
      chips = [];
      if (erased) row("note", ERASED);
      erased = false;
    });
    session.on("event", take);
    session.on("opened", draw);
    session.on("outbox", unsent);
    session.on("typing", ({ who, on }) => {
      clearTimeout(typers.get(who));
      typers.delete(who);
      if (on) typers.set(who, setTimeout(() => typers.delete(who) && draw(), TYPING_VOID_MS));
      draw();
    });
    session.on("refused", ({ text }) => row("note", text));
    // The bot speaks first in a new chat.
    if (fresh) {
      const attributes = { currentUrl: location.href, isGreeting: true };
      session.request({ type: "LAUNCH_REQUEST", isNewSession: true, intentId: "LaunchRequest", attributes });
    }
  }

  function take(event) {
    const { kind, from, name, response } = event;
    const who = name ?? "Somebody";
    if (from) typers.delete(from);
    if (kind === "asked") asked = true;
    if (["reply", "noReply", "failed"].includes(kind)) asked = false;
    if (kind === "message" && !event.greeting) {
      const words = event.text ?? event.request?.rawQuery ?? "";
      row(from === session.you ? "mine" : "theirs", from === session.you ? words : `${who}: ${words}`);
      chips = [];
    }
    if (kind === "reply" || kind === "draftSent") answer(response);
    if (kind === "notice") row("note", event.text);
    if (kind === "failed") row("note", event.retryInS > 0 ? "That did not work; trying again …" : "That did not work. Please try again later.");
    if (kind === "stepIn") row("note", `${who} has joined`);
    if (kind === "stepOut") row("note", `${who} has left`);
    if (kind === "erased") forget();
    if (kind === "ended") row("note", "This chat has ended. Your next message begins it again.");
    draw();
  }

  /** Of what was shown nothing may stay, also if the new chat takes a while to come. */
  function forget() {
    erased = true;
    chips = [];
    for (const shown of find("messages").querySelectorAll("li:not(.unsent)")) shown.remove();
    row("note", ERASED);
  }

  function answer(response) {
    const made = row("theirs", responseText(response));
    const title = (entry) => (typeof entry === "string" ? { title: entry } : entry);
    chips = (response.outputSpeech?.suggestions ?? []).map(title).filter((chip) => chip?.title);
    const items = (response.displays ?? []).flatMap((display) => display?.items ?? []).filter((item) => item?.title);
    if (items.length === 0) return;
    const options = element("div", "options");
    options.append(...items.map((item) => button(item.title, () => choose(item))));
    made.append(options);
  }

  function unsent(items) {
    for (const old of find("messages").querySelectorAll(".unsent")) old.remove();
    for (const item of items.filter(({ text }) => text !== undefined)) {
      const failed = item.state === "failed";
      find("messages").append(element("li", `mine unsent${failed ? " failed" : ""}`, failed ? `${item.text}\nNot sent: ${item.reason}` : item.text));
    }
    find("messages").lastElementChild?.scrollIntoView({ block: "end" });
  }

  function draw() {
    find("typing").hidden = !asked && typers.size === 0;
    find("chips").replaceChildren(...chips.map(chipOf));
  }

  stentor.on("state", ({ state, reason }) => {
    find("state").dataset.state = state === "online" ? "on" : "off";
    find("state-text").textContent = { online: "online", connecting: "connecting …", offline: "connecting again …", closed: reason }[state];
  });
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = find("text").value.trim();
    find("text").value = "";
    if (text !== "") session.send(text);
  });
  find("text").addEventListener("input", () => session.typing(find("text").value !== ""));
  find("reset").addEventListener("click", () => {
    storage.removeItem(NAME_KEY);
    open();
  });
  open();
}
