"""Whoever is refused, or closed, hears why: in CONNACK, SUBACK, PUBACK and DISCONNECT."""

import queue

import paho.mqtt.client as mqtt
from phone import ACCOUNTS, SETTING, Phone, properties

[alice] = ACCOUNTS


def told(properties):
    return getattr(properties, "ReasonString", None)


def refused(account):
    """Code and text of a CONNACK that refuses."""
    user, device, password = account
    answers = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
    client.username_pw_set(user, password)
    client.on_connect = lambda _, __, ___, reason, props: answers.put((reason.value, told(props)))
    client.connect(SETTING["host"], SETTING["port"], properties=properties("CONNECT", SessionExpiryInterval=0))
    client.loop_start()
    answer = answers.get(timeout=SETTING["patience_s"])
    client.loop_stop()
    return answer


wrong = (0x86, "no such user and device with this password")
assert refused([alice[0], alice[1], "guess"]) == wrong
assert refused([alice[0], "tablet", "guess"]) == wrong
assert refused(["nobody", "phone", "guess"]) == wrong
assert refused([alice[0], "", alice[2]]) == (0x85, "no client identifier: it names the device")

first = Phone(alice)
subscribed = queue.Queue()
first.client.on_subscribe = lambda _, __, ___, reasons, props: subscribed.put((reasons[0].value, told(props)))
for topic, qos, answer in [
    ("inbox/#", 0, (1, "granted with QoS 1: nothing in an inbox is dropped")),
    ("inbox/#", 1, (1, None)),
    ("live/+", 0, (0, None)),
    ("presence/+", 0, (0, None)),
    ("#", 1, (0x87, "subscribe to inbox, inbox/+, inbox/#, rpc, live/+ or presence/+")),
    ("$share/g/inbox", 1, (0x9E, "shared subscriptions are not supported")),
]:
    first.client.subscribe(topic, qos=qos)
    assert first.take(subscribed, "SUBACK") == answer, topic

first.client.publish("somewhere", "x", qos=1)
_, reason, props = first.take(first.published, "PUBACK")
assert (reason.value, told(props)[:15]) == (0x87, "publish to send"), (reason, props)

ends = queue.Queue()
first.client.on_disconnect = lambda _, __, ___, reason, props: ends.put((reason.value, told(props)))
second = Phone(alice)
taken = (0x8E, "another connection of this device has taken its place")
assert first.take(ends, "the end of the connection") == taken
second.goodbye()
