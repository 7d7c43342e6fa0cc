// A server of its own for each test: `godwit serve`, the program that GODWIT_TEST_PROGRAM names, on ports and a data folder that
// nobody else has.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { type Client, type ConnectOptions, type Event, type Events, connect } from "../../src/index.js";

/** The program; without it these tests are left out. */
export const PROGRAM = process.env.GODWIT_TEST_PROGRAM;
export const skip = PROGRAM === undefined ? "GODWIT_TEST_PROGRAM is not set" : false;

const run = promisify(execFile);

export interface Account {
  user: string;
  device: string;
  password: string;
}

interface Listeners {
  pid: number;
  mqtt: string[];
  ws: string;
  http: string;
  media: string;
  web: string;
}

export class Server {
  private process: ChildProcess | undefined;
  private log = "";
  listeners!: Listeners;

  private constructor(
    readonly data: string,
    private readonly settings: Record<string, string>,
  ) {}

  /** `settings`: by key, like `{"retention.history": "7"}`. */
  static async start(settings: Record<string, string> = {}): Promise<Server> {
    const data = await mkdtemp(join(tmpdir(), "godwit-ts-"));
    const any = "127.0.0.1:0";
    const listeners = { "mqtt.listen": any, "mqtt.websocket_listen": any, "http.listen": any, "media.listen": any, "web.listen": any, "metrics.listen": any };
    const server = new Server(data, { ...listeners, ...settings });
    await server.startAgain();
    return server;
  }

  private get environment(): NodeJS.ProcessEnv {
    const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("GODWIT__"));
    const given = Object.entries(this.settings).map(([key, value]) => [`GODWIT__${key.replace(".", "__").toUpperCase()}`, value]);
    return Object.fromEntries([...clean, ...given]) as NodeJS.ProcessEnv;
  }

  /** On the same data, and on the same ports as the first time. */
  async startAgain(): Promise<void> {
    const child = spawn(PROGRAM as string, ["serve", "--data", this.data], {
      env: this.environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.process = child;
    this.log = "";
    child.stderr.setEncoding("utf8");
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (text: string) => {
        this.log = (this.log + text).slice(-100_000);
        if (this.log.includes("ready")) resolve();
      });
      child.once("exit", (code, signal) => reject(new Error(`godwit ended: ${code ?? signal}\n${this.log}`)));
    });
    child.removeAllListeners("exit");
    this.listeners = JSON.parse(await readFile(join(this.data, "listeners.json"), "utf8")) as Listeners;
    const { mqtt, ws, http, media, web } = this.listeners;
    const taken = { "mqtt.listen": mqtt[0], "mqtt.websocket_listen": ws, "http.listen": http, "media.listen": media, "web.listen": web };
    Object.assign(this.settings, taken);
  }

  /** What the first group of this expression finds in the log, now or later. */
  logged(expression: RegExp): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const found = expression.exec(this.log)?.[1];
        if (found !== undefined) resolve(found);
      };
      this.process?.stderr?.on("data", look);
      look();
    });
  }

  private end(signal: NodeJS.Signals): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill(signal);
    });
  }

  kill(): Promise<void> {
    return this.end("SIGKILL");
  }

  stop(): Promise<void> {
    return this.end("SIGTERM");
  }

  /** Stops it and removes its data. */
  async remove(): Promise<void> {
    await this.kill();
    await rm(this.data, { recursive: true, force: true });
  }

  /** Copies the data of a server that is stopped. */
  async backup(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "godwit-ts-backup-"));
    await cp(this.data, folder, { recursive: true });
    return folder;
  }

  /** Puts a backup in the place of the data. */
  async restore(folder: string): Promise<void> {
    await rm(join(this.data, "store"), { recursive: true });
    await cp(join(folder, "store"), join(this.data, "store"), { recursive: true });
    await rm(folder, { recursive: true });
  }

  async command(...args: string[]): Promise<string> {
    const { stdout } = await run(PROGRAM as string, [...args, "--data", this.data], { env: this.environment });
    return stdout;
  }

  async addUser(user: string, device = "phone"): Promise<Account> {
    return JSON.parse(await this.command("user", "add", user, "--device", device)) as Account;
  }

  async addDevice(user: string, device: string): Promise<Account> {
    return JSON.parse(await this.command("device", "add", user, device)) as Account;
  }

  get url(): string {
    return `ws://${this.listeners.ws}/mqtt`;
  }

  open(account: Account, options: Partial<ConnectOptions> = {}): Promise<Client> {
    return connect({ url: this.url, longestWaitMs: 200, ...account, ...options });
  }
}

/** Runs a test with a server. */
export async function withServer(work: (server: Server) => Promise<void>, settings?: Record<string, string>): Promise<void> {
  const server = await Server.start(settings);
  try {
    await work(server);
  } finally {
    await server.remove();
  }
}

export const text = (body: Uint8Array) => new TextDecoder().decode(body);

/** The next event, confirmed. */
export async function next(events: Events): Promise<Event> {
  const delivery = await events.next();
  await events.confirm(delivery);
  return delivery.event;
}

/** The text of the next message; everything else is passed over. */
export async function message(events: Events): Promise<string> {
  for (;;) {
    const event = await next(events);
    if (event.kind === "message") return text(event.message.body);
  }
}

/** Waits until something holds, which is looked at whenever the client has changed. */
export function until(client: Client, holds: () => boolean | Promise<boolean>): Promise<void> {
  return new Promise((resolve, reject) => {
    const ends: (() => void)[] = [];
    const look = () => {
      Promise.resolve(holds()).then((it) => it && (ends.forEach((end) => end()), resolve()), reject);
    };
    ends.push(client.onChange(look), client.onStatus(look), client.onSignal(look), client.files.onProgress(look));
    look();
  });
}
