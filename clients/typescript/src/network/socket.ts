// A WebSocket as this library uses it: bytes in, bytes out, an end. `#socket` chooses the browser's own or, in Node, `ws`.

/** What a socket tells. After `ended` it tells nothing more. */
export interface SocketEvents {
  opened(): void;
  received(bytes: Uint8Array): void;
  /** `why` is for people. `opened` may never have been called. */
  ended(why: string): void;
}

/** One connection. */
export interface Socket {
  send(bytes: Uint8Array): void;
  /** Given to `send` and not to the network yet. */
  readonly buffered: number;
  /** Ends it. Nothing is told afterwards. */
  close(): void;
}

/** What browsers and `ws` have in common, as far as it is used here. */
interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  send(bytes: Uint8Array): void;
  close(): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** Puts a WebSocket behind the interface above. */
export function wrapped(socket: WebSocketLike, events: SocketEvents): Socket {
  let over = false;
  let error = "";
  const end = (why: string) => {
    if (!over) {
      over = true;
      events.ended(why);
    }
  };
  socket.binaryType = "arraybuffer";
  socket.onopen = () => over || events.opened();
  socket.onmessage = (event: { data: unknown }) => {
    if (over) return;
    if (event.data instanceof ArrayBuffer) events.received(new Uint8Array(event.data));
    else {
      end("a frame of text");
      socket.close();
    }
  };
  socket.onerror = (event: { message?: string; error?: Error }) => {
    error = event.message || event.error?.message || "the connection failed";
  };
  socket.onclose = (event: { code: number; reason: string }) => end(error || event.reason || `closed (${event.code})`);
  return {
    send: (bytes) => {
      if (!over) socket.send(bytes);
    },
    get buffered() {
      return socket.bufferedAmount;
    },
    close: () => {
      over = true;
      socket.close();
    },
  };
}
