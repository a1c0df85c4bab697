// The bot fails, or the server dies: what the visitor sees, and that nothing is lost or doubled.

import assert from "node:assert/strict";

import { stays, until } from "../lib/wait.mjs";
import { echo } from "../stub-bot.mjs";

const GREETING = "Hello from the stub.";
const FIRST = /^We are having trouble.*Re-trying in \d+ seconds/;
const SECOND = /^We are still having trouble.*Re-trying in \d+ seconds/;
const FINAL = /^Sorry, we cannot communicate with the assistant right now/;

/** The widget dials again every 5 s; a server in a debug build needs a moment too. */
const RECONNECT = { within: 40_000 };

export default [
  {
    name: "F6 a failing bot is counted down 1, 2, 3 and the final text stays",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      bot.answer = () => ({ status: 500, body: { error: "broken" } });
      await widget.say("anyone?");
      await widget.sees(FIRST);
      await widget.sees(SECOND);
      await widget.sees(FINAL);
      assert.equal(bot.asked("anyone?").length, 3);
      const tries = widget.received.filter(({ event }) => event === "failure").map(({ data }) => [data.tries, data.delay]);
      assert.deepEqual(tries, [[1, 5], [2, 5], [3, 0]]);
      await widget.untilTyping(false);
      const final = async () => (await widget.texts()).filter((text) => FINAL.test(text)).length === 1;
      await stays("the final text", final, { during: 6000 });
      // The bot is well again, and so is the chat.
      bot.answer = echo;
      await widget.say("better?");
      await widget.sees("echo: better?");
    },
  },
  {
    name: "F6 an HTML error with status 200 counts as a failure, and the next attempt is shown",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      bot.answer = (request) =>
        bot.asked(request.rawQuery).length === 1
          ? { type: "text/html", body: "Error: Unable to select channel." }
          : echo(request);
      await widget.say("second time lucky");
      await widget.sees("echo: second time lucky");
      assert.equal(await widget.count("echo: second time lucky"), 1);
      assert.ok(!(await widget.texts()).some((text) => text.includes("Unable to select channel")));
    },
  },
  {
    name: "kill -9 in a chat: the widget comes back by itself and the chat goes on",
    async run(stage) {
      const { server } = await stage.withRealBot();
      const widget = await stage.widget(server);
      await widget.sees("Hello! Ask me about hours.");
      await widget.say("hours");
      await widget.sees("We open at nine.");
      const before = await widget.rows();
      await server.kill();
      await until("the socket to close", () => widget.live.length === 0);
      await server.start();
      await until("a new socket", () => widget.live.length === 1, RECONNECT);
      await widget.say("menu");
      await widget.sees(/^Pick one/, RECONNECT);
      const after = await widget.rows();
      assert.deepEqual(after.slice(0, before.length), before, "the old rows are as they were");
      assert.equal(after.length, before.length + 2);
    },
  },
  {
    name: "kill -9 between question and answer: the answer comes exactly once",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      bot.hold();
      await widget.say("survive this");
      await bot.untilAsked("survive this");
      await server.kill();
      bot.release();
      await server.start();
      await widget.sees("echo: survive this", RECONNECT);
      await widget.untilTyping(false);
      await stays("one answer", async () => (await widget.count("echo: survive this")) === 1, { during: 6000 });
      await widget.seesExactly([GREETING, "survive this", "echo: survive this"]);
      const keys = new Set(bot.asked("survive this").map(({ headers }) => headers["idempotency-key"]));
      assert.ok(!keys.has(undefined), "every call carries an idempotency key");
      assert.equal(keys.size, 1, "P6: the same turn has the same key before and after the crash");
    },
  },
  {
    name: "kill -9 while the widget is away: the answer is there when it looks again",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      bot.hold();
      await widget.say("while I am away");
      await bot.untilAsked("while I am away");
      await widget.setHidden(true);
      await until("the socket to close", () => widget.live.length === 0);
      await server.kill();
      bot.release();
      await server.start();
      await bot.untilAsked("while I am away", 2, RECONNECT);
      await widget.setHidden(false);
      await widget.seesExactly([GREETING, "while I am away", "echo: while I am away"], RECONNECT);
    },
  },
  {
    name: "a server that stops in order loses nothing: text typed in the gap is answered",
    async run(stage) {
      const { server } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      await server.stop();
      await until("the socket to close", () => widget.live.length === 0);
      await widget.say("typed in the gap");
      await server.start();
      await widget.sees("echo: typed in the gap", RECONNECT);
      await widget.seesExactly([GREETING, "typed in the gap", "echo: typed in the gap"]);
    },
  },
];
