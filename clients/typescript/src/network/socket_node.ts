// A WebSocket in Node, whose own one came with version 22: `ws`.

import { WebSocket } from "ws";

import { type Socket, type SocketEvents, wrapped } from "./socket.js";

/** @throws SyntaxError: the address is none. */
export function openSocket(url: string, events: SocketEvents): Socket {
  return wrapped(new WebSocket(url, "mqtt", { perMessageDeflate: false }), events);
}
