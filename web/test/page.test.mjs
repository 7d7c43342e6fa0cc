// The page in a real browser, against the real server.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import test from "node:test";

import { text } from "../../clients/typescript/dist/test/e2e/server.js";
import { assertAccessible, open, say, shown, withPages } from "./browsers.mjs";

const PROGRAM = process.env.GODWIT_TEST_PROGRAM;
const skip = PROGRAM === undefined ? "GODWIT_TEST_PROGRAM is not set" : false;

async function writeTo(page, user) {
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.getByLabel("User or phone number").fill(user);
  await page.getByRole("button", { name: "Write", exact: true }).click();
  await page.getByRole("textbox", { name: "Message" }).waitFor();
}

async function openFirst(page, name) {
  await page.getByRole("navigation").getByRole("button", { name: new RegExp(name) }).click();
}

test("the page weighs at most 60 KiB, compressed", async () => {
  const dist = new URL("../dist/", import.meta.url);
  const files = (await readdir(dist, { recursive: true })).filter((it) => it.endsWith(".br"));
  const sizes = await Promise.all(files.map(async (it) => (await stat(new URL(it, dist))).size));
  const weight = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(files.length >= 6 && weight <= 60 * 1_024, `${weight} bytes`);
});

test("two pages, the terminal chat and mosquitto in one conversation", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const alice = await logIn(await server.addUser("alice", "web"));
    const bob = await logIn(await server.addUser("bob", "web"), { viewport: { width: 390, height: 760 } });
    const [carol, dave] = [await server.addUser("carol", "terminal"), await server.addUser("dave", "sensor")];
    await assertAccessible(alice.page, "an empty list");
    await alice.page.getByRole("button", { name: "New conversation" }).click();
    await alice.page.getByRole("button", { name: "Group", exact: true }).click();
    await alice.page.getByLabel("Title").fill("hikers");
    await alice.page.getByLabel("Members").fill("bob carol dave");
    await assertAccessible(alice.page, "a new group");
    await alice.page.getByRole("button", { name: "Make a group" }).click();
    await say(alice.page, "from alice");
    await openFirst(bob.page, "hikers");
    await bob.page.getByRole("button", { name: "Accept" }).click();
    await shown(bob.page, "from alice").waitFor();
    await say(bob.page, "from bob");

    const chat = spawn(PROGRAM, ["chat", "--user", "carol", "--device", "terminal", "--server", `mqtt://${server.listeners.mqtt[0]}`, "--store", `${server.data}/carol.store`], {
      env: { ...process.env, GODWIT_PASSWORD: carol.password },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let heard = "";
    chat.stdout.setEncoding("utf8").on("data", (some) => (heard += some));
    const hears = (what) => new Promise((resolve) => {
      const look = () => heard.includes(what) && resolve();
      chat.stdout.on("data", look);
      look();
    });
    await hears("from bob");
    chat.stdin.write("#hikers from carol\n");
    const api = await server.open(await server.addDevice("alice", "phone"));
    const group = (await new Promise((resolve) => {
      const look = async () => {
        const found = (await api.conversations()).find((it) => it.title === "hikers");
        if (found) resolve(found);
      };
      api.onChange(() => void look());
      void look();
    })).id;
    const [host, port] = server.listeners.mqtt[0].split(":");
    const publish = ["-V", "5", "-h", host, "-p", port, "-u", "dave", "-i", "sensor", "-P", dave.password, "-q", "1"];
    const sent = spawn("mosquitto_pub", [...publish, "-t", `send/${group}`, "-m", "from dave"], { stdio: "inherit" });
    assert.equal(await new Promise((resolve) => sent.on("exit", resolve)), 0);

    for (const page of [alice.page, bob.page]) {
      for (const from of ["alice", "bob", "carol", "dave"]) await shown(page, `from ${from}`).waitFor();
    }
    await hears("from dave");
    const orders = await Promise.all([alice.page, bob.page].map((page) => page.locator(".messages .text").allTextContents()));
    assert.deepEqual(orders[0], orders[1], "all see the same order");
    await assertAccessible(alice.page, "a conversation");
    await assertAccessible(bob.page, "a conversation on a phone");
    chat.kill();
    await api.close();
  }));

test("what can be done with a message", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const alice = (await logIn(await server.addUser("alice", "web"))).page;
    const bob = (await logIn(await server.addUser("bob", "web"))).page;
    await writeTo(alice, "bob");
    await say(alice, "one");
    await say(alice, "two");
    await openFirst(bob, "alice");
    await bob.getByRole("button", { name: "Accept" }).click();
    await shown(bob, "two").waitFor();
    await bob.bringToFront();
    await shown(alice, "two").locator(".ticks.read").waitFor();
    const act = async (page, message, name) => {
      await shown(page, message).hover();
      await shown(page, message).getByRole("button", { name: "What to do" }).click();
      if (name === undefined) return;
      await page.getByRole("button", { name, exact: true }).click();
    };
    await act(bob, "one");
    await assertAccessible(bob, "what to do with a message");
    await bob.keyboard.press("Escape");
    await act(bob, "one", "React with 👍");
    await shown(alice, "one").locator(".reactions", { hasText: "👍" }).waitFor();
    await act(bob, "two", "Reply");
    await say(bob, "an answer");
    await shown(alice, "an answer").locator(".quote", { hasText: "two" }).waitFor();
    await act(alice, "one", "Edit");
    await say(alice, "uno");
    await shown(bob, "uno").locator(".meta", { hasText: "edited" }).waitFor();
    await shown(alice, "two").first().hover();
    await shown(alice, "two").first().getByRole("button", { name: "What to do" }).click();
    await alice.getByRole("button", { name: "Delete for everybody" }).click();
    await shown(bob, "This message was deleted.").waitFor();
    await bob.getByRole("textbox", { name: "Message" }).pressSequentially("he");
    await alice.locator(".who", { hasText: "typing" }).waitFor();
    // What was typed has come. Who types again is told of at once.
    await say(bob, "hello");
    await alice.locator(".who", { hasText: "typing" }).waitFor({ state: "detached" });
    await bob.getByRole("textbox", { name: "Message" }).pressSequentially("th");
    await alice.locator(".who", { hasText: "typing" }).waitFor();
    await alice.getByRole("button", { name: "Search messages" }).click();
    await alice.getByLabel("Text").fill("ÚNO");
    await alice.keyboard.press("Enter");
    await alice.getByText("1 found").waitFor();
    await assertAccessible(alice, "search");
    // Text of others is text.
    await alice.keyboard.press("Escape");
    await say(bob, '<img src=x onerror="alert(1)"> https://example.org/?a=1&b=2.');
    await shown(alice, "<img src=x").getByRole("link", { name: "https://example.org/?a=1&b=2", exact: true }).waitFor();
  }));

test("photos and files", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const alice = (await logIn(await server.addUser("alice", "web"))).page;
    const bob = (await logIn(await server.addUser("bob", "web"))).page;
    await writeTo(alice, "bob");
    const photo = Buffer.from(await alice.evaluate(async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 3_000, height: 2_000 });
      const context = canvas.getContext("2d");
      for (let n = 0; n < 3_000; n++) {
        context.fillStyle = `hsl(${(n * 37) % 360} 60% 50%)`;
        context.fillRect((n * 131) % 3_000, (n * 71) % 2_000, 90, 60);
      }
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.98));
      return [...new Uint8Array(await blob.arrayBuffer())];
    }));
    await alice.locator("input[type=file]").setInputFiles({ name: "beach.jpg", mimeType: "image/jpeg", buffer: photo });
    await alice.getByLabel("Caption").fill("look");
    await assertAccessible(alice, "files before they are sent");
    await alice.getByRole("dialog").getByRole("button", { name: "Send", exact: true }).click();
    await openFirst(bob, "alice");
    await shown(bob, "look").getByRole("img", { name: "beach.jpg" }).click();
    const full = bob.getByRole("dialog").getByRole("img");
    await full.waitFor();
    const size = await full.evaluate(async (it) => {
      await it.decode();
      return [it.naturalWidth, it.naturalHeight];
    });
    assert.deepEqual(size, [2_048, 1_365], "it was scaled down");
    await bob.keyboard.press("Escape");
    await alice.locator("input[type=file]").setInputFiles({ name: "../notes.html", mimeType: "text/html", buffer: Buffer.from("<script>") });
    await alice.getByRole("dialog").getByRole("button", { name: "Send", exact: true }).click();
    const saved = bob.waitForEvent("download");
    await shown(bob, "notes.html").getByRole("button", { name: /Save/ }).click();
    const download = await saved;
    assert.equal(download.suggestedFilename(), "notes.html");
    assert.equal((await stat(await download.path())).size, 8);
  }, { "media.content_types": "image/*,text/*" }));

test("a second tab goes on when the first is closed", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const { context, page: first } = await logIn(await server.addUser("alice", "web"));
    const bob = await server.open(await server.addUser("bob"));
    await writeTo(first, "bob");
    await say(first, "from the first tab");
    const second = await open(context, server);
    await openFirst(second, "bob");
    await shown(second, "from the first tab").locator(".ticks.delivered").waitFor();
    await say(second, "from the second tab");
    await shown(first, "from the second tab").waitFor();
    await first.close();
    await say(second, "alone");
    await shown(second, "alone").locator(".ticks.delivered").waitFor();
    const id = (await bob.conversations())[0].id;
    await (await bob.send(id, "an answer")).sent();
    await shown(second, "an answer").waitFor();
    const bodies = (await bob.messages(id)).map((it) => text(it.body));
    assert.deepEqual(bodies, ["from the first tab", "from the second tab", "alone", "an answer"]);
    await bob.close();
  }));

test("without a connection, also over a reload, and back", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const { page } = await logIn(await server.addUser("alice", "web"));
    const bob = await server.open(await server.addUser("bob"), { longestWaitMs: 100 });
    await writeTo(page, "bob");
    await say(page, "before");
    await shown(page, "before").locator(".ticks.delivered").waitFor();
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await page.reload();
    await server.kill();
    await page.locator(".connection", { hasText: "No connection" }).waitFor();
    await openFirst(page, "bob");
    await say(page, "one");
    await shown(page, "one").locator(".ticks.queued").waitFor();
    await page.reload();
    await openFirst(page, "bob");
    await shown(page, "one").locator(".ticks.queued").waitFor();
    await say(page, "two");
    await shown(page, "two").locator(".ticks.queued").waitFor();
    await assertAccessible(page, "without a connection");
    await server.startAgain();
    await shown(page, "two").locator(".ticks.delivered").waitFor();
    const id = (await bob.conversations())[0].id;
    assert.deepEqual((await bob.messages(id)).map((it) => text(it.body)), ["before", "one", "two"]);
    await bob.close();
  }));

test("by keyboard alone, and at 400 percent", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const { page } = await logIn(await server.addUser("alice", "web"));
    for (const user of ["bob", "carol"]) {
      const other = await server.open(await server.addUser(user));
      await (await other.send("alice", `I am ${user}`)).sent();
      await other.close();
    }
    const rows = page.getByRole("navigation").getByRole("listitem").getByRole("button");
    for (const user of ["bob", "carol"]) await rows.filter({ hasText: `I am ${user}` }).waitFor();
    const second = await rows.nth(1).locator("b").textContent();
    await rows.first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: second }).waitFor();
    await page.getByRole("button", { name: "Accept" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("textbox", { name: "Message" }).waitFor();
    await page.keyboard.type("hello");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("you");
    await page.keyboard.press("Enter");
    await shown(page, "hello").locator(".ticks.sent").waitFor();
    // As a window of 1,280 pixels is at 400 percent.
    await page.setViewportSize({ width: 320, height: 256 });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 320, `${width} pixels wide`);
  }));

test("logging in by phone number, profile, contacts, devices, and logging out", { skip }, () =>
  withPages(async ({ server, newContext }) => {
    const page = await open(await newContext({}), server);
    await assertAccessible(page, "logging in");
    await page.getByRole("button", { name: "Phone number" }).click();
    await page.getByLabel("Phone number", { exact: true }).fill("+41 79 123 45 67");
    await page.getByRole("button", { name: "Send a code" }).click();
    await page.getByLabel("Code").fill("000000");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").filter({ hasText: /code/ }).waitFor();
    const code = await server.logged(/code=?\W*(\d{6})/);
    await page.getByLabel("Code").fill(code);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("navigation", { name: "Conversations" }).waitFor();
    const panel = async (name) => {
      await page.getByRole("button", { name: "Account" }).click();
      await page.getByRole("button", { name, exact: true }).click();
    };
    await panel("Profile");
    await page.getByLabel("Name").fill("Ann");
    await assertAccessible(page, "profile");
    await page.getByRole("button", { name: "Save" }).click();
    await server.addUser("bob");
    await panel("Contacts");
    await page.getByLabel("User").fill("bob");
    await page.getByLabel("Called").fill("Bobby");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("button", { name: /^Bobby/ }).waitFor();
    await assertAccessible(page, "contacts");
    await page.keyboard.press("Escape");
    await panel("Devices");
    await page.getByText("(this browser)").waitFor();
    await assertAccessible(page, "devices");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Account" }).click();
    await page.getByText("Ann").waitFor();
    await assertAccessible(page, "account");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("button", { name: "Log out, remove the device" }).click();
    await page.getByLabel("User", { exact: true }).waitFor();
    assert.deepEqual(await page.evaluate(async () => [localStorage.length, (await indexedDB.databases()).length]), [0, 0]);
  }, { "registration.enabled": "true" }));

test("a long conversation is scrolled to its first message, and back", { skip }, () =>
  withPages(async ({ server, logIn }) => {
    const bob = await server.open(await server.addUser("bob"));
    const alice = await server.addUser("alice", "web");
    const count = 700;
    let last;
    for (let number = 0; number < count; number++) last = await bob.send("alice", `number ${number}.`);
    await last.sent();
    const { page } = await logIn(alice);
    await openFirst(page, "bob");
    await page.getByRole("button", { name: "Accept" }).click();
    await shown(page, `number ${count - 1}.`).waitFor();
    const list = page.locator(".messages");
    // As somebody does who scrolls on and on.
    await page.evaluate(() => {
      globalThis.scrolling = setInterval(() => (document.querySelector(".messages").scrollTop = 0), 20);
    });
    await shown(page, "number 0.").waitFor();
    await page.evaluate(() => clearInterval(globalThis.scrolling));
    assert.ok((await list.locator(".message").count()) <= 300, "no more than that is held");
    const numbers = (await list.locator(".text").allTextContents()).map((it) => Number(/\d+/.exec(it)[0]));
    assert.deepEqual(numbers, numbers.map((_, at) => numbers[0] + at), "without a gap");
    await page.getByRole("button", { name: "To the newest messages" }).click();
    await shown(page, `number ${count - 1}.`).waitFor();
    await (await bob.send("alice", "one more")).sent();
    await shown(page, "one more").waitFor();
    assert.ok(await shown(page, "one more").isVisible());
    await page.getByRole("button", { name: "Search messages" }).click();
    await page.getByLabel("Text").fill("number 123.");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").getByRole("button", { name: /number 123/ }).click();
    await shown(page, "number 123.").waitFor();
    await bob.close();
  }, { "limits.request_messages": "1000" }));
