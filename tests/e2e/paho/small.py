"""A client that takes small packets gets every message whose packet fits, to the byte, and hears of no other."""

from phone import ACCOUNTS, Phone

alice, bob = ACCOUNTS

sender = Phone(alice)
# inbox/NN, an identifier, user properties `from` and `seq`: a few bytes beside a body.
BODIES = range(1, 121)
receiver = Phone(bob)
receiver.subscribe("inbox/#")
beside = None
for length in BODIES:
    assert sender.publish("to/bob", "x" * length) == 0
for length in BODIES:
    message = receiver.delivery()
    assert len(message.payload) == length
    # Type and length, topic, identifier, length of the properties, properties.
    place = message.properties.UserProperty
    properties = sum(5 + len(name) + len(value) for name, value in place)
    beside = 2 + 2 + len(message.topic) + 2 + 1 + properties
    if length == 1:
        smallest = beside
receiver.hang_up()

for limit in (smallest + 10, smallest + 60, 127):
    receiver = Phone(bob, MaximumPacketSize=limit)
    arrived = []
    receiver.subscribe("inbox/#")
    receiver.settle()
    while not receiver.messages.empty():
        arrived.append(len(receiver.messages.get().payload))
    # `seq` grows by a digit or two.
    largest = max(arrived)
    assert arrived == list(range(1, largest + 1)), (limit, arrived)
    assert largest >= limit - beside, (limit, largest, beside)
    receiver.hang_up()
