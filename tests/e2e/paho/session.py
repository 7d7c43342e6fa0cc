"""A session is resumed with what came meanwhile, in order; and what was not acknowledged comes again."""

from phone import ACCOUNTS, Phone

alice, bob = ACCOUNTS

first = Phone(bob)
assert not first.session_present
assert first.subscribe("inbox/#") == 1
first.goodbye()

sender = Phone(alice)
sent = [str(number) for number in range(300)]
for body in sent:
    assert sender.publish("to/bob", body) == 0

# No SUBSCRIBE: the session has it.
second = Phone(bob)
assert second.session_present
assert [second.body() for _ in sent[:100]] == sent[:100]
held = [second.delivery() for _ in range(3)]
assert [message.payload.decode() for message in held] == sent[100:103]
second.settle()
second.hang_up()

third = Phone(bob)
assert third.session_present
again = [third.delivery() for _ in range(3)]
assert [(message.payload.decode(), message.dup) for message in again] == [(body, True) for body in sent[100:103]]
for message in again:
    third.acknowledge(message)
assert [third.body() for _ in sent[103:]] == sent[103:]
third.goodbye()

# A clean start forgets subscriptions, not the inbox.
assert sender.publish("to/bob", "kept") == 0
clean = Phone(bob, clean=True)
assert not clean.session_present
clean.client.publish("to/bob", "note to self", qos=1)
clean.take(clean.published, "PUBACK")
assert clean.messages.empty()
assert clean.subscribe("inbox/#") == 1
assert clean.body() == "kept"
clean.goodbye()

# The clean session ended with its connection.
last = Phone(bob)
assert not last.session_present
