// A visitor chats: the widget as published, the bot on the real SDK.

import assert from "node:assert/strict";

import { stays } from "../lib/wait.mjs";

const GREETING = "Hello! Ask me about hours.";
const HOURS = "We open at nine.";

export default [
  {
    name: "first chat: the real bot greets with chips and answers typed text",
    async run(stage) {
      const { server } = await stage.withRealBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      assert.deepEqual(await widget.chips(), ["Hours", "Menu", "Website"]);
      await widget.say("when are you open?");
      await widget.seesExactly([GREETING, "when are you open?", HOURS]);
      assert.deepEqual(await widget.chips(), []);
      await widget.untilTyping(false);
      assert.deepEqual(widget.errors, []);
    },
  },
  {
    name: "a chip is sent as if it had been typed",
    async run(stage) {
      const { server } = await stage.withRealBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      await widget.clickChip("Hours");
      await widget.seesExactly([GREETING, "Hours", HOURS]);
    },
  },
  {
    name: "an item of a list can be chosen",
    async run(stage) {
      const { server } = await stage.withRealBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      await widget.clickChip("Menu");
      await widget.sees(/^Pick one/);
      await widget.clickListItem("Soup");
      await widget.sees("Chosen.");
      const choice = widget.sent.at(-1).data;
      assert.equal(choice.type, "OPTION_SELECT_REQUEST");
      assert.equal(choice.token, "soup");
    },
  },
  {
    name: "typing is shown while the bot thinks, and ends",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees("Hello from the stub.");
      bot.hold();
      await widget.say("think");
      await bot.untilAsked("think");
      await widget.untilTyping(true);
      bot.release();
      await widget.sees("echo: think");
      await widget.untilTyping(false);
    },
  },
  {
    name: "typing ends also when the bot answers nothing",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees("Hello from the stub.");
      const before = await widget.rows();
      bot.answer = () => ({ body: {} });
      bot.hold();
      await widget.say("say nothing");
      await bot.untilAsked("say nothing");
      await widget.untilTyping(true);
      bot.release();
      await widget.untilTyping(false);
      assert.deepEqual(await widget.rows(), [...before, { who: "visitor", text: "say nothing" }]);
    },
  },
  {
    name: "a reload keeps the chat and doubles nothing",
    async run(stage) {
      const { server } = await stage.withRealBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      await widget.say("hours");
      await widget.sees(HOURS);
      const before = await widget.rows();
      const session = widget.sessionId;
      await widget.reload();
      await widget.say("menu");
      await widget.sees(/^Pick one/);
      const after = await widget.rows();
      assert.deepEqual(after.slice(0, before.length), before);
      assert.equal(after.length, before.length + 2);
      assert.equal(widget.sessionId, session);
      const launches = widget.sent.filter(({ data }) => data?.type === "LAUNCH_REQUEST");
      assert.equal(launches.length, 1, "a reload greets nobody again");
    },
  },
  {
    name: "two tabs of one visitor both get each answer, and neither its own text back",
    async run(stage) {
      const { server } = await stage.withStubBot();
      const first = await stage.widget(server);
      await first.sees("Hello from the stub.");
      const second = await stage.widget(server, { beside: first });
      await second.sees("Hello from the stub.");
      await first.say("from the first");
      await first.sees("echo: from the first");
      await second.sees("echo: from the first");
      await second.say("from the second");
      await second.sees("echo: from the second");
      await first.sees("echo: from the second");
      for (const tab of [first, second]) {
        assert.equal(await tab.count("echo: from the first"), 1);
        assert.equal(await tab.count("echo: from the second"), 1);
        const agents = (await tab.rows()).filter(({ who }) => who === "agent").map(({ text }) => text);
        assert.ok(!agents.some((text) => text.startsWith("from the")), "a visitor's own text came back as another's");
      }
    },
  },
  {
    name: "a reset begins a new chat in which nothing of the old one is drawn",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees("Hello from the stub.");
      await widget.say("before");
      await widget.sees("echo: before");
      const old = widget.sessionId;
      // One answer is still on its way when the visitor turns the page.
      bot.hold();
      await widget.say("too late");
      await bot.untilAsked("too late");
      await widget.reset();
      await widget.open();
      bot.release();
      await widget.sees("Hello from the stub.");
      await widget.say("after");
      await widget.seesExactly(["Hello from the stub.", "after", "echo: after"]);
      await stays("the new chat", async () => (await widget.count("echo: too late")) === 0, { during: 3000 });
      assert.notEqual(widget.sessionId, old);
    },
  },
];
