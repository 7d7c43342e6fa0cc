"""A client that asks for QoS 0, as libraries do unless they are told otherwise, loses nothing."""

from phone import ACCOUNTS, Phone

alice, bob = ACCOUNTS

sender, receiver = Phone(alice), Phone(bob)
receiver.client.subscribe("inbox/#")
_, reasons = receiver.take(receiver.subscribed, "SUBACK")
assert reasons[0].value == 1, reasons
assert sender.publish("to/bob", "first") == 0
assert receiver.delivery().payload == b"first"
receiver.hang_up()
assert sender.publish("to/bob", "second") == 0
receiver = Phone(bob)
assert [receiver.body(), receiver.body()] == ["first", "second"]
