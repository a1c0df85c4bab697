// The agents' page: logs in, then ties the list, the open chat and the alerts together.

import { Stentor } from "/stentor.js";

import { Alerts } from "./alerts.js";
import { Chat } from "./chat.js";
import { List } from "./list.js";
import { visitorName } from "./words.js";

const find = (id) => document.getElementById(id);
const WORDS = {
  spent: "This link was used before. Ask for a new one.",
  expired: "This link has expired. Ask for a new one.",
  stale: "This link is older than the router's last start. Ask for a new one.",
};

/** Spends the code of a login link; it must not stay in the address. */
async function spend() {
  const code = new URLSearchParams(location.hash.slice(1)).get("login");
  if (!code) return undefined;
  history.replaceState(null, "", location.pathname + location.search);
  const answer = await fetch("/api/v1/login", { method: "POST", body: JSON.stringify({ code }) });
  if (answer.ok) return undefined;
  const problem = await answer.json().catch(() => ({}));
  return WORDS[problem.code] ?? problem.text ?? "The link does not work.";
}

async function start() {
  const problem = await spend();
  const answer = await fetch("/api/v1/me");
  if (answer.ok) return desk(await answer.json());
  find("login-here").textContent = location.origin;
  find("login-problem").textContent = problem ?? "";
  find("login-problem").hidden = !problem;
  find("login").hidden = false;
}

function desk(me) {
  find("desk").hidden = false;
  find("app").textContent = me.app;
  find("me").textContent = me.name ?? me.subject;
  const stentor = new Stentor({ app: me.app, login: true, user: me.subject });
  const alerts = new Alerts();
  alerts.wire({ sound: find("set-sound"), title: find("set-title"), desktop: find("set-desktop"), problem: find("set-problem") });
  const chat = new Chat(stentor, {
    nothing: find("nothing"), open: find("open"), who: find("who"), status: find("status"), take: find("take"), release: find("release"), end: find("end"),
    transcript: find("transcript"), typing: find("typing"), problem: find("problem"), composer: find("composer"), text: find("text"), note: find("note"),
    hint: find("hint"), send: find("send"), editing: find("editing"), editingOff: find("editing-off"), confirm: find("confirm-end"),
  });
  const parts = { tabs: [...document.querySelectorAll("[data-tab]")], search: find("search"), panel: find("chats"), rows: find("rows"), empty: find("empty"), more: find("more") };
  const list = new List(stentor, parts, choose, () => reload());

  function choose(sid) {
    const item = list.get(sid);
    if (!item) return;
    document.body.dataset.view = "chat";
    list.current = sid;
    chat.open(item, stentor.role);
  }

  function back() {
    document.body.dataset.view = "list";
    chat.close();
    list.current = undefined;
    list.move(0);
  }

  const reload = () => list.reload().then(() => alerts.count(list.waiting));
  stentor.on("state", ({ state, code, reason, retryInMs }) => {
    find("connection").dataset.state = state;
    const later = retryInMs > 1_500 ? ` in ${Math.round(retryInMs / 1_000)} s` : "";
    find("connection").textContent = { online: "online", connecting: "connecting …", offline: `offline, trying again${later}`, closed: code === 4401 ? "logged out" : reason }[state];
    if (state === "online") reload();
    if (state === "closed" && code === 4401) location.reload();
  });
  stentor.on("listChanged", ({ items, missed }) => {
    const before = list.update(items);
    if (missed) reload();
    for (const item of items) {
      const old = before.get(item.sid);
      chat.update(item);
      const asks = item.state === "waiting" && old?.state !== "waiting";
      const speaks = item.mine && item.lastFrom === "visitor" && item.n !== old?.n && (document.hidden || item.sid !== chat.sid);
      if (asks || speaks) alerts.tell(asks ? `${visitorName(item)} wants a person` : visitorName(item), item.text, () => choose(item.sid));
    }
    alerts.count(list.waiting);
  });
  stentor.watch(true);

  find("back").addEventListener("click", back);
  find("logout").addEventListener("click", async () => {
    stentor.close();
    await fetch("/api/v1/logout", { method: "POST" });
    location.reload();
  });
  find("keys-open").addEventListener("click", () => find("keys").showModal());
  document.addEventListener("keydown", (event) => {
    // What is open in front has the keys: Escape closes it, and not the chat behind it as well.
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open], :popover-open")) return;
    const typing = event.target.matches("input:not([type=checkbox]), textarea");
    if (event.key === "Escape") return typing ? event.target.blur() : back();
    if (typing) return;
    const act = {
      j: () => list.move(1), ArrowDown: () => list.move(1), k: () => list.move(-1), ArrowUp: () => list.move(-1),
      t: () => chat.toggle(), c: () => chat.write(), "/": () => find("search").focus(), "?": () => find("keys").showModal(),
      1: () => list.show("waiting"), 2: () => list.show("mine"), 3: () => list.show("open"), 4: () => list.show("ended"),
    }[event.key];
    // Arrows scroll where there is something to scroll.
    if (!act || (event.key.startsWith("Arrow") && event.target.closest(".transcript"))) return;
    event.preventDefault();
    act();
  });
}

// A link that is opened where the page is open already changes no more than the hash.
addEventListener("hashchange", () => new URLSearchParams(location.hash.slice(1)).has("login") && location.reload());
start();
