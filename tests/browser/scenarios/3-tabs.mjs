// Tabs that go to the background and come back, and tabs that began there.

import assert from "node:assert/strict";

import { pause, until } from "../lib/wait.mjs";

const GREETING = "Hello from the stub.";

/** The widget gives up on its own `user joined` after 10 s without a socket. */
const GIVES_UP_MS = 13_000;

export default [
  {
    name: "a tab hidden while the bot answers shows the answer when it is looked at again",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      bot.hold();
      await widget.say("answer behind my back");
      await bot.untilAsked("answer behind my back");
      await widget.setHidden(true);
      await until("the socket to close", () => widget.live.length === 0);
      bot.release();
      await pause(1500);
      assert.equal(await widget.count("echo: answer behind my back"), 0);
      await widget.setHidden(false);
      await widget.seesExactly([GREETING, "answer behind my back", "echo: answer behind my back"]);
      await widget.untilTyping(false);
      assert.equal(new URL(widget.sockets.at(-1).url).searchParams.get("createWsReason"), "wakeup");
    },
  },
  {
    name: "hide and show again and again doubles nothing",
    async run(stage) {
      const { server } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      await widget.say("one");
      await widget.sees("echo: one");
      for (let round = 0; round < 3; round += 1) {
        await widget.setHidden(true);
        await until("the socket to close", () => widget.live.length === 0);
        await widget.setHidden(false);
        await until("a new socket", () => widget.live.length === 1);
        await pause(300);
      }
      await widget.say("two");
      await widget.sees("echo: two");
      await widget.seesExactly([GREETING, "one", "echo: one", "two", "echo: two"]);
    },
  },
  {
    name: "a widget that was loaded in a background tab can chat although it never says that it joined",
    async run(stage) {
      const { server } = await stage.withStubBot();
      const widget = await stage.widget(server, { hidden: true });
      await pause(GIVES_UP_MS);
      await widget.setHidden(false);
      await until("a socket", () => widget.live.length === 1);
      await widget.isAlive("am I a zombie?", "echo: am I a zombie?", { within: 30_000 });
      const joins = widget.sent.filter(({ event }) => event === "user joined");
      assert.equal(joins.length, 0, "the page was meant to lose its `user joined`");
    },
  },
];
