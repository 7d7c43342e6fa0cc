// The program of the README does what it says.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { type Account, skip, withServer } from "./server.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

test("the program of the README", { skip }, () =>
  withServer(async (server) => {
    const readme = await readFile(here("../../../README.md"), "utf8");
    const program = readme.split("```js\n")[1]?.split("\n```")[0] ?? "";
    assert.ok(program.includes("127.0.0.1:8088"));
    // Within the package, which has a name for itself.
    const folder = here("../../readme/");
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}chat.mjs`, program.replace("127.0.0.1:8088", server.listeners.web));
    const start = ({ password }: Account, ...args: string[]) =>
      spawn(process.execPath, ["chat.mjs", ...args], {
        cwd: folder,
        env: { ...process.env, GODWIT_PASSWORD: password },
        stdio: ["ignore", "pipe", "inherit"],
      });
    const [alice, bob] = [await server.addUser("alice"), await server.addUser("bob")];
    const receiver = start(bob, "bob");
    const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
    for (const text of ["hello", "again"]) {
      const sender = start(alice, "alice", "bob", text);
      let said = "";
      sender.stdout.on("data", (some: Buffer) => (said += some.toString()));
      assert.deepEqual(await once(sender, "exit"), [0, null]);
      assert.equal(said, "delivered\n");
      assert.equal((await lines.next()).value, `alice: ${text}`);
    }
    receiver.kill();
    await once(receiver, "exit");
    await rm(folder, { recursive: true });
  }));
