// What was said in one chat, as rows. Knows who is who; nothing of the composer or the list.

import { FAILURES, element, longDay, responseExtras, responseText, time } from "./words.js";

export class Transcript {
  #place;
  #names = new Map();
  #drafts = new Map();
  #day = "";
  #pending = [];
  #act;

  /** Who answers, by alias. */
  control = new Set();
  ended = false;
  waiting = false;
  /** The bot is being asked. */
  asked = false;

  /** `act`: what to do with a draft; without it nothing can be done. */
  constructor(place, visitor, act) {
    this.#place = place;
    this.visitor = visitor;
    this.#act = act;
  }

  /** Begins anew. */
  reset(view, you) {
    this.you = you;
    this.#place.replaceChildren();
    this.#pending = [];
    this.#day = "";
    this.#drafts.clear();
    this.control = new Set(view?.control);
    this.ended = view?.ended === true;
    this.waiting = view?.waiting === true;
    for (const { alias, name } of view?.people ?? []) this.#names.set(alias, name);
  }

  /** Shows an event. */
  add(event) {
    const { kind, at, who, from, name, turn } = event;
    if (kind === "erased") return this.#erased(at);
    if (name) this.#names.set(who ?? from, name);
    const row = this.#row(event);
    if (kind === "stepIn") this.control.add(who);
    if (kind === "stepOut") this.control.delete(who);
    if (kind === "control") this.control = new Set(event.people);
    if (kind === "stepIn" || kind === "ended") this.waiting = false;
    if (kind === "ended") this.ended = true;
    if (kind === "message" && event.role === "visitor") this.ended = false;
    if (kind === "reply" && event.handoff && this.control.size === 0) this.waiting = true;
    if (kind === "asked") this.asked = true;
    if (["reply", "noReply", "failed", "draft"].includes(kind)) this.asked = false;
    if (kind === "draftSent" || kind === "draftDone") this.#drafts.get(turn)?.remove();
    if (!row) return;
    const nearEnd = this.#place.scrollHeight - this.#place.scrollTop - this.#place.clientHeight < 120;
    const day = new Date(at).toDateString();
    if (day !== this.#day) this.#insert(element("li", "day", longDay(at)));
    this.#day = day;
    row.dataset.n = event.n;
    this.#insert(row);
    if (nearEnd || event.from === this.you) this.toEnd();
  }

  /** Of what was shown nothing may stay, names included. */
  #erased(at) {
    this.#names.clear();
    this.reset({ ended: true }, this.you);
    this.#insert(line("What was said here was erased", at));
  }

  /** Shows what has no receipt yet, behind everything else. */
  unsent(items, discard) {
    for (const row of this.#pending) row.remove();
    this.#pending = items.map((item) => {
      const row = this.#said(item.note ? "ours note unsent" : "ours me unsent", "You", undefined, item.text ?? "");
      const failed = item.state === "failed";
      row.classList.toggle("failed", failed);
      const about = element("span", failed ? "problem" : "hint", failed ? `Not sent: ${item.reason}` : "sending …");
      row.append(about);
      if (failed) {
        const button = element("button", "plain", "Discard");
        button.type = "button";
        button.addEventListener("click", () => discard(item));
        about.append(" ", button);
      }
      return row;
    });
    this.#place.append(...this.#pending);
    if (items.length > 0) this.toEnd();
  }

  toEnd() {
    this.#place.scrollTop = this.#place.scrollHeight;
  }

  nameOf(alias) {
    if (alias === this.you) return "You";
    return this.#names.get(alias) ?? (alias === this.visitor ? "The visitor" : "Somebody");
  }

  #does(who, does, youDo) {
    return `${this.nameOf(who)} ${who === this.you ? youDo : does}`;
  }

  #insert(row) {
    this.#place.insertBefore(row, this.#pending[0] ?? null);
  }

  #row(event) {
    const { kind, who, role, turn, attempt, at } = event;
    switch (kind) {
      case "message":
        return event.greeting ? undefined : this.#message(event);
      case "note":
        return this.#said("ours note", `${this.nameOf(event.from)} · note`, at, event.text);
      case "reply":
        return this.#response("Bot", event);
      case "draftSent":
        return this.#response(`Bot · passed on by ${this.nameOf(event.from)}`, event);
      case "draft":
        return this.#draft(event);
      case "draftDone":
        return line(`${this.nameOf(who)} ${event.how === "edited" ? "reworded" : "dismissed"} the bot's draft`, at);
      case "joined":
        return line(role === "visitor" ? this.#does(who, "is here", "are here") : this.#does(who, "is listening", "are listening"), at);
      case "left":
        return line(this.#does(who, "has gone", "have gone"), at);
      case "crowd":
        return line(crowd(event), at);
      case "stepIn":
        return line(this.#does(who, "answers from now on", "answer from now on"), at);
      case "stepOut":
        return line(this.#does(who, "no longer answers", "no longer answer"), at);
      case "ended":
        return line(`${this.nameOf(who)} ended the chat`, at);
      case "notice":
        return line(event.text, at);
      case "failed":
        return line(`The bot ${FAILURES[event.reason] ?? "failed"} (attempt ${attempt})`, at);
      case "noReply":
        return event.reason === "empty" ? line("The bot had nothing to say", at) : undefined;
      default:
        return undefined;
    }
  }

  #message({ from, role, name, text, request, at }) {
    const words = text ?? request?.rawQuery ?? "(a choice without words)";
    if (role === "visitor") return this.#said("visitor", name ?? this.nameOf(from), at, words);
    return this.#said(from === this.you ? "ours me" : "ours", this.nameOf(from), at, words);
  }

  #response(by, { response, handoff, at }) {
    const row = this.#said("ours bot", by, at, responseText(response) || "(no words)");
    const { chips, items } = responseExtras(response);
    const extras = element("div", "extras");
    extras.append(...items.map((text) => element("span", "item", text)), ...chips.map((text) => element("span", "", text)));
    if (extras.childElementCount > 0) row.querySelector(".body").append(extras);
    if (handoff) row.append(element("span", "hint", "asks for a person"));
    return row;
  }

  #draft({ turn, response, at }) {
    const row = element("li", "draft");
    const text = responseText(response);
    const doing = element("div", "doing");
    for (const [words, what] of [["Dismiss", "dismiss"], ["Edit", "edit"], ["Send", "send"]]) {
      const button = element("button", what === "send" ? "primary" : "", words);
      button.type = "button";
      button.addEventListener("click", () => this.#act(turn, what, text));
      doing.append(button);
    }
    row.append(element("h3", "", `The bot answered too late · ${time(at)} · only you see this`), element("div", "body", text || "(no words)"));
    if (this.#act) row.append(doing);
    this.#drafts.set(turn, row);
    return row;
  }

  #said(className, by, at, text) {
    const row = element("li", `said ${className}`);
    const head = element("div", "by");
    head.append(element("span", "", by));
    if (at) head.append(element("time", "", time(at)));
    row.append(head, element("div", "body", text));
    return row;
  }
}

function crowd({ total, joined, left }) {
  const moved = [joined > 0 && `${joined} came`, left > 0 && `${left} left`].filter(Boolean).join(", ");
  return `${moved}: ${total} take part now`;
}

function line(text, at) {
  return element("li", "line", `${text} · ${time(at)}`);
}
