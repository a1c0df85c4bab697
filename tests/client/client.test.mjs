// The client against a real router: cut, paused, killed, reloaded, in several tabs, over both ways.

import assert from "node:assert/strict";
import { after, before, test as unlimited } from "node:test";

import { Stentor } from "../../crates/console/assets/stentor.js";
import { MemoryStorage } from "../../crates/console/assets/stentor/store.js";
import { Proxy, Router, seeded, until } from "./tools.mjs";

const SEED = Number(process.env.CLIENT_SEED ?? 1);
/** Connections that are cut, at bytes spread over the first 1499; with 1499 or more, at every one of them. */
const CUTS = Number(process.env.CLIENT_CUTS ?? 400);
/** A message that is never taken must not hang a gate. */
const TEST_MS = 180_000;
const test = (name, ...rest) => unlimited(name, { timeout: TEST_MS, ...(rest.length > 1 ? rest[0] : {}) }, rest.at(-1));
let router;
const open = [];

before(async () => {
  router = await Router.start();
});
after(async () => {
  for (const closing of open) await closing();
  await router.stop();
});

function client(options = {}) {
  const stentor = new Stentor({ url: `http://127.0.0.1:${router.port}`, app: "demo", storage: new MemoryStorage(), ...options });
  open.push(() => stentor.close());
  return stentor;
}

/** A session with everything that it was told. */
function watched(stentor, which) {
  const session = stentor.open(which);
  const seen = { session, events: [], resets: 0 };
  session.on("event", (event) => seen.events.push(event));
  session.on("reset", ({ from }) => {
    seen.resets += 1;
    seen.events = [];
    seen.from = from;
  });
  return seen;
}

/** I8: every number once, in order. */
function assertDense({ events, from }) {
  assert.deepEqual(events.map(({ n }) => n), events.map((_, place) => from + place));
}

const texts = ({ events }) => events.filter(({ kind }) => kind === "message").map(({ text }) => text);

for (const transport of ["websocket", "stream"]) {
  test(`a conversation over ${transport}: receipts, events in order, the bot`, async () => {
    const seen = watched(client({ transport }), { name: "first" });
    const receipt = await seen.session.send("hello");
    await until("the bot", () => seen.events.some(({ kind }) => kind === "reply"));
    const message = seen.events.find(({ kind }) => kind === "message");
    assert.equal(receipt.n, message.n);
    assert.equal(message.from, seen.session.you);
    assertDense(seen);
  });

  test(`nothing is lost, doubled or out of order over ${transport} that is cut at random bytes (seed ${SEED})`, async () => {
    const random = seeded(SEED);
    const proxy = await Proxy.start(router.port);
    open.push(() => proxy.stop());
    proxy.cutAfter = () => 300 + Math.floor(random() * 4_000);
    const stentor = client({ url: `http://127.0.0.1:${proxy.port}`, transport, random: () => 0 });
    const seen = watched(stentor, { name: "cut" });
    const receipts = [];
    for (let number = 1; number <= 15; number += 1) {
      receipts.push(seen.session.send(`message ${number}`));
      if (number % 5 === 0) await Promise.all(receipts);
    }
    const numbers = (await Promise.all(receipts)).map(({ n }) => n);
    proxy.cutAfter = () => Infinity;
    await until("all of them", () => texts(seen).length === 15);
    assert.deepEqual(texts(seen), receipts.map((_, place) => `message ${place + 1}`));
    const said = seen.events.filter(({ kind }) => kind === "message");
    for (const [place, n] of numbers.entries()) if (n !== undefined) assert.equal(said[place].n, n);
    assertDense(seen);
    assert.equal(seen.resets, 1);
  });
}

test("a client that is paused notices and comes back; what was sent meanwhile arrives once", async () => {
  const proxy = await Proxy.start(router.port);
  open.push(() => proxy.stop());
  const stentor = client({ url: `http://127.0.0.1:${proxy.port}` });
  const seen = watched(stentor, { name: "paused" });
  await seen.session.send("one");
  proxy.paused = true;
  const second = seen.session.send("two");
  proxy.cut();
  await until("offline", () => stentor.state !== "online");
  proxy.paused = false;
  proxy.cut();
  await second;
  await until("both", () => texts(seen).length === 2);
  assert.deepEqual(texts(seen), ["one", "two"]);
  assertDense(seen);
});

test("a router that is killed and started again goes on where it was", async () => {
  const stentor = client();
  const seen = watched(stentor, { name: "killed" });
  await seen.session.send("before");
  await router.kill();
  await until("offline", () => stentor.state === "offline");
  const receipt = seen.session.send("meanwhile");
  await router.start();
  await receipt;
  await until("both", () => texts(seen).length === 2);
  assert.deepEqual(texts(seen), ["before", "meanwhile"]);
  assertDense(seen);
  assert.equal(seen.resets, 1);
});

test("what was not acknowledged before a reload is sent after it, once", async () => {
  const storage = new MemoryStorage();
  const proxy = await Proxy.start(router.port);
  open.push(() => proxy.stop());
  const url = `http://127.0.0.1:${proxy.port}`;
  const stentor = client({ url, storage });
  const seen = watched(stentor, { name: "reload" });
  await seen.session.send("one");
  // Upstream it arrives, the acknowledgement does not.
  proxy.cutAfter = () => 0;
  const { session } = seen;
  session.send("two");
  proxy.cut();
  session.send("three");
  stentor.close();
  proxy.cutAfter = () => Infinity;
  const again = watched(client({ url, storage }), { name: "reload" });
  await until("all", () => texts(again).length === 3);
  assert.deepEqual(texts(again), ["one", "two", "three"]);
  await until("an empty outbox", () => again.session.outbox.length === 0);
});

test("two tabs are one visitor, and their messages do not clash", async () => {
  const storage = new MemoryStorage();
  const one = watched(client({ storage }), { name: "tabs" });
  const two = watched(client({ storage }), { name: "tabs" });
  const receipts = [];
  for (let number = 0; number < 10; number += 1) receipts.push(one.session.send(`one ${number}`), two.session.send(`two ${number}`));
  await Promise.all(receipts);
  await until("all in both", () => texts(one).length === 20 && texts(two).length === 20);
  assert.deepEqual(texts(one), texts(two));
  for (const name of ["one", "two"]) {
    assert.deepEqual(texts(one).filter((text) => text.startsWith(name)), receipts.slice(0, 10).map((_, number) => `${name} ${number}`));
  }
  assert.equal(one.session.sid, two.session.sid);
  assert.equal(one.session.you, two.session.you);
});

test("an agent lists, watches, takes over, talks and hands back; notes stay among colleagues", async () => {
  const visitor = watched(client(), { name: "agents" });
  await visitor.session.send("help");
  const agent = client({ token: () => router.token("agent", "ada") });
  const changes = [];
  agent.on("listChanged", ({ items }) => changes.push(...items));
  await agent.watch(true);
  await until("online", () => agent.state === "online");
  const { items } = await until("the list", () => agent.list({ search: "help" }).then((list) => list.items.length > 0 && list));
  assert.equal(items[0].sid, visitor.session.sid);
  const desk = watched(agent, { sid: visitor.session.sid });
  await until("the past", () => texts(desk).includes("help"));
  await assert.rejects(desk.session.send("too early"), { code: "notInControl", final: true });
  assert.equal(desk.session.outbox[0].state, "failed");
  await desk.session.note("looks lost");
  await desk.session.take("Ada");
  await desk.session.send("I am Ada");
  await until("her", () => texts(visitor).includes("I am Ada"));
  await until("the change", () => changes.some(({ state, mine }) => state === "people" && mine));
  await desk.session.release();
  await visitor.session.send("and now");
  await until("the bot", () => visitor.events.some(({ kind }) => kind === "stepOut"));
  assert.ok(!visitor.events.some(({ kind }) => kind === "note"));
  assert.ok(desk.events.some(({ kind }) => kind === "note"));
  assertDense(visitor);
  assertDense(desk);
});

for (const transport of ["websocket", "stream"]) {
  test(`what is opened over ${transport} while the connection is being made is open once it is`, async () => {
    const stentor = client({ transport });
    stentor.connect();
    const session = stentor.open({ name: `early over ${transport}` });
    assert.equal(stentor.state, "connecting");
    await session.ready();
    await session.send("good morning");
  });
}

test("who waits until it is ready may ask at once, and is told when it will never be", async () => {
  const visitor = watched(client(), { name: "ready" });
  await visitor.session.ready();
  const agent = client({ token: () => router.token("agent", "eve") });
  await agent.ready();
  assert.ok(Array.isArray((await agent.list()).items));
  const session = agent.open({ sid: visitor.session.sid });
  await session.ready();
  await session.take("Eve");
  await session.ready();
  await assert.rejects(agent.open({ sid: "0000000000000000-00000000000000000000000000000000" }).ready(), { code: "noSession" });
  session.close();
  await assert.rejects(session.ready(), { code: "closed", final: true });
  const forged = client({ token: "x" });
  await assert.rejects(forged.open({ name: "never" }).ready(), { code: "closed", final: true });
  await assert.rejects(forged.ready(), { code: "closed", final: true });
});

test("what is erased is gone for everybody who watches, and the visitor goes on in a new session", async () => {
  const secret = "my deepest secret";
  const visitor = watched(client(), { name: "erased" });
  const kinds = [];
  visitor.session.on("event", ({ kind }) => kinds.push(kind));
  await visitor.session.send(secret);
  await until("the bot", () => visitor.events.some(({ kind }) => kind === "reply"));
  const { sid } = visitor.session;
  const token = await router.token("agent", "ann");
  const staff = watched(client({ token }), { sid });
  await until("the secret among staff", () => texts(staff).includes(secret));

  const headers = { authorization: `Bearer ${await router.token("integration", "crm")}` };
  const answer = await fetch(`http://127.0.0.1:${router.port}/api/v1/sessions/${sid}`, { method: "DELETE", headers });
  const certificate = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(certificate));
  await until("the last event", () => staff.events.at(-1)?.kind === "erased");
  assert.equal(staff.events.at(-1).n, certificate.events);
  assert.equal(staff.session.sid, sid);
  await assert.rejects(staff.session.note("still there?"), ({ code, final }) => code === "erased" && final);

  // Under its own name it begins again, and is shown nothing of what was.
  await until("another session", () => visitor.resets === 2 && visitor.session.sid !== sid);
  assert.equal(kinds.filter((kind) => kind === "erased").length, 1);
  assert.deepEqual(texts(visitor), []);
  await visitor.session.send("hello again");
  await until("what is said there", () => texts(visitor).includes("hello again"));
  assertDense(visitor);

  // Who comes later sees that there were events, and no word of any.
  const late = watched(client({ token }), { sid });
  await until("its end", () => late.session.n === certificate.events);
  assert.deepEqual(late.events.filter(({ kind }) => kind !== "erased"), []);
  const { items } = await (await fetch(`http://127.0.0.1:${router.port}/api/v1/sessions`, { headers })).json();
  assert.ok(!JSON.stringify(items).includes(secret));
});

test("a refusal for good ends it with a reason; a client that may not be here stays away", async () => {
  const stentor = client();
  const states = [];
  stentor.on("state", (state) => states.push(state));
  const refused = new Promise((done) => stentor.open({ sid: "0000000000000000-00000000000000000000000000000000" }).on("refused", done));
  assert.equal((await refused).code, "noSession");
  const stranger = client({ app: "other" });
  const closed = new Promise((done) => stranger.on("state", (state) => state.state === "closed" && done(state)));
  stranger.connect();
  assert.equal((await closed).code, 4404);
  const forged = client({ token: "x" });
  const out = new Promise((done) => forged.on("state", (state) => state.state === "closed" && done(state)));
  forged.connect();
  assert.equal((await out).code, 4401);
});

test("back-off doubles with jitter, stays within its bounds, and begins anew after a good connection", async () => {
  const waits = [];
  let random = 1;
  const stentor = client({ url: "http://127.0.0.1:1", transport: "stream", random: () => random, fetch: () => Promise.reject(new Error("no")) });
  await new Promise((done) => {
    stentor.on("state", ({ state, retryInMs }) => {
      if (state !== "offline") return;
      waits.push(retryInMs);
      random = 0;
      if (waits.length === 3) done();
    });
    stentor.connect();
  });
  assert.deepEqual(waits, [500, 250, 250]);
});

test("however long the router is away, nobody waits for more than ten seconds to try again", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const waits = [];
  const stentor = client({ url: "http://127.0.0.1:1", transport: "stream", random: () => 1, fetch: () => Promise.reject(new Error("no")) });
  stentor.on("state", ({ state, retryInMs }) => state === "offline" && waits.push(retryInMs));
  stentor.connect();
  for (let tries = 1; tries <= 7; tries += 1) {
    while (waits.length < tries) await new Promise((turn) => setImmediate(turn));
    context.mock.timers.tick(waits.at(-1));
  }
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
});

test("a stream that has died is replaced, however well requests get through beside it", { timeout: 60_000 }, async (context) => {
  context.mock.timers.enable({ apis: ["setInterval", "Date"], now: Date.now() });
  let streams = 0;
  // Hangs for ever after its first bytes; everything else goes to the real router.
  const deaf = async (url, options) => {
    const answer = await fetch(url, options);
    if (!url.endsWith("/v2/stream") || ++streams > 1) return answer;
    const reader = answer.body.getReader();
    let text = "";
    while (!text.includes("opened")) text += new TextDecoder().decode((await reader.read()).value);
    const body = new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode(text)) });
    return new Response(body);
  };
  const stentor = client({ transport: "stream", fetch: deaf, random: () => 0 });
  const seen = watched(stentor, { name: "deaf" });
  await seen.session.send("one");
  // Answers keep coming; the stream stays silent for longer than a live one does.
  for (let second = 20; second <= 80 && streams === 1; second += 20) {
    context.mock.timers.tick(20_000);
    if (stentor.state === "online") await seen.session.send(`at ${second}`);
  }
  assert.notEqual(stentor.state === "online" && streams === 1, true, "the silent stream is still trusted");
  await until("another stream", () => streams > 1);
  await until("what was missed", () => texts(seen).includes("one"));
  assertDense(seen);
});

/** Where no WebSocket gets through. */
class Blocked {
  constructor() {
    setTimeout(() => this.onclose?.({ code: 1006, reason: "" }));
  }
  close() {}
}

test("where there is no WebSocket, or none gets through, the stream is used by itself", async () => {
  const seen = watched(client({ WebSocket: Blocked, random: () => 0 }), { name: "blocked" });
  await seen.session.send("hello");
  await until("the bot", () => seen.events.some(({ kind }) => kind === "reply"));
  assertDense(seen);
});

test("a draft of the bot is seen by staff only until it is passed on", async () => {
  const visitor = watched(client(), { name: "drafts" });
  const agent = client({ token: () => router.token("agent", "bea") });
  await visitor.session.send("hello");
  const desk = watched(agent, { sid: visitor.session.sid });
  await until("the past", () => texts(desk).includes("hello"));
  await visitor.session.send("slow");
  await desk.session.take("Bea");
  const draft = await until("the draft", () => desk.events.find(({ kind }) => kind === "draft"));
  assert.ok(!visitor.events.some(({ kind }) => kind === "draft"));
  await desk.session.draft(draft.turn, "send");
  await until("it", () => visitor.events.some(({ kind, turn }) => kind === "draftSent" && turn === draft.turn));
});

for (const transport of ["websocket", "stream"]) {
  test(`what is too long or no text is refused over ${transport} by name, and what follows is taken`, async () => {
    const seen = watched(client({ transport }), { name: "long" });
    const results = await Promise.allSettled([
      seen.session.send("x".repeat(300_000)),
      seen.session.send("x".repeat(65_537)),
      seen.session.send('"'.repeat(40_000)),
      seen.session.send(5),
      seen.session.send(undefined),
      seen.session.request("hi"),
      seen.session.send("  "),
      seen.session.send("fine"),
    ]);
    const codes = results.map(({ reason, value }) => reason?.code ?? typeof value.n);
    assert.deepEqual(codes, ["tooLong", "tooLong", "tooLong", "malformed", "malformed", "malformed", "malformed", "number"]);
    // Their texts are not lost: a page can show them as unsent.
    assert.deepEqual(seen.session.outbox.map(({ state, code }) => `${state} ${code}`), [...Array(3).fill("failed tooLong"), "failed malformed"]);
    assertDense(seen);
  });

  test(`many long messages at once get through over ${transport}`, { timeout: 60_000 }, async () => {
    const seen = watched(client({ transport }), { name: "bulk" });
    const sent = Array.from({ length: 40 }, (_, place) => `${place} ${"\u00e9".repeat(30_000)}`);
    await Promise.all(sent.map((text) => seen.session.send(text)));
    await until("all of them", () => texts(seen).length === sent.length);
    assert.deepEqual(texts(seen), sent);
  });
}

test("a client whose instance the router has forgotten begins a new one, and shows what may be lost", async () => {
  const storage = new MemoryStorage();
  const one = await Router.start();
  open.push(() => one.stop());
  const proxy = await Proxy.start(one.port);
  open.push(() => proxy.stop());
  const url = `http://127.0.0.1:${proxy.port}`;
  const before = watched(client({ url, storage }), { name: "forgotten" });
  await before.session.send("one");
  proxy.paused = true;
  before.session.send("two");
  await until("it to be on its way", () => before.session.outbox[0].state === "sent");
  await one.kill();
  await one.startAnew();
  proxy.paused = false;
  proxy.cut();
  await until("the news", () => before.session.outbox[0].state === "failed");
  assert.equal(before.session.outbox[0].code, "expired");
  await before.session.send("three");
  await until("it", () => texts(before).length > 0);
  assert.deepEqual(texts(before), ["three"]);
});

test("what one person has left unsent is not sent by the next one at the same browser", async () => {
  const storage = new MemoryStorage();
  const eve = await router.token("visitor", "eve");
  const bob = await router.token("visitor", "bob");
  const left = client({ storage, token: eve, transport: "stream", fetch: () => Promise.reject(new Error("no network")) });
  left.open({ name: "support" }).send("from eve");
  left.close();
  for (const token of [bob, () => bob]) {
    const seen = watched(client({ storage, token }), { name: "support" });
    await seen.session.send("from bob");
    await until("it", () => texts(seen).length > 0);
    assert.ok(!texts(seen).includes("from eve"), texts(seen).join());
    seen.session.close();
  }
  const again = watched(client({ storage, token: () => eve }), { name: "support" });
  await until("hers", () => texts(again).includes("from eve"));
});

test("i8 cut after any byte, a client that comes back over either way shows exactly the log", async () => {
  const patient = await Router.start({ patient: true });
  const proxy = await Proxy.start(patient.port);
  open.push(() => patient.stop(), () => proxy.stop());
  // In the welcome, in an acknowledgement, in an event.
  let cuts = 0;
  proxy.cutAfter = () => (cuts < CUTS ? (++cuts * 5) % 1_499 : Infinity);
  const ways = { ws: 0, stream: 0, frames: 0 };
  const counted = (url, options) => {
    ways[new URL(url).pathname.slice(4)] += 1;
    return fetch(url, options);
  };
  // Two sockets in a row that never opened make the client use the stream, until that is cut as well.
  class Sometimes {
    constructor(...address) {
      ways.ws += 1;
      return ways.ws % 3 === 1 && globalThis.WebSocket ? new WebSocket(...address) : new Blocked();
    }
  }
  // Comes back at once.
  const stentor = client({ url: `http://127.0.0.1:${proxy.port}`, random: () => -1, fetch: counted, WebSocket: Sometimes });
  const seen = watched(stentor, { name: "bytes" });
  const agent = client({ url: `http://127.0.0.1:${patient.port}`, token: await patient.token("agent", "ada") });
  await until("a session", () => seen.session.sid);
  const desk = watched(agent, { sid: seen.session.sid });
  await until("her place", () => desk.session.you);
  await desk.session.take("Ada");
  // Both sides talk all the while.
  const said = [];
  for (let number = 1; cuts < CUTS; number += 1) {
    await Promise.all([desk.session.send(`agent ${number}`), desk.session.note(`note ${number}`)]);
    said.push(seen.session.send(`visitor ${number}`));
    if (said.length > 20) await said.at(-20);
  }
  await Promise.all(said);
  const last = await desk.session.send("the last");
  await until("everything", () => seen.events.at(-1)?.n >= last.n);
  assert.ok(ways.ws > 50 && ways.stream > 20 && ways.frames > 10, JSON.stringify(ways));
  assert.equal(seen.resets, 1);
  assertDense(seen);
  const bearer = { Authorization: `Bearer ${await patient.token("agent", "bob")}` };
  const log = await fetch(`http://127.0.0.1:${patient.port}/api/v1/sessions/${seen.session.sid}/transcript`, { headers: bearer }).then((answer) => answer.json());
  for (const event of seen.events) {
    const kept = log[event.n - 1];
    if (event.kind === "withheld") assert.equal(kept.n, event.n);
    else assert.deepEqual(event, kept);
  }
  const heard = texts(seen).filter((text) => text.startsWith("visitor"));
  assert.deepEqual(heard, said.map((_, place) => `visitor ${place + 1}`));
});
