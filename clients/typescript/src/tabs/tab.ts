// The part that a page holds: it asks the leader, wherever that is, and hears what has changed.

import type { Signal } from "../engine/shared.js";
import { Listeners } from "../engine/shared.js";
import { GodwitError, closed } from "../errors.js";
import type { Event } from "../ledger/events.js";
import type { Status } from "../status.js";
import { ONCE, type TabApi } from "./api.js";
import { type TabMessage, channelName, realError, uniqueName } from "./messages.js";

interface Question {
  message: TabMessage & { type: "request" };
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

export class Tab {
  readonly onChange = new Listeners<void>();
  readonly onProgress = new Listeners<void>();
  readonly onStatus = new Listeners<Status>();
  readonly onSignal = new Listeners<Signal>();
  /** Each event once, over all tabs: for notifications, not for what is to be shown. */
  readonly onEvent = new Listeners<Event>();
  readonly api: TabApi;
  private readonly channel: BroadcastChannel;
  private readonly tab = uniqueName();
  private leader: string | undefined;
  private readonly questions = new Map<number, Question>();
  private last = 0;
  private isClosed = false;

  /** A worker of this page must run `lead` for the same device. */
  constructor(user: string, device: string) {
    this.channel = new BroadcastChannel(channelName(user, device));
    this.channel.onmessage = ({ data }: MessageEvent<TabMessage>) => this.hear(data);
    this.api = remote((method, args) => this.ask(method, args)) as unknown as TabApi;
    this.say({ type: "hello" });
  }

  /** Ends the connection of all tabs, and resolves when the store is closed. */
  async closeAll(): Promise<void> {
    const done = new Promise<void>((resolve) => {
      const hear = ({ data }: MessageEvent<TabMessage>) => {
        if (data.type === "closed") resolve();
      };
      this.channel.addEventListener("message", hear);
    });
    this.say({ type: "close" });
    await done;
    this.close();
  }

  /** Hears and asks nothing more. */
  close(): void {
    this.isClosed = true;
    this.channel.close();
    for (const { reject } of this.questions.values()) reject(closed());
    this.questions.clear();
  }

  private say(message: TabMessage): void {
    this.channel.postMessage(message);
  }

  /** Without a leader it waits for one. */
  private ask(method: string, args: unknown[]): Promise<unknown> {
    if (this.isClosed) return Promise.reject(closed());
    this.last += 1;
    const message = { type: "request" as const, tab: this.tab, id: this.last, method, args };
    return new Promise((resolve, reject) => {
      this.questions.set(message.id, { message, resolve, reject });
      try {
        this.say(message);
      } catch (error) {
        this.questions.delete(message.id);
        reject(error as Error);
      }
    });
  }

  private hear(message: TabMessage): void {
    switch (message.type) {
      case "response": {
        if (message.tab !== this.tab) return;
        const question = this.questions.get(message.id);
        this.questions.delete(message.id);
        if (message.error) question?.reject(realError(message.error));
        else question?.resolve(message.result);
        return;
      }
      case "leader":
        if (message.leader === this.leader) return;
        this.askAgain(this.leader !== undefined);
        this.leader = message.leader;
        this.onChange.tell();
        return;
      case "change":
        return this.onChange.tell();
      case "progress":
        return this.onProgress.tell();
      case "status":
        return this.onStatus.tell(message.status);
      case "signal":
        return this.onSignal.tell(message.signal);
      case "event":
        return this.onEvent.tell(message.event);
      case "request":
      case "hello":
      case "close":
      case "closed":
        return;
    }
  }

  /** `another`: an earlier leader may have done what was asked. */
  private askAgain(another: boolean): void {
    for (const [id, { message, reject }] of this.questions) {
      if (!another || !ONCE.has(message.method)) this.say(message);
      else {
        this.questions.delete(id);
        reject(new GodwitError("no-answer", "the tab with the connection was closed before it answered"));
      }
    }
  }
}

/** An object whose methods, and those of its parts, call `ask` with their names. */
function remote(ask: (method: string, args: unknown[]) => Promise<unknown>): object {
  const method = (name: string) => (...args: unknown[]) => ask(name, args);
  return new Proxy({}, {
    get: (_, part: string) =>
      new Proxy(method(part), { get: (_inner, name: string) => method(`${part}.${name}`) }),
  });
}
