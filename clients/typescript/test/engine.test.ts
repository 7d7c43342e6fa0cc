import assert from "node:assert/strict";
import test from "node:test";

import { type Client, type Event, type Events, GodwitError, MemoryStore, type Store, type Write, connect } from "../src/index.js";
import { FakeServer } from "./fake_server.js";

const text = (body: Uint8Array) => new TextDecoder().decode(body);

/** A server with Alice's and Bob's phones. */
async function withServer(work: (server: FakeServer) => Promise<void>): Promise<void> {
  const server = await FakeServer.start();
  for (const user of ["alice", "bob"]) server.addDevice(user, "phone");
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}

function open(server: FakeServer, user: string, store: Store = new MemoryStore()): Promise<Client> {
  return connect({ url: server.url, user, device: "phone", password: server.password, store, longestWaitMs: 50 });
}

/** The next event, confirmed. */
async function next(events: Events): Promise<Event> {
  const delivery = await events.next();
  await events.confirm(delivery);
  return delivery.event;
}

/** The text of the next message; everything else is passed over. */
async function message(events: Events): Promise<string> {
  for (;;) {
    const event = await next(events);
    if (event.kind === "message") return text(event.message.body);
  }
}

function until(client: Client, holds: () => boolean | Promise<boolean>): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => void Promise.resolve(holds()).then((it) => it && (ends.forEach((end) => end()), resolve()), reject);
    const ends = [client.onChange(look), client.onStatus(look)];
    look();
  });
}

test("a message and its answer", () =>
  withServer(async (server) => {
    const [alice, bob] = [await open(server, "alice"), await open(server, "bob")];
    const sent = await alice.send("bob", "hello");
    await sent.sent();
    const [alices, bobs] = [alice.events(), bob.events()];
    assert.equal(await message(bobs), "hello");
    const [conversation] = await bob.conversations();
    assert.equal(conversation?.unread, 1);
    await bob.send(conversation?.id as number, "hi");
    assert.equal(await message(alices), "hi");
    const shown = await alice.messages(conversation?.id as number);
    assert.deepEqual(shown.map((it) => [text(it.body), it.mine, it.user, it.state?.kind]), [
      ["hello", true, "alice", "sent"],
      ["hi", false, "bob", undefined],
    ]);
    assert.equal(await alice.direct("bob"), conversation?.id);
    await alice.close();
    await bob.close();
  }));

test("sends whose answers were lost are not sent twice, and get their places", () =>
  withServer(async (server) => {
    const [alice, bob] = [await open(server, "alice"), await open(server, "bob")];
    let lost = 0;
    server.beforePuback = (body) => !(body.startsWith("lost") && ++lost);
    for (const body of ["first", "lost 1", "lost 2", "last"]) await alice.send("bob", body);
    const bobs = bob.events();
    for (const body of ["first", "lost 1", "lost 2", "last"]) assert.equal(await message(bobs), body);
    const id = (await bob.conversations())[0]?.id as number;
    await (await bob.send(id, "now she knows")).sent();
    await until(alice, async () => (await alice.messages(id)).length === 5 && (await alice.pending(id)).length === 0);
    const shown = await alice.messages(id);
    assert.deepEqual(shown.map((it) => text(it.body)), ["first", "lost 1", "lost 2", "last", "now she knows"]);
    assert.ok(lost === 2 && server.connections >= 3);
    assert.deepEqual(server.accepted.length, 5, "each took effect once");
    await alice.close();
    await bob.close();
  }));

test("nothing is acknowledged that is not stored", () =>
  withServer(async (server) => {
    const alice = await open(server, "alice");
    class Failing extends MemoryStore {
      full = false;
      override async commit(writes: readonly Write[]): Promise<void> {
        if (this.full) throw new Error("no room");
        await super.commit(writes);
      }
    }
    const store = new Failing();
    const bob = await open(server, "bob", store);
    await until(bob, () => bob.status.kind === "online");
    store.full = true;
    let acknowledged = 0;
    server.onAcknowledged = (device) => device === "bob/phone" && acknowledged++;
    const offline = new Promise<void>((resolve) => {
      bob.onStatus((status) => status.kind === "offline" && status.cause.kind === "store" && resolve());
    });
    await (await alice.send("bob", "hello")).sent();
    await offline;
    assert.equal(acknowledged, 0);
    store.full = false;
    assert.equal(await message(bob.events()), "hello");
    await alice.close();
    await bob.close();
  }));

test("events come again until they are confirmed, and never afterwards", () =>
  withServer(async (server) => {
    const [alice, store] = [await open(server, "alice"), new MemoryStore()];
    for (const body of ["one", "two"]) await (await alice.send("bob", body)).sent();
    let bob = await open(server, "bob", store);
    const first = bob.events();
    const seen = [await first.next(), await first.next(), await first.next()];
    assert.deepEqual(seen.map((it) => it.event.kind), ["changed", "message", "message"]);
    await first.confirm(seen[1] as { id: number });
    await bob.close();
    bob = await open(server, "bob", store);
    assert.equal(await message(bob.events()), "two");
    await (await alice.send("bob", "three")).sent();
    assert.equal(await message(bob.events()), "three");
    await alice.close();
    await bob.close();
  }));

test("what did not come is fetched, and what is not there is told as missing", () =>
  withServer(async (server) => {
    const [alice, bob] = [await open(server, "alice"), await open(server, "bob")];
    const is = (body: string) => (_: string, event: { case?: string; value?: unknown }) =>
      !(event.case === "message" && text((event.value as { body: Uint8Array }).body).startsWith(body));
    server.beforeInbox = is("left out");
    for (const body of ["one", "left out 1", "left out 2", "four"]) await (await alice.send("bob", body)).sent();
    const bobs = bob.events();
    const found = [await message(bobs), await message(bobs), await message(bobs), await message(bobs)];
    assert.deepEqual(found.sort(), ["four", "left out 1", "left out 2", "one"]);
    const id = (await bob.conversations())[0]?.id as number;
    assert.deepEqual((await bob.messages(id)).map((it) => text(it.body)), ["one", "left out 1", "left out 2", "four"]);

    await (await alice.send("bob", "left out 3")).sent();
    server.conversations.get(id)?.events.delete(6);
    await (await alice.send("bob", "seven")).sent();
    assert.equal(await message(bobs), "seven");
    assert.deepEqual(await next(bobs), { kind: "missing", conversation: id, first: 6, last: 6 });
    await alice.close();
    await bob.close();
  }));

test("a refused send is told, and stays until it is dismissed", () =>
  withServer(async (server) => {
    const alice = await open(server, "alice");
    const sent = await alice.send("nobody", "hello");
    await assert.rejects(sent.sent(), (error) => error instanceof GodwitError && error.refusal?.reason === 0x90 && !error.retryHelps);
    const event = await next(alice.events());
    assert.deepEqual(event, { kind: "refused", send: sent.id, to: { user: "nobody" }, refusal: { reason: 0x90, text: "nobody" } });
    assert.deepEqual((await alice.refused()).map((it) => text(it.body)), ["hello"]);
    await alice.dismiss(sent.id);
    assert.deepEqual(await alice.refused(), []);
    await alice.close();
  }));

test("the same token is one message, also after a restart", () =>
  withServer(async (server) => {
    const store = new MemoryStore();
    let alice = await open(server, "alice", store);
    const sent = await alice.send("bob", "hello", { token: "a" });
    await sent.sent();
    assert.equal((await alice.send("bob", "hello", { token: "a" })).id, sent.id);
    await alice.close();
    alice = await open(server, "alice", store);
    const again = await alice.send("bob", "hello", { token: "a" });
    await again.sent();
    assert.equal(again.id, sent.id);
    assert.deepEqual(server.accepted, ["alice: hello"]);
    await alice.close();
  }));

test("after a restore unsent messages go where the members are the same, or to the other side", () =>
  withServer(async (server) => {
    const store = new MemoryStore();
    let alice = await open(server, "alice", store);
    await (await alice.send("bob", "before")).sent();
    await until(alice, async () => (await alice.direct("bob")) !== undefined);
    const id = (await alice.direct("bob")) as number;
    await alice.close();
    // The backup is older than the conversation.
    server.conversations.clear();
    server.epoch = 0x23n;
    server.numbersAbove = 1n << 32n;
    alice = await open(server, "alice", store);
    const sent = await alice.send(id, "after");
    await sent.sent();
    const events = alice.events();
    for (;;) {
      const event = await next(events);
      if (event.kind === "server-restored") {
        assert.deepEqual(event.lost, [id]);
        break;
      }
    }
    const now = (await alice.direct("bob")) as number;
    assert.ok(now > id);
    assert.deepEqual(server.accepted, ["alice: before", "alice: after"]);
    assert.deepEqual((await alice.messages(id)).map((it) => text(it.body)), ["before"], "what was said stays");
    await alice.close();
  }));

test("nothing goes to another server, and nothing is taken from it", () =>
  withServer(async (server) => {
    const store = new MemoryStore();
    let alice = await open(server, "alice", store);
    await until(alice, () => alice.status.kind === "online");
    await alice.close();
    server.server = 0x99n;
    alice = await open(server, "alice", store);
    await alice.send("bob", "for the other one");
    await until(alice, () => alice.status.kind === "offline" && alice.status.cause.kind === "other-server");
    assert.deepEqual(server.accepted, []);
    await alice.close();
  }));

test("who is not let in is told at once, and a new token is asked for", () =>
  withServer(async (server) => {
    const options = { url: server.url, user: "alice", device: "phone", longestWaitMs: 50 };
    const alice = await connect({ ...options, password: "wrong" });
    await until(alice, () => alice.status.kind === "refused");
    await assert.rejects(alice.people.profile(), { kind: "not-admitted" });
    await alice.close();
    const tokens = ["old", "older", server.password];
    const fresh = await connect({ ...options, password: () => tokens.shift() as string });
    await until(fresh, () => fresh.status.kind === "online");
    await fresh.close();
  }));

test("a second client of a device does not quarrel with the first", () =>
  withServer(async (server) => {
    const first = await open(server, "alice");
    await until(first, () => first.status.kind === "online");
    const over = new Promise<void>((resolve) => {
      first.onStatus((status) => status.kind === "offline" && status.cause.kind === "taken-over" && resolve());
    });
    const second = await open(server, "alice");
    await over;
    await first.close();
    await second.close();
  }));

test("an address, a name and a store that are none are refused", async () => {
  const good = { url: "ws://127.0.0.1:9", user: "alice", device: "phone", password: "x", store: new MemoryStore() };
  await assert.rejects(connect({ ...good, url: "http://x" }), { kind: "address" });
  await assert.rejects(connect({ ...good, user: "a b" }), { kind: "address" });
  const client = await connect(good);
  await assert.rejects(client.send("a b", "x"), RangeError);
  await assert.rejects(client.send(0, "x"), RangeError);
  await client.close();
  await assert.rejects(client.send("bob", "x"), { kind: "closed" });
  await assert.rejects(client.people.profile(), { kind: "closed" });
  await assert.rejects(connect({ ...good, device: "tablet" }), { kind: "owner" });
});
