// Members of a cluster die under a chat. These run with `--cluster` only.

import assert from "node:assert/strict";

import { stays, until } from "../lib/wait.mjs";

/** The widget dials again every 5 s. */
const RECONNECT = { within: 40_000 };

export default [
  {
    name: "kill -9 for the gateway of a chat: the widget goes on through another one, and nothing is lost or doubled",
    cluster: true,
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees("Hello from the stub.");
      await widget.say("one");
      await widget.sees("echo: one");
      const session = widget.sessionId;
      // It dies while the bot thinks about one text and before the next one can be sent.
      bot.hold();
      await widget.say("two");
      await bot.untilAsked("two");
      await server.killGateway();
      await until("the socket to close", () => widget.live.length === 0);
      await widget.say("three");
      bot.release();
      await widget.sees("echo: three", RECONNECT);
      await widget.say("four");
      await widget.sees("echo: four");
      const all = async () => {
        const texts = await widget.texts();
        return ["one", "two", "three", "four"].every((text) => [text, `echo: ${text}`].every((row) => texts.filter((one) => one === row).length === 1));
      };
      await until("every text and answer once", all, { seen: () => widget.rows() });
      await stays("every text and answer once", all, { during: 3000 });
      assert.equal(await widget.count("Hello from the stub."), 1);
      for (const text of ["one", "two", "three", "four"]) assert.equal(bot.asked(text).length, 1, `the bot was asked ${text}`);
      assert.equal(widget.sessionId, session);
      // Who comes anew is told the same past by the other gateway.
      const before = await widget.texts();
      await widget.reload();
      await widget.say("five");
      await widget.seesExactly([...before, "five", "echo: five"]);
    },
  },
  {
    name: "kill -9 for the gateway of a chat with the real bot: the old rows stay, and the next answer comes",
    cluster: true,
    async run(stage) {
      const { server } = await stage.withRealBot();
      const widget = await stage.widget(server);
      await widget.sees("Hello! Ask me about hours.");
      await widget.say("hours");
      await widget.sees("We open at nine.");
      const before = await widget.rows();
      await server.killGateway();
      await until("the socket to close", () => widget.live.length === 0);
      await until("a new socket", () => widget.live.length === 1, RECONNECT);
      await widget.say("menu");
      await widget.sees(/^Pick one/, RECONNECT);
      const after = await widget.rows();
      assert.deepEqual(after.slice(0, before.length), before, "the old rows are as they were");
      assert.equal(after.length, before.length + 2);
      assert.deepEqual(widget.errors, []);
    },
  },
];
