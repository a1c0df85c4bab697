// The list of chats: tabs, search, unread marks. Knows nothing of what is said in them.

import { keep, kept } from "./kept.js";
import { ago, element, visitorName, when } from "./words.js";

const SEEN_KEY = "stentor-agents:seen";
const SEEN_MAX = 500;
const PAGE = 50;
const SEARCH_AFTER_MS = 250;
// A list that was refused is asked for again: a database that was busy is so for seconds.
const ASK_AGAIN_MS = 3_000;
const NOT_NOW = ["busy", "tooFast"];
// Further questions for one search, as long as nothing has been found.
const SEARCH_ON = 10;
const FITS = {
  waiting: ({ state }) => state === "waiting",
  mine: ({ mine }) => mine === true,
  open: ({ state }) => state !== "ended",
  ended: ({ state }) => state === "ended",
};
const BADGES = { bot: "bot", people: "people", ended: "ended" };
const SPEAKERS = { bot: "Bot: ", agent: "Agent: ", visitor: "" };

export class List {
  #stentor;
  #choose;
  #items = new Map();
  // How many changes were told, and which of them was the last of each chat. An answer does not undo what was
  // told after its question: it may have been made before.
  #changes = 0;
  #changed = new Map();
  #again;
  #timer;
  #found;
  #next;
  #tab = "waiting";
  #search = "";
  #searching;
  #current;
  #seen = kept(SEEN_KEY);
  #parts;
  #asked = 0;

  /** `again` is called when everything has to be read anew because a list was refused. */
  constructor(stentor, parts, choose, again) {
    this.#stentor = stentor;
    this.#again = again;
    this.#parts = parts;
    this.#choose = choose;
    for (const [place, tab] of parts.tabs.entries()) {
      tab.addEventListener("click", () => this.show(tab.dataset.tab));
      tab.addEventListener("keydown", (event) => {
        const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: -1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        const next = parts.tabs.at(to % parts.tabs.length);
        next.focus();
        this.show(next.dataset.tab);
      });
    }
    parts.search.addEventListener("input", () => {
      clearTimeout(this.#searching);
      this.#searching = setTimeout(() => this.#find(parts.search.value.trim()), SEARCH_AFTER_MS);
    });
    parts.more.addEventListener("click", () => this.#load(this.#next));
    // "3 min" becomes "4 min".
    setInterval(() => this.#draw(), 30_000);
  }

  /** Reads everything anew: after a connection was lost, or changes were. */
  async reload() {
    const before = this.#changes;
    const lists = await Promise.all(["waiting", "mine"].map((filter) => this.#ask({ filter, limit: PAGE })));
    if (lists.includes(undefined)) return;
    const told = [...this.#items.values()].filter(({ sid }) => this.#changed.get(sid) > before);
    this.#items = new Map([...lists.flatMap(({ items }) => items), ...told].map((item) => [item.sid, item]));
    this.#changed = new Map(told.map(({ sid }) => [sid, this.#changed.get(sid)]));
    await this.#load();
  }

  show(tab) {
    this.#tab = tab;
    for (const known of this.#parts.tabs) {
      const selected = known.dataset.tab === tab;
      known.setAttribute("aria-selected", String(selected));
      // One stop of the Tab key for all of them; the arrows lead from one to the next.
      known.tabIndex = selected ? 0 : -1;
      if (selected) this.#parts.panel.setAttribute("aria-labelledby", known.id);
    }
    return this.#load();
  }

  /** Chats as they are now. Returns what each was before. */
  update(items) {
    const before = new Map(items.map(({ sid }) => [sid, this.#items.get(sid)]));
    for (const item of items) {
      this.#items.set(item.sid, item);
      this.#changed.set(item.sid, ++this.#changes);
      if (item.sid === this.#current && !document.hidden) this.seen(item.sid, item.n);
    }
    this.#draw();
    return before;
  }

  get(sid) {
    return this.#items.get(sid);
  }

  get waiting() {
    return [...this.#items.values()].filter(FITS.waiting).length;
  }

  /** Which chat is open. */
  set current(sid) {
    this.#current = sid;
    const item = this.#items.get(sid);
    if (item) this.seen(sid, item.n);
    this.#draw();
  }

  seen(sid, n) {
    if ((this.#seen[sid] ?? 0) >= n) return;
    delete this.#seen[sid];
    this.#seen[sid] = n;
    for (const old of Object.keys(this.#seen).slice(0, -SEEN_MAX)) delete this.#seen[old];
    keep(SEEN_KEY, this.#seen);
  }

  /** Moves the focus up or down. */
  move(by) {
    const rows = [...this.#parts.rows.querySelectorAll(".row")];
    const at = rows.indexOf(document.activeElement);
    const from = at >= 0 ? at : rows.findIndex((row) => row.dataset.sid === this.#current);
    rows[Math.max(0, Math.min(rows.length - 1, from + by))]?.focus();
  }

  async #find(search) {
    this.#search = search;
    await this.#load();
  }

  async #load(after) {
    const asked = ++this.#asked;
    const before = this.#changes;
    const filter = this.#tab;
    const search = this.#search;
    let list = await this.#ask({ filter, search, after, limit: PAGE });
    // The router looks at so many chats at a time: what is found further down is worth some more questions.
    for (let more = 0; more < SEARCH_ON && list?.next && !list.items.length && asked === this.#asked; more++) {
      list = await this.#ask({ filter, search, after: list.next, limit: PAGE });
    }
    // Somebody was faster with another tab or another search; or it is asked for again.
    if (!list || asked !== this.#asked) return this.#draw();
    for (const item of list.items) if (!(this.#changed.get(item.sid) > before)) this.#items.set(item.sid, item);
    const found = list.items.map(({ sid }) => sid);
    this.#found = this.#search ? new Set([...(after ? (this.#found ?? []) : []), ...found]) : undefined;
    this.#next = list.next;
    this.#draw();
  }

  /** A list; nothing if it is refused. Without a connection there is nothing to do: reading anew follows. */
  async #ask(which) {
    try {
      return await this.#stentor.list(which);
    } catch ({ code }) {
      if (!NOT_NOW.includes(code)) return undefined;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(this.#again, ASK_AGAIN_MS);
      return undefined;
    }
  }

  #draw() {
    const { rows, empty, more, tabs } = this.#parts;
    const shown = [...this.#items.values()]
      .filter((item) => FITS[this.#tab](item) && (!this.#found || this.#found.has(item.sid)))
      .sort((one, other) => (FITS.waiting(other) - FITS.waiting(one)) || (FITS.waiting(one) ? one.since - other.since : other.at - one.at));
    const focused = rows.contains(document.activeElement) ? document.activeElement.dataset.sid : undefined;
    rows.replaceChildren(...shown.map((item) => this.#row(item)));
    if (focused) rows.querySelector(`[data-sid="${focused}"]`)?.focus();
    empty.hidden = shown.length > 0;
    empty.textContent = this.#search ? "Nothing fits." : { waiting: "Nobody is waiting.", mine: "You are in no chat.", open: "No chats yet.", ended: "No chat has ended." }[this.#tab];
    more.hidden = !this.#next;
    for (const tab of tabs) {
      const count = tab.querySelector(".count");
      if (count) count.textContent = [...this.#items.values()].filter(FITS[tab.dataset.tab]).length || "";
    }
  }

  #row(item) {
    const { sid, state, since, at, n, lastFrom, text, present, people } = item;
    const unread = n > (this.#seen[sid] ?? 0) && sid !== this.#current;
    const row = element("button", `row${present ? " present" : ""}${unread ? " unread" : ""}`);
    row.type = "button";
    row.dataset.sid = sid;
    if (sid === this.#current) row.setAttribute("aria-current", "true");
    const time = element("time", "", when(at));
    time.dateTime = new Date(at).toISOString();
    const waits = state === "waiting";
    const badge = element("span", `badge ${state}`, waits ? `waits ${ago(since)}` : state === "people" ? people.map(({ name }) => name ?? "an agent").join(", ") : BADGES[state]);
    row.append(element("span", "name", visitorName(item)), time, element("span", "text", `${SPEAKERS[lastFrom] ?? ""}${text}`), badge);
    row.setAttribute("aria-label", `${visitorName(item)}, ${badge.textContent}${unread ? ", unread" : ""}${present ? ", online" : ""}: ${text}`);
    row.addEventListener("click", () => this.#choose(sid));
    const entry = element("li");
    entry.append(row);
    return entry;
  }
}
