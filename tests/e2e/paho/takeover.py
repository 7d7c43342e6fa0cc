"""A device connects twice: the newer connection stays, and the older one is told why it ends."""

from phone import ACCOUNTS, V5, Phone

alice, bob = ACCOUNTS

sender = Phone(alice)
first = Phone(bob)
first.subscribe("inbox/#")
assert sender.publish("to/bob", "before") == 0
held = first.delivery()

second = Phone(bob)
assert second.session_present
reason = first.take(first.disconnected, "the end of the connection")
assert not V5 or reason.value == 0x8E, reason

again = second.next()
assert (again.payload, again.dup) == (b"before", True)
assert sender.publish("to/bob", "after") == 0
assert second.body() == "after"
assert first.messages.empty()
