// The client against the real server: what an app sees.

import assert from "node:assert/strict";
import test from "node:test";

import { GodwitError, type Signal } from "../../src/index.js";
import { message, next, skip, text, until, withServer } from "./server.js";

test("a message with its ticks", { skip }, () =>
  withServer(async (server) => {
    const alice = await server.open(await server.addUser("alice"));
    const bob = await server.open(await server.addUser("bob"));
    const sent = await alice.send("bob", "hello");
    await sent.delivered();
    const bobs = bob.events();
    assert.equal(await message(bobs), "hello");
    const [conversation] = await bob.conversations();
    assert.ok(conversation && !conversation.group);
    assert.equal(conversation.unread, 1);
    assert.deepEqual(conversation.members.map((it) => it.user).sort(), ["alice", "bob"]);
    await bob.markRead(conversation.id, conversation.lastMessage);
    await sent.read();
    assert.equal((await bob.conversation(conversation.id))?.unread, 0);
    const answer = await bob.send(conversation.id, "hi", { replyTo: conversation.lastMessage });
    assert.equal(await message(alice.events()), "hi");
    await answer.delivered();
    const shown = await alice.messages(conversation.id);
    assert.deepEqual(shown.map((it) => [text(it.body), it.mine, it.state?.kind, it.replyTo]), [
      ["hello", true, "read", undefined],
      ["hi", false, undefined, conversation.lastMessage],
    ]);
    assert.deepEqual((await alice.search("HÉLLO")).map((it) => text(it.body)), ["hello"]);
    await Promise.all([alice.close(), bob.close()]);
  }));

test("edits, recalls and reactions", { skip }, () =>
  withServer(async (server) => {
    const alice = await server.open(await server.addUser("alice"));
    const bob = await server.open(await server.addUser("bob"));
    for (const body of ["one", "two"]) await (await alice.send("bob", body)).delivered();
    const [conversation] = await bob.conversations();
    const id = conversation?.id as number;
    const [one, two] = (await bob.messages(id)).map((it) => it.sequence) as [number, number];
    await alice.edit(id, one, "uno");
    await alice.recall(id, two);
    await bob.react(id, one, "👍");
    const shown = async () => (await bob.messages(id)).map((it) => [text(it.body), it.edited, it.recalled, it.reactions.length]);
    const wanted = JSON.stringify([["uno", true, false, 1], ["", false, true, 0]]);
    await until(bob, async () => JSON.stringify(await shown()) === wanted);
    await until(alice, async () => (await alice.messages(id))[0]?.reactions[0]?.user === "bob");
    // The server keeps no history and cannot tell whose message it was; Alice's device can.
    await bob.edit(id, one, "not his");
    await (await bob.send(id, "three")).delivered();
    assert.deepEqual((await alice.messages(id)).map((it) => text(it.body)), ["uno", "", "three"]);
    await assert.rejects(bob.edit(id + 64, one, "x"), (error) => error instanceof GodwitError && error.refusal?.reason === 0x90);
    await Promise.all([alice.close(), bob.close()]);
  }));

test("groups, and the devices of a user", { skip }, () =>
  withServer(async (server) => {
    const alice = await server.open(await server.addUser("alice"));
    const bob = await server.open(await server.addUser("bob"));
    const carol = await server.open(await server.addUser("carol"));
    const tablet = await server.open(await server.addDevice("alice", "tablet"));
    const group = await alice.groups.create("walk", ["bob"]);
    await (await alice.send(group, "who comes?")).delivered();
    await alice.groups.add(group, "carol");
    await alice.groups.rename(group, "long walk");
    for (const client of [bob, carol, tablet]) {
      await until(client, async () => {
        const known = await client.conversation(group);
        return known?.title === "long walk" && known.members.length === 3;
      });
    }
    const carols = carol.events();
    const first = await next(carols);
    assert.ok(first.kind === "changed" && first.change.kind === "opened" && first.change.members.length === 3);
    assert.equal(await message(bob.events()), "who comes?");
    await until(tablet, async () => (await tablet.messages(group)).length === 1);
    assert.ok((await tablet.messages(group))[0]?.mine);
    await alice.groups.setRole(group, "bob", 1);
    const invite = await bob.groups.createInvite(group);
    assert.deepEqual((await bob.groups.invites(group)).map((it) => it.invite), [invite.invite]);
    await bob.groups.remove(group, "carol");
    assert.equal(await carol.groups.join(invite.invite), group);
    await carol.groups.leave(group);
    await until(bob, async () => (await bob.conversation(group))?.members.find((it) => it.user === "carol")?.present === false);
    await assert.rejects(carol.groups.rename(group, "mine"), { kind: "refused" });
    for (const client of [alice, bob, carol, tablet]) await client.close();
  }));

test("people: profiles, contacts, presence, typing, devices", { skip }, () =>
  withServer(async (server) => {
    const alice = await server.open(await server.addUser("alice"));
    const bobs = await server.addUser("bob");
    const signals: Signal[] = [];
    await alice.people.setProfile({ name: "Alice", about: "here" });
    await alice.people.addContact("bob", "Bobby");
    const bob = await server.open(bobs);
    await bob.people.addContact("alice");
    alice.onSignal((signal) => signals.push(signal));
    assert.deepEqual((await bob.people.contacts()).map((it) => [it.user, it.name]), [["alice", "Alice"]]);
    assert.equal((await bob.people.profile("alice")).about, "here");
    assert.deepEqual((await alice.people.contacts()).map((it) => it.label), ["Bobby"]);
    await until(alice, async () => (await alice.people.presence(["bob"]))[0]?.online === true);
    const id = await bob.openDirect("alice");
    await until(alice, async () => (await alice.direct("bob")) === id);
    await until(alice, () => {
      bob.typing(id);
      return signals.some((it) => it.kind === "live" && text(it.body) === "typing");
    });
    const [device] = await alice.account.devices();
    assert.deepEqual([device?.device, device?.connected], ["phone", true]);
    await alice.account.labelDevice("phone", "my phone");
    assert.equal((await alice.account.devices())[0]?.label, "my phone");
    await bob.people.block("alice");
    assert.deepEqual(await bob.people.blocked(), ["alice"]);
    await assert.rejects(alice.people.profile("bob"), { kind: "refused" });
    await Promise.all([alice.close(), bob.close()]);
  }));

test("a password that was renewed, and one that is wrong", { skip }, () =>
  withServer(async (server) => {
    const account = await server.addUser("alice");
    const alice = await server.open(account);
    const password = await alice.renewPassword();
    await until(alice, () => alice.status.kind === "online");
    await alice.people.profile();
    await alice.close();
    const old = await server.open(account);
    await until(old, () => old.status.kind === "refused");
    await assert.rejects(old.people.profile(), { kind: "not-admitted" });
    await old.close();
    const fresh = await server.open({ ...account, password });
    await until(fresh, () => fresh.status.kind === "online");
    await fresh.close();
  }));

test("a new device fetches what was before it", { skip }, () =>
  withServer(
    async (server) => {
      const alice = await server.open(await server.addUser("alice"));
      await server.addUser("bob");
      const group = await alice.groups.create("walk", ["bob"]);
      for (let n = 0; n < 70; n++) await alice.send(group, `to all ${n}`);
      await (await alice.send("bob", "to bob")).sent();
      const laptop = await server.open(await server.addDevice("alice", "laptop"));
      await until(laptop, async () => (await laptop.messages(group, { limit: 99 })).length === 50);
      await until(laptop, async () => (await laptop.conversations()).length === 2);
      assert.deepEqual((await laptop.conversations()).map((it) => it.unread), [0, 0]);
      assert.equal(await laptop.loadOlder(group), false, "there is no more than this page");
      const shown = (await laptop.messages(group, { limit: 99 })).map((it) => text(it.body));
      assert.deepEqual(shown, Array.from({ length: 70 }, (_, n) => `to all ${n}`));
      await Promise.all([alice.close(), laptop.close()]);
    },
    { "retention.history": "7" },
  ));
