// What would kill the published widget for good must never reach it.

import assert from "node:assert/strict";

import { until } from "../lib/wait.mjs";
import { echo } from "../stub-bot.mjs";

const GREETING = "Hello from the stub.";
const KEPT = "the text stays";

const speech = (more = {}) => ({ outputSpeech: { displayText: KEPT, ...more } });
const withDisplays = (displays) => ({ ...speech(), displays });

/**
 * Displays that unmount the widget, or make its message vanish, when they are passed on as they are. No scenario
 * says more than 20 things: a visitor may say so many at once.
 */
const DISPLAYS = {
  "displays is no array": withDisplays({ type: "CARD" }),
  "displays holds null": withDisplays([null]),
  "a list without items": withDisplays([{ type: "LIST", title: "No items" }]),
  "a list with a null item": withDisplays([{ type: "LIST", items: [null] }]),
  "a carousel without items": withDisplays([{ type: "CAROUSEL" }]),
  "a list whose title is an object": withDisplays([{ type: "LIST", title: {}, items: [{ title: "x" }] }]),
  "a list item whose title is an object": withDisplays([{ type: "LIST", items: [{ title: { a: 1 }, token: "t" }] }]),
  "a card whose content is an object": withDisplays([{ type: "CARD", title: "card", content: { a: 1 } }]),
  "a card whose buttons are no array": withDisplays([{ type: "CARD", title: "card", buttons: "none" }]),
};

/** Other answers that do. */
const POISON = {
  "a suggestion whose title is an object": speech({ suggestions: [{ title: { a: 1 } }, "fine"] }),
  "suggestions are no array": speech({ suggestions: "none" }),
  "suggestions hold null": speech({ suggestions: [null, "fine"] }),
  "active contexts are no array": { ...speech(), context: { active: "none" } },
  "system is no string": { ...speech(), system: { a: 1 } },
  "system TRANSFER_CALL": { ...speech(), system: "TRANSFER_CALL" },
  "an unknown permission": { ...speech(), system: "PERMISSION_PHONE_NUMBER" },
  "a permission without data": { ...speech(), system: "PERMISSION_EMAIL" },
};

/** Nothing of these can be kept: the widget must only stay alive. */
const HOPELESS = {
  "displayText is an object": { outputSpeech: { displayText: { a: 1 } } },
  "outputSpeech is an array": { outputSpeech: [KEPT] },
  "outputSpeech is a number": { outputSpeech: 7 },
  "the answer is an array": [speech()],
  "the answer is a string": JSON.stringify("hello"),
  "a script in the html": { outputSpeech: { html: "<img src=x onerror='window.__pwned = 1'><script>window.__pwned = 1</script>" } },
};

/** Sends each payload as the answer to a text of its name, and checks after each that the widget still talks. */
async function poisoned(stage, payloads, keeps) {
  const { server, bot } = await stage.withStubBot();
  const widget = await stage.widget(server);
  await widget.sees(GREETING);
  bot.answer = (request) => (payloads[request.rawQuery] ? { body: payloads[request.rawQuery] } : echo(request));
  let kept = 0;
  for (const name of Object.keys(payloads)) {
    await widget.say(name);
    await bot.untilAsked(name);
    if (keeps) {
      kept += 1;
      const all = async () => (await widget.texts()).filter((text) => text.includes(KEPT)).length === kept;
      await until(`the text kept after ${JSON.stringify(name)}`, all, { seen: () => widget.rows() });
    }
    await widget.isAlive(`alive after ${name}?`, `echo: alive after ${name}?`, { within: 40_000 });
  }
  // What was stored must not kill the next page load either.
  await widget.reload();
  await widget.isAlive("alive after the reload?", "echo: alive after the reload?");
  assert.deepEqual(widget.errors, []);
  assert.equal(await widget.page.evaluate(() => globalThis.__pwned), undefined, "S15: a script of the bot ran");
}

export default [
  { name: "poison: the bad part of a display is removed and the text stays", run: (stage) => poisoned(stage, DISPLAYS, true) },
  { name: "poison: the bad part of an answer is removed and the text stays", run: (stage) => poisoned(stage, POISON, true) },
  {
    name: "poison: an answer with nothing good in it leaves the widget alive",
    run: (stage) => poisoned(stage, HOPELESS, false),
  },
  {
    name: "a text of 200 kB is refused in the bot's voice and the widget lives on",
    async run(stage) {
      const { server, bot } = await stage.withStubBot();
      const widget = await stage.widget(server);
      await widget.sees(GREETING);
      await widget.say("x".repeat(200_000));
      const refusals = async () => (await widget.rows()).filter(({ who }) => who === "agent").length === 2;
      await until("a refusal in the bot's voice", refusals, { within: 40_000, seen: () => widget.rows() });
      await widget.isAlive("shorter", "echo: shorter", { within: 40_000 });
      assert.equal(bot.requests.filter(({ body }) => body.rawQuery?.length > 100_000).length, 0);
      await widget.reload();
      await widget.isAlive("and after a reload", "echo: and after a reload");
    },
  },
];
