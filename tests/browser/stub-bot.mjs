// A bot that does what a test tells it to: answer, hold an answer back, fail, or send what no bot should.
//
// In a test: `const bot = new StubBot(); await bot.start(); bot.answer = (request) => ({ body: … });`
// By hand:   node tests/browser/stub-bot.mjs [PORT]     then POST http://127.0.0.1:PORT/bot

import { createServer } from "node:http";
import { once } from "node:events";
import { pathToFileURL } from "node:url";

import { until } from "./lib/wait.mjs";

/** The usual answer: a greeting, or an echo of what was said or chosen. */
export function echo(request) {
  if (request.type === "LAUNCH_REQUEST") return { body: { outputSpeech: { displayText: "Hello from the stub." } } };
  const said = request.rawQuery ?? request.token ?? request.type;
  return { body: { outputSpeech: { displayText: `echo: ${said}` } } };
}

export class StubBot {
  /** Every request as it came, with its headers: `{ body, headers }`. */
  requests = [];
  /** What to answer: `{ status = 200, type = "application/json", body }`; an object as body is sent as JSON. */
  answer = echo;

  #server = createServer((request, response) => this.#handle(request, response));
  #gate = Promise.resolve();
  #open = () => {};

  async start(port = 0) {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${this.#server.address().port}/bot`;
  }

  /** From now on requests are noted but not answered, until `release`. */
  hold() {
    this.#gate = new Promise((resolve) => (this.#open = resolve));
  }

  release() {
    this.#open();
    this.#gate = Promise.resolve();
  }

  /** Requests with this text. */
  asked(text) {
    return this.requests.filter(({ body }) => body.rawQuery === text);
  }

  /** Waits until a request with this text has come `times` times. */
  async untilAsked(text, times = 1, options = {}) {
    await until(`the bot to be asked ${JSON.stringify(text.slice(0, 60))} ${times} times`, () => this.asked(text).length >= times, {
      seen: () => this.requests.map(({ body }) => body.rawQuery?.slice(0, 60) ?? body.type),
      ...options,
    });
  }

  async close() {
    this.release();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #handle(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    let body;
    try {
      body = JSON.parse(Buffer.concat(chunks).toString());
    } catch {
      response.writeHead(400).end("not JSON");
      return;
    }
    this.requests.push({ body, headers: request.headers });
    await this.#gate;
    const { status = 200, type = "application/json", body: answer } = await this.answer(body, this.requests.length);
    response.writeHead(status, { "content-type": type });
    response.end(typeof answer === "string" ? answer : JSON.stringify(answer));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const bot = new StubBot();
  await bot.start(Number(process.argv[2] ?? 9099));
  console.log(`listening ${bot.url}`);
}
