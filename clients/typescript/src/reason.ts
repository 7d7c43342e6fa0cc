// MQTT 5 reason codes that this library acts on (MQTT 5.0, section 2.4). The others it only passes on.

export const Reason = {
  success: 0x00,
  unspecified: 0x80,
  implementationSpecific: 0x83,
  unsupportedVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  sessionTakenOver: 0x8e,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  payloadFormatInvalid: 0x99,
} as const;

/** As the documentation writes it: `0x86`. */
export function inHex(reason: number): string {
  return `0x${reason.toString(16).toUpperCase().padStart(2, "0")}`;
}

/** Milliseconds that the server asks to wait, in the text of a reason: `busy: try again in 7 s`. */
export function retryAfterMs(text: string): number | undefined {
  const found = /: try again in (\d{1,5}) s$/.exec(text);
  return found ? Number(found[1]) * 1_000 : undefined;
}
