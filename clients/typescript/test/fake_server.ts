// A server for tests of the engine, which does what is hard to have of a real one at the right moment: loses an answer, leaves out
// a delivery, forgets what came after a backup. It knows direct conversations, inboxes, and the calls that the engine makes.

import { type Init, create, fromBinary, toBinary } from "../src/protobuf.js";
import mqtt, { type IPublishPacket, type Packet } from "mqtt-packet";
import { type AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

import * as pb from "../src/gen/messages.js";

type Event = pb.Event["event"];

interface Conversation {
  users: [string, string];
  events: Map<number, Event>;
  last: number;
}

interface Device {
  user: string;
  inbox: Map<number, Uint8Array>;
  counted: Map<string, bigint>;
  socket: WebSocket | undefined;
  subscribed: boolean;
  nextPacketId: number;
  underWay: Map<number, number>;
}

export class FakeServer {
  server = 0x11n;
  epoch = 0x22n;
  numbersAbove = 0n;
  password = "secret";
  readonly conversations = new Map<number, Conversation>();
  readonly devices = new Map<string, Device>();
  /** Sends that took effect: sender, body. */
  readonly accepted: string[] = [];
  /** CONNECTs that were let in. */
  connections = 0;
  /** Called before a PUBACK is sent; false: the connection is cut instead. */
  beforePuback: (body: string) => boolean = () => true;
  /** Called before an event is put into an inbox; false: it is left out. */
  beforeInbox: (device: string, event: Event) => boolean = () => true;
  /** Called when a delivery is acknowledged. */
  onAcknowledged: (device: string) => void = () => undefined;
  private readonly listener: WebSocketServer;
  private entries = 0;

  private constructor(port: number) {
    this.listener = new WebSocketServer({ port, host: "127.0.0.1", handleProtocols: () => "mqtt" });
    this.listener.on("connection", (socket) => this.accept(socket));
  }

  static async start(): Promise<FakeServer> {
    const server = new FakeServer(0);
    await new Promise((resolve) => server.listener.on("listening", resolve));
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.listener.address() as AddressInfo).port}/mqtt`;
  }

  addDevice(user: string, device: string): void {
    this.devices.set(`${user}/${device}`, {
      user, inbox: new Map(), counted: new Map(), socket: undefined, subscribed: false, nextPacketId: 1, underWay: new Map(),
    });
  }

  /** Ends all connections without a word. */
  cut(): void {
    for (const device of this.devices.values()) device.socket?.terminate();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.listener.close(resolve));
  }

  private accept(socket: WebSocket): void {
    const parser = mqtt.parser({ protocolVersion: 5 });
    let name: string | undefined;
    parser.on("packet", (packet: Packet) => {
      if (packet.cmd === "connect") name = this.connect(socket, packet as unknown as Connect);
      else if (name !== undefined) this.handle(name, socket, packet);
    });
    socket.on("message", (bytes: Buffer) => parser.parse(bytes));
    socket.on("close", () => {
      const device = name === undefined ? undefined : this.devices.get(name);
      if (device?.socket === socket) device.socket = undefined;
    });
  }

  private connect(socket: WebSocket, { username, clientId, password }: Connect): string | undefined {
    const name = `${username}/${clientId}`;
    const device = this.devices.get(name);
    if (!device || String(password) !== this.password) {
      reply(socket, { cmd: "connack", reasonCode: 0x86, sessionPresent: false });
      socket.close();
      return undefined;
    }
    this.connections += 1;
    if (device.socket) {
      reply(device.socket, { cmd: "disconnect", reasonCode: 0x8e });
      device.socket.close();
    }
    device.socket = socket;
    device.underWay.clear();
    const hex = (it: bigint) => it.toString(16).padStart(16, "0");
    const userProperties = { server: hex(this.server), epoch: hex(this.epoch) };
    const properties = { receiveMaximum: 128, maximumPacketSize: 131_072, userProperties };
    reply(socket, { cmd: "connack", reasonCode: 0, sessionPresent: device.subscribed, properties });
    if (device.subscribed) this.deliver(device);
    return name;
  }

  private handle(name: string, socket: WebSocket, packet: Packet): void {
    const device = this.devices.get(name) as Device;
    switch (packet.cmd) {
      case "subscribe":
        device.subscribed = true;
        reply(socket, { cmd: "suback", messageId: packet.messageId, granted: packet.subscriptions.map(() => 1) });
        this.deliver(device);
        break;
      case "puback": {
        const entry = device.underWay.get(packet.messageId as number);
        device.underWay.delete(packet.messageId as number);
        if (entry !== undefined) device.inbox.delete(entry);
        this.onAcknowledged(name);
        break;
      }
      case "pingreq":
        reply(socket, { cmd: "pingresp" });
        break;
      case "publish":
        this.publish(name, device, socket, packet);
        break;
    }
  }

  private publish(name: string, device: Device, socket: WebSocket, { topic, payload, messageId }: IPublishPacket): void {
    const bytes = Uint8Array.from(payload as Buffer);
    if (topic === "rpc") {
      const request = fromBinary(pb.RequestSchema, bytes);
      reply(socket, { cmd: "puback", messageId });
      const response = create(pb.ResponseSchema, this.answer(device, request.call));
      response.id = request.id;
      this.send(device, "rpc", toBinary(pb.ResponseSchema, response));
      return;
    }
    if (topic !== "send") {
      reply(socket, { cmd: "puback", messageId });
      return;
    }
    const send = fromBinary(pb.SendSchema, bytes);
    const body = new TextDecoder().decode(send.body);
    const id = this.conversationOf(device.user, send.to);
    const conversation = id === undefined ? undefined : this.conversations.get(id);
    if (id === undefined || !conversation) {
      reply(socket, { cmd: "puback", messageId, reasonCode: 0x90, properties: { reasonString: "nobody" } });
      return;
    }
    const [count, counted] = [`${id}/${send.counter}`, device.counted.get(`${id}/${send.counter}`) ?? 0n];
    if (send.clientSequence <= counted) {
      reply(socket, { cmd: "puback", messageId, reasonCode: 0, properties: { userProperties: { repeated: String(counted) } } });
      return;
    }
    device.counted.set(count, send.clientSequence);
    conversation.last += 1;
    this.accepted.push(`${device.user}: ${body}`);
    const message = create(pb.MessageSchema, {
      conversation: BigInt(id), sequence: BigInt(conversation.last), sender: conversation.users.indexOf(device.user), body: send.body,
    });
    this.put(conversation, { case: "message", value: message }, name);
    if (!this.beforePuback(body)) return socket.terminate();
    const userProperties = { at: `${id}/${conversation.last}` };
    reply(socket, { cmd: "puback", messageId, reasonCode: 0, properties: { userProperties } });
  }

  private put(conversation: Conversation, event: Event, except: string | undefined): void {
    conversation.events.set(conversation.last, event);
    for (const [name, device] of this.devices) {
      if (!conversation.users.includes(device.user) || name === except || !this.beforeInbox(name, event)) continue;
      this.entries += 1;
      device.inbox.set(this.entries, toBinary(pb.EventSchema, create(pb.EventSchema, { event })));
      if (device.subscribed) this.deliver(device);
    }
  }

  private conversationOf(user: string, to: pb.Send["to"]): number | undefined {
    if (to.case === "conversation") return Number(to.value);
    if (to.case !== "user" || ![...this.devices.values()].some((device) => device.user === to.value)) return undefined;
    for (const [id, { users }] of this.conversations) if (users.includes(user) && users.includes(to.value)) return id;
    const id = 64 * (this.conversations.size + 1) + Number(this.numbersAbove) * 64;
    const conversation: Conversation = { users: [user, to.value], events: new Map(), last: 1 };
    this.conversations.set(id, conversation);
    const opened = create(pb.ChangeSchema, {
      conversation: BigInt(id), sequence: 1n, change: { case: "opened", value: this.description(conversation) },
    });
    this.put(conversation, { case: "change", value: opened }, undefined);
    return id;
  }

  private description({ users }: Conversation): pb.Opened {
    return create(pb.OpenedSchema, { members: users.map((user, ordinal) => create(pb.MemberSchema, { user, ordinal })) });
  }

  private answer(device: Device, call: pb.Request["call"]): Init<pb.Response> {
    switch (call.case) {
      case "getServer":
        return { server: create(pb.ServerSchema, { server: this.server, epoch: this.epoch, numbersAbove: this.numbersAbove }) };
      case "listConversations":
        return {};
      case "describe": {
        const conversation = this.conversations.get(Number(call.value.conversation));
        if (!conversation?.users.includes(device.user)) return { reason: 0x90, text: "none" };
        return { conversation: call.value.conversation, description: this.description(conversation) };
      }
      case "getHistory": {
        const { after, before } = call.value;
        const events = this.conversations.get(Number(call.value.conversation))?.events ?? new Map<number, Event>();
        const wanted = [...events].filter(([at]) => at > Number(after) && at < Number(before));
        return { history: wanted.map(([, event]) => create(pb.EventSchema, { event })) };
      }
      default:
        return { reason: 0x83, text: "not known here" };
    }
  }

  private deliver(device: Device): void {
    const sent = new Set(device.underWay.values());
    for (const [entry, payload] of device.inbox) {
      if (!sent.has(entry)) device.underWay.set(this.send(device, "inbox", payload), entry);
    }
  }

  private send(device: Device, topic: string, payload: Uint8Array): number {
    device.nextPacketId = (device.nextPacketId % 65_535) + 1;
    const messageId = device.nextPacketId;
    if (device.socket) {
      reply(device.socket, { cmd: "publish", topic, payload: Buffer.from(payload), qos: 1, messageId, dup: false, retain: false });
    }
    return messageId;
  }
}

interface Connect {
  username: string;
  clientId: string;
  password: Buffer;
}

function reply(socket: WebSocket, packet: object): void {
  socket.send(mqtt.generate(packet as Packet, { protocolVersion: 5 }));
}
