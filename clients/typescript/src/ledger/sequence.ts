// Which places of a conversation are accounted for: as received, as sent by this device, or as missing. Pure; the ledger keeps
// one for each conversation. It is why an app sees nothing twice and is told of every gap.
//
// An inbox is handed out in order, so a place below the last received one that did not come will not come, with two
// exceptions: it is a message of this device, which gets no copy; or it was too large, and then may come later. Where a message
// of this device stands is in its PUBACK, but not in the PUBACK of each retry: such a send is *unplaced*, and gets its place
// from the holes that are left. The Rust library has the same rules (`client-sdk/src/ledger/sequence.rs`).

import type { OrderRecord, UnplacedSend } from "./record.js";

type Run = [first: number, last: number];

/** What `settle` found out. */
export interface Settled {
  /** Sends with their places. */
  placed: { id: number; place: number }[];
  /** Places that hold something that did not come. */
  missing: Run[];
}

export class SequenceTracker {
  /** Everything below is accounted for; 0: nothing was received yet, so nobody knows where this device's part begins. */
  next: number;
  /** Accounted for, at or above `next`; ascending. */
  private seen: number[];
  /** Below `next`, reported as missing. */
  missing: Run[];
  /** The highest place that came from the inbox. */
  lastReceived: number;

  constructor(record: OrderRecord = { next: 0, seen: [], missing: [], lastReceived: 0 }) {
    this.next = record.next;
    this.seen = [...record.seen];
    this.missing = record.missing.map(([first, last]) => [first, last]);
    this.lastReceived = record.lastReceived;
  }

  record(): OrderRecord {
    return { next: this.next, seen: this.seen, missing: this.missing, lastReceived: this.lastReceived };
  }

  /** Something came from the inbox. Returns whether it is new. */
  receive(place: number): boolean {
    if (this.next === 0) {
      this.next = place;
      this.seen = this.seen.filter((seen) => seen >= place);
    }
    this.lastReceived = Math.max(this.lastReceived, place);
    return this.take(place);
  }

  /** A message of this device stands here. */
  own(place: number): void {
    this.take(place);
  }

  /** The server was restored, and gives places above this one. What did not come below it may come yet, or was forgotten. */
  leap(above: number): void {
    if (this.next === 0 || this.next > above) return;
    let from = this.next;
    for (const seen of this.seen) {
      if (seen > above) break;
      if (from < seen) this.missing.push([from, seen - 1]);
      from = seen + 1;
    }
    if (from <= above) this.missing.push([from, above]);
    this.next = above + 1;
    this.seen = this.seen.filter((seen) => seen > above);
    this.advance();
  }

  private take(place: number): boolean {
    if (place < this.next) return this.takeMissing(place);
    const at = this.seen.findIndex((seen) => seen >= place);
    if (at >= 0 && this.seen[at] === place) return false;
    this.seen.splice(at < 0 ? this.seen.length : at, 0, place);
    this.advance();
    return true;
  }

  private advance(): void {
    let taken = 0;
    while (this.next > 0 && this.seen[taken] === this.next) {
      taken += 1;
      this.next += 1;
    }
    this.seen.splice(0, taken);
  }

  private takeMissing(place: number): boolean {
    const at = this.missing.findIndex(([first, last]) => first <= place && place <= last);
    const run = this.missing[at];
    if (!run) return false;
    const left: Run[] = [[run[0], place - 1], [place + 1, run[1]]];
    this.missing.splice(at, 1, ...left.filter(([first, last]) => first <= last));
    return true;
  }

  /** What is not accounted for, between `above` and `below`, both excluded. */
  private holes(above: number, below: number): Run[] {
    if (this.next === 0) return [];
    const holes: Run[] = [];
    let from = this.next;
    for (const seen of this.seen) {
      if (from < seen) holes.push([Math.max(from, above + 1), Math.min(seen - 1, below - 1)]);
      from = seen + 1;
    }
    return holes.filter(([first, last]) => first <= last);
  }

  /** Finds places for `unplaced` (oldest first; those that found one are removed), and what is missing. `waiting`: sends to
   * this conversation have not been answered, so a hole may be theirs. */
  settle(unplaced: UnplacedSend[], waiting: boolean): Settled {
    const settled: Settled = { placed: [], missing: [] };
    const left: UnplacedSend[] = [];
    for (const group of neighbours(unplaced)) {
      const { above, below } = group[0] as UnplacedSend;
      const limit = below === 0 ? this.lastReceived : below;
      const holes = this.holes(above, limit);
      const count = holes.reduce((sum, [first, last]) => sum + last - first + 1, 0);
      // As many holes as sends: they are theirs. More: others' messages may still come, unless the inbox is past.
      const past = !waiting && this.lastReceived >= limit;
      const enough = past || (below === 0 ? count <= group.length : count === group.length);
      if (!enough || count === 0) {
        left.push(...group);
        continue;
      }
      const places = lastPlaces(holes, group.length);
      group.forEach((send, at) => {
        const place = places[at];
        if (place === undefined) left.push(send);
        else settled.placed.push({ id: send.id, place });
      });
    }
    unplaced.splice(0, unplaced.length, ...left);
    for (const { place } of settled.placed) this.own(place);
    if (unplaced.length === 0 && !waiting) settled.missing = this.close();
    return settled;
  }

  /** Gives up what did not come. */
  private close(): Run[] {
    const holes = this.holes(0, this.lastReceived);
    const last = holes.at(-1)?.[1];
    if (last !== undefined) {
      this.missing.push(...holes);
      this.next = last + 1;
      this.seen = this.seen.filter((seen) => seen > last);
      this.advance();
    }
    return holes.map(([first, end]) => [first, end]);
  }
}

/** Sends between the same two places. */
function neighbours(unplaced: readonly UnplacedSend[]): UnplacedSend[][] {
  const groups: UnplacedSend[][] = [];
  for (const send of unplaced) {
    const last = groups.at(-1);
    if (last?.[0] && last[0].above === send.above && last[0].below === send.below) last.push(send);
    else groups.push([send]);
  }
  return groups;
}

/** The last `count` places of these runs, ascending. */
function lastPlaces(runs: readonly Run[], count: number): number[] {
  const places: number[] = [];
  for (const [first, last] of [...runs].reverse()) {
    for (let place = last; place >= first && places.length < count; place--) places.push(place);
  }
  return places.reverse();
}
