"""Topic aliases: the server uses those that the client takes, and understands the client's own."""

from phone import ACCOUNTS, Phone, properties

alice, bob = ACCOUNTS

sender = Phone(alice)
receiver = Phone(bob, TopicAliasMaximum=5)
receiver.subscribe("inbox/#")

# Up: the first says what the alias stands for, the others only say the alias.
for number, topic in enumerate(["to/bob", "", ""]):
    assert sender.publish(topic, str(number), TopicAlias=1) == 0

# Down: the same.
messages = [receiver.next() for _ in range(3)]
assert [message.payload.decode() for message in messages] == ["0", "1", "2"]
topics = [(message.topic, message.properties.TopicAlias) for message in messages]
assert topics[0][0].startswith("inbox/"), topics
assert topics[1:] == [("", topics[0][1])] * 2, topics

# Aliases are a connection's: on the next one the topic is said again.
receiver.goodbye()
sender.publish("", "3", TopicAlias=1)
receiver = Phone(bob, TopicAliasMaximum=5)
message = receiver.next()
assert (message.payload, message.topic) == (b"3", topics[0][0])

# Who takes none gets none.
receiver.goodbye()
sender.publish("", "4", TopicAlias=1)
receiver = Phone(bob)
message = receiver.next()
assert (message.payload, message.topic) == (b"4", topics[0][0])
assert not hasattr(message.properties, "TopicAlias")

# An alias that stands for nothing is the end of the connection: "protocol error".
sender.goodbye()
sender = Phone(alice)
sender.client.publish("", "?", qos=1, properties=properties("PUBLISH", TopicAlias=1))
reason = sender.take(sender.disconnected, "the end of the connection")
assert reason.value == 0x82, reason
