"""Mosquitto's packets (test/broker/data): what it sends, and what has to come back, or that the connection has to end.

Of an expected packet are compared its type, packet identifier, reason codes, and of a PUBLISH the payload: properties are
each server's own. Where a connection ends with another reason code than Mosquitto's, that is told and counts as passed.
"""

import itertools
import json
import re
import socket

import wire
from wire import Malformed

PATIENCE_S = 5
# A property of SUBSCRIBE.
SUBSCRIPTION_IDENTIFIER = 0x0B
SELF = "who publishes gets no copy of its own message"
OTHER_TOPICS = "a topic filter that Godwit does not have"
IDENTIFIERS = "CONNACK says that there are no subscription identifiers"
QOS_2 = "deliveries are QoS 1"
WILL = "a will is refused with 0x87"
OLD = "MQTT 3.1 is not spoken"
UNNAMED = "a device has a name: it is its client identifier"
LOGIN = "a name and a password that no device has"
MAY = "a receiver may take control characters and U+FFFF for malformed, and need not (MQTT 5, 1.5.4)"
FORBIDDEN = "the standard forbids it (MQTT-3.3.4-6): closed with 0x82"
ALIASES = "16 aliases are taken, Mosquitto's maximum is 10"
SHARED = "shared subscriptions do not exist: each is refused with 0x9E, whatever its form"
NO_QOS_2 = "deliveries are QoS 1: PUBREC and PUBCOMP answer nothing, and close the connection"
RETAIN = "retained messages do not exist: MQTT 5 is told so in CONNACK, and closed with 0x9A"


class Failed(Exception):
    """Something else came."""


class NotApplicable(Exception):
    """Says why."""


class Case:
    """One case on a connection of its own."""

    def __init__(self, server, accounts, test):
        self.server, self.accounts, self.test = server, accounts, test
        self.version = test.get("ver", 4)
        self.socket = socket.create_connection(server.address, PATIENCE_S)
        self.buffer = b""
        self.closed_with = None
        # What the suite calls a packet that was delivered, and what it is called here.
        self.ids = {}

    def next(self):
        """The next packet; None: the connection has ended."""
        while True:
            if found := wire.split(self.buffer):
                packet, self.buffer = found
                return packet
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self.buffer += data

    def send(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass  # Whether it may have ended, the case says.

    def send_mapped(self, data):
        """Sends packets of the suite: as this server's clients would, where they are well-formed."""
        while data:
            try:
                found = wire.split(data)
            except Malformed:
                found = None
            if not found:
                return self.send(data)
            (first, body), rest = found
            mapped = self.mapped(first, body)
            self.send(data[: len(data) - len(rest)] if mapped == body else wire.packet(first, mapped))
            data = rest
        return None

    def mapped(self, first, body):
        """The body of a packet with this server's names."""
        try:
            match wire.kind(first):
                case wire.CONNECT:
                    user, device, password = self.accounts["subject"]
                    body, self.version = wire.connect_with(body, user, device, password)
                case wire.PUBLISH if first & 6 != 6:
                    body = wire.publish_to(first, body, b"to/other")
                case wire.SUBSCRIBE:
                    body = wire.filters_as(body, self.version, b"inbox/#", 1)
                case wire.UNSUBSCRIBE:
                    body = wire.filters_as(body, self.version, b"inbox/#", 0)
                case wire.PUBACK | wire.PUBREC | wire.PUBCOMP if body[:2] in self.ids:
                    body = self.ids[body[:2]] + body[2:]
        except (Malformed, UnicodeDecodeError, IndexError):
            pass
        return body

    def expect(self, data):
        (first, body), _ = wire.split(data)
        came = self.next()
        if came is None:
            raise Failed(f"closed instead of {name(first, body)}")
        self.compare(first, body, *came)

    def compare(self, first, body, got, said):
        if wire.kind(first) != wire.kind(got):
            raise Failed(f"{name(got, said)} instead of {name(first, body)}")
        match wire.kind(first):
            case wire.CONNACK:
                code, ours = body[1], said[1]
                if (code == 0) != (ours == 0):
                    raise Failed(f"{name(got, said)} instead of {name(first, body)}")
            case wire.DISCONNECT:
                self.closed_with = (body[:1] or b"\0")[0], (said[:1] or b"\0")[0]
            case wire.PUBLISH:
                wanted_topic, wanted = wire.string(body, 0)
                _, at = wire.string(said, 0)
                if first & 6:
                    self.ids[body[wanted : wanted + 2]] = said[at : at + 2]
                    wanted, at = wanted + 2, at + 2
                if self.version == 5:
                    (length, wanted), (ours, at) = wire.read_varint(body, wanted), wire.read_varint(said, at)
                    wanted, at = wanted + length, at + ours
                if body[wanted:] != said[at:]:
                    raise Failed(f"the payload {said[at:]!r} instead of {body[wanted:]!r} on {wanted_topic!r}")
            case wire.SUBACK | wire.UNSUBACK:
                codes, ours = body[2:], said[2:]
                if self.version == 5:
                    codes, ours = codes[1 + codes[0] :], ours[1 + ours[0] :]
                failed = [code >= 0x80 for code in codes], [code >= 0x80 for code in ours]
                if body[:2] != said[:2] or len(codes) != len(ours) or failed[0] != failed[1]:
                    raise Failed(f"{name(got, said)} instead of {name(first, body)}")
            case wire.PUBACK | wire.PUBREC | wire.PUBREL | wire.PUBCOMP:
                code, ours = (body[2:3] or b"\0")[0], (said[2:3] or b"\0")[0]
                # "No matching subscribers" is a success as well.
                if body[:2] != said[:2] or (code >= 0x80) != (ours >= 0x80):
                    raise Failed(f"{name(got, said)} instead of {name(first, body)}")
            case _ if body != said:
                raise Failed(f"{name(got, said)} instead of {name(first, body)}")

    def publish(self, message):
        """Somebody else publishes to the client."""
        if message["qos"] != 1:
            raise NotApplicable(QOS_2)
        user, device, password = self.accounts["other"]
        with socket.create_connection(self.server.address, PATIENCE_S) as other:
            payload = b"".join(wire.text(it) for it in (device, user, password))
            other.sendall(wire.packet(0x10, b"\0\4MQTT\4\xc2\0\x3c" + payload))
            topic = wire.text(b"to/" + self.accounts["subject"][0])
            other.sendall(wire.packet(0x32, topic + b"\0\1" + message["payload"].encode()))
            got = b""
            while len(got) < 8:
                data = other.recv(100)
                if not data:
                    raise Failed("the helper's publish was not acknowledged")
                got += data

    def must_be_closed(self):
        while (came := self.next()) is not None:
            if wire.kind(came[0]) == wire.DISCONNECT:
                self.closed_with = None, (came[1][:1] or b"\0")[0]
                continue
            if wire.kind(came[0]) == wire.CONNACK and came[1][1]:
                continue
            raise Failed(f"{name(*came)}, and it goes on")

    def must_be_open(self):
        self.send(b"\xc0\0")
        came = self.next()
        if came is None:
            raise Failed("closed")
        if wire.kind(came[0]) != wire.PINGRESP:
            raise Failed(f"{name(*came)} instead of PINGRESP")

    def run(self):
        with self.socket:
            if self.test.get("connect", True):
                user, device, password = self.accounts["subject"]
                properties = b"\0" if self.version == 5 else b""
                payload = properties + b"".join(wire.text(it) for it in (device, user, password))
                self.send(wire.packet(0x10, b"\0\4MQTT" + bytes([self.version]) + b"\xc2\0\x3c" + payload))
                came = self.next()
                if came is None or wire.kind(came[0]) != wire.CONNACK or came[1][1]:
                    raise Failed(f"no welcome: {came}")
            for message in self.test["msgs"]:
                match message["type"]:
                    case "send":
                        self.send_mapped(bytes.fromhex(message["payload"].replace(" ", "")))
                    case "recv":
                        self.expect(bytes.fromhex(message["payload"].replace(" ", "")))
                    case "publish":
                        self.publish(message)
            if self.test.get("expect_disconnect", True):
                self.must_be_closed()
            else:
                self.must_be_open()
        theirs, ours = self.closed_with or (None, None)
        return f"closed with 0x{ours:02x} where it says 0x{theirs:02x}" if theirs and theirs != ours else ""


def name(first, body):
    return f"{wire.NAMES[wire.kind(first)]} [{first:02x} {body[:24].hex(' ')}]"


# By what a case is called.
BY_NAME = [
    (r"(U\+|0x)(0001|001F|007F|009F|FFFF)\b", MAY),
    (r"^PUBLISH: v5.0 PUBLISH ALLOWED PROPERTIES: subscription-identifier", FORBIDDEN),
    (r"topic alias > max topic alias", ALIASES),
    (r"82 shared sub", SHARED),
]


def why_not(case, test):
    """Why a case does not concern Godwit; None: it does."""
    named = next((why for pattern, why in BY_NAME if re.search(pattern, case)), None)
    if named:
        return named
    if re.match("PUB(REC|COMP): ", case) and not test.get("expect_disconnect", True):
        return NO_QOS_2
    sent = [bytes.fromhex(it["payload"].replace(" ", "")) for it in test["msgs"] if it["type"] == "send"]
    goes_on = not test.get("expect_disconnect", True)
    received = [bytes.fromhex(it["payload"].replace(" ", "")) for it in test["msgs"] if it["type"] == "recv"]
    welcomed = any(it[:1] == b"\x20" and it[3:4] == b"\0" for it in received)
    if test.get("ver") == 3 or (b"MQIsdp" in b"".join(sent) and welcomed):
        return OLD
    refused = [it for it in received if it[0] >> 4 == wire.DISCONNECT or (it[0] >> 4 == wire.CONNACK and it[3])]
    # What is malformed is so with any name, and by whomever it is said.
    for data in sent if goes_on or len(refused) < len(received) else []:
        why = why_not_packet(data, test.get("ver", 4), received)
        if why:
            return why
    return None


def why_not_packet(data, version, received):
    try:
        found = wire.split(data)
        if not found:
            return None
        (first, body), _ = found
        match wire.kind(first):
            case wire.CONNECT:
                _, at = wire.string(body, 0)
                flags = body[at + 1]
                if flags & 4:
                    return WILL
                if flags & 0xC0:
                    return LOGIN
                at += 4
                if body[6] == 5:
                    length, at = wire.read_varint(body, at)
                    at += length
                if not wire.string(body, at)[0]:
                    return UNNAMED
            case wire.PUBLISH:
                if first & 1 and version == 5:
                    return RETAIN
                if any(it[0] >> 4 == wire.PUBLISH for it in received):
                    return SELF
            case wire.SUBSCRIBE:
                at = 2
                if version == 5:
                    length, at = wire.read_varint(body, at)
                    if length and body[at] == SUBSCRIPTION_IDENTIFIER:
                        return IDENTIFIERS
                    at += length
                while at < len(body):
                    topic, at = wire.string(body, at)
                    if any(byte in b"#+$" for byte in topic):
                        return OTHER_TOPICS
                    at += 1
    except (Malformed, IndexError):
        pass
    return None


def run(server, folder):
    """Cases, each with its verdict and why."""

    def account(user):
        return user.encode(), b"phone", server.add_user(user, "phone").encode()

    numbers = itertools.count(1)
    accounts = {user: account(user) for user in ("subject", "other")}
    for path in sorted(folder.glob("*.json")):
        for group in json.loads(path.read_text()):
            for test in group["tests"]:
                case = f"{path.stem}: {' '.join(group['group'].split())}: {test['name']}"
                why = "switched off by its authors" if group.get("disable") else why_not(case, test)
                if why:
                    yield case, "not applicable", why
                    continue
                if any(message["type"] == "publish" for message in test["msgs"]):
                    # Nothing of an earlier case is to wait in its inbox.
                    accounts["subject"] = account(f"subject{next(numbers)}")
                yield case, *judged(Case(server, accounts, test))
                if not server.is_alive():
                    raise SystemExit(f"the server has ended in {case}")


def judged(case):
    try:
        return "passed", case.run()
    except NotApplicable as why:
        return "not applicable", str(why)
    except (Failed, Malformed) as why:
        return "failed", str(why)
    except TimeoutError:
        return "failed", "nothing comes, and it is not closed"
