// The agents' page: what an agent can see and do.

import { until } from "./wait.mjs";

export class Desk {
  /** Uncaught errors of the page. */
  errors = [];

  constructor(page) {
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(error.message.split("\n")[0]));
  }

  /** Opens a login link, and waits until the list is there. */
  async load(link) {
    await this.page.goto(link);
    await this.online();
  }

  async online() {
    await this.page.waitForSelector("#connection[data-state=online]");
  }

  /** Opens the chat whose row has this text. */
  async open(tab, text) {
    await this.page.click(`[data-tab=${tab}]`);
    await this.page.locator(".row", { hasText: text }).first().click();
    await this.page.waitForSelector("#open:not([hidden])");
  }

  /** All rows of the transcript: `[class, text]`. */
  async rows() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("#transcript > li")].map((row) => [row.className, (row.querySelector(".body") ?? row).textContent.trim()]),
    );
  }

  /** Waits for a row of this class with this text. */
  async sees(className, text) {
    const fits = ([classes, words]) => classes.split(" ").includes(className) && (text instanceof RegExp ? text.test(words) : words === text);
    await until(`${className} ${text} on the agents' page`, async () => (await this.rows()).some(fits));
  }

  async takeOver() {
    await this.page.click("#take");
    await this.page.waitForSelector("#release:not([hidden])");
  }

  async handBack() {
    await this.page.click("#release");
    await this.page.waitForSelector("#take:not([hidden])");
  }

  async say(text) {
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }

  async note(text) {
    await this.page.check("#note");
    await this.say(text);
    await this.sees("note", text);
    await this.page.uncheck("#note");
  }
}
