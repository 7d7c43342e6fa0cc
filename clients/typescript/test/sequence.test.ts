// The same cases as in the Rust library (`client-sdk/src/ledger/sequence.rs`).

import assert from "node:assert/strict";
import test from "node:test";

import type { UnplacedSend } from "../src/ledger/record.js";
import { SequenceTracker } from "../src/ledger/sequence.js";

function after(...places: number[]): SequenceTracker {
  const tracker = new SequenceTracker();
  for (const place of places) assert.ok(tracker.receive(place), `${place} is new`);
  return tracker;
}

const send = (id: number, above: number, below: number): UnplacedSend => ({ id, above, below });
const NOTHING = { placed: [], missing: [] };

test("everything once", () => {
  const tracker = after(5, 6, 8);
  assert.deepEqual([tracker.next, tracker.lastReceived], [7, 8]);
  for (const again of [5, 6, 8, 4]) assert.ok(!tracker.receive(again), `${again}`);
  tracker.own(7);
  assert.deepEqual([tracker.next, tracker.record().seen], [9, []]);
});

test("an own message before the first received one begins nothing", () => {
  const tracker = new SequenceTracker();
  tracker.own(9);
  assert.deepEqual(tracker.settle([], false), NOTHING);
  tracker.receive(7);
  assert.deepEqual(tracker.settle([], false), NOTHING, "8 may come");
  tracker.receive(8);
  assert.equal(tracker.next, 10);
});

test("a gap is reported once and what comes late is new", () => {
  const tracker = after(1, 5);
  assert.deepEqual(tracker.settle([], true), NOTHING, "it may be a send's place");
  assert.deepEqual(tracker.settle([], false).missing, [[2, 4]]);
  assert.deepEqual(tracker.settle([], false), NOTHING);
  assert.ok(tracker.receive(3), "it was too large for the last connection");
  assert.ok(!tracker.receive(3));
  assert.deepEqual([tracker.missing, tracker.next], [[[2, 2], [4, 4]], 6]);
});

test("after a leap nothing is missing and what comes late is new", () => {
  const far = 2 ** 40;
  const tracker = after(1, 2, 5);
  tracker.leap(far);
  assert.deepEqual(tracker.settle([], false), NOTHING);
  assert.ok(tracker.receive(far + 1));
  assert.deepEqual(tracker.settle([], false), NOTHING);
  assert.ok(tracker.receive(3), "it was in the inbox that was brought back");
  for (const again of [1, 2, 3, 5, far + 1]) assert.ok(!tracker.receive(again), `${again}`);
  tracker.leap(far);
  assert.ok(tracker.receive(far + 2), "the same leap once more");
  const fresh = new SequenceTracker();
  fresh.leap(far);
  assert.deepEqual(fresh.record(), new SequenceTracker().record(), "nobody knows where its part begins");
});

test("sends in doubt take the holes before the next known one", () => {
  const tracker = after(1, 2, 4);
  tracker.own(6);
  const unplaced = [send(10, 0, 6), send(11, 0, 6)];
  assert.deepEqual(tracker.settle(unplaced, true).placed, [{ id: 10, place: 3 }, { id: 11, place: 5 }]);
  assert.deepEqual([tracker.next, unplaced], [7, []]);
});

test("with more holes than sends others' messages may still come", () => {
  const tracker = after(1);
  tracker.own(5);
  const unplaced = [send(10, 0, 5)];
  assert.deepEqual(tracker.settle(unplaced, false), NOTHING);
  tracker.receive(2);
  assert.deepEqual(tracker.settle(unplaced, false), NOTHING);
  tracker.receive(4);
  assert.deepEqual(tracker.settle(unplaced, false).placed, [{ id: 10, place: 3 }]);
});

test("when the inbox is past the rest is missing", () => {
  const tracker = after(1);
  tracker.own(5);
  tracker.receive(6);
  const settled = tracker.settle([send(10, 0, 5)], false);
  assert.deepEqual(settled, { placed: [{ id: 10, place: 4 }], missing: [[2, 3]] });
  assert.equal(tracker.next, 7);
});

test("without any known place holes are taken as they appear", () => {
  const tracker = after(1);
  const unplaced = [send(10, 0, 0), send(11, 0, 0)];
  assert.deepEqual(tracker.settle(unplaced, false), NOTHING);
  tracker.receive(3);
  assert.deepEqual(tracker.settle(unplaced, false).placed, [{ id: 10, place: 2 }]);
  assert.deepEqual(unplaced, [send(11, 0, 0)]);
  tracker.receive(5);
  assert.deepEqual(tracker.settle(unplaced, false).placed, [{ id: 11, place: 4 }]);
});

test("each doubt stays between its neighbours", () => {
  const tracker = after(1, 3, 5);
  tracker.own(4);
  tracker.own(7);
  const settled = tracker.settle([send(10, 0, 4), send(12, 4, 7)], true);
  assert.deepEqual(settled.placed, [{ id: 10, place: 2 }, { id: 12, place: 6 }]);
});
