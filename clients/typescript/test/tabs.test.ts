import "fake-indexeddb/auto";

import assert from "node:assert/strict";
import test from "node:test";

import { Tab, lead } from "../src/tabs/index.js";
import { FakeServer } from "./fake_server.js";

const until = (holds: () => Promise<boolean>, changed: { add(listener: () => void): () => void }) =>
  new Promise<void>((resolve, reject) => {
    const look = () => void holds().then((it) => it && (end(), resolve()), reject);
    const end = changed.add(look);
    look();
  });

test("tabs ask the one that leads, and the next one when it is gone", async () => {
  const server = await FakeServer.start();
  for (const user of ["alice", "bob"]) server.addDevice(user, "web");
  const options = { url: server.url, user: "alice", device: "web", password: server.password, longestWaitMs: 50 };
  const [one, two] = [new Tab("alice", "web"), new Tab("alice", "web")];
  // Asked before anybody leads.
  const early = two.api.send({ user: "bob" }, "hello", { token: "a" });
  let leading = lead(options);
  const id = await early;
  assert.equal(await one.api.send({ user: "bob" }, "hello", { token: "a" }), id, "the same token is the same message");
  await until(async () => (await one.api.conversations()).length === 1, one.onChange);
  const [conversation] = await two.api.conversations();
  assert.deepEqual(conversation?.members.map((it) => it.user), ["alice", "bob"]);
  await assert.rejects(two.api.people.profile("bob"), { kind: "refused" });
  await assert.rejects((two.api as unknown as { nothing(): Promise<void> }).nothing(), /there is no nothing/);
  await assert.rejects((two.api.groups as unknown as { constructor(): Promise<void> }).constructor(), /there is no/);

  // The leader goes; a third tab was waiting for its turn.
  await one.closeAll();
  await leading;
  const later = two.api.send({ user: "bob" }, "later", { token: "b" });
  leading = lead(options);
  assert.ok((await later) > id);
  await until(async () => (await two.api.pending({ user: "bob" })).length === 0, two.onChange);
  assert.deepEqual(server.accepted, ["alice: hello", "alice: later"]);
  await two.closeAll();
  await leading;
  await assert.rejects(two.api.conversations(), { kind: "closed" });
  await server.stop();
});
