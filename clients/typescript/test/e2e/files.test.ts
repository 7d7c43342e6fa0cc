import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";

import { type Client, GodwitError, type Message } from "../../src/index.js";
import { FileStore, openPath } from "../../src/node.js";
import { next, skip, text, until, withServer } from "./server.js";

async function withFile(client: Client): Promise<Message> {
  const events = client.events();
  for (;;) {
    const event = await next(events);
    if (event.kind === "message" && event.message.media.length > 0) return event.message;
  }
}

test("a file as a whole and one in parts", { skip }, () =>
  withServer(
    async (server) => {
      const alice = await server.open(await server.addUser("alice"), { openPath });
      const bob = await server.open(await server.addUser("bob"));
      const small = randomBytes(300_000);
      await alice.files.send({ user: "bob" }, {
        file: new Blob([Uint8Array.from(small)]), name: "small.jpg", contentType: "image/jpeg", caption: "look", thumbnail: Uint8Array.of(1, 2),
      });
      const first = await withFile(bob);
      const [media] = first.media;
      assert.deepEqual([media?.name, media?.size, media?.contentType, text(first.body)], ["small.jpg", 300_000, "image/jpeg", "look"]);
      assert.deepEqual(Buffer.from(await bob.files.fetch(first.conversation, media!)), small);

      const large = randomBytes(13_000_000);
      const path = join(server.data, "large.bin");
      await writeFile(path, large);
      let most = 0;
      alice.files.onProgress(() => void alice.files.list().then(([it]) => (most = Math.max(most, it?.bytes ?? 0))));
      await alice.files.send({ user: "bob" }, { file: path, name: "large.bin", contentType: "application/octet-stream" });
      const second = await withFile(bob);
      assert.deepEqual(Buffer.from(await bob.files.fetch(second.conversation, second.media[0]!)), large);
      assert.ok(most > 5_000_000);
      const wrong = { ...second.media[0]!, sha256: new Uint8Array(32) };
      await assert.rejects(bob.files.fetch(second.conversation, wrong), (error) => error instanceof GodwitError && error.retryHelps);
      await Promise.all([alice.close(), bob.close()]);
    },
    { "media.multipart_bytes": "5_242_880".replaceAll("_", "") },
  ));

test("a file that was to be sent is sent after a restart, once", { skip }, () =>
  withServer(async (server) => {
    const account = await server.addUser("alice");
    const bob = await server.open(await server.addUser("bob"));
    const [path, store] = [join(server.data, "photo.jpg"), join(server.data, "alice.store")];
    await writeFile(path, randomBytes(50_000));
    let alice = await server.open({ ...account, password: "wrong" }, { openPath, store: await FileStore.open(store) });
    const draft = { file: path, name: "photo.jpg", contentType: "image/jpeg", token: "photo" };
    const id = await alice.files.send({ user: "bob" }, draft);
    assert.equal((await alice.files.list()).length, 1);
    await alice.close();
    alice = await server.open(account, { openPath, store: await FileStore.open(store) });
    assert.equal(await alice.files.send({ user: "bob" }, draft), id);
    assert.equal((await withFile(bob)).media.length, 1);
    await until(alice, async () => (await alice.files.state(id))?.kind === "queued");
    assert.deepEqual(await alice.files.list(), []);
    await Promise.all([alice.close(), bob.close()]);
  }));

test("a file that is gone, has changed or is called off is told", { skip }, () =>
  withServer(async (server) => {
    const account = await server.addUser("alice");
    const alice = await server.open({ ...account, password: "wrong" }, { openPath });
    await server.addUser("bob");
    const path = join(server.data, "photo.jpg");
    await assert.rejects(
      alice.files.send({ user: "bob" }, { file: path, name: "x", contentType: "image/jpeg" }),
      (error) => error instanceof GodwitError && error.failure?.kind === "gone",
    );
    await writeFile(path, "one");
    const id = await alice.files.send({ user: "bob" }, { file: path, name: "x", contentType: "image/jpeg" });
    await alice.files.cancel(id);
    assert.deepEqual(await alice.files.state(id), { kind: "failed", failure: { kind: "cancelled" } });
    const event = await next(alice.events());
    assert.ok(event.kind === "file-failed" && event.failure.kind === "cancelled");
    await alice.close();

    const store = join(server.data, "alice.store");
    let app = await server.open({ ...account, password: "wrong" }, { openPath, store: await FileStore.open(store) });
    await app.files.send({ user: "bob" }, { file: path, name: "x", contentType: "image/jpeg" });
    await app.close();
    await writeFile(path, "another one");
    app = await server.open(account, { openPath, store: await FileStore.open(store) });
    const changed = await next(app.events());
    assert.ok(changed.kind === "file-failed" && changed.failure.kind === "changed");
    await rm(path);
    await app.close();
  }));
