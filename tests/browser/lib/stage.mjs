// What one scenario plays on: its server, bots and browser pages, and the evidence when it fails.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Desk } from "./desk.mjs";
import { RealBot } from "./real-bot.mjs";
import { Server } from "./server.mjs";
import { StubBot } from "../stub-bot.mjs";
import { Widget } from "./widget.mjs";

export class Stage {
  #closing = [];
  #widgets = [];
  #folder;

  constructor({ chromium, stentor, peers, out, name }) {
    this.chromium = chromium;
    this.stentor = stentor;
    this.peers = peers;
    this.#folder = join(out, name.replace(/[^a-z0-9]+/gi, "-"));
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder, { recursive: true });
  }

  /** The bot on the real SDK, with a server in front of it. */
  async withRealBot() {
    const bot = new RealBot();
    await bot.start(this.peers);
    this.#closing.push(() => bot.close());
    return { bot, server: await this.#server(bot.url) };
  }

  /** The bot that does what it is told, with a server in front of it. */
  async withStubBot({ widget = true } = {}) {
    const bot = new StubBot();
    await bot.start();
    this.#closing.push(() => bot.close());
    return { bot, server: await this.#server(bot.url, widget) };
  }

  /**
   * A page with the widget, in a browser profile of its own unless `beside` names a widget whose profile it shares (a
   * second tab). See `Widget.load` for the other options.
   */
  async widget(server, { beside, ...options } = {}) {
    const context = beside?.page.context() ?? (await this.chromium.newContext({ viewport: { width: 900, height: 800 } }));
    if (!beside) this.#closing.push(() => context.close());
    const widget = new Widget(await context.newPage());
    this.#widgets.push(widget);
    await widget.load(server.origin, options);
    return widget;
  }

  /** The demo page, without the published widget. */
  async page(server) {
    const context = await this.chromium.newContext({ viewport: { width: 1100, height: 800 } });
    this.#closing.push(() => context.close());
    const page = await context.newPage();
    await page.goto(server.origin);
    return page;
  }

  /** The agents' page, logged in by a link of its own. */
  async desk(server, subject) {
    const context = await this.chromium.newContext({ viewport: { width: 1100, height: 800 } });
    this.#closing.push(() => context.close());
    const desk = new Desk(await context.newPage());
    this.#widgets.push(desk);
    await desk.load(this.loginLink(server, subject));
    return desk;
  }

  /** The published widget on the page for agents, logged in by a link of its own. */
  async agentWidget(server, subject, sid) {
    const context = await this.chromium.newContext({ viewport: { width: 900, height: 800 } });
    this.#closing.push(() => context.close());
    const page = await context.newPage();
    await page.goto(this.loginLink(server, subject));
    await page.waitForSelector("#connection[data-state=online]");
    const widget = new Widget(page);
    this.#widgets.push(widget);
    await page.goto(`${server.origin}/agents/widget/?isAdmin=true&sessionId=${sid}`);
    await widget.open();
    return widget;
  }

  /** A link by which somebody logs in once. */
  loginLink(server, subject) {
    const who = ["--role", "agent", "--subject", subject.toLowerCase(), "--name", subject];
    const key = ["--app", "demo", "--kid", "demo", "--key-file", join(server.data, "demo.key")];
    return execFileSync(this.stentor, ["token", "mint", ...who, ...key, "--link", server.origin], { encoding: "utf8" }).trim();
  }

  /** Screenshots and rows of all pages; returns the words for the report. */
  async evidence() {
    const words = [];
    for (const [index, widget] of this.#widgets.entries()) {
      const path = join(this.#folder, `page-${index + 1}.png`);
      try {
        await widget.page.screenshot({ path, timeout: 5000 });
        words.push(`screenshot: ${path}`);
        words.push(`rows: ${JSON.stringify(await widget.rows(), null, 1)}`);
      } catch (error) {
        words.push(`page ${index + 1} could not be looked at: ${error.message.split("\n")[0]}`);
      }
      writeFileSync(join(this.#folder, `page-${index + 1}-frames.json`), JSON.stringify(widget.sockets ?? [], null, 1));
      if (widget.errors.length > 0) words.push(`page errors: ${widget.errors.slice(0, 5).join(" | ")}`);
    }
    words.push(`server log and frames: ${this.#folder}`);
    return words.join("\n");
  }

  async close() {
    for (const close of this.#closing.reverse()) {
      await Promise.resolve(close()).catch(() => {});
    }
  }

  async #server(bot, widget = true) {
    const data = mkdtempSync(join(this.#folder, "data-"));
    const server = new Server({
      binary: this.stentor,
      log: join(this.#folder, "server.log"),
      arguments: ["--data", data, "--bot", bot, ...(widget ? ["--widget-dir", join(this.peers, "widget")] : [])],
    });
    server.data = data;
    this.#closing.push(() => server.close());
    await server.start();
    return server;
  }
}
