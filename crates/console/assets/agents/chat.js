// One open chat: its head, its transcript, the composer. Knows nothing of the list.

import { Transcript } from "./transcript.js";
import { visitorName } from "./words.js";

const TYPING_VOID_MS = 6_000;

export class Chat {
  #stentor;
  #parts;
  #session;
  #transcript;
  #item;
  #offs = [];
  #typers = new Map();
  #editing;
  #role;

  constructor(stentor, parts) {
    this.#stentor = stentor;
    this.#parts = parts;
    parts.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    parts.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    parts.text.addEventListener("input", () => this.#session?.typing(parts.text.value !== "" && !parts.note.checked));
    parts.note.addEventListener("change", () => this.#draw());
    parts.take.addEventListener("click", () => this.toggle());
    parts.release.addEventListener("click", () => this.toggle());
    parts.end.addEventListener("click", () => parts.confirm.showModal());
    parts.confirm.addEventListener("close", () => parts.confirm.returnValue === "yes" && this.#try(this.#session.end()));
    parts.editingOff.addEventListener("click", () => this.#edit(undefined));
  }

  get sid() {
    return this.#session?.sid ?? this.#item?.sid;
  }

  open(item, role) {
    if (this.#item?.sid === item.sid) return this.#parts.transcript.focus();
    this.close();
    this.#item = item;
    this.#role = role;
    this.#parts.nothing.hidden = true;
    this.#parts.open.hidden = false;
    const act = role === "observer" ? undefined : (turn, what, text) => this.#draft(turn, what, text);
    this.#transcript = new Transcript(this.#parts.transcript, item.visitor, act);
    const session = this.#stentor.open({ sid: item.sid });
    this.#session = session;
    this.#offs = [
      session.on("reset", ({ view }) => this.#transcript.reset(view, session.you)),
      session.on("opened", () => this.#draw()),
      session.on("event", (event) => this.#event(event)),
      session.on("typing", (typing) => this.#typing(typing)),
      session.on("outbox", (items) => this.#transcript.unsent(items, (item) => session.discard(item))),
      session.on("refused", ({ text }) => this.#problem(text)),
    ];
    this.#draw();
    this.#parts.transcript.focus();
  }

  close() {
    for (const off of this.#offs) off();
    this.#session?.close();
    this.#session = this.#item = undefined;
    this.#typers.clear();
    this.#edit(undefined);
    this.#problem(undefined);
    this.#parts.text.value = "";
    this.#parts.note.checked = false;
    this.#parts.transcript.replaceChildren();
    this.#parts.nothing.hidden = false;
    this.#parts.open.hidden = true;
  }

  /** The list knows something new about it. */
  update(item) {
    if (item?.sid !== this.#item?.sid) return;
    this.#item = item;
    this.#draw();
  }

  /** Takes over, or hands back. */
  toggle() {
    if (!this.#session || this.#role === "observer") return;
    this.#try(this.#isMine() ? this.#session.release() : this.#session.take());
  }

  write() {
    this.#parts.text.focus();
  }

  #isMine() {
    return this.#transcript?.control.has(this.#session.you) === true;
  }

  #event(event) {
    this.#transcript.add(event);
    if (event.from) this.#typers.delete(event.from);
    this.#draw();
  }

  async #send() {
    const { text, note } = this.#parts;
    const words = text.value.trim();
    if (words === "" || !this.#session || text.disabled) return;
    const [session, editing] = [this.#session, this.#editing];
    text.value = "";
    this.#edit(undefined);
    this.#problem(undefined);
    try {
      await (note.checked ? session.note(words) : session.send(words));
      if (editing !== undefined) await session.draft(editing, "edited");
    } catch (error) {
      if (session === this.#session) this.#problem(error.message);
    }
  }

  #draft(turn, what, text) {
    if (what === "edit") return this.#edit(turn, text);
    this.#try(this.#session.draft(turn, what));
  }

  #edit(turn, text = "") {
    this.#editing = turn;
    this.#parts.editing.hidden = turn === undefined;
    if (turn === undefined) return;
    this.#parts.text.value = text;
    this.#parts.note.checked = false;
    this.#draw();
    this.write();
  }

  async #try(promise) {
    this.#problem(undefined);
    await promise.catch((error) => this.#problem(error.message));
    this.#draw();
  }

  #problem(text) {
    this.#parts.problem.hidden = !text;
    this.#parts.problem.textContent = text ?? "";
  }

  #typing({ who, on }) {
    clearTimeout(this.#typers.get(who)?.timer);
    this.#typers.delete(who);
    if (on) {
      const timer = setTimeout(() => this.#typing({ who, on: false }), TYPING_VOID_MS);
      this.#typers.set(who, { timer, name: this.#transcript.nameOf(who) });
    }
    this.#draw();
  }

  #draw() {
    if (!this.#item || !this.#transcript) return;
    const { who, status, take, release, end, text, note, hint, send, typing, composer } = this.#parts;
    const { control, ended, waiting, asked } = this.#transcript;
    const mine = this.#isMine();
    const works = this.#role !== "observer";
    who.textContent = visitorName(this.#item);
    const people = [...control].map((alias) => this.#transcript.nameOf(alias));
    const answers = people.length === 1 && people[0] === "You" ? "You answer" : `${people.join(", ")} ${people.length > 1 ? "answer" : "answers"}`;
    status.textContent = ended ? "Ended" : people.length > 0 ? answers : waiting ? "Wants a person; the bot answers meanwhile" : "The bot answers";
    status.className = waiting && !ended && people.length === 0 ? "waiting" : "";
    take.hidden = mine || !works;
    release.hidden = !mine;
    end.hidden = ended || !works;
    composer.hidden = !works;
    const noting = note.checked;
    composer.classList.toggle("noting", noting);
    text.disabled = !mine && !noting;
    send.disabled = text.disabled;
    text.placeholder = noting ? "Only colleagues see this" : mine ? "Your message" : "Take over to answer, or write a note";
    hint.textContent = text.disabled ? "Take over to answer." : "Enter sends, Shift+Enter begins a new line.";
    const typers = [...this.#typers.values()].map(({ name }) => name);
    if (asked) typers.push("The bot");
    typing.textContent = typers.length > 0 ? `${typers.join(" and ")} ${typers.length > 1 ? "are" : "is"} typing …` : "";
  }
}
