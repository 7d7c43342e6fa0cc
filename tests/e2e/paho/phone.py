"""A phone: one paho-mqtt client whose callbacks end in queues, so that a script reads from top to bottom.

Nothing is acknowledged unless the script says so. Every wait has a deadline.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SETTING = json.loads(sys.argv[1])
V5 = SETTING["version"] == 5
PATIENCE_S = SETTING["patience_s"]
ACCOUNTS = SETTING["accounts"]


def properties(packet, **values):
    """MQTT 5 properties of a packet, or None where the version or the script has none."""
    if not V5 or not values:
        return None
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Phone:
    """Connects at once; `clean` is clean start (5) or clean session (3.1.1)."""

    def __init__(self, account, clean=False, **connect):
        user, device, password = account
        self.name = f"{user}/{device}"
        self.messages, self.connected, self.disconnected = queue.Queue(), queue.Queue(), queue.Queue()
        self.published, self.subscribed = queue.Queue(), queue.Queue()
        self.aside = []
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=device,
            clean_session=None if V5 else clean,
            protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda _, __, flags, reason, ___: self.connected.put((flags, reason))
        self.client.on_disconnect = lambda _, __, flags, reason, ___: self.disconnected.put(reason)
        self.client.on_message = lambda _, __, message: self.messages.put(message)
        self.client.on_publish = lambda _, __, mid, reason, props: self.published.put((mid, reason, props))
        self.client.on_subscribe = lambda _, __, mid, reasons, ___: self.subscribed.put((mid, reasons))
        if V5:
            connect.setdefault("SessionExpiryInterval", 0 if clean else 0xFFFFFFFF)
            terms = {"clean_start": clean, "properties": properties("CONNECT", **connect)}
        else:
            terms = {}
        self.client.connect(SETTING["host"], SETTING["port"], **terms)
        self.client.loop_start()
        flags, reason = self.take(self.connected, "CONNACK")
        assert reason.value == 0, f"{self.name}: {reason}"
        self.session_present = flags.session_present

    def take(self, what, name):
        """The next of a queue."""
        try:
            return what.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"{self.name}: {name} did not come") from None

    def subscribe(self, topic):
        """Subscribes with QoS 1; returns the code of SUBACK."""
        _, mid = self.client.subscribe(topic, qos=1)
        acknowledged, reasons = self.take(self.subscribed, "SUBACK")
        assert acknowledged == mid
        return reasons[0].value

    def settle(self):
        """Everything that the server sent before it took this is here: an answer comes behind it."""
        self.subscribe("inbox/+")

    def publish(self, topic, body, **values):
        """Publishes with QoS 1; returns the code of PUBACK, which is always 0 with MQTT 3.1.1."""
        sent = self.client.publish(topic, body, qos=1, properties=properties("PUBLISH", **values))
        mid, reason, _ = self.take(self.published, "PUBACK")
        assert mid == sent.mid
        return reason.value

    def acknowledge(self, message):
        """PUBACK."""
        self.client.ack(message.mid, message.qos)

    def delivery(self):
        """The next message; not acknowledged."""
        return self.take(self.messages, "a message")

    def next(self):
        """The next message, acknowledged."""
        message = self.delivery()
        self.acknowledge(message)
        return message

    def next_on(self, topic):
        """The next message on this topic, acknowledged; those on others wait for their turn."""
        for at, message in enumerate(self.aside):
            if message.topic == topic:
                return self.aside.pop(at)
        while (message := self.next()).topic != topic:
            self.aside.append(message)
        return message

    def body(self):
        """The next message's body, acknowledged."""
        return self.next().payload.decode()

    def hang_up(self):
        """The connection ends without DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()

    def goodbye(self):
        """The connection ends with DISCONNECT."""
        self.client.disconnect()
        self.take(self.disconnected, "the end of the connection")
        self.client.loop_stop()
