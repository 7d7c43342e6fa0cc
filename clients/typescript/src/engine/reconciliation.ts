// Before anything is sent or taken in the engine makes sure that the server is the one that this device knows. CONNACK says it. If
// the server was restored from a backup it is asked about every conversation that this device knows, and what it has forgotten is
// settled (`ledger/origin`). Meanwhile sends wait in the outbox, and deliveries with their acknowledgements. It begins anew with
// the next connection if this one breaks.

import { type Server } from "../gen/messages.js";
import { newFills } from "../ledger/fill.js";
import type { Refusal } from "../errors.js";
import { type RestoreFindings, leap, origin, restored, setOrigin } from "../ledger/origin.js";
import { stateOf } from "../ledger/outbound.js";
import { ConnectionLost, type ServerIdentity } from "../network/link.js";
import { Reason, inHex } from "../reason.js";
import { plain } from "../wire.js";
import type { Learned, Question } from "./calls.js";
import type { EngineShared } from "./shared.js";

/** What reconciliation has the connection do. */
export interface Asker {
  ask(question: Question): void;
  /** What has waited goes on. */
  over(): Promise<void>;
  /** The ledger wants these. */
  wonder(questions: readonly Question[]): void;
}

type Phase =
  /** Not begun, or over. */
  | { kind: "over" }
  /** The server is asked which one it is. */
  | { kind: "asking" }
  /** It was restored, and is asked about these conversations. */
  | { kind: "comparing"; origin: ServerIdentity; asked: Set<number>; found: RestoreFindings };

export class Reconciliation {
  private phase: Phase = { kind: "over" };

  constructor(
    private readonly shared: EngineShared,
    private readonly asker: Asker,
  ) {}

  /** Sends and deliveries wait. */
  get isUnderWay(): boolean {
    return this.phase.kind !== "over";
  }

  /** CONNACK came. `told`: what it says. @throws ConnectionLost: it is another server. */
  async begin(told: ServerIdentity | undefined): Promise<void> {
    const known = await this.shared.ledger.run(origin);
    // A server that says nothing is none that could be asked.
    if (!told) return;
    if (!known) return await this.adopt(told);
    if (told.server !== known.server) throw otherServer(known, told);
    if (told.epoch === known.epoch) return;
    this.phase = { kind: "asking" };
    this.asker.ask({ kind: "server" });
  }

  /** Takes in what was learned. Returns whether it was for this. @throws ConnectionLost */
  async learn(learned: Learned): Promise<boolean> {
    if (this.phase.kind === "asking" && learned.kind === "server") {
      await this.handleServer(learned.server);
      return true;
    }
    const isOfConversation = learned.kind === "described" || learned.kind === "not-described";
    if (this.phase.kind === "over") return learned.kind === "server";
    // What it says of others is for the ledger when all is compared.
    if (this.phase.kind === "asking") return isOfConversation;
    const { asked, found } = this.phase;
    if (learned.kind === "described" && asked.delete(learned.conversation)) {
      found.there.set(learned.conversation, learned.opened);
    } else if (learned.kind === "not-described" && asked.delete(learned.conversation)) {
      const gone = learned.reason === Reason.notAuthorized || learned.reason === Reason.topicNameInvalid;
      (gone ? found.gone : found.unsure).add(learned.conversation);
    } else {
      return isOfConversation;
    }
    await this.settleWhenCompared();
    return true;
  }

  /** The server has not taken a question. One that does not know it has never been restored, as far as anybody knows; any other
   * one is to be asked again. @throws ConnectionLost */
  async refused(question: Question, refusal: Refusal): Promise<void> {
    const isUnknown = refusal.reason === Reason.payloadFormatInvalid || refusal.reason === Reason.implementationSpecific;
    const { phase } = this;
    const matters =
      (question.kind === "server" && phase.kind === "asking") ||
      (question.kind === "describe" && phase.kind === "comparing" && phase.asked.has(question.conversation));
    if (!matters) return;
    if (question.kind === "server" && isUnknown) return await this.end();
    throw new ConnectionLost({ kind: "broken", text: `the server does not say what it knows: ${inHex(refusal.reason)}` });
  }

  /** The first server of this store: from here on no other will do. */
  private adopt(identity: ServerIdentity): Promise<void> {
    return this.shared.ledger.run((job) => Promise.resolve(setOrigin(job, identity)));
  }

  private async handleServer(server: Server | undefined): Promise<void> {
    if (!server || server.server === 0n) return await this.end();
    const told: ServerIdentity = { server: server.server, epoch: server.epoch };
    const known = await this.shared.ledger.run(origin);
    if (!known) await this.adopt(told);
    else if (known.server !== told.server) throw otherServer(known, told);
    else if (known.epoch !== told.epoch) return await this.compare(told, plain(server.numbersAbove));
    await this.end();
  }

  private async compare(told: ServerIdentity, above: number): Promise<void> {
    const asked = await this.shared.ledger.run((job) => leap(job, above));
    const found: RestoreFindings = { there: new Map(), gone: new Set(), unsure: new Set() };
    this.phase = { kind: "comparing", origin: told, asked, found };
    for (const conversation of asked) this.asker.ask({ kind: "describe", conversation });
    await this.settleWhenCompared();
  }

  /** Settles what was forgotten, when the server has answered about every conversation. */
  private async settleWhenCompared(): Promise<void> {
    if (this.phase.kind !== "comparing" || this.phase.asked.size > 0) return;
    const { origin: told, found } = this.phase;
    const { states, fills } = await this.shared.ledger.run(async (job) => {
      const refusals = await restored(job, told, found);
      const states = await Promise.all(refusals.map(async (id) => [id, await stateOf(job, id)] as const));
      return { states, fills: await newFills(job) };
    });
    for (const [id, state] of states) if (state) this.shared.setState(id, state);
    this.shared.changed();
    this.shared.hasNews();
    // Files for what is gone have failed.
    this.shared.wakeTransfers();
    await this.end();
    this.asker.wonder(fills.map((fill) => ({ kind: "fill", fill })));
  }

  private async end(): Promise<void> {
    this.phase = { kind: "over" };
    await this.asker.over();
  }
}

function otherServer(known: ServerIdentity, told: ServerIdentity): ConnectionLost {
  return new ConnectionLost({ kind: "other-server", expected: known.server, found: told.server });
}
