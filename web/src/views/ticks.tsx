// How far a message is: one tick when the server has stored it, two when everybody has it, coloured when everybody has read it.

import type { SendState } from "@godwit/client";

import { Icon } from "../ui/icons.js";

const SHOWN = {
  queued: ["clock", "Waiting"],
  sent: ["sent", "Sent"],
  delivered: ["delivered", "Delivered"],
  read: ["delivered", "Read"],
  refused: ["failed", "Not sent"],
} as const;

export function Ticks({ state }: { state: SendState }) {
  const [icon, text] = SHOWN[state.kind];
  return (
    <span class={`ticks ${state.kind}`} title={text}>
      <Icon name={icon} />
      <span class="hidden">{text}</span>
    </span>
  );
}
