// Runs the browser scenarios: the published widget in Chromium, a bot, and a real `stentor` process between them.
//
//   node tests/browser/run.mjs --stentor target/debug/stentor --peers target/peers [--only TEXT]… [--jobs N]
//
// With `--cluster` the program is a cluster with the flags of `stentor dev`, and scenarios about its members run too.
// `cargo xtask test --only browser` fetches the peers, builds the binary and calls this. Each scenario has its own
// server process, data folder, bot and browser profile. A failed one leaves a screenshot, the widget's rows, its frames
// and the server's log in the output folder.

import { mkdirSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { startChromium } from "./lib/chromium.mjs";
import { Stage } from "./lib/stage.mjs";

const here = import.meta.dirname;
const { values } = parseArgs({
  options: {
    stentor: { type: "string", default: join(here, "../../target/debug/stentor") },
    peers: { type: "string", default: join(here, "../../target/peers") },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    out: { type: "string", default: join(here, "../../target/browser") },
    only: { type: "string", multiple: true, default: [""] },
    cluster: { type: "boolean", default: false },
    jobs: { type: "string", default: String(Math.min(4, availableParallelism())) },
    list: { type: "boolean", default: false },
  },
});

/** Every scenario ends by itself long before this; it only bounds a hanging one. */
const SCENARIO_LIMIT_MS = 120_000;

const scenarios = [];
for (const file of readdirSync(join(here, "scenarios")).sort()) {
  const { default: group } = await import(`./scenarios/${file}`);
  const chosen = ({ name, cluster = false }) => (values.cluster || !cluster) && values.only.some((text) => name.includes(text));
  scenarios.push(...group.filter(chosen));
}
if (values.list) {
  for (const { name } of scenarios) console.log(name);
  process.exit(0);
}

const out = resolve(values.out);
mkdirSync(out, { recursive: true });
const peers = resolve(values.peers);
const chromium = await startChromium({ executablePath: values.chromium, peers });

let passed = 0;
let failed = 0;
const waiting = [...scenarios];
const began = Date.now();

async function work() {
  for (let scenario = waiting.shift(); scenario; scenario = waiting.shift()) {
    const stage = new Stage({ chromium, stentor: resolve(values.stentor), peers, out, name: scenario.name });
    const started = Date.now();
    try {
      await withLimit(scenario.run(stage));
      passed += 1;
      console.log(`ok      ${scenario.name} (${seconds(started)} s)`);
    } catch (error) {
      failed += 1;
      const evidence = await stage.evidence();
      console.log(`FAILED  ${scenario.name}: ${firstLine(error)}`);
      console.log(indent(`${error?.stack ?? error}\n${evidence}`));
    } finally {
      await stage.close();
    }
  }
}

async function withLimit(running) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still running after ${SCENARIO_LIMIT_MS / 1000} s`)), SCENARIO_LIMIT_MS);
  });
  try {
    return await Promise.race([running, limit]);
  } finally {
    clearTimeout(timer);
  }
}

const seconds = (since) => ((Date.now() - since) / 1000).toFixed(1);
const firstLine = (error) => String(error?.message ?? error).split("\n")[0];
const indent = (text) => text.replace(/^/gm, "        ");

await Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, work));
await chromium.close();
console.log(`browser: ${passed} passed, ${failed} failed (${seconds(began)} s)`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
