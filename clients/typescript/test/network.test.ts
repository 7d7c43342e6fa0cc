import assert from "node:assert/strict";
import test from "node:test";

import { Passwords } from "../src/engine/passwords.js";
import { Backoff } from "../src/network/backoff.js";
import { KeepAlive } from "../src/network/keepalive.js";
import { retryAfterMs } from "../src/reason.js";

test("waits grow up to the longest, with full jitter, and begin anew after a success", () => {
  const most = new Backoff(8_000, () => 1);
  assert.deepEqual(Array.from({ length: 6 }, () => most.next()), [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
  most.reset();
  assert.equal(most.next(), 500);
  assert.equal(new Backoff(8_000, () => 0).next(), 0);
  for (const chance of [0, 0.5, 1]) {
    const it = new Backoff(60_000, () => chance);
    assert.ok(it.long() >= 30_000 && it.long() <= 60_000);
    assert.ok(it.busy() >= 4_000 && it.busy() <= 20_000);
    assert.ok(it.told(3_000) >= 2_000 && it.told(3_000) <= 3_000);
  }
  assert.equal(retryAfterMs("busy: try again in 7 s"), 7_000);
  assert.equal(retryAfterMs("try again in a while"), undefined);
});

/** The interval on a path that forgets connections after so much silence, and how many were lost while learning it. */
function learned(forgetsMs: number): [interval: number, broken: number] {
  const it = new KeepAlive(60_000, 900_000);
  let broken = 0;
  for (let n = 0; n < 200; n++) {
    const { interval } = it;
    if (interval < forgetsMs) it.answered();
    else {
      it.broke(interval);
      broken += 1;
    }
  }
  return [it.interval, broken];
}

test("the interval between pings finds what the path allows", () => {
  assert.deepEqual(learned(3_600_000), [900_000, 0]);
  const [interval, broken] = learned(300_000);
  assert.ok(interval < 300_000 && interval > 150_000 && broken <= 2, `${interval} ${broken}`);
  assert.ok(learned(40_000)[0] < 40_000);
});

test("only a break in silence shortens the interval", () => {
  const it = new KeepAlive(60_000, 900_000);
  for (let n = 0; n < 30; n++) it.answered();
  const grown = it.interval;
  it.broke(2_000);
  assert.equal(it.interval, grown);
  it.broke(grown);
  assert.ok(it.interval < grown);
  it.reset();
  assert.equal(it.interval, 60_000);
});

test("each password is tried until one is taken", () => {
  const it = new Passwords(["new", "old", "new"]);
  assert.equal(it.current, "new");
  assert.ok(it.refused());
  assert.equal(it.current, "old");
  assert.ok(!it.refused());
  assert.equal(it.current, "new", "from the first");
  assert.ok(it.refused());
  assert.equal(it.accepted(), "old");
  assert.ok(it.accepted() === undefined && !it.refused());
  it.renewed("newest");
  assert.equal(it.current, "newest");
  assert.ok(it.refused());
  assert.equal(it.current, "old");
});
