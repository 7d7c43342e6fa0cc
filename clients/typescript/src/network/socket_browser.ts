// The WebSocket of a browser, or of another runtime that has one.

import { type Socket, type SocketEvents, wrapped } from "./socket.js";

/** @throws SyntaxError: the address is none. */
export function openSocket(url: string, events: SocketEvents): Socket {
  return wrapped(new WebSocket(url, "mqtt"), events);
}
