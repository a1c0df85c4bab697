// People: the agents' page, the published widget as a second agent, and a visitor in the published widget.

import assert from "node:assert/strict";

import { until } from "../lib/wait.mjs";

const JOIN = ".xappw-admin-input-form__btn";
const system = async (widget) => (await widget.rows()).filter(({ who }) => who === "system").map(({ text }) => text);
const seesLine = (widget, text) => until(`a line ${text}`, async () => (await system(widget)).some((line) => text.test(line)), { seen: () => widget.rows() });

/** The session that a desk has open. */
async function openSid(desk) {
  return desk.page.evaluate(() => document.querySelector('.row[aria-current="true"]').dataset.sid);
}

export default [
  {
    name: "agents on their page and in the published widget listen, step in, talk and hand back, over reloads and kill -9",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const visitor = await stage.widget(server);
      await visitor.sees("Hello from the stub.");
      await visitor.say("I am lost");
      await visitor.sees("echo: I am lost");

      const ada = await stage.desk(server, "Ada");
      await ada.open("open", "I am lost");
      await ada.sees("visitor", "I am lost");
      await ada.sees("bot", "echo: I am lost");
      const ben = await stage.agentWidget(server, "Ben", await openSid(ada));
      await ben.sees("echo: I am lost");
      assert.deepEqual(await system(visitor).then((lines) => lines.filter((line) => /Ada|Ben/.test(line))), [], "both listen without a trace");

      await ada.takeOver();
      await seesLine(visitor, /Ada has joined/);
      await ada.say("I am Ada");
      await visitor.sees("I am Ada");
      await ben.sees("I am Ada");
      await ada.note("a regular");

      await ben.page.fill("#adminBarInput", "Benjamin");
      await ben.page.click(JOIN);
      await seesLine(visitor, /Ben has joined/);
      await ben.say("and I am Ben");
      await visitor.sees("and I am Ben");
      await ada.sees("ours", "and I am Ben");

      await server.kill();
      await server.start();
      await ada.online();
      await ada.say("still here");
      await visitor.sees("still here", { within: 30_000 });
      await visitor.say("good");
      await ada.sees("visitor", "good");
      await ben.sees("good", { within: 30_000 });

      // A page of the published widget that was loaded anew shows nobody as joined, so nobody is.
      await ben.reload();
      await seesLine(visitor, /Ben has left/);
      await ada.page.reload();
      await ada.online();
      await ada.open("mine", /./);
      await ada.sees("me", "I am Ada");
      await ada.handBack();
      await seesLine(visitor, /Ada has left/);
      await visitor.say("and now?");
      await visitor.sees("echo: and now?");
      const told = bot.requests.at(-1).body.attributes.handBack.transcript.map(({ text }) => text);
      assert.deepEqual(told, ["I am Ada", "and I am Ben", "still here", "good"]);
      assert.ok(!(await visitor.texts()).includes("a regular"), "notes stay among colleagues");
      assert.deepEqual([...visitor.errors, ...ada.errors, ...ben.errors], []);
    },
  },
  {
    name: "a bot's answer that comes after an agent has stepped in is a draft: reworded, and only then seen",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const visitor = await stage.widget(server);
      await visitor.sees("Hello from the stub.");
      const ada = await stage.desk(server, "Ada");
      await ada.open("open", "Hello");
      bot.hold();
      await visitor.say("slow question");
      await bot.untilAsked("slow question");
      await ada.takeOver();
      bot.release();
      await ada.sees("draft", /echo: slow question/);
      assert.ok(!(await visitor.texts()).includes("echo: slow question"));
      await ada.page.click(".draft button:has-text('Edit')");
      await ada.say("a better answer");
      await visitor.sees("a better answer");
      await until("the draft to go", async () => !(await ada.rows()).some(([name]) => name === "draft"));
      assert.ok(!(await visitor.texts()).includes("echo: slow question"));
      assert.deepEqual(ada.errors, []);
    },
  },
  {
    name: "a login link works once, and its code leaves the address",
    async run(stage) {
      const { server } = await stage.withStubBot();
      const ada = await stage.desk(server, "Ada");
      assert.ok(!ada.page.url().includes("login"), ada.page.url());
      await ada.page.click("#settings-open");
      await ada.page.click("#logout");
      await ada.page.waitForSelector("#login:not([hidden])");
      // Pasted where the page is open already.
      await ada.load(stage.loginLink(server, "Ada"));
      assert.ok(!ada.page.url().includes("login"), ada.page.url());
    },
  },
  {
    name: "an agent works by keys alone, finds chats, sees what is unread, and is told of news in the ways that are switched on",
    async run(stage) {
      const { server, bot } = await stage.withStubBot({ widget: false });
      bot.answer = (request) => ({ body: { outputSpeech: { displayText: `noted: ${request.rawQuery}` }, ...(request.rawQuery === "a person" ? { system: "HANDOFF" } : {}) } });
      const ada = await stage.desk(server, "Ada");
      const { page } = ada;
      // Whatever the page plays or shows outside of itself is noted.
      const heard = await page.evaluateHandle(() => {
        const heard = { tones: 0, notices: [] };
        globalThis.OscillatorNode = class extends OscillatorNode {
          constructor(...how) {
            super(...how);
            heard.tones += 1;
          }
        };
        globalThis.Notification = class {
          static permission = "granted";
          static requestPermission = async () => "granted";
          constructor(title) {
            heard.notices.push(title);
          }
          close() {}
        };
        Object.defineProperty(document, "hidden", { get: () => true });
        return heard;
      });
      const told = () => heard.evaluate(({ tones, notices }) => [tones > 0, notices.length]);
      const visitor = async (text) => {
        const shown = await stage.page(server);
        const say = async (words) => {
          await shown.fill("#text", words);
          await shown.press("#text", "Enter");
        };
        await say(text);
        return say;
      };
      const say = await visitor("parcel seventeen");
      await visitor("parcel eighteen");
      await say("a person");
      await until("the title to count", async () => (await page.title()).startsWith("(1) "));
      await until("a tone", async () => (await told())[0]);
      assert.equal((await told())[1], 0, "desktop notifications are off until they are asked for");

      // By keys: all chats, the first one, take over, write, back.
      await page.keyboard.press("3");
      await until("both chats, unread", async () => (await page.$$(".row.unread")).length === 2);
      assert.match(await page.getAttribute(".row.unread", "aria-label"), /unread/);
      await page.keyboard.press("j");
      await page.keyboard.press("Enter");
      await ada.sees("visitor", "a person");
      assert.equal((await page.$$(".row.unread")).length, 1, "what is open is read");
      await page.keyboard.press("t");
      await page.waitForSelector("#release:not([hidden])");
      await until("the title without a count", async () => !(await page.title()).startsWith("("));
      await page.keyboard.press("c");
      await page.keyboard.type("Ada here");
      await page.keyboard.press("Enter");
      await ada.sees("me", "Ada here");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Escape");
      await page.waitForSelector("#open", { state: "hidden" });

      // Each way of telling can be switched.
      await page.click("#settings-open");
      await page.uncheck("#set-sound");
      await page.check("#set-desktop");
      await page.keyboard.press("Escape");
      await heard.evaluate((noted) => (noted.tones = 0));
      await say("are you there?");
      await until("a notification", async () => (await told())[1] > 0);
      assert.equal((await told())[0], false, "no sound once it is off");

      const texts = () => page.$$eval(".row .text", (rows) => rows.map((row) => row.textContent));
      const finds = async (search, expected) => {
        await page.fill("#search", search);
        await until(`what ${search} finds`, async () => JSON.stringify(await texts()) === JSON.stringify(expected), { seen: texts });
      };
      await page.keyboard.press("/");
      assert.equal(await page.evaluate(() => document.activeElement.id), "search");
      await finds("zzz", []);
      await finds("parcel eighteen", ["Bot: noted: parcel eighteen"]);
      await finds("zzz", []);
      // Not only in the last message.
      await finds("parcel seventeen", ["are you there?"]);
      await page.fill("#search", "");

      // Every tab is tied to the panel that it shows; the arrows lead from one to the next.
      const panel = async () => page.$eval("[role=tabpanel]", (panel) => [panel.id, document.getElementById(panel.getAttribute("aria-labelledby")).textContent.trim()]);
      assert.deepEqual(await page.$$eval("[role=tab]", (tabs) => tabs.map((tab) => tab.getAttribute("aria-controls"))), Array(4).fill("chats"));
      await page.focus("#tab-open");
      assert.deepEqual(await panel(), ["chats", "All"]);
      await page.keyboard.press("ArrowRight");
      assert.deepEqual(await panel(), ["chats", "Ended"]);
      await page.keyboard.press("Home");
      assert.match((await panel())[1], /^Waiting/);
      assert.deepEqual(await page.$$eval("[role=tab]", (tabs) => tabs.map((tab) => tab.tabIndex)), [0, -1, -1, -1]);
      assert.deepEqual(ada.errors, []);
    },
  },
  {
    name: "S15 nothing that a visitor or a bot writes runs on the agents' page or in our own chat",
    async run(stage) {
      const { server, bot } = await stage.withStubBot({ widget: false });
      const evil = `<img src=x onerror="window.__pwned=1"><script>window.__pwned=1</script><a href="javascript:window.__pwned=1">x</a>`;
      const title = { title: evil, token: evil, url: "javascript:window.__pwned=1" };
      bot.answer = (request) => ({
        body: { outputSpeech: { displayText: evil, html: evil, suggestions: [evil, title] }, displays: [{ type: "LIST", title: evil, items: [title] }], ...(request.rawQuery === "person" ? { system: "HANDOFF" } : {}) },
      });
      const page = await stage.page(server);
      await page.fill("#text", evil);
      await page.press("#text", "Enter");
      await until("the answer", async () => (await page.$$("#messages .options button")).length > 0);
      await page.fill("#text", "person");
      await page.press("#text", "Enter");
      const ada = await stage.desk(server, "Ada");
      await ada.page.evaluate(() => (globalThis.__pwned = undefined));
      await ada.open("waiting", "img src");
      await ada.sees("visitor", evil);
      await ada.sees("bot", /onerror/);
      await ada.takeOver();
      await ada.note(evil);
      await ada.say(evil);
      await until("her words", async () => (await page.$$eval("#messages .theirs", (rows) => rows.map((row) => row.textContent))).some((text) => text === `Ada: ${evil}`));
      for (const button of await page.$$("#messages .options button")) await button.click();
      for (const [where, shown] of [["our chat", page], ["the agents' page", ada.page]]) {
        assert.equal(await shown.evaluate(() => globalThis.__pwned), undefined, `a script ran in ${where}`);
        assert.equal(await shown.evaluate(() => document.querySelectorAll("img, [href^=javascript], [onerror]").length), 0, where);
      }
      assert.deepEqual(ada.errors, []);
    },
  },
  {
    name: "our own chat on the demo page: options, reload, kill -9 and a new chat",
    async run(stage) {
      const { server, bot } = await stage.withStubBot({ widget: false });
      const page = await stage.page(server);
      const rows = () => page.$$eval("#messages li", (items) => items.map((item) => item.firstChild.textContent));
      const sees = (texts) => until(`rows ${texts}`, async () => JSON.stringify(await rows()) === JSON.stringify(texts), { seen: rows });
      const say = async (text) => {
        await page.fill("#text", text);
        await page.press("#text", "Enter");
      };
      await sees(["Hello from the stub."]);
      await say("one");
      await sees(["Hello from the stub.", "one", "echo: one"]);
      await server.kill();
      await say("two");
      await server.start();
      await sees(["Hello from the stub.", "one", "echo: one", "two", "echo: two"]);
      await page.reload();
      await sees(["Hello from the stub.", "one", "echo: one", "two", "echo: two"]);
      const usual = bot.answer;
      bot.answer = () => ({ body: { outputSpeech: { displayText: "look", suggestions: [{ title: "Website", url: "https://example.com/" }] } } });
      await say("where?");
      await until("the link", async () => (await page.$$eval("#chips a", (links) => links.map((link) => link.href)))[0] === "https://example.com/");
      bot.answer = usual;
      await page.click("#reset");
      await sees(["Hello from the stub."]);
    },
  },
];
