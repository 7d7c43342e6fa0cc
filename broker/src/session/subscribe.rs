//! SUBSCRIBE and UNSUBSCRIBE: the whole set of filters goes up, and the client is answered when the lane has it.

use std::collections::VecDeque;

use bytes::BytesMut;
use godwit_schemas::bus;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::Session;
use crate::mqtt::codec::Subscription;
use crate::mqtt::{Version, answer, codec};

/// Most unanswered SUBSCRIBEs and UNSUBSCRIBEs; beyond, nothing more is read from the client.
const UNANSWERED_MAX: usize = 16;
/// Most characters of a refused filter that are logged.
const LOGGED: usize = 100;

/// "No subscription existed" in UNSUBACK.
const NONE_EXISTED: u8 = 0x11;

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What the client has asked for.
    filters: Filters,
    last_token: u32,
    /// Answers that wait for the lane, by token, in order.
    unanswered: VecDeque<(u32, Box<[u8]>)>,
}

impl Subscriptions {
    pub(super) fn begin(&mut self, filters: Filters) {
        self.filters = filters;
    }

    pub(super) fn filters(&self) -> Filters {
        self.filters
    }

    pub(super) fn is_full(&self) -> bool {
        self.unanswered.len() >= UNANSWERED_MAX
    }

    /// The lane has this set of filters, and with it all earlier ones.
    pub(super) fn answered(&mut self, token: u32, out: &mut BytesMut) {
        while let Some((waiting, packet)) = self.unanswered.front()
            && *waiting <= token
        {
            out.extend_from_slice(packet);
            self.unanswered.pop_front();
        }
        if self.unanswered.is_empty() {
            self.unanswered = VecDeque::new();
        }
    }

    /// The last Subscribe, if it is not answered.
    pub(super) fn unanswered(&self) -> Option<bus::Subscribe> {
        let (token, _) = self.unanswered.back()?;
        Some(bus::Subscribe { filters: self.filters.bits(), token: *token })
    }
}

impl Session {
    pub(super) fn subscribe(&mut self, packet: Subscription) {
        let mut granted = Filters::NONE;
        let mut codes = Vec::with_capacity(packet.filters.len());
        for (filter, qos) in &packet.filters {
            codes.push(match self.judge(filter, *qos) {
                Ok(filter) => {
                    granted = granted.with(filter);
                    1
                }
                // 3.1.1 has one code for failure.
                Err(_) if self.version == Version::V4 => 0x80,
                Err(reason) => reason.get(),
            });
        }
        let suback = answer::suback(self.version, packet.packet_id, &codes);
        if granted == Filters::NONE {
            self.out.extend_from_slice(&suback);
            return;
        }
        self.change_filters(self.subscriptions.filters.with(granted), suback);
    }

    /// Whether the client may have this filter.
    fn judge(&self, filter: &str, qos: u8) -> Result<Filters, Reason> {
        let reason = match Filters::parse(filter) {
            // The inbox is QoS 1 and nothing in it is dropped.
            Some(_) if qos == 0 => Reason::IMPLEMENTATION_SPECIFIC,
            Some(known) => return Ok(known),
            None if filter.starts_with("$share/") => Reason::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            None if !codec::is_well_formed(filter) => Reason::TOPIC_FILTER_INVALID,
            None => Reason::NOT_AUTHORIZED,
        };
        if let Some(client) = &self.client {
            let filter: String = filter.chars().take(LOGGED).collect();
            let (user, device) = (&client.user, &client.device);
            tracing::info!(%user, %device, ?filter, qos, reason = reason.get(), "refused a subscription");
        }
        Err(reason)
    }

    pub(super) fn unsubscribe(&mut self, packet: Subscription) {
        let mut left = self.subscriptions.filters;
        let mut codes = Vec::with_capacity(packet.filters.len());
        for (filter, _) in &packet.filters {
            let held = Filters::parse(filter).filter(|&filter| left.contains(filter));
            left = left.without(held.unwrap_or_default());
            codes.push(held.map_or(NONE_EXISTED, |_| 0));
        }
        let unsuback = answer::unsuback(self.version, packet.packet_id, &codes);
        self.change_filters(left, unsuback);
    }

    fn change_filters(&mut self, filters: Filters, answer: Vec<u8>) {
        let subscriptions = &mut self.subscriptions;
        subscriptions.last_token = subscriptions.last_token.wrapping_add(1);
        subscriptions.filters = filters;
        subscriptions.unanswered.push_back((subscriptions.last_token, answer.into()));
        let token = subscriptions.last_token;
        if self.attached {
            self.up(&bus::Subscribe { filters: filters.bits(), token });
        }
    }
}
