// The agents' list without a browser: answers and changes in every order. What it draws on is as much of a page as it
// touches; the page itself is tested in Chromium.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Stentor } from "../../crates/console/assets/stentor.js";
import { StentorError } from "../../crates/console/assets/stentor/events.js";
import { MemoryStorage } from "../../crates/console/assets/stentor/store.js";

class Part extends EventTarget {
  dataset = {};
  children = [];
  setAttribute() {}
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
  }
  contains() {
    return false;
  }
  querySelector() {
    return null;
  }
}

globalThis.document = { hidden: false, createElement: () => new Part() };
// The times in the list are drawn anew for ever.
globalThis.setInterval = () => 0;

const { List } = await import("../../crates/console/assets/agents/list.js");

const item = (sid, state, n = 1) => ({ sid, visitor: "v-1234", state, since: 1, at: n, n, lastFrom: "visitor", text: "hello", people: [], present: true, mine: false });

/** A list, and questions that are answered when a test says so. */
function rig() {
  const asked = [];
  const stentor = { list: (which) => new Promise((resolve, reject) => asked.push({ which, resolve, reject })) };
  const tabs = ["waiting", "mine", "open", "ended"].map((tab) => Object.assign(new Part(), { dataset: { tab } }));
  const parts = { tabs, search: new Part(), panel: new Part(), rows: new Part(), empty: new Part(), more: new Part() };
  let again;
  const wanted = new Promise((resolve) => (again = resolve));
  const list = new List(stentor, parts, () => {}, again);
  const answer = async (count, items) => {
    for (const { resolve } of asked.splice(0, count)) resolve({ items });
    await new Promise(setImmediate);
  };
  return { list, asked, answer, wanted, shown: () => parts.rows.children.map(({ children: [row] }) => row.dataset.sid) };
}

test("what is told while everything is read anew is not lost with what was there before", async () => {
  const { list, asked, answer, shown } = rig();
  const reading = list.reload();
  assert.equal(asked.length, 2);
  // It was read before the chat waited.
  list.update([item("a", "waiting")]);
  await answer(2, []);
  await answer(1, []);
  await reading;
  assert.deepEqual(shown(), ["a"]);
});

test("an answer does not undo what was told after its question", async () => {
  const { list, answer, shown } = rig();
  const reading = list.show("waiting");
  list.update([item("a", "waiting", 2)]);
  await answer(1, [item("a", "bot")]);
  await reading;
  assert.deepEqual(shown(), ["a"]);
  // The next question is younger than what was told.
  const anew = list.show("waiting");
  await answer(1, [item("a", "bot", 3)]);
  await anew;
  assert.deepEqual(shown(), []);
});

test("a list that is refused for now is asked for again", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { list, asked, wanted } = rig();
  const reading = list.show("open");
  asked[0].reject(new StentorError("busy", "not now", false));
  await reading;
  context.mock.timers.tick(3_000);
  await wanted;
});

test("changes are asked for before anybody who waits for the connection asks for a list", async () => {
  const sent = [];
  class Socket {
    binaryType = "";
    readyState = 1;
    constructor() {
      queueMicrotask(() => this.onopen?.({}));
    }
    send(text) {
      const frame = JSON.parse(text);
      sent.push(frame.t);
      if (frame.t === "hello") queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ t: "welcome", role: "agent", limits: {} }) }));
    }
    close() {}
  }
  const stentor = new Stentor({ url: "http://127.0.0.1:9", app: "demo", token: "x", storage: new MemoryStorage(), WebSocket: Socket, transport: "websocket" });
  stentor.on("state", ({ state }) => state === "online" && stentor.list().catch(() => {}));
  stentor.watch(true);
  await stentor.ready();
  assert.deepEqual(sent, ["hello", "watch", "list"]);
  stentor.close();
});

test("a browser without room for what was seen shows and marks chats all the same", async (context) => {
  globalThis.localStorage = {
    getItem() {
      throw new Error("private");
    },
    setItem() {
      throw new Error("quota");
    },
  };
  context.after(() => delete globalThis.localStorage);
  const { list, shown } = rig();
  list.update([item("a", "waiting"), item("b", "waiting")]);
  list.current = "a";
  list.update([item("a", "waiting", 2)]);
  assert.deepEqual(shown().toSorted(), ["a", "b"]);
});
