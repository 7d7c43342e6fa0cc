// What runs behind a client: it keeps a connection, sends what is in the outbox, and takes in what comes. Nothing it knows is lost
// with it: what must survive is in the ledger before anybody is told.
//
// The whole story of a send: `Client.send` commits it to the outbox and wakes the engine. The engine publishes what the outbox
// holds, oldest first, as far as there is room. PUBACK takes it out. When a connection breaks, the next one begins with the oldest
// that was not answered; the server recognises by its number what it has already stored. So a message is never lost and never
// doubled, and nothing of this needs to be remembered between connections.

import { GodwitError, closed, notAdmitted } from "../errors.js";
import type { Response } from "../gen/messages.js";
import * as keys from "../ledger/keys.js";
import { Backoff } from "../network/backoff.js";
import { KeepAlive } from "../network/keepalive.js";
import { ConnectionLost, type LinkOptions, type Lost } from "../network/link.js";
import { Reason } from "../reason.js";
import type { OfflineCause, Status } from "../status.js";
import type { Call } from "../wire.js";
import { PendingCalls } from "./calls.js";
import { EngineConnection, nowS } from "./connection.js";
import { Passwords } from "./passwords.js";
import type { EngineShared } from "./shared.js";
import { Stopped } from "./stopped.js";

export interface EngineOptions {
  url: string;
  user: string;
  device: string;
  /** Passwords of the device, the one to be tried first before the others. */
  passwords: readonly string[];
  /** Asks for a token, or another password, when the server refuses what is known. */
  fresh: (() => Promise<string>) | undefined;
  live: boolean;
  fills: boolean;
  /** Milliseconds of silence after which a connection is over, while something is not answered. */
  patienceMs: number;
  callTimeoutMs: number;
  longestWaitMs: number;
  /** The first interval, and the longest. */
  keepAliveMs: readonly [first: number, longest: number];
}

/** Longest time that a timer takes, in milliseconds. */
const TIMER_MAX_MS = 0x7fff_ffff;

export class Engine {
  readonly calls = new PendingCalls(nowS() * 65_536);
  readonly backoff: Backoff;
  readonly keepAlive: KeepAlive;
  readonly passwords: Passwords;
  private connection: EngineConnection | undefined;
  private woken: (() => void) | undefined;
  private wakes = false;
  private stop: "closed" | "anew" | undefined;
  private finished: Promise<void> | undefined;

  constructor(
    readonly shared: EngineShared,
    readonly options: EngineOptions,
  ) {
    this.backoff = new Backoff(options.longestWaitMs);
    this.keepAlive = new KeepAlive(...options.keepAliveMs);
    this.passwords = new Passwords(options.passwords);
    shared.wake = () => {
      if (this.connection) this.connection.mayHaveMore = true;
      this.wake();
    };
  }

  start(): void {
    this.finished = this.run();
  }

  /** Ends the connection when what came is committed. */
  async close(): Promise<void> {
    this.stop = "closed";
    this.wake();
    await this.finished;
  }

  /** On another network nothing is known: connects anew at once. */
  networkChanged(): void {
    this.stop ??= "anew";
    this.wake();
  }

  /** @throws GodwitError "refused", "offline", "no-answer", "not-admitted", "closed" */
  call(call: Call): Promise<Response> {
    const { status } = this.shared;
    if (status.kind === "closed") return Promise.reject(closed());
    if (status.kind === "refused") return Promise.reject(notAdmitted(status.reason));
    const answer = this.calls.ask(call, performance.now() + this.options.callTimeoutMs);
    this.wake();
    return answer;
  }

  signal(conversation: number, body: Uint8Array): void {
    this.connection?.signal(conversation, body);
  }

  /** The device has a new password: it is on disk, beside the one that is good until it is used, before it is used. */
  async renewed(password: string): Promise<void> {
    const proven = this.passwords.current;
    await this.shared.ledger.run(({ tx }) => Promise.resolve(tx.put(keys.PASSWORDS, { fresh: password, proven })));
    this.passwords.renewed(password);
    this.stop ??= "anew";
    this.wake();
  }

  /** Until something happens or it is this late, by `performance.now()`. */
  sleep(until: number): Promise<void> {
    if (this.wakes || this.stop) {
      this.wakes = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const wait = Math.min(Math.max(0, until - performance.now()), TIMER_MAX_MS);
      const timer = setTimeout(() => this.woken?.(), wait);
      this.woken = () => {
        clearTimeout(timer);
        this.woken = undefined;
        this.wakes = false;
        resolve();
      };
    });
  }

  wake(): void {
    this.wakes = true;
    this.woken?.();
  }

  /** @throws Stopped: this side ends the connection. */
  checkStopped(): void {
    if (this.stop) throw new Stopped(this.stop);
  }

  private async run(): Promise<void> {
    while (this.stop !== "closed") {
      this.stop = undefined;
      this.shared.setStatus({ kind: "connecting" });
      const wait = await this.connect();
      if (wait > 0) await this.pause(performance.now() + wait);
    }
    this.calls.failCallers(closed());
    this.shared.setStatus({ kind: "closed" });
  }

  /** One connection. Returns for how many milliseconds to wait before the next one. */
  private async connect(): Promise<number> {
    const { url, user, device, patienceMs, keepAliveMs } = this.options;
    const password = this.passwords.current;
    // The server waits half as long again; this side pings before.
    const keepAliveS = Math.min(0xffff, Math.ceil(keepAliveMs[1] / 1_000));
    const link: LinkOptions = { url, user, device, password, keepAliveS, timeoutMs: patienceMs };
    const connection = new EngineConnection(this, link);
    this.connection = connection;
    try {
      await connection.run();
      return 0;
    } catch (error) {
      if (error instanceof Stopped) {
        if (error.why === "anew") this.beginAnew();
        return 0;
      }
      if (error instanceof ConnectionLost) return await this.waitAfter(error.lost);
      if (!(error instanceof GodwitError)) console.error("godwit:", error);
      const text = error instanceof Error ? error.message : String(error);
      this.shared.setStatus({ kind: "offline", cause: { kind: "store", text } });
      return this.backoff.next();
    } finally {
      this.connection = undefined;
    }
  }

  /** Waits without a connection. */
  private async pause(until: number): Promise<void> {
    while (!this.stop && performance.now() < until) {
      await this.sleep(Math.min(until, this.calls.deadline));
      this.calls.expire(performance.now());
    }
    if (this.stop === "anew") this.beginAnew();
  }

  private beginAnew(): void {
    this.backoff.reset();
    this.keepAlive.reset();
  }

  /** Says why there is no connection, and how long to wait for the next one. */
  private async waitAfter(lost: Lost): Promise<number> {
    const denied =
      (lost.kind === "refused" && lost.reason === Reason.badUserNameOrPassword) ||
      (lost.kind === "closed" && lost.reason === Reason.notAuthorized);
    if (denied && this.passwords.refused()) return 0;
    if (denied && (await this.hasFreshPassword())) return this.backoff.next();
    const { status, wait } = this.judge(lost);
    this.shared.setStatus(status);
    // Nobody waits for what will not come. What the engine itself asks is asked again.
    if (status.kind === "refused") this.calls.failCallers(notAdmitted(status.reason));
    return wait;
  }

  private judge(lost: Lost): { status: Status; wait: number } {
    const offline = (cause: OfflineCause, wait: number) => ({ status: { kind: "offline", cause } as const, wait });
    switch (lost.kind) {
      case "refused":
        if (lost.reason === Reason.serverBusy) return offline({ kind: "busy" }, this.backoff.busy());
        if (
          lost.reason === Reason.badUserNameOrPassword ||
          lost.reason === Reason.notAuthorized ||
          lost.reason === Reason.clientIdentifierNotValid
        ) {
          return { status: { kind: "refused", reason: lost.reason }, wait: this.backoff.long() };
        }
        return offline({ kind: "busy" }, this.backoff.next());
      case "closed":
        // The same device elsewhere: to come back at once would only begin a quarrel.
        if (lost.reason === Reason.sessionTakenOver) return offline({ kind: "taken-over" }, this.backoff.long());
        return offline({ kind: "broken", text: lost.text }, this.backoff.next());
      case "later":
        return offline({ kind: "busy" }, this.backoff.told(lost.waitMs));
      case "other-server": {
        const [expected, found] = [lost.expected, lost.found].map((it) => it.toString(16).padStart(16, "0"));
        return offline({ kind: "other-server", expected: expected as string, found: found as string }, this.backoff.long());
      }
      case "unreachable":
      case "not-mqtt":
      case "broken":
        return offline(lost, this.backoff.next());
    }
  }

  /** Asks the app for a new token. */
  private async hasFreshPassword(): Promise<boolean> {
    const known = this.passwords.current;
    const fresh = await this.options.fresh?.().catch(() => known);
    if (fresh === undefined || fresh === known) return false;
    this.passwords.renewed(fresh);
    return true;
  }
}
