// A real `stentor dev` process that can be killed and started again on the same ports and data.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";

import { until } from "./wait.mjs";

export class Server {
  #child;
  #log;

  constructor({ binary, log, arguments: extra }) {
    this.binary = binary;
    this.extra = extra;
    this.#log = createWriteStream(log, { flags: "a" });
  }

  /** Chooses ports on the first start and keeps them afterwards, as the widget does. */
  async start() {
    this.listen ??= `127.0.0.1:${await freePort()}`;
    this.admin ??= `127.0.0.1:${await freePort()}`;
    const words = ["dev", "--listen", this.listen, "--admin-listen", this.admin, ...this.extra];
    const child = spawn(this.binary, words, { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.pipe(this.#log, { end: false });
    child.stderr.pipe(this.#log, { end: false });
    let failure;
    child.on("error", (error) => (failure = error.message));
    child.on("exit", (code, signal) => (failure ??= `stentor ended with ${signal ?? code}`));
    this.#child = child;
    await until("the server to be ready", async () => {
      if (failure) throw new Error(failure);
      return isReady(this.admin);
    });
  }

  get origin() {
    return `http://${this.listen}`;
  }

  /** kill -9: nothing gets the chance to tidy up. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** kill -9 for the one gateway of a cluster that has sockets. Returns its name. */
  async killGateway() {
    const { members } = JSON.parse(readFileSync(join(this.data, "cluster/members.json"), "utf8"));
    const gateways = Object.entries(members).filter(([name]) => name.startsWith("gateway-"));
    const busy = [];
    for (const [name, { admin, pid }] of gateways) {
      const page = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
      const open = [...page.matchAll(/^stentor_gateway_connections\S* (\d+)$/gm)].map(([, count]) => Number(count));
      assert.ok(open.length > 0, "the gateway does not say how many sockets it has");
      if (open.some((count) => count > 0)) busy.push({ name, pid });
    }
    assert.equal(busy.length, 1, `${JSON.stringify(busy)} of ${gateways.length} gateways have sockets`);
    assert.equal(gateways.length, 2);
    process.kill(busy[0].pid, "SIGKILL");
    return busy[0].name;
  }

  /** An orderly stop. */
  async stop() {
    await this.#end("SIGTERM");
  }

  async close() {
    await this.#end("SIGKILL");
    this.#log.end();
  }

  async #end(signal) {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}

async function isReady(admin) {
  try {
    const answer = await fetch(`http://${admin}/readyz`);
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}

export async function freePort() {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}
