import "fake-indexeddb/auto";

import assert from "node:assert/strict";
import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { IndexedDbStore, MemoryStore } from "../src/index.js";
import { FileStore } from "../src/node.js";
import { check } from "../src/store/conformance.js";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "godwit-store-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("the store in memory is a store", () => check(async () => new MemoryStore(), { lasting: false }));

test("the store in IndexedDB is a store", () => check(() => IndexedDbStore.open("conformance")));

test("the store in a file is a store", () => inFolder((folder) => check(() => FileStore.open(join(folder, "store")))));

test("a journal that is cut off anywhere has every commit before", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    const ends: number[] = [];
    const store = await FileStore.open(path);
    for (let n = 0; n < 5; n++) {
      await store.commit([[`key ${n}`, n], ["last", n]]);
      ends.push((await stat(path)).size);
    }
    await store.close();
    const whole = await readFile(path);
    for (let size = whole.length; size >= 0; size--) {
      await writeFile(path, whole);
      await truncate(path, size);
      const cut = await FileStore.open(path);
      const wanted = ends.filter((end) => end <= size).length;
      assert.equal((await cut.scan("key", "key~")).length, wanted, `${size} bytes`);
      assert.equal(await cut.get("last"), wanted > 0 ? wanted - 1 : undefined);
      await cut.commit([["later", true]]);
      await cut.close();
      const again = await FileStore.open(path);
      assert.equal(await again.get("later"), true);
      await again.close();
    }
  }));

test("what a disk has made of the end of a journal is not read", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    const store = await FileStore.open(path);
    await store.commit([["a", 1]]);
    await store.close();
    await appendFile(path, Buffer.alloc(4_096));
    const damaged = await FileStore.open(path);
    assert.equal(await damaged.get("a"), 1);
    await damaged.close();
    await writeFile(path, "something else, of somebody else");
    await assert.rejects(FileStore.open(path), /no store of this library/);
    assert.equal(await readFile(path, "utf8"), "something else, of somebody else");
  }));

test("a journal that says little is written anew", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    let store = await FileStore.open(path);
    const value = "x".repeat(10_000);
    for (let n = 0; n < 400; n++) await store.commit([[`key ${n % 7}`, value + n]]);
    assert.ok((await stat(path)).size < 2_000_000, "4 MB were written");
    await store.close();
    store = await FileStore.open(path);
    assert.equal(await store.get("key 0"), `${value}399`);
    assert.equal((await store.scan("key", "key~")).length, 7);
    await store.close();
  }));

test("a file is open once", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    const store = await FileStore.open(path);
    await assert.rejects(FileStore.open(path), /open already/);
    await store.close();
    // Of a process that is gone.
    await writeFile(`${path}.lock`, "999999999 1");
    await (await FileStore.open(path)).close();
    await writeFile(`${path}.lock`, `${process.pid} 1`);
    await (await FileStore.open(path)).close();
  }));
