"""Just enough protobuf, by hand: what a device without a protobuf library needs of schemas/proto/godwit/client.proto."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "conformance"))
from wire import varint  # noqa: E402


def encode(*fields):
    """From pairs of field number and value: an int, a str, bytes, or a message as bytes."""
    made = b""
    for number, value in fields:
        if isinstance(value, int):
            made += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            made += varint(number << 3 | 2) + varint(len(value)) + value
    return made


def decode(data):
    """A dict of the values of each field number: ints and bytes."""
    fields, at = {}, 0

    def read():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = read()
        value = read()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        fields.setdefault(key >> 3, []).append(value)
    return fields


def first(fields, number, default=0):
    """The value of a field that occurs once; absent numbers are zero."""
    return fields.get(number, [default])[0]
