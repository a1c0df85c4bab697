// Rows stay in the order of the talk: with a wrong clock, and when a fresh widget is told the past.

import assert from "node:assert/strict";

import { stays } from "../lib/wait.mjs";

const GREETING = "Hello from the stub.";

async function skewed(stage, skewMs) {
  const { server } = await stage.withStubBot();
  const widget = await stage.widget(server, { skewMs });
  await widget.sees(GREETING);
  const talk = [GREETING];
  for (const text of ["one", "two", "three"]) {
    await widget.say(text);
    await widget.sees(`echo: ${text}`);
    talk.push(text, `echo: ${text}`);
  }
  await widget.seesExactly(talk);
  // Nothing is scrambled or doubled by what is sent again after a reload.
  await widget.reload();
  await widget.say("four");
  await widget.sees("echo: four");
  await widget.seesExactly([...talk, "four", "echo: four"]);
}

export default [
  { name: "a visitor's clock 60 s slow leaves the rows in order", run: (stage) => skewed(stage, -60_000) },
  { name: "a visitor's clock 60 s fast leaves the rows in order", run: (stage) => skewed(stage, 60_000) },
  {
    name: "a fresh widget of the same visitor is told the past in order, without the visitor's own texts",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const first = await stage.widget(server);
      await first.sees(GREETING);
      for (const text of ["one", "two", "three"]) {
        await first.say(text);
        await first.sees(`echo: ${text}`);
      }
      const { userId, sessionId } = first;
      // The fresh widget greets again; that answer is told apart from the replayed one.
      bot.answer = () => ({ body: { outputSpeech: { displayText: "Hello again." } } });
      const fresh = await stage.widget(server, { userId, query: `sessionId=${encodeURIComponent(sessionId)}` });
      await fresh.sees("Hello again.");
      const told = [GREETING, "echo: one", "echo: two", "echo: three", "Hello again."];
      await fresh.seesExactly(told);
      await stays("the past", async () => (await fresh.texts()).length === told.length, { during: 2000 });
      assert.equal(fresh.userId, userId);
    },
  },
  {
    name: "S3 another visitor with the same session id is told nothing",
    async run(stage) {
      const { server } = await stage.withStubBot();
      const first = await stage.widget(server);
      await first.sees(GREETING);
      await first.say("my secret");
      await first.sees("echo: my secret");
      const thief = await stage.widget(server, { query: `sessionId=${encodeURIComponent(first.sessionId)}` });
      await thief.sees(GREETING);
      await thief.isAlive("hello", "echo: hello");
      const forged = `isAdmin=true&sessionId=${encodeURIComponent(first.sessionId)}`;
      const admin = await stage.widget(server, { query: forged });
      await first.say("still secret");
      await first.sees("echo: still secret");
      const quiet = (widget) => async () => !JSON.stringify(widget.received).includes("secret");
      await stays("the thief's silence", quiet(thief), { during: 2000 });
      await stays("the forged admin's silence", quiet(admin), { during: 2000 });
    },
  },
];
