// What the tests of the client need: a real router process, a proxy that breaks connections, waiting.
// Nothing here sleeps to let something happen.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PROGRAM = resolve(process.env.ROUTER_PROGRAM ?? join(import.meta.dirname, "../../target/debug/stentor"));
const PATIENCE_MS = 30_000;

/** Waits until `look` returns something; asks again whenever the event loop turns. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never came: ${what}`);
    await new Promise((turn) => setTimeout(turn, 5));
  }
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** `stentor dev` with its echo bot, on a folder that outlives kills. */
export class Router {
  #child;
  #admin;

  static async start() {
    const router = new Router();
    router.data = mkdtempSync(join(tmpdir(), "stentor-client-"));
    router.port = await freePort();
    router.#admin = await freePort();
    await router.start();
    return router;
  }

  async start() {
    const addresses = ["--listen", `127.0.0.1:${this.port}`, "--admin-listen", `127.0.0.1:${this.#admin}`];
    this.#child = spawn(PROGRAM, ["dev", ...addresses, "--data", this.data], { stdio: "ignore" });
    const ready = () => fetch(`http://127.0.0.1:${this.#admin}/readyz`).then(({ ok }) => ok, () => false);
    await until("a ready router", ready);
  }

  /** As if everything had been lost. */
  async startAnew() {
    rmSync(this.data, { recursive: true });
    await this.start();
  }

  async kill() {
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  async stop() {
    await this.kill();
    rmSync(this.data, { recursive: true });
  }

  async token(role, subject) {
    const flags = ["--app", "demo", "--kid", "demo", "--role", role, "--subject", subject, "--name", subject];
    const child = spawn(PROGRAM, ["token", "mint", ...flags, "--key-file", join(this.data, "demo.key")]);
    let text = "";
    child.stdout.on("data", (data) => (text += data));
    await once(child, "close");
    return text.trim();
  }
}

/** Passes bytes on until it is told to cut, or to let nothing through. */
export class Proxy {
  #sockets = new Set();
  #server;
  #target;
  paused = false;
  /** Bytes to the client after which a connection is cut; new for each connection. */
  cutAfter = () => Infinity;

  static async start(target) {
    const proxy = new Proxy();
    proxy.#target = target;
    proxy.#server = createServer((near) => proxy.#pass(near)).listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.port = proxy.#server.address().port;
    return proxy;
  }

  #pass(near) {
    const far = createConnection(this.#target, "127.0.0.1");
    let left = this.cutAfter();
    const end = () => {
      near.destroy();
      far.destroy();
      this.#sockets.delete(near);
    };
    this.#sockets.add(near);
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
    near.on("data", (bytes) => this.paused || far.write(bytes));
    far.on("data", (bytes) => {
      if (this.paused) return;
      if (bytes.length < left) {
        left -= bytes.length;
        return near.write(bytes);
      }
      near.write(bytes.subarray(0, left), end);
    });
  }

  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop() {
    this.cut();
    this.#server.close();
  }
}

/** A generator of random numbers that can be repeated. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
