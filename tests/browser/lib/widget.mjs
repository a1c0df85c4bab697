// The published widget on a page: what a visitor can see and do, and what goes over its sockets.

import assert from "node:assert/strict";

import { prepare } from "./prepare.mjs";
import { until } from "./wait.mjs";

const PANEL = ".widget-container.visible";
const INPUT = "#chatWidgetInput";

export class Widget {
  /** One entry per socket: `{ url, sent: [frame], received: [frame], closed }`. */
  sockets = [];
  /** Uncaught errors of the page. */
  errors = [];

  constructor(page) {
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(error.message.split("\n")[0]));
    page.on("websocket", (socket) => this.#record(socket));
  }

  /**
   * Loads the demo page and opens the panel. `hidden`: the tab is in the background from the start. `skewMs`: how wrong
   * the visitor's clock is. `userId`: the widget is given this id. `query`: of the page, for instance `sessionId=…`.
   */
  async load(origin, { hidden = false, skewMs = 0, userId, query = "", open = true } = {}) {
    await this.page.addInitScript(prepare, { hidden, skewMs, userId });
    await this.page.goto(`${origin}/${query ? `?${query}` : ""}`);
    if (open) await this.open();
  }

  /** Opens the panel, unless it is open already. */
  async open() {
    await this.page.waitForSelector(`${PANEL}, .xapp-chat-button`, { state: "visible" });
    if (!(await this.page.isVisible(PANEL))) await this.page.click(".xapp-chat-button");
    await this.page.waitForSelector(INPUT, { state: "visible" });
  }

  async reload() {
    await this.page.reload();
    await this.open();
  }

  /** Types a text and presses Enter. */
  async say(text) {
    await this.page.fill(INPUT, text);
    await this.page.press(INPUT, "Enter");
  }

  /** All messages in the order drawn: `{ who: "visitor" | "agent" | "system", text }`. */
  async rows() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll(".message-list-container__msgs > span")].flatMap((row) => {
        const system = row.querySelector(".system-msg");
        if (system) return [{ who: "system", text: system.textContent.trim() }];
        const wrapper = row.querySelector(".chat-msg-container-wrapper");
        if (!wrapper) return [];
        const who = wrapper.classList.contains("visitor") ? "visitor" : "agent";
        const text = [...wrapper.querySelectorAll(".chat-text-bubble")].map((bubble) => {
          const copy = bubble.cloneNode(true);
          for (const aside of copy.querySelectorAll(".message-sr-only")) aside.remove();
          return copy.textContent.trim();
        });
        return [{ who, text: text.join("\n").slice(0, 300) }];
      }),
    );
  }

  /** Texts of the messages, without system lines. */
  async texts() {
    return (await this.rows()).filter(({ who }) => who !== "system").map(({ text }) => text);
  }

  async count(text) {
    return (await this.texts()).filter((one) => one === text).length;
  }

  /** Waits for a message with this text (or matching this pattern). */
  async sees(text, options) {
    const fits = (row) => (text instanceof RegExp ? text.test(row) : row === text);
    await until(`a row ${text}`, async () => (await this.texts()).some(fits), { seen: () => this.rows(), ...options });
  }

  /** Waits until exactly these messages are drawn, in this order. */
  async seesExactly(texts, options) {
    const same = async () => JSON.stringify(await this.texts()) === JSON.stringify(texts);
    await until(`exactly ${JSON.stringify(texts)}`, same, { seen: () => this.rows(), ...options });
  }

  async chips() {
    return this.page.$$eval(".chat-chip", (chips) => chips.map((chip) => chip.textContent.trim()));
  }

  async clickChip(text) {
    await this.page.locator(".chat-chip", { hasText: text }).first().click();
  }

  async clickListItem(text) {
    await this.page.locator(".xappw-vlist-item-container", { hasText: text }).first().click();
  }

  async isTyping() {
    return this.page.locator(".typing-indicator").first().isVisible();
  }

  async untilTyping(wanted) {
    await until(wanted ? "the typing dots" : "the typing dots to go", async () => (await this.isTyping()) === wanted, {
      seen: () => this.rows(),
    });
  }

  /** Puts the tab into the background, or back in front. */
  async setHidden(hidden) {
    await this.page.evaluate((value) => globalThis.setTabHidden(value), hidden);
  }

  /** The header's refresh button: a new chat for the same visitor. The panel closes; open it again. */
  async reset() {
    await this.page.click("#xapp-widget-refresh");
    await this.page.waitForSelector(PANEL, { state: "hidden" });
  }

  /** Sockets that are open now. */
  get live() {
    return this.sockets.filter(({ closed }) => !closed);
  }

  /** Every frame that the widget sent, over all sockets. */
  get sent() {
    return this.sockets.flatMap(({ sent }) => sent);
  }

  /** Every frame that the widget got, over all sockets. */
  get received() {
    return this.sockets.flatMap(({ received }) => received);
  }

  get userId() {
    return new URL(this.sockets.at(-1).url).searchParams.get("userId");
  }

  get sessionId() {
    return this.sent.at(-1).sessionId;
  }

  /** The widget is alive: panel and input are there, and a typed text is answered. */
  async isAlive(question, answer, options) {
    await this.page.waitForSelector(INPUT, { state: "visible", timeout: 10_000 });
    await this.say(question);
    await this.sees(answer, options);
  }

  #record(socket) {
    const record = { url: socket.url(), openedAt: Date.now(), sent: [], received: [], closed: false };
    this.sockets.push(record);
    socket.on("framesent", ({ payload }) => record.sent.push(parsed(payload)));
    socket.on("framereceived", ({ payload }) => record.received.push(parsed(payload)));
    socket.on("close", () => (record.closed = true));
  }
}

/** A frame that is no JSON object breaks the widget's handler, so it fails the scenario that meets it. */
function parsed(payload) {
  const frame = JSON.parse(payload.toString());
  assert.equal(typeof frame, "object");
  return frame;
}
