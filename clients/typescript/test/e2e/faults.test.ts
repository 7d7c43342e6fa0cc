// The promises of the client under what goes wrong: nothing lost, nothing twice, nothing out of order.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { FileStore } from "../../src/node.js";
import { CuttingProxy } from "./proxy.js";
import { type Account, message, next, skip, text, until, withServer } from "./server.js";

const range = (count: number) => Array.from({ length: count }, (_, n) => String(n));

/** Always the same numbers. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function app(name: string, url: string, { user, device, password }: Account, path: string, ...rest: string[]): ChildProcess {
  const file = fileURLToPath(new URL(`${name}.js`, import.meta.url));
  const stdio = ["ignore", "pipe", "inherit"] as ["ignore", "pipe", "inherit"];
  return spawn(process.execPath, [file, url, user, device, password, path, ...rest], { stdio });
}

test("connections that are cut anywhere", { skip }, () =>
  withServer(async (server) => {
    const roll = dice(7);
    const proxies = [];
    for (let n = 0; n < 2; n++) proxies.push(await CuttingProxy.start(server.listeners.ws, () => 900 + roll(6_000)));
    const [alices, bobs] = [await server.addUser("alice"), await server.addUser("bob")];
    const alice = await server.open(alices, { url: proxies[0]!.url, longestWaitMs: 20 });
    const bob = await server.open(bobs, { url: proxies[1]!.url, longestWaitMs: 20 });
    const count = 300;
    for (const number of range(count)) {
      await alice.send("bob", number);
      await bob.send("alice", number);
    }
    for (const client of [alice, bob]) {
      const events = client.events();
      for (const number of range(count)) assert.equal(await message(events), number);
    }
    const id = (await alice.direct("bob")) as number;
    await (await alice.send(id, "end")).sent();
    await until(alice, async () => (await alice.pending(id)).length === 0);
    for (const client of [alice, bob]) {
      await until(client, async () => (await client.messages(id, { limit: 9_999 })).length === 2 * count + 1);
    }
    const seen = await Promise.all([alice, bob].map((client) => client.messages(id, { limit: 9_999 })));
    const order = seen.map((messages) => messages.map((it) => `${it.sequence} ${it.user} ${text(it.body)}`));
    assert.deepEqual(order[0], order[1], "both see the same order");
    assert.ok(proxies.every((proxy) => proxy.cuts > 5), String(proxies.map((proxy) => proxy.cuts)));
    for (const proxy of proxies) proxy.stop();
    await Promise.all([alice.close(), bob.close()]);
  }));

test("a server that is killed again and again", { skip }, () =>
  withServer(async (server) => {
    const alice = await server.open(await server.addUser("alice"), { longestWaitMs: 50 });
    const bob = await server.open(await server.addUser("bob"), { longestWaitMs: 50 });
    const events = bob.events();
    const count = 200;
    let last;
    for (const number of range(count)) {
      last = await alice.send("bob", number);
      if (Number(number) % 40 === 20) {
        await (await alice.send("bob", "")).sent();
        await alice.send("bob", "");
        await server.kill();
        await server.startAgain();
      }
    }
    await last?.delivered();
    const found: string[] = [];
    while (found.length < count) {
      const body = await message(events);
      if (body !== "") found.push(body);
    }
    assert.deepEqual(found, range(count));
    await Promise.all([alice.close(), bob.close()]);
  }));

test("apps that are killed while they send and receive", { skip }, () =>
  withServer(async (server) => {
    const roll = dice(3);
    const [alices, bobs] = [await server.addUser("alice"), await server.addUser("bob")];
    const count = 250;
    const seen: string[] = [];
    let done = false;
    const receive = async () => {
      for (let kills = 0; !done; kills++) {
        const child = app("receiver", server.url, bobs, join(server.data, "bob.store"));
        let left = kills < 8 ? 20 + roll(40) : Number.POSITIVE_INFINITY;
        for await (const line of createInterface({ input: child.stdout! })) {
          seen.push(line);
          done ||= line.endsWith(" end");
          if (--left === 0 || done) child.kill("SIGKILL");
        }
      }
    };
    const send = async () => {
      let stored = -1;
      for (let kills = 0; stored < count - 1; kills++) {
        process.env.FIRST = String(Math.max(0, stored));
        const child = app("sender", server.url, alices, join(server.data, "alice.store"), String(count));
        let left = kills < 6 ? 10 + roll(50) : Number.POSITIVE_INFINITY;
        const ended = once(child, "exit");
        for await (const line of createInterface({ input: child.stdout! })) {
          stored = Math.max(stored, Number(line));
          if (--left === 0) child.kill("SIGKILL");
        }
        const [code] = (await ended) as [number | null];
        if (code === 0) return;
      }
      await once(app("sender", server.url, alices, join(server.data, "alice.store"), "0"), "exit");
    };
    await Promise.all([receive(), send()]);
    // What was printed and not confirmed comes again, under the same number.
    const once_ = [...new Map(seen.map((line) => [line.split(" ")[0], line.split(" ")[1]])).values()];
    assert.deepEqual(once_, [...range(count), "end"]);
  }));

test("a server that was restored from a backup", { skip }, () =>
  withServer(async (server) => {
    const account = await server.addUser("alice");
    const bobs = await server.addUser("bob");
    const path = join(server.data, "alice.store");
    let alice = await server.open(account, { store: await FileStore.open(path) });
    await (await alice.send("bob", "before")).sent();
    await alice.close();
    await server.stop();
    const backup = await server.backup();
    await server.startAgain();
    alice = await server.open(account, { store: await FileStore.open(path) });
    const group = await alice.groups.create("hikers", ["bob"]);
    await (await alice.send(group, "forgotten")).sent();
    await alice.close();
    await server.stop();
    // Written without a connection.
    alice = await server.open(account, { store: await FileStore.open(path) });
    const unsent = (await alice.send(group, "for bob only")).id;
    const byName = (await alice.send("bob", "by name")).id;
    await alice.close();
    await server.restore(backup);
    await server.startAgain();
    alice = await server.open(account, { store: await FileStore.open(path) });
    await assert.rejects((await alice.follow(unsent))?.sent() as Promise<void>, /restored from a backup/);
    await (await alice.follow(byName))?.sent();
    const events = alice.events();
    for (;;) {
      const event = await next(events);
      if (event.kind !== "server-restored") continue;
      assert.deepEqual(event.lost, [group]);
      break;
    }
    assert.deepEqual((await alice.messages(group)).map((it) => text(it.body)), ["forgotten"], "what was written stays");
    const bob = await server.open(bobs);
    const found = bob.events();
    assert.deepEqual([await message(found), await message(found)], ["before", "by name"]);
    await Promise.all([alice.close(), bob.close()]);
  }));

test("another server under the same address", { skip }, () =>
  withServer(async (server) => {
    const account = await server.addUser("alice");
    const path = join(server.data, "alice.store");
    let alice = await server.open(account, { store: await FileStore.open(path) });
    await until(alice, () => alice.status.kind === "online");
    await alice.close();
    await withServer(async (other) => {
      const there = await other.addUser("alice");
      await other.addUser("bob");
      alice = await other.open(there, { store: await FileStore.open(path) });
      await alice.send("bob", "not for this one");
      await until(alice, () => alice.status.kind === "offline" && alice.status.cause.kind === "other-server");
      await alice.close();
    });
  }));
