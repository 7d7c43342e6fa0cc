// Calls: requests that wait for their response. A call keeps its packet identifier until it is answered and is repeated with DUP on
// the next connection, so that it takes effect once although connections break.

import { create } from "../protobuf.js";

import { GodwitError, refused } from "../errors.js";
import {
  DescribeSchema,
  type FoundPhone,
  GetHistorySchema,
  GetServerSchema,
  ListConversationsSchema,
  LookUpPhonesSchema,
  type Response,
  type Server,
} from "../gen/messages.js";
import { type HistoryFill, PAGE } from "../ledger/fill.js";
import type { Gap } from "../ledger/record.js";
import { phoneHash } from "../ledger/unplaced.js";
import type { Refusal } from "../errors.js";
import { type Call, type ConversationUpdate, callPayload, openedOf, parseResponse, plain } from "../wire.js";

/** What the engine itself asks. */
export type Question =
  | { kind: "describe"; conversation: number }
  | { kind: "server" }
  | { kind: "gap"; gap: Gap }
  | { kind: "fill"; fill: HistoryFill }
  | { kind: "phones"; numbers: readonly string[] };

/** What the engine learns from a response. */
export type Learned =
  | { kind: "described"; conversation: number; opened: ConversationUpdate & { kind: "opened" } }
  /** Why a conversation was not described. */
  | { kind: "not-described"; conversation: number; reason: number }
  | { kind: "fetched"; gap: Gap; response: Response }
  | { kind: "filled"; fill: HistoryFill; response: Response }
  | { kind: "found"; asked: readonly Uint8Array[]; found: readonly FoundPhone[] }
  /** Which server this is; `undefined`: it does not say. */
  | { kind: "server"; server: Server | undefined };

interface PendingCall {
  call: Call;
  /** By `performance.now()`, in milliseconds. */
  deadline: number;
  /** Who asks; a question of the engine's own has none. */
  answer?: { resolve: (response: Response) => void; reject: (error: GodwitError) => void };
  question?: Question;
  packetId?: number;
  /** Published on this connection. */
  underWay: boolean;
}

/** A call to be published. */
export interface CallPublish {
  id: number;
  packetId: number;
  again: boolean;
  payload: Uint8Array;
}

/** Calls that have no response yet, by request number. */
export class PendingCalls {
  private readonly waiting = new Map<number, PendingCall>();

  /** Calls of an earlier run may still be answered: numbers begin behind `last`. */
  constructor(private last: number) {}

  /** Carries out a call. @throws GodwitError "refused", "offline", "no-answer", "not-admitted", "closed" */
  ask(call: Call, deadline: number): Promise<Response> {
    return new Promise((resolve, reject) => this.add({ call, deadline, answer: { resolve, reject }, underWay: false }));
  }

  /** A question of the engine's own, asked once. */
  wonder(question: Question, deadline: number): void {
    const asked = JSON.stringify(question);
    for (const { question: other } of this.waiting.values()) if (other && JSON.stringify(other) === asked) return;
    this.add({ call: callOf(question), deadline, question, underWay: false });
  }

  private add(call: PendingCall): void {
    this.last += 1;
    this.waiting.set(this.last, call);
  }

  /** Nothing is under way any more. */
  disconnected(): void {
    for (const call of this.waiting.values()) call.underWay = false;
  }

  /** The next to be published, under the identifier it had or a free one. */
  next(free: () => number | undefined): CallPublish | undefined {
    for (const [id, call] of this.waiting) {
      if (call.underWay) continue;
      const again = call.packetId !== undefined;
      const packetId = call.packetId ?? free();
      if (packetId === undefined) return undefined;
      Object.assign(call, { packetId, underWay: true });
      return { id, packetId, again, payload: callPayload(id, call.call) };
    }
    return undefined;
  }

  /** Whether a call holds this identifier. */
  holds(packetId: number): boolean {
    for (const call of this.waiting.values()) if (call.packetId === packetId) return true;
    return false;
  }

  /** A response came. Returns what the engine asked for. @throws MalformedEvent */
  answered(payload: Uint8Array): Learned | undefined {
    const response = parseResponse(payload);
    const id = plain(response.id);
    const call = this.waiting.get(id);
    if (!call) return undefined;
    this.waiting.delete(id);
    const { reason, text } = response;
    if (reason < 0x80) call.answer?.resolve(response);
    else call.answer?.reject(refused({ reason, text }));
    return call.question && learnedFrom(call.question, response);
  }

  /** The server does not take the request. Returns what the engine itself had asked. */
  refused(id: number, refusal: Refusal): Question | undefined {
    const call = this.waiting.get(id);
    this.waiting.delete(id);
    call?.answer?.reject(refused(refusal));
    return call?.question;
  }

  /** When the first call is too old. */
  get deadline(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.waiting.values()) first = Math.min(first, deadline);
    return first;
  }

  /** Gives up what is too old. */
  expire(now: number): void {
    for (const [id, call] of this.waiting) {
      if (call.deadline > now) continue;
      this.waiting.delete(id);
      const sent = call.packetId !== undefined;
      call.answer?.reject(
        sent ? new GodwitError("no-answer", "no answer from the server") : new GodwitError("offline", "no connection to the server"),
      );
    }
  }

  /** Nobody's call is carried out any more; the engine's own wait on. */
  failCallers(error: GodwitError): void {
    for (const [id, call] of this.waiting) {
      if (!call.answer) continue;
      this.waiting.delete(id);
      call.answer.reject(error);
    }
  }
}

function callOf(question: Question): Call {
  switch (question.kind) {
    case "describe":
      return { case: "describe", value: create(DescribeSchema, { conversation: BigInt(question.conversation) }) };
    case "server":
      return { case: "getServer", value: create(GetServerSchema) };
    case "gap": {
      const { conversation, first, last } = question.gap;
      const [after, before] = [BigInt(first - 1), BigInt(last + 1)];
      const value = create(GetHistorySchema, { conversation: BigInt(conversation), after, before, oldestFirst: true });
      return { case: "getHistory", value };
    }
    case "fill": {
      if (question.fill.kind === "list") {
        const value = create(ListConversationsSchema, { after: BigInt(question.fill.after) });
        return { case: "listConversations", value };
      }
      const { conversation, before } = question.fill;
      const page = { conversation: BigInt(conversation), before: BigInt(before), limit: PAGE };
      return { case: "getHistory", value: create(GetHistorySchema, page) };
    }
    case "phones":
      return { case: "lookUpPhones", value: create(LookUpPhonesSchema, { sha256: question.numbers.map(phoneHash) }) };
  }
}

function learnedFrom(question: Question, response: Response): Learned | undefined {
  switch (question.kind) {
    case "describe": {
      const { conversation } = question;
      if (response.description) return { kind: "described", conversation, opened: openedOf(response.description) };
      return { kind: "not-described", conversation, reason: response.reason };
    }
    case "server":
      return { kind: "server", server: response.server };
    case "gap":
      return { kind: "fetched", gap: question.gap, response };
    case "fill":
      return { kind: "filled", fill: question.fill, response };
    case "phones":
      return { kind: "found", asked: question.numbers.map(phoneHash), found: response.found };
  }
}
