"""Never more unacknowledged deliveries than the client's Receive Maximum, and all of them in order in the end."""

from phone import ACCOUNTS, Phone

alice, bob = ACCOUNTS
WINDOW, MESSAGES = 3, 20

sender = Phone(alice)
receiver = Phone(bob, ReceiveMaximum=WINDOW)
receiver.subscribe("inbox/#")
for number in range(MESSAGES):
    assert sender.publish("to/bob", str(number)) == 0

held, received = [], []
while len(received) + len(held) < MESSAGES:
    held.append(receiver.delivery())
    receiver.settle()
    assert len(held) + receiver.messages.qsize() <= WINDOW
    if len(held) == WINDOW:
        for message in held:
            receiver.acknowledge(message)
            received.append(message.payload.decode())
        held = []
received += [message.payload.decode() for message in held]
assert received == [str(number) for number in range(MESSAGES)]
assert receiver.messages.empty()
