// Starts the machine's own Chromium. Never downloads one.

import { createRequire } from "node:module";
import { join } from "node:path";

/** Headless, and silent towards the outside: no updates, no sync, no look-ups of its own. */
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

/** The driver lives with the fetched peers, not beside this file. */
export async function startChromium({ executablePath, peers }) {
  const { chromium } = createRequire(join(peers, "browser", "package.json"))("playwright-core");
  return chromium.launch({ executablePath, args: FLAGS });
}
