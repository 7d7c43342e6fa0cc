//! SUBSCRIBE and UNSUBSCRIBE. Each sends the whole set of filters to the lane, and is answered when the lane has it.

use godwit_schemas::bus;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::{ClientInfo, MqttConnection};
use crate::mqtt::decode::SubscriptionPacket;
use crate::mqtt::{Version, decode, encode};

/// Most characters of a refused filter that are logged.
const LOGGED: usize = 100;

/// "No subscription existed" in UNSUBACK.
const NONE_EXISTED: u8 = 0x11;

/// The text for a filter that is granted with a higher QoS than the client asked for.
const QOS_RAISED: &str = "granted with QoS 1: nothing in an inbox is dropped";

impl MqttConnection {
    /// Handles a SUBSCRIBE.
    ///
    /// # Errors
    /// The reason to close the connection with.
    pub(super) fn handle_subscribe(&mut self, packet: SubscriptionPacket) -> Result<(), Reason> {
        let mut granted = Filters::NONE;
        let mut codes = Vec::with_capacity(packet.filters.len());
        let (mut refused, mut raised) = (None, None);
        for (filter, asked) in &packet.filters {
            codes.push(match grant(filter, *asked) {
                Ok((filter, qos)) => {
                    granted = granted.with(filter);
                    raised = raised.or((qos > *asked).then_some(QOS_RAISED));
                    qos
                }
                Err((reason, text)) => {
                    refused.get_or_insert((filter, reason, text));
                    // 3.1.1 has one code for failure.
                    if self.version == Version::V4 { 0x80 } else { reason.get() }
                }
            });
        }
        if let Some((filter, reason, text)) = refused {
            self.log_refusal(filter, reason, text);
        }
        let details_wanted = self.client.as_ref().is_some_and(|client| client.problem_information);
        let text = refused.map(|(_, _, text)| text).or(raised).filter(|_| details_wanted).unwrap_or_default();
        let suback = encode::suback(self.version, packet.packet_id, &codes, text, self.packet_bytes_max());
        let suback = suback.ok_or(Reason::PACKET_TOO_LARGE)?;
        if granted == Filters::NONE {
            self.out.extend_from_slice(&suback);
        } else {
            self.change_filters(self.subscriptions.filters().with(granted), suback);
        }
        Ok(())
    }

    /// Logs a refused filter: the first one of a packet, which may have thousands.
    fn log_refusal(&self, filter: &str, reason: Reason, why: &str) {
        let Some(ClientInfo { user, device, .. }) = &self.client else { return };
        let filter: String = filter.chars().take(LOGGED).collect();
        tracing::info!(%user, %device, ?filter, %reason, why, "refused a subscription");
    }

    /// Handles an UNSUBSCRIBE.
    ///
    /// # Errors
    /// The reason to close the connection with.
    pub(super) fn handle_unsubscribe(&mut self, packet: SubscriptionPacket) -> Result<(), Reason> {
        let mut left = self.subscriptions.filters();
        let mut codes = Vec::with_capacity(packet.filters.len());
        for (filter, _) in &packet.filters {
            let held = Filters::parse(filter).filter(|&filter| left.contains(filter));
            left = left.without(held.unwrap_or_default());
            codes.push(held.map_or(NONE_EXISTED, |_| 0));
        }
        let unsuback = encode::unsuback(self.version, packet.packet_id, &codes, self.packet_bytes_max());
        self.change_filters(left, unsuback.ok_or(Reason::PACKET_TOO_LARGE)?);
        Ok(())
    }

    /// Tells the lane the new set of filters. `answer` is sent when the lane has it.
    fn change_filters(&mut self, filters: Filters, answer: Vec<u8>) {
        let token = self.subscriptions.change(filters, answer);
        if self.attached {
            self.send_up(&bus::Subscribe { filters: filters.bits(), token });
        }
    }
}

/// The subscription that a filter stands for, and the QoS that is granted; or the reason for which it is refused.
///
/// Inbox and call responses are granted with QoS 1, whatever QoS the client asks for, and SUBACK says so (MQTT 5, 3.9.3: "the maximum
/// QoS sent will be QoS 1"). QoS 0 would lose messages; many clients ask for it by default, hide a refusal, and take QoS 1.
fn grant(filter: &str, asked: u8) -> Result<(Filters, u8), (Reason, &'static str)> {
    const AT_MOST_ONCE: Filters = Filters::LIVE.with(Filters::PRESENCE);
    match Filters::parse(filter) {
        Some(known) if AT_MOST_ONCE.contains(known) => Ok((known, asked.min(1))),
        Some(known) => Ok((known, 1)),
        None if filter.starts_with("$share/") => {
            Err((Reason::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "shared subscriptions are not supported"))
        }
        None if !decode::is_well_formed(filter) => Err((Reason::TOPIC_FILTER_INVALID, "not a topic filter")),
        None => Err((Reason::NOT_AUTHORIZED, "subscribe to inbox, inbox/+, inbox/#, rpc, live/+ or presence/+")),
    }
}
