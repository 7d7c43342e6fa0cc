"""A message that expires at once is for who is there, and does not wait."""

from phone import ACCOUNTS, Phone

alice, bob = ACCOUNTS

receiver = Phone(bob)
receiver.subscribe("inbox/#")
sender = Phone(alice)
assert sender.publish("to/bob", "now", MessageExpiryInterval=0) == 0
message = receiver.next()
assert (message.payload, message.properties.MessageExpiryInterval) == (b"now", 0)
receiver.goodbye()

assert sender.publish("to/bob", "gone", MessageExpiryInterval=0) == 0
assert sender.publish("to/bob", "stays") == 0
receiver = Phone(bob)
assert receiver.session_present
assert receiver.body() == "stays"
