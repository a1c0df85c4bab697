// The bot on the real Stentor SDK (tests/peers/bot), as a process of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";

export class RealBot {
  #child;

  /** Starts it on a free port; it names its own URL. */
  async start(peers) {
    const child = spawn(process.execPath, ["server.js", "0"], {
      cwd: join(peers, "bot"),
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#child = child;
    const lines = createInterface({ input: child.stdout });
    for await (const line of lines) {
      const url = /^listening (http\S+)$/.exec(line)?.[1];
      if (url) {
        this.url = url;
        child.stdout.resume();
        return;
      }
    }
    throw new Error("the real bot ended before it listened; run it by hand: node target/peers/bot/server.js");
  }

  async close() {
    if (!this.#child || this.#child.exitCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}
