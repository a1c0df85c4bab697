// Waiting for something to become true, and saying what was there instead when it does not.

import assert from "node:assert/strict";

const STEP_MS = 50;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks `probe` until it returns something truthy, and returns that. `what` says what was awaited; `seen`, if given,
 * describes what is there now. Time limits are generous: they bound a failure, they assert no speed.
 */
export async function until(what, probe, { within = 20_000, seen } = {}) {
  const deadline = Date.now() + within;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > deadline) {
      const now = seen ? `\nthere is: ${JSON.stringify(await seen(), null, 1)}` : "";
      assert.fail(`waited ${within / 1000} s for ${what}${now}`);
    }
    await pause(STEP_MS);
  }
}

/** Checks that something stays as it is while a defect would have time to show. */
export async function stays(what, probe, { during }) {
  const deadline = Date.now() + during;
  while (Date.now() < deadline) {
    assert.ok(await probe(), `${what} did not stay so`);
    await pause(STEP_MS * 4);
  }
}
