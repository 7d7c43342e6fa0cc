// What a store must do. For whoever brings a store of their own: `check` fails with an error that says what it does not.

import type { Store } from "./store.js";

/** `open` opens the same store, empty at first; a store that forgets everything when it is closed passes `lasting: false`.
 * @throws Error: it is no store */
export async function check(open: () => Promise<Store>, { lasting = true } = {}): Promise<void> {
  let store = await open();
  const keys = async (from: string, to: string, options = {}) => (await store.scan(from, to, options)).map(([key]) => key);
  same(await store.get("a"), undefined, "nothing is there at first");
  same(await keys("", "~"), [], "nothing is there at first");

  const bytes = Uint8Array.of(0, 255);
  const value = { text: "ä", number: 2 ** 53 - 1, big: 2n ** 63n, bytes, list: [1, [2]], nothing: undefined };
  await store.commit([["b", value], ["a", 1], ["c", null], ["b/1", "x"], ["d", 4]]);
  same(await store.get("b"), value, "a value comes back as it was");
  same(await keys("", "~"), ["a", "b", "b/1", "c", "d"], "keys are in order");
  same(await keys("b", "c"), ["b", "b/1"], "the end of a scan is excluded");
  same(await keys("", "~", { limit: 2 }), ["a", "b"], "a scan has a limit");
  same(await keys("", "~", { reverse: true, limit: 2 }), ["d", "c"], "a scan may go backward");
  same(await keys("", "~", { reverse: true, limit: 1 }), ["d"], "a scan backward of one");
  same(await keys("", "~", { reverse: true, limit: 99 }), ["d", "c", "b/1", "b", "a"], "a scan backward of more than there are");
  same(await keys("x", "~", { reverse: true, limit: 3 }), [], "a scan backward of nothing");
  same(await keys("b", "d", { reverse: true }), ["c", "b/1", "b"], "a scan backward has the same bounds");
  same(await keys("", "~", { limit: 0 }), [], "a limit of nothing");
  same(await keys("c", "b"), [], "bounds in the wrong order hold nothing");

  await store.commit([["a", 2], ["a", 3], ["b", undefined], ["never", undefined]]);
  same(await store.get("a"), 3, "of two writes to a key the later one counts");
  same(await keys("", "~"), ["a", "b/1", "c", "d"], "what was removed is gone");

  await store.commit([["o", { inner: [1] }]]);
  const found = (await store.get("o")) as { inner: number[] };
  found.inner.push(2);
  same(await store.get("o"), { inner: [1] }, "who changes a value that was read does not change the store");
  const [row] = await store.scan("o", "p");
  (row?.[1] as { inner: number[] }).inner.push(3);
  same(await store.get("o"), { inner: [1] }, "the same of a scan");
  const given = { inner: [1] };
  await store.commit([["o", given]]);
  given.inner.push(2);
  same(await store.get("o"), { inner: [1] }, "who changes a value that was written does not change the store");

  let failed = false;
  await store.commit([["e", 1], ["f", () => undefined]]).catch(() => (failed = true));
  same([failed, await store.get("e")], [true, undefined], "of a commit that fails nothing is written");
  await store.commit([["g", 1]]);
  same(await store.get("g"), 1, "and the next one succeeds");

  await store.close();
  store = await open();
  same(await store.get("a"), lasting ? 3 : undefined, "what was committed outlives the store");
  same(await store.get("e"), undefined, "what was not does not come back");
  await store.close();
}

function same(found: unknown, wanted: unknown, what: string): void {
  const [a, b] = [text(found), text(wanted)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

function text(value: unknown): string {
  return JSON.stringify(value, (_, it: unknown) =>
    typeof it === "bigint" ? `${it}n`
    : it instanceof Uint8Array ? [...it]
    : it === undefined ? "undefined"
    : it,
  );
}
