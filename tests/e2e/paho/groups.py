"""A group's life over rpc, as its members and others see it in `inbox`."""

from phone import ACCOUNTS, V5, Phone
from protobuf import decode, encode, first

MEMBER, OWNER = 0, 2
CREATE, ADD, REMOVE, LEAVE, RENAME, DESCRIBE = 2, 3, 4, 5, 6, 7
OPENED, ADDED, REMOVED, RENAMED = 4, 5, 6, 7

phones = {}
for account in ACCOUNTS:
    phone = Phone(account)
    assert phone.subscribe("inbox") == 1
    assert phone.subscribe("rpc") == 1
    phones["laptop" if account[1] == "laptop" else account[0]] = phone
alice, laptop, bob, carol, dave = phones.values()
everybody = [alice, laptop, bob, carol, dave]


def call(phone, number, *fields):
    """One request; returns the response's reason, conversation and description."""
    call.id += 1
    correlation = f"call {call.id}".encode()
    request = encode((1, call.id), (number, encode(*fields)))
    assert phone.publish("rpc", request, CorrelationData=correlation) == 0
    message = phone.next_on("rpc")
    if V5:
        assert message.properties.CorrelationData == correlation
    response = decode(message.payload)
    assert first(response, 1) == call.id
    assert (first(response, 2) == 0) == (3 not in response), "a refusal says why"
    return first(response, 2), first(response, 4), decode(first(response, 5, b""))


call.id = 0


def event(phone):
    """The next event that is no receipt: its kind, and its fields."""
    while True:
        ((kind, (fields,)),) = decode(phone.next_on("inbox").payload).items()
        if kind != 2:
            return {1: "message", 3: "change", 4: "refusal"}[kind], decode(fields)


def change(phone, sequence, kind):
    """The next event is this change of the group; returns it decoded, or its number, and who did it."""
    what, fields = event(phone)
    assert what == "change", (phone.name, what, fields)
    assert (first(fields, 1), first(fields, 2)) == (group, sequence), (phone.name, fields)
    assert kind in fields, (phone.name, fields)
    value = first(fields, kind)
    return (decode(value) if kind in (OPENED, ADDED) else value), first(fields, 3)


def message(phone, sequence, sender, body):
    """The next event is this message of the group."""
    what, fields = event(phone)
    assert what == "message", (phone.name, what, fields)
    got = (first(fields, 1), first(fields, 2), first(fields, 3), first(fields, 5, b""))
    assert got == (group, sequence, sender, body), (phone.name, got)


def members(opened):
    """Ordinal, name and role of each member."""
    return [(first(it, 1), first(it, 2).decode(), first(it, 3)) for it in map(decode, opened.get(3, []))]


def refused(phone, body):
    """This device may not send to the group."""
    reason = phone.publish(f"send/{group}", body)
    if V5:
        assert reason == 0x87, hex(reason)
        return
    what, fields = event(phone)
    assert (what, first(fields, 2)) == ("refusal", 0x87), (what, fields)


# Made: everybody in it is told, on every device.
reason, group, _ = call(alice, CREATE, (1, "Waders"), (2, "bob"), (2, "carol"))
assert reason == 0 and group != 0
for phone in [alice, laptop, bob, carol]:
    opened, by = change(phone, 1, OPENED)
    assert (first(opened, 1), first(opened, 2), by) == (1, b"Waders", 0)
    assert members(opened) == [(0, "alice", OWNER), (1, "bob", MEMBER), (2, "carol", MEMBER)]

# A message reaches every device but the one that sent it.
assert bob.publish(f"send/{group}", "hello all") == 0
for phone in [alice, laptop, carol]:
    message(phone, 2, 1, b"hello all")

# Who is no member sends nothing and learns nothing; who is no admin changes nothing.
refused(dave, "let me in")
assert call(dave, DESCRIBE, (1, group))[0] == 0x87
assert call(dave, ADD, (1, group), (2, "dave"))[0] == 0x87
assert call(bob, ADD, (1, group), (2, "dave"))[0] == 0x87
assert call(bob, RENAME, (1, group), (2, "Bob's"))[0] == 0x87
assert call(bob, REMOVE, (1, group), (2, "carol"))[0] == 0x87
assert call(alice, ADD, (1, group), (2, "nobody"))[0] == 0x90
assert call(alice, ADD, (1, group), (2, "bob"))[0] == 0x83
assert call(alice, RENAME, (1, group), (2, "x" * 257))[0] == 0x83
assert call(alice, DESCRIBE, (1, group + 64))[0] == 0x90

# Added: the new member sees the group as it is, the others see the new member.
assert call(alice, ADD, (1, group), (2, "dave"))[:2] == (0, group)
opened, _ = change(dave, 3, OPENED)
assert members(opened)[3:] == [(3, "dave", MEMBER)]
for phone in [alice, laptop, bob, carol]:
    added, _ = change(phone, 3, ADDED)
    assert (first(added, 1), first(added, 2)) == (3, b"dave")
assert dave.publish(f"send/{group}", "thanks") == 0
for phone in [alice, laptop, bob, carol]:
    message(phone, 4, 3, b"thanks")

# Renamed.
assert call(alice, RENAME, (1, group), (2, "Godwits"))[0] == 0
for phone in everybody:
    assert change(phone, 5, RENAMED) == (b"Godwits", 0)

# Removed: that is the last that carol sees of it.
assert call(alice, REMOVE, (1, group), (2, "carol"))[0] == 0
for phone in everybody:
    assert change(phone, 6, REMOVED) == (2, 0)
assert bob.publish(f"send/{group}", "is carol gone?") == 0
for phone in [alice, laptop, dave]:
    message(phone, 7, 1, b"is carol gone?")
refused(carol, "still here")
assert alice.publish("to/carol", "sorry") == 0
what, fields = event(carol)
assert what == "change" and first(fields, 1) != group, "only the direct conversation that begins"
assert first(event(carol)[1], 5) == b"sorry"
for phone in [alice, laptop]:
    while event(phone)[0] != ("change" if phone is alice else "message"):
        pass

# Left by the owner: the oldest member inherits.
assert call(alice, LEAVE, (1, group))[0] == 0
for phone in [alice, laptop, bob, dave]:
    assert change(phone, 8, REMOVED) == (0, 0)
refused(alice, "one more thing")
_, _, description = call(bob, DESCRIBE, (1, group))
assert first(description, 2) == b"Godwits"
assert members(description) == [(1, "bob", OWNER), (3, "dave", MEMBER)]
assert call(bob, LEAVE, (1, group))[0] == 0
assert call(bob, DESCRIBE, (1, group))[0] == 0x87
