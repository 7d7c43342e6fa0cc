"""mqtt5-conformance, a suite in Rust for MQTT 5 (crates/mqtt5-conformance of mqtt-lib): built by cargo in its checkout, run
against the adapter. What Godwit has not it is told as capabilities, and skips.
"""

import pathlib
import re
import subprocess
import tempfile

from adapter import Adapter

SUT = """
name = "godwit"
address = "mqtt://{host}:{port}"

[capabilities]
max_qos = 2
retain_available = false
wildcard_subscription_available = false
subscription_identifier_available = false
shared_subscription_available = false
topic_alias_maximum = 16
server_receive_maximum = 128
maximum_packet_size = 131072
# It reads no further instead.
enforces_inbound_receive_maximum = false
assigned_client_id_supported = false
injected_user_properties = []

[capabilities.transports]
tcp = true
"""

SELF = "who publishes gets no copy of its own message"
RETAIN = "retained messages do not exist"
WILL = "a will is refused with 0x87"
QOS_2 = "deliveries are QoS 1"
UNNAMED = "a device has a name: it is its client identifier"
WILDCARDS = "filters are a closed list"
SHARED = "shared subscriptions are refused with 0x9E"
IDENTIFIERS = "subscription identifiers do not exist"
ONE_INBOX = "a device has one subscription for all its conversations"
LOGIN = "who connects has a user name and a password"
# What the capabilities do not say, by the beginning of a case's name.
NOT_APPLICABLE = {
    "section3_publish::publish_retain": RETAIN,
    "section3_subscribe::retain": RETAIN,
    "section3_publish_advanced::message_expiry_drops_expired_retained": RETAIN,
    "section3_publish_advanced::overlapping_subs_subscription": IDENTIFIERS,
    "section3_publish_advanced::overlapping_subs": WILDCARDS,
    "deferred_ack::deferred_qos2_slot_held_until_pubcomp": QOS_2,
    "deferred_ack::deferred_qos2_zero_quota_still_serves_control_plane": QOS_2,
    "section3_final_conformance::qos2_no_message_expiry_after_publish_sent": QOS_2,
    "section3_qos_ack::server_pubrel_correct_flags": QOS_2,
    "section3_subscribe::suback_grants_requested_qos": QOS_2,
    "section4_qos::error_pubrec_from_subscriber_terminates_qos2_no_pubrel": QOS_2,
    "section4_qos::qos2_server_": QOS_2,
    "section4_qos::qos2_unacknowledged_until_pubrec": QOS_2,
    "section4_qos::server_assigns_nonzero_packet_ids": QOS_2,
    "section3_publish_alias::topic_alias_update_mapping": WILDCARDS,
    "section4_topic::dollar_topics_not_matched_by_root_wildcards": WILDCARDS,
    "section4_topic::multi_level_wildcard_": WILDCARDS,
    "section4_topic::server_delivers_to_matching_subscribers": WILDCARDS,
    "section4_topic::single_level_wildcard_": WILDCARDS,
    "section4_topic::valid_wildcard_filters_accepted": WILDCARDS,
    "section3_connack::connack_assigned_client_id_unique": UNNAMED,
    "section3_connect::connect_empty_client_id_server_assigns": UNNAMED,
    "section3_connect::connect_will_": WILL,
    "section3_connect_extended::will_": WILL,
    "section3_disconnect::disconnect_with_will_": WILL,
    "section3_disconnect::tcp_drop_publishes_will": WILL,
    "section3_connect_extended::password_flag_payload_consistency": LOGIN,
    "section3_connect_extended::username_flag_with_username_succeeds": LOGIN,
    "section3_connect_extended::session_not_discarded_while_connected": SELF,
    "section3_unsubscribe::unsubscribe_partial_multi": ONE_INBOX,
    "section4_shared_sub": SHARED,
}


def run(server, folder):
    """Cases, each with its verdict and why."""
    workspace = folder.parents[1]
    build = ["cargo", "build", "--quiet", "--package", "mqtt5-conformance-cli"]
    subprocess.run(build, cwd=workspace, check=True)
    target = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=workspace, check=True, capture_output=True, text=True
    )
    program = pathlib.Path(re.search(r'"target_directory":"([^"]*)"', target.stdout)[1], "debug", "mqtt5-conformance")
    host, port = Adapter(server).address
    with tempfile.TemporaryDirectory() as temporary:
        sut = pathlib.Path(temporary, "sut.toml")
        sut.write_text(SUT.format(host=host, port=port))
        command = [program, "--sut", sut, "--test-threads", "8", "--color", "never"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    whys = dict(re.findall(r"^---- (\S+)(?: \[[^\]]*\])? ----\n(.*?)(?=^---- |^failures:|\Z)", done.stdout, re.M | re.S))
    lines = r"^test (\S+)(?: \[MQTT[^\]]*\])?(?: \[missing: ([^\]]*)\])?\s+\.\.\. (\w+)"
    for path, missing, verdict in re.findall(lines, done.stdout, re.M):
        name = path.rpartition("conformance_tests::")[2]
        why = next((why for start, why in NOT_APPLICABLE.items() if name.startswith(start)), None)
        if missing:
            yield name, "not applicable", f"it needs {missing}"
        elif why:
            yield name, "not applicable", why
        elif verdict == "ok":
            yield name, "passed", ""
        else:
            yield name, "failed", " ".join(whys.get(path, "").split())[:300]
