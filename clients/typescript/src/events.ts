// The events of a client, beginning with the oldest that was not confirmed.

import type { EngineShared } from "./engine/shared.js";
import { GodwitError } from "./errors.js";
import { type Delivery, confirm, eventsAfter } from "./ledger/events.js";

/** Read from the store at a time. */
const BATCH = 64;

export class Events implements AsyncIterable<Delivery> {
  /** The last one read from the store. */
  private last = 0;
  private readonly ready: Delivery[] = [];

  constructor(private readonly shared: EngineShared) {}

  /** The next event; waits until there is one. @throws GodwitError "closed", "store" */
  async next(): Promise<Delivery> {
    for (;;) {
      const delivery = this.ready.shift();
      if (delivery) return delivery;
      // First somebody listens, then the store is read: nothing falls in between.
      let [heard, end]: [() => void, () => void] = [() => undefined, () => undefined];
      const news = new Promise<void>((resolve) => (heard = resolve));
      end = this.shared.onNews.add(heard);
      try {
        const from = this.last;
        const read = await this.shared.ledger.run((job) => eventsAfter(job, from, BATCH));
        this.last = read.last;
        this.ready.push(...read.deliveries);
        if (read.last === from) await news;
      } finally {
        end();
      }
    }
  }

  /** The app has done what it wanted with this event and all before it: none of them is told again, after any crash. Durable when
   * it returns. @throws GodwitError "store", "closed" */
  confirm({ id }: { id: number }): Promise<void> {
    return this.shared.ledger.run((job) => confirm(job, id));
  }

  /** Ends when the client is closed. */
  async *[Symbol.asyncIterator](): AsyncIterator<Delivery> {
    for (;;) {
      const delivery = await this.next().catch((error: unknown) => {
        if (error instanceof GodwitError && error.kind === "closed") return undefined;
        throw error;
      });
      if (!delivery) return;
      yield delivery;
    }
  }
}
