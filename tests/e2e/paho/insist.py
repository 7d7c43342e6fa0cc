"""Everything is published at once, by a client that connects again by itself; a line for each message that is acknowledged."""

import threading

import paho.mqtt.client as mqtt
from phone import ACCOUNTS, SETTING, V5, properties

user, device, password = ACCOUNTS[0]
MESSAGES, QOS = SETTING["messages"], SETTING["qos"]
done = threading.Event()
acknowledged = set()


def on_publish(_, __, mid, reason, ___):
    assert reason.value == 0, reason
    acknowledged.add(mid)
    print(len(acknowledged), flush=True)
    if len(acknowledged) == MESSAGES:
        done.set()


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=device,
    clean_session=None if V5 else False,
    protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
)
client.username_pw_set(user, password)
client.on_publish = on_publish
client.reconnect_delay_set(1, 1)
# As many as the application likes.
client.max_inflight_messages_set(0)
terms = {"clean_start": False, "properties": properties("CONNECT", SessionExpiryInterval=3600)} if V5 else {}
client.connect(SETTING["host"], SETTING["port"], **terms)
for number in range(MESSAGES):
    client.publish("to/bob", str(number), qos=QOS)
client.loop_start()
assert done.wait(4 * SETTING["patience_s"]), f"{len(acknowledged)} of {MESSAGES} were acknowledged"
client.disconnect()
client.loop_stop()
