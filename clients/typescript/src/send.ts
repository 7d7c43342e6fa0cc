// A message on its way: what the app holds of it. Cheap to keep and to drop: dropping a handle changes nothing.

import { closed, refused } from "./errors.js";
import { type EngineShared, Listeners } from "./engine/shared.js";
import { type SendState, stateOf } from "./ledger/outbound.js";

/** As many ticks as an app would show, and one: 0 queued, 1 sent, 2 delivered, 3 read; `undefined`: refused. */
export function rank(state: SendState): number | undefined {
  const found = ["queued", "sent", "delivered", "read"].indexOf(state.kind);
  return found < 0 ? undefined : found;
}

/** Follows one send until it is read or refused. */
export class SendHandle {
  /** `id`: its number, by which `Client.follow` finds it again after a restart of the app. */
  constructor(
    private readonly shared: EngineShared,
    readonly id: number,
  ) {}

  /** How far it is; `undefined`: that is no longer kept. */
  state(): Promise<SendState | undefined> {
    return this.shared.ledger.run((job) => stateOf(job, this.id));
  }

  /** Calls back when it is further. Returns what ends that. */
  watch(listener: (state: SendState) => void): () => void {
    const { followed } = this.shared;
    let listeners = followed.get(this.id);
    if (!listeners) followed.set(this.id, (listeners = new Listeners()));
    const end = listeners.add(listener);
    return () => {
      end();
      if (listeners.isEmpty && followed.get(this.id) === listeners) followed.delete(this.id);
    };
  }

  /** Until it is on the server's disk. @throws GodwitError "refused"; "closed" if the client was closed before */
  sent(): Promise<void> {
    return this.reached(1);
  }

  /** Until every other member has it. @throws as `sent` */
  delivered(): Promise<void> {
    return this.reached(2);
  }

  /** Until every other member has read it. @throws as `sent` */
  read(): Promise<void> {
    return this.reached(3);
  }

  private reached(wanted: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const ends: (() => void)[] = [];
      const over = (done: () => void) => {
        for (const end of ends) end();
        done();
      };
      const look = (state: SendState) => {
        if (state.kind === "refused") over(() => reject(refused(state.refusal)));
        else if ((rank(state) ?? 0) >= wanted) over(resolve);
      };
      // First somebody listens, then the state is read: nothing falls in between.
      ends.push(this.watch(look));
      ends.push(this.shared.onStatus.add((status) => status.kind === "closed" && over(() => reject(closed()))));
      this.state().then((state) => state && look(state), (error: unknown) => over(() => reject(error as Error)));
    });
  }
}
