// One in each tab: waits for its turn to have the connection of this device (see `@godwit/client/tabs`).

import { type LeaderOptions, lead } from "@godwit/client/tabs";

declare const self: DedicatedWorkerGlobalScope;

self.onmessage = ({ data }: MessageEvent<LeaderOptions>) => {
  // If the store cannot be opened, the tabs were told why; perhaps another tab can.
  lead(data).catch(() => setTimeout(() => self.close(), 1_000));
};
