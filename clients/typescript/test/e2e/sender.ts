// An app that sends numbers until it is killed: its arguments are an address, an account, a store, and how many. It prints each
// number when it is in the store.

import { connect } from "../../src/index.js";
import { FileStore } from "../../src/node.js";

const [url, user, device, password, path, count] = process.argv.slice(2) as [string, string, string, string, string, string];
const client = await connect({ url, user, device, password, store: await FileStore.open(path), longestWaitMs: 100 });
// Where it goes on is in its own memory: how many were sent. The token makes the one that it does not know of safe.
for (let number = Number(process.env.FIRST ?? 0); number < Number(count); number++) {
  const sent = await client.send("bob", String(number), { token: `number ${number}` });
  process.stdout.write(`${number}\n`);
  if (number % 8 === 7) await sent.sent();
}
await (await client.send("bob", "end", { token: "end" })).sent();
await client.close();
