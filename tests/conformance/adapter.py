"""Stands between a suite and the server, for suites that choose their own topics and client identifiers.

A client identifier becomes a user with one device. A topic becomes a group, in which are all who publish or subscribe to it:
what is published goes to `send/<conversation>`, a subscription to a plain topic becomes one to `inbox/#`, and what is delivered
has its topic again, without the server's own user properties. A subscription with QoS 0 is made with QoS 1, and what it is
delivered is acknowledged here and goes on with QoS 0. What is malformed goes on as it is, and so do filters with wildcards.
"""

import base64
import json
import socket
import struct
import threading
import urllib.request

import wire
from wire import Malformed

HOST, GUEST = "host", "guest"
OWN = (b"from", b"seq")


class Adapter:
    """Listens at `address` until the process ends."""

    def __init__(self, server):
        self.server = server
        self.lock = threading.Lock()
        self.accounts, self.groups, self.members = {}, {}, set()
        self.password = server.add_user(HOST, "phone")
        server.add_user(GUEST, "phone")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=Link(self, client).run, daemon=True).start()

    def account(self, client_id):
        """User and password of a client identifier."""
        with self.lock:
            if client_id not in self.accounts:
                user = f"user{len(self.accounts)}"
                self.accounts[client_id] = (user, self.server.add_user(user, "phone"))
            return self.accounts[client_id]

    def group(self, topic, user):
        """The conversation that stands for a topic, with this user in it."""
        with self.lock:
            if topic not in self.groups:
                made = self.call("POST", "/conversations", {"title": "", "users": [GUEST]})
                self.groups[topic] = made["conversation"]
            conversation = self.groups[topic]
            if (conversation, user) not in self.members:
                self.call("POST", f"/conversations/{conversation}/members", {"user": user})
                self.members.add((conversation, user))
            return conversation

    def topic(self, conversation):
        """The topic that a conversation stands for."""
        return next((topic for topic, it in self.groups.items() if it == conversation), None)

    def call(self, method, path, body):
        host, port = self.server.http
        request = urllib.request.Request(f"http://{host}:{port}/v1/users/{HOST}{path}", json.dumps(body).encode())
        request.method = method
        login = base64.b64encode(f"{HOST}/phone:{self.password}".encode()).decode()
        request.headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


class Link:
    """One connection of the suite, and its connection to the server."""

    def __init__(self, adapter, client):
        self.adapter, self.client = adapter, client
        self.server = socket.create_connection(adapter.server.address)
        self.version, self.user = 5, None
        # QoS of each topic that is subscribed to; of filters under way, by packet identifier; topics of aliases.
        self.topics, self.asked, self.aliases = {}, {}, {}

    def run(self):
        down = threading.Thread(target=self.pump, args=(self.server, self.client, self.downward), daemon=True)
        down.start()
        self.pump(self.client, self.server, self.upward)
        down.join()
        self.client.close()
        self.server.close()

    def pump(self, source, sink, change):
        buffer = b""
        try:
            while data := source.recv(65_536):
                buffer += data
                while buffer:
                    try:
                        found = wire.split(buffer)
                    except Malformed:
                        found = None
                        sink.sendall(buffer)
                        buffer = b""
                    if not found:
                        break
                    (first, body), rest = found
                    whole = buffer[: len(buffer) - len(rest)]
                    buffer = rest
                    sink.sendall(self.changed(change, first, body, whole))
        except OSError:
            pass
        # What is left is no whole packet: the server is to see it all the same.
        for act in (lambda: sink.sendall(buffer), lambda: sink.shutdown(socket.SHUT_WR)):
            try:
                act()
            except OSError:
                pass

    @staticmethod
    def changed(change, first, body, whole):
        try:
            made = change(first, body)
        except (Malformed, UnicodeDecodeError, IndexError, struct.error):
            return whole
        return whole if made is None else made

    def upward(self, first, body):
        """A packet for the server; None: as it is."""
        match wire.kind(first):
            case wire.CONNECT:
                _, at = wire.string(body, 0)
                at += 4
                if body[6] == 5:
                    length, at = wire.read_varint(body, at)
                    at += length
                client_id, _ = wire.string(body, at)
                user, password = self.adapter.account(client_id)
                body, self.version = wire.connect_with(body, user.encode(), b"phone", password.encode())
                self.user = user
            case wire.PUBLISH if first & 6 != 6 and not (first & 8 and not first & 6):
                topic, _ = wire.string(body, 0)
                body = wire.publish_to(first, body, b"send/%d" % self.adapter.group(topic, self.user))
            case wire.SUBSCRIBE:
                body = self.subscribe(body)
            case wire.UNSUBSCRIBE:
                body = wire.filters_as(body, self.version, b"inbox/#", 0)
            case _:
                return None
        return wire.packet(first, body)

    def subscribe(self, body):
        at = 2
        if self.version == 5:
            length, at = wire.read_varint(body, at)
            at += length
        made, asked = body[:at], []
        while at < len(body):
            topic, at = wire.string(body, at)
            topic.decode()
            options = body[at]
            at += 1
            if topic and not any(byte in b"+#\0$" for byte in topic):
                self.adapter.group(topic, self.user)
                self.topics[topic] = options & 3
                topic = b"inbox/#"
                asked.append(options & 3)
                options |= 1 if options & 3 == 0 else 0
            else:
                asked.append(None)
            made += wire.text(topic) + bytes([options])
        self.asked[body[:2]] = asked
        return made

    def downward(self, first, body):
        """A packet for the client; None: as it is."""
        match wire.kind(first):
            case wire.SUBACK:
                asked = self.asked.pop(body[:2], [])
                codes = len(body) - len(asked)
                granted = [code if qos is None or code > 2 else min(code, qos) for code, qos in zip(body[codes:], asked)]
                return wire.packet(first, body[:codes] + bytes(granted))
            case wire.PUBLISH:
                return self.deliver(first, body)
        return None

    def deliver(self, first, body):
        name, at = wire.string(body, 0)
        packet_id, at = body[at : at + 2], at + 2
        properties = b""
        if self.version == 5:
            length, at = wire.read_varint(body, at)
            properties, at = body[at : at + length], at + length
        kept, alias = without_own(properties)
        topic = self.aliases.get(alias)
        if name:
            topic = self.adapter.topic(int(name.removeprefix(b"inbox/")))
            self.aliases[alias] = topic
        if topic not in self.topics:
            # It was subscribed to by another client's identifier, or before: nobody here waits for it.
            self.server.sendall(wire.packet(0x40, packet_id))
            return b""
        qos = self.topics[topic]
        made = wire.text(topic if name else b"") + (packet_id if qos else b"")
        if self.version == 5:
            made += wire.varint(len(kept)) + kept
        if not qos:
            self.server.sendall(wire.packet(0x40, packet_id))
        return wire.packet(first if qos else first & 0xF1, made + body[at:])


def without_own(properties):
    """Properties of a delivery without the server's own user properties, and its alias."""
    at, kept, alias = 0, b"", None
    while at < len(properties):
        start, it = at, properties[at]
        at += 1
        match it:
            case 0x01:
                at += 1
            case 0x23:
                alias = properties[at : at + 2]
                at += 2
            case 0x02:
                at += 4
            case 0x26:
                name, at = wire.string(properties, at)
                _, at = wire.string(properties, at)
                if name in OWN:
                    continue
            case _:
                _, at = wire.string(properties, at)
        kept += properties[start:at]
    return kept, alias
