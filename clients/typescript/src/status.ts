// Whether a client has a connection, and if not, why.

/** Why there is no connection. The texts are for people, and may be from what answers in the server's place. */
export type OfflineCause =
  /** No connection could be made: nobody listens there, the certificate is not trusted, or nothing answers. A page is not
   * told which. */
  | { kind: "unreachable"; text: string }
  /** What answers there speaks another protocol. */
  | { kind: "not-mqtt"; text: string }
  /** The store is of one server, and this is another (16 hexadecimal digits each): its users and conversations are others,
   * even if they are called the same. */
  | { kind: "other-server"; expected: string; found: string }
  /** The same device has connected elsewhere. */
  | { kind: "taken-over" }
  /** The server asks to come back later. */
  | { kind: "busy" }
  /** The connection broke. */
  | { kind: "broken"; text: string }
  /** The client's own store failed. */
  | { kind: "store"; text: string };

export type Status =
  /** There is no connection; one is tried again by itself. */
  | { kind: "offline"; cause: OfflineCause }
  | { kind: "connecting" }
  | { kind: "online" }
  /** The server does not want this device; tried again now and then. Calls fail at once. */
  | { kind: "refused"; reason: number }
  | { kind: "closed" };

/** Waiting alone may help. Otherwise somebody must see to the address, or to the store. */
export function waitingHelps(cause: OfflineCause): boolean {
  return cause.kind !== "not-mqtt" && cause.kind !== "other-server";
}
