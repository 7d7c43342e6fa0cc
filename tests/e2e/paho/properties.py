"""What a sender says beside the body reaches raw readers, readers of events, and history, and is bounded."""

from phone import ACCOUNTS, Phone
from protobuf import decode, encode, first

alice, bob, tablet = ACCOUNTS
USER = [("b", "1"), ("a", "2"), ("b", "3")]
TOLD = {
    "PayloadFormatIndicator": 1,
    "ContentType": "text/plain",
    "ResponseTopic": "send/1",
    "CorrelationData": b"\0c",
    "UserProperty": USER,
}
PROPERTIES = 12


def check_raw(message):
    said = message.properties
    assert said.PayloadFormatIndicator == 1 and said.ContentType == "text/plain"
    assert said.ResponseTopic == "send/1" and said.CorrelationData == b"\0c"
    assert said.UserProperty[:-1] == [*USER, ("from", "alice")] and said.UserProperty[-1][0] == "seq"


def check_told(message):
    told = decode(first(message, PROPERTIES))
    users = [decode(user) for user in told[5]]
    assert (told[1], told[2], told[3], told[4]) == ([1], [b"text/plain"], [b"send/1"], [b"\0c"])
    assert [(first(user, 1).decode(), first(user, 2).decode()) for user in users] == USER


def next_message():
    """The next message that comes as an event."""
    while 1 not in (event := decode(events.next_on("inbox").payload)):
        pass
    return decode(first(event, 1))


sender, raw, events = Phone(alice), Phone(bob), Phone(tablet)
raw.subscribe("inbox/#")
events.subscribe("inbox")
events.subscribe("rpc")

# Small, large enough to be kept apart from the inboxes, and to the conversation that has been opened.
assert sender.publish("to/bob", "hello", **TOLD) == 0
message = raw.next()
check_raw(message)
conversation = message.topic.removeprefix("inbox/")
assert sender.publish(f"send/{conversation}", "x" * 5000, **TOLD) == 0
check_raw(raw.next())
for body in [b"hello", b"x" * 5000]:
    message = next_message()
    assert first(message, 5) == body
    check_told(message)

# Whoever says nothing has nothing added.
assert sender.publish("to/bob", "plain") == 0
message = raw.next()
assert [name for name, _ in message.properties.UserProperty] == ["from", "seq"]
assert not hasattr(message.properties, "PayloadFormatIndicator")
assert PROPERTIES not in next_message()

# History has it as well.
events.client.publish("rpc", encode((1, 7), (22, encode((1, int(conversation))))), qos=1)
history = decode(events.next_on("rpc").payload)
assert first(history, 2) == 0, history
messages = [decode(first(event, 1)) for event in map(decode, history.get(11, [])) if 1 in event]
assert [first(message, 5) for message in messages] == [b"plain", b"x" * 5000, b"hello"], history
check_told(messages[1])
check_told(messages[2])

# Bounds, and what would be taken for the server's word.
assert sender.publish("to/bob", b"\xff", PayloadFormatIndicator=1) == 0x99
assert sender.publish("to/bob", "x", UserProperty=[("k", "v")] * 33) == 0x97
assert sender.publish("to/bob", "x", ContentType="x" * 5000) == 0x97
assert sender.publish("to/bob", "x", UserProperty=[("from", "carol")]) == 0x83
assert sender.publish("to/bob", "x", UserProperty=[("k", "v")] * 32) == 0
assert len(raw.next().properties.UserProperty) == 34
