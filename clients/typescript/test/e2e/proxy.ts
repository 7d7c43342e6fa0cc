// A proxy that cuts connections in the middle of whatever is on the way: each after so many bytes as it is told.

import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";

export class CuttingProxy {
  cuts = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  /** `after`: bytes in both directions together, asked for each connection. */
  static async start(target: string, after: () => number): Promise<CuttingProxy> {
    const [host, port] = target.split(":");
    const server = createServer();
    const proxy = new CuttingProxy(server);
    server.on("connection", (inside) => {
      const outside = connect(Number(port), host);
      let left = after();
      const both = [inside, outside];
      const cut = () => both.forEach((socket) => socket.destroy());
      for (const [from, to] of [[inside, outside], [outside, inside]] as const) {
        proxy.sockets.add(from);
        from.on("data", (bytes: Buffer) => {
          const passed = bytes.subarray(0, left);
          left -= passed.length;
          to.write(passed);
          if (left > 0) return;
          proxy.cuts += 1;
          cut();
        });
        from.on("close", () => {
          proxy.sockets.delete(from);
          cut();
        });
        from.on("error", cut);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/mqtt`;
  }

  stop(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
