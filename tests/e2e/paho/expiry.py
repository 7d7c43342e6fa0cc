"""A message whose expiry has passed vanishes from the inbox; one that has not says how long it still has."""

import time

from phone import ACCOUNTS, PATIENCE_S, Phone

alice, bob = ACCOUNTS

sender = Phone(alice)
assert sender.publish("to/bob", "short", MessageExpiryInterval=1) == 0
assert sender.publish("to/bob", "long", MessageExpiryInterval=1000) == 0
assert sender.publish("to/bob", "for ever") == 0

# Bob looks again and again without acknowledging, until the short one is not there any more.
begun = time.monotonic()
while True:
    receiver = Phone(bob)
    receiver.subscribe("inbox/#")
    message = receiver.delivery()
    if message.payload == b"long":
        break
    assert message.payload == b"short"
    assert message.properties.MessageExpiryInterval <= 1
    assert time.monotonic() - begun < PATIENCE_S, "the message does not expire"
    receiver.hang_up()
assert time.monotonic() - begun < 10, "it expired long after its time"
receiver.acknowledge(message)
assert 900 < message.properties.MessageExpiryInterval <= 1000
message = receiver.next()
assert message.payload == b"for ever"
assert not hasattr(message.properties, "MessageExpiryInterval")
