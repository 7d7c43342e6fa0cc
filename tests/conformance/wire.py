"""Just enough MQTT to change what a suite sends: where a packet ends, and the strings in it. Whatever is malformed stays as
it is: it is what the suite wants to send.
"""

import struct

NAMES = ["", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK"]
NAMES += ["UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"]
CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = range(1, 10)
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(10, 16)


class Malformed(ValueError):
    """Nothing to be changed."""


def varint(number):
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(made + bytes([number]))


def read_varint(data, at):
    """A variable byte integer at `at`, and where it ends."""
    number = 0
    for index in range(4):
        if at + index >= len(data):
            break
        number |= (data[at + index] & 0x7F) << 7 * index
        if data[at + index] < 0x80:
            return number, at + index + 1
    raise Malformed("a variable byte integer")


def string(data, at):
    """A string or binary data at `at`, and where it ends."""
    if at + 2 > len(data):
        raise Malformed("a length")
    end = at + 2 + struct.unpack_from(">H", data, at)[0]
    if end > len(data):
        raise Malformed("a string")
    return data[at + 2 : end], end


def text(value):
    return struct.pack(">H", len(value)) + value


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def split(data):
    """The first whole packet as (first byte, body), and what is behind it; None: it is not all there."""
    if len(data) < 2:
        return None
    try:
        length, at = read_varint(data, 1)
    except Malformed:
        if len(data) < 5:
            return None
        raise
    if len(data) < at + length:
        return None
    return (data[0], data[at : at + length]), data[at + length :]


def kind(first):
    return first >> 4


def is_utf8(value):
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def connect_with(body, user, client_id, password):
    """A CONNECT's body with another client identifier, user name and password, and the version that it asks for. One that
    has a user name of its own, or that does not end where it should, is left alone.
    """
    protocol, at = string(body, 0)
    if protocol != b"MQTT" or len(body) < at + 4:
        raise Malformed("another protocol")
    version, flags = body[at], body[at + 1]
    if version not in (4, 5) or flags & 0xC1:
        raise Malformed("nothing to be changed")
    at += 4
    if version == 5:
        length, at = read_varint(body, at)
        at += length
    head, (named, at) = body[:at], string(body, at)
    if any(byte < 0x20 for byte in named) or not is_utf8(named):
        raise Malformed("a client identifier that is wrong")
    rest = body[at:]
    if not flags & 4 and rest:
        raise Malformed("bytes behind the payload")
    flagged = bytearray(head)
    flagged[len(text(protocol)) + 1] = flags | 0xC0
    name = text(client_id) if named else text(b"")
    return bytes(flagged) + name + rest + text(user) + text(password), version


def publish_to(first, body, topic):
    """A PUBLISH's body with another topic."""
    old, end = string(body, 0)
    if not old or any(byte in b"+#\0" for byte in old):
        raise Malformed("a topic that is wrong")
    old.decode()
    return text(topic) + body[end:]


def filters_as(body, version, filter_, options):
    """A SUBSCRIBE's or UNSUBSCRIBE's body with `filter_` in place of each plain filter."""
    at = 2
    if version == 5:
        length, at = read_varint(body, at)
        at += length
        if at > len(body):
            raise Malformed("properties")
    made = body[:at]
    while at < len(body):
        old, at = string(body, at)
        plain = old and not any(byte in b"+#\0$" for byte in old)
        old.decode()
        made += text(filter_ if plain else old) + body[at : at + options]
        at += options
    return made
