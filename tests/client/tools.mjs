// What the tests of the client need: a real router process, a proxy that breaks connections, waiting.
// Nothing here sleeps to let something happen.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PROGRAM = resolve(process.env.ROUTER_PROGRAM ?? join(import.meta.dirname, "../../target/debug/stentor"));
const PATIENCE_MS = 30_000;
// Node has no page. Its requests come from one of somebody else on this machine, which every router here lets
// in, however many of them a test starts.
globalThis[Symbol.for("undici.globalOrigin.1")] = new URL("http://localhost:1");

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

/** An app whose visitors may come and speak as often as a test wants, and whom no bot answers. */
const PATIENT_APP = `apiVersion: stentor.dev/v1alpha1
kind: ChatApp
metadata: { name: demo }
spec: { auth: { keys: [{ kid: demo, algorithm: HS256, file: demo.key }] }, limits: { messagesPerSecond: 1000, burst: 10000 } }
`;

/** `stentor dev` with its echo bot, on a folder that outlives kills. */
export class Router {
  #child;
  #admin;
  #flags = [];

  /** `patient`: with an app that lets its visitors come as often as they want. */
  static async start({ patient = false } = {}) {
    const router = new Router();
    router.folder = mkdtempSync(join(tmpdir(), "stentor-client-"));
    router.data = join(router.folder, "data");
    if (patient) {
      const apps = join(router.folder, "apps");
      mkdirSync(apps);
      writeFileSync(join(apps, "demo.yaml"), PATIENT_APP);
      writeFileSync(join(apps, "demo.key"), "k".repeat(64));
      router.key = join(apps, "demo.key");
      router.#flags = ["--apps", apps];
    }
    router.port = await freePort();
    router.#admin = await freePort();
    await router.start();
    return router;
  }

  async start() {
    const addresses = ["--listen", `127.0.0.1:${this.port}`, "--admin-listen", `127.0.0.1:${this.#admin}`];
    this.#child = spawn(PROGRAM, ["dev", ...addresses, "--data", this.data, ...this.#flags], { stdio: "ignore" });
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
    rmSync(this.folder, { recursive: true });
  }

  async token(role, subject) {
    const flags = ["--app", "demo", "--kid", "demo", "--role", role, "--subject", subject, "--name", subject];
    const child = spawn(PROGRAM, ["token", "mint", ...flags, "--key-file", this.key ?? join(this.data, "demo.key")]);
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
  /** Bytes to the client, besides the head of a WebSocket, after which a connection is cut; new for each connection. */
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
    far.once("data", (bytes) => {
      // The head of a socket comes whole: that of Node 20 never tells of half a one.
      if (bytes.includes("HTTP/1.1 101 ")) left += bytes.indexOf("\r\n\r\n") + 4;
    });
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
