//! What is shown of the broker.

use godwit_broker::BrokerMetrics;
use godwit_broker::counters::{BrokerCounters, BrokerQueues, Protocol, ReasonCounters, RejectCause, Transport};
use godwit_schemas::reason::Reason;

use super::scrape::{Labels, Scrape, label};

pub(super) fn show(metrics: &BrokerMetrics, scrape: &mut Scrape) {
    counters(metrics.counters(), scrape);
    queues(&metrics.queues(), scrape);
}

fn counters(counters: &BrokerCounters, scrape: &mut Scrape) {
    let kinds = Transport::ALL.into_iter().flat_map(|transport| Protocol::ALL.map(|protocol| (transport, protocol)));
    let open = kinds.map(|(transport, protocol)| {
        let labels = vec![("transport", transport.name().to_owned()), ("protocol", protocol.name().to_owned())];
        (labels, counters.open(transport, protocol).get() as f64)
    });
    scrape.gauges(
        "godwit_mqtt_connections",
        "Connections that are open. Protocol none: no CONNECT has come yet",
        open.collect(),
    );
    scrape.counter(
        "godwit_mqtt_accepted_connections_total",
        "Connections that were accepted, before any handshake",
        &counters.accepted,
    );
    let rejected = RejectCause::ALL.map(|cause| (label("cause", cause.name()), counters.rejected(cause).get()));
    scrape.counters(
        "godwit_mqtt_rejected_connections_total",
        "Connections that were closed before their CONNECT, by the limit or the fault that was the cause",
        rejected.into(),
    );
    let logins = [Protocol::V4, Protocol::V5];
    let logins = logins.map(|protocol| (label("protocol", protocol.name()), counters.logins(protocol).get()));
    scrape.counters("godwit_mqtt_logins_total", "Clients that were let in", logins.into());
    scrape.counters(
        "godwit_mqtt_refused_logins_total",
        "CONNECTs that were refused, by reason code",
        by_reason(&counters.refused_logins),
    );
    scrape.counters(
        "godwit_mqtt_closed_connections_total",
        "Connected clients that the server has closed, by reason code",
        by_reason(&counters.closed),
    );
    scrape.counter(
        "godwit_mqtt_dropped_connections_total",
        "Connected clients that were dropped because their socket took nothing for limits.drain_deadline_s",
        &counters.dropped,
    );
    scrape.counter("godwit_mqtt_received_publishes_total", "PUBLISH packets from clients", &counters.publishes);
    scrape.counters(
        "godwit_mqtt_refused_publishes_total",
        "Publishes that were refused, by reason code",
        by_reason(&counters.refused_publishes),
    );
    scrape.counter(
        "godwit_mqtt_dropped_publishes_total",
        "Publishes with QoS 0 that were dropped because the bridge did not keep up",
        &counters.dropped_publishes,
    );
    scrape.counter("godwit_mqtt_sent_publishes_total", "PUBLISH packets to clients", &counters.deliveries);
    scrape.counter("godwit_mqtt_received_bytes_total", "Bytes of MQTT from clients", &counters.bytes_in);
    scrape.counter("godwit_mqtt_sent_bytes_total", "Bytes of MQTT to clients", &counters.bytes_out);
    scrape.counter("godwit_edge_bus_losses_total", "Times at which the link to the bus was lost", &counters.bus_losses);
    scrape.counter(
        "godwit_edge_generations_total",
        "Generations of streams to lanes: one at the start of each lane, and one after each gap",
        &counters.generations,
    );
}

fn queues(queues: &BrokerQueues, scrape: &mut Scrape) {
    scrape.gauge("godwit_mqtt_handshakes", "Clients in a handshake of TLS or WebSocket", queues.handshakes);
    scrape.gauge("godwit_mqtt_unauthenticated_connections", "Connections without CONNACK", queues.unauthenticated);
    scrape.gauge("godwit_mqtt_authenticating_logins", "CONNECTs that a lane is asked about", queues.authenticating);
    scrape.gauge("godwit_mqtt_waiting_logins", "CONNECTs that wait for limits.logins_max", queues.waiting_logins);
    scrape.gauge(
        "godwit_mqtt_failed_login_networks",
        "Networks with failed logins of the last ten minutes",
        queues.failed_networks,
    );
    let lanes = || (0..).zip(&queues.lanes).map(|(lane, queue): (u32, _)| (label("lane", lane), queue));
    scrape.gauges(
        "godwit_edge_waiting_batches",
        "Batches of frames that wait for a lane",
        lanes().map(|(lane, queue)| (lane, queue.batches as f64)).collect(),
    );
    scrape.gauges(
        "godwit_edge_on_the_way_bytes",
        "Bytes of frames that were sent to a lane and that it has not taken",
        lanes().map(|(lane, queue)| (lane, queue.bytes_on_the_way as f64)).collect(),
    );
}

/// All codes are shown, also those that have not occurred: a rate needs the zero before.
fn by_reason(counters: &ReasonCounters) -> Vec<(Labels, u64)> {
    let refusals = Reason::ALL.iter().filter(|reason| !reason.is_success());
    refusals.map(|reason| (label("reason", reason), counters.get(*reason))).collect()
}
