// The part that runs in a worker of each tab. A second connection of a device throws the first one out, so of all tabs one has the
// connection: the one that holds the lock. The end of a tab, or its crash, releases the lock, and the next one goes on with what is
// in the store. Where there are no locks (a page that came without TLS from another machine), each tab takes itself for the only
// one.

import { type Client, type ConnectOptions, connect } from "../client.js";
import { GodwitError } from "../errors.js";
import { IndexedDbStore } from "../store/indexeddb.js";
import { apiOf } from "./api.js";
import { type TabMessage, channelName, plainError, uniqueName } from "./messages.js";

/** What a worker is started with. */
export type LeaderOptions = Omit<ConnectOptions, "password" | "store" | "openPath"> & { password: string };

/** Waits for the lock, leads, and returns when it was told to close. */
export async function lead(options: LeaderOptions): Promise<void> {
  const name = channelName(options.user, options.device);
  if (!globalThis.navigator?.locks) return await run(options, name);
  await navigator.locks.request(name, () => run(options, name));
}

async function run(options: LeaderOptions, name: string): Promise<void> {
  const channel = new BroadcastChannel(name);
  let closed = false;
  const say = (message: TabMessage) => {
    if (!closed) channel.postMessage(message);
  };
  let store: IndexedDbStore;
  let client: Client;
  try {
    store = await IndexedDbStore.open(name);
    client = await connect({ ...options, store });
  } catch (error) {
    // Nobody can have it: who asks is told why.
    say({ type: "status", status: { kind: "offline", cause: { kind: "store", text: plainError(error).message } } });
    channel.close();
    throw error;
  }
  const api = apiOf(client) as unknown as Tree;
  const leader = uniqueName();
  const asked = new AskedRequests();
  const over = new Promise<void>((resolve) => {
    channel.onmessage = ({ data }: MessageEvent<TabMessage>) => {
      if (data.type === "request" && asked.isNew(data)) void answer(api, data).then(say);
      else if (data.type === "hello") say({ type: "leader", leader });
      else if (data.type === "close") resolve();
    };
  });
  // Many commits in a row are one change.
  let told = false;
  client.onChange(() => {
    if (told) return;
    told = true;
    setTimeout(() => {
      told = false;
      say({ type: "change" });
    }, CHANGES_MS);
  });
  client.onStatus((status) => say({ type: "status", status }));
  client.onSignal((signal) => say({ type: "signal", signal }));
  client.files.onProgress(() => say({ type: "progress" }));
  void tellEvents(client, say);
  say({ type: "leader", leader });
  say({ type: "status", status: client.status });
  await over;
  await client.close().catch(() => undefined);
  say({ type: "closed" });
  closed = true;
  channel.close();
}

/** Changes are gathered for so many milliseconds: a frame of a screen. */
const CHANGES_MS = 16;

/** Requests that were taken in: a tab that is not sure says its request again. */
class AskedRequests {
  private readonly names = new Set<string>();

  isNew({ tab, id }: { tab: string; id: number }): boolean {
    const name = `${tab}/${id}`;
    if (this.names.has(name)) return false;
    this.names.add(name);
    const [oldest] = this.names;
    if (this.names.size > ASKED_MAX && oldest !== undefined) this.names.delete(oldest);
    return true;
  }
}

/** Far more than tabs have open. */
const ASKED_MAX = 10_000;

type Tree = { [name: string]: Tree | ((...args: unknown[]) => Promise<unknown>) };

async function answer(api: Tree, { tab, id, method, args }: TabMessage & { type: "request" }): Promise<TabMessage> {
  try {
    const [first = "", second] = method.split(".");
    const parent = second === undefined ? api : (Object.hasOwn(api, first) ? (api[first] as Tree) : {});
    const name = second ?? first;
    const found = name === "constructor" || !(name in parent) ? undefined : parent[name];
    if (typeof found !== "function") throw new GodwitError("closed", `there is no ${method}`);
    return { type: "response", tab, id, result: await found.apply(parent, args) };
  } catch (error) {
    return { type: "response", tab, id, error: plainError(error) };
  }
}

/** Messages stay in the store for all tabs, so an event is done with when the tabs were told. */
async function tellEvents(client: Client, say: (message: TabMessage) => void): Promise<void> {
  const events = client.events();
  for await (const delivery of events) {
    say({ type: "event", event: delivery.event });
    await events.confirm(delivery).catch(() => undefined);
  }
}
