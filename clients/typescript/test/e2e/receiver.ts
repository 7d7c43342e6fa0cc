// An app that receives until it is killed: its arguments are an address, an account and a store. It prints each message, and
// confirms it then.

import { connect } from "../../src/index.js";
import { FileStore } from "../../src/node.js";

const [url, user, device, password, path] = process.argv.slice(2) as [string, string, string, string, string];
const client = await connect({ url, user, device, password, store: await FileStore.open(path), longestWaitMs: 100 });
for await (const delivery of client.events()) {
  const { event } = delivery;
  if (event.kind === "message") process.stdout.write(`${delivery.id} ${new TextDecoder().decode(event.message.body)}\n`);
  if (event.kind === "missing") process.stdout.write(`${delivery.id} missing\n`);
  await client.confirm(delivery);
}
