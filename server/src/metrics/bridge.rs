//! What is shown of the bridge: lanes, committer, and the tasks beside the lanes.

use std::sync::Arc;

use godwit_bridge::audit::AuditMetrics;
use godwit_bridge::metrics::{
    BridgeMetrics, FeedMetrics, LaneMetrics, MediaMetrics, PushAnswer, PushMetrics, RegistrationMetrics,
};
use godwit_metrics::{Counter, Gauge, Histogram};
use godwit_push::Provider;

use super::scrape::{Labels, Scrape, label};

pub(super) fn show(metrics: &BridgeMetrics, scrape: &mut Scrape) {
    messages(&metrics.lanes, scrape);
    lanes(&metrics.lanes, scrape);
    commits(metrics, scrape);
    media(&metrics.media, metrics.waiting_media_calls(), scrape);
    registration(&metrics.registration, metrics.waiting_registrations(), scrape);
    push(&metrics.push, metrics.waiting_push_mails(), scrape);
}

/// What all lanes have counted together.
fn sum(lanes: &[LaneMetrics], counter: fn(&LaneMetrics) -> &Counter) -> Vec<(Labels, u64)> {
    vec![(Labels::new(), lanes.iter().map(|lane| counter(lane).get()).sum())]
}

fn sum_of_gauges(lanes: &[LaneMetrics], gauge: fn(&LaneMetrics) -> &Gauge) -> u64 {
    lanes.iter().map(|lane| gauge(lane).get()).sum()
}

fn messages(lanes: &[LaneMetrics], scrape: &mut Scrape) {
    scrape.counters(
        "godwit_stored_messages_total",
        "Messages that are on disk, each counted once however many recipients it has",
        sum(lanes, |lane| &lane.messages),
    );
    scrape.counters(
        "godwit_repeated_publishes_total",
        "Publishes that were recognised as repetitions of what is on disk",
        sum(lanes, |lane| &lane.repeats),
    );
    scrape.counters(
        "godwit_stored_entries_total",
        "Inbox entries that are on disk: one for each device that is to get a message or a change",
        sum(lanes, |lane| &lane.entries),
    );
    scrape.counters(
        "godwit_acknowledged_entries_total",
        "Inbox entries that devices have acknowledged",
        sum(lanes, |lane| &lane.acknowledged),
    );
    scrape.counters("godwit_read_receipts_total", "Read receipts from devices", sum(lanes, |lane| &lane.reads));
    let delivery: Vec<(Labels, &Histogram)> =
        (0..).zip(lanes).map(|(number, lane): (u32, _)| (label("lane", number), &lane.delivery)).collect();
    scrape.times(
        "godwit_delivery_duration_seconds",
        "From the end of the commit with an entry to its acknowledgement by a device that was connected. One entry of \
         each connection is timed at a time",
        delivery,
    );
    scrape.gauge("godwit_inboxes", "Inboxes with something in them", sum_of_gauges(lanes, |lane| &lane.inboxes));
    scrape.gauge(
        "godwit_inbox_entries",
        "Entries that wait in inboxes, as far as is known in memory",
        sum_of_gauges(lanes, |lane| &lane.inbox_entries),
    );
    scrape.gauge(
        "godwit_inbox_content_bytes",
        "Bytes of content that wait in inboxes, as far as is known in memory",
        sum_of_gauges(lanes, |lane| &lane.inbox_bytes),
    );
    scrape.gauge(
        "godwit_full_inboxes",
        "Inboxes that take nothing more (limits.inbox_entries, limits.inbox_bytes)",
        sum_of_gauges(lanes, |lane| &lane.full_inboxes),
    );
    scrape.gauge(
        "godwit_half_full_inboxes",
        "Inboxes that take nothing more in conversations that their user has not accepted",
        sum_of_gauges(lanes, |lane| &lane.half_full_inboxes),
    );
}

/// A gauge of each lane.
type LaneGauge = (&'static str, &'static str, fn(&LaneMetrics) -> &Gauge);

const LANE_GAUGES: &[LaneGauge] = &[
    ("godwit_lane_waiting_messages", "Messages of other tasks that wait in a lane's queue", |lane| &lane.mailbox),
    ("godwit_lane_sessions", "Devices that a lane has in memory", |lane| &lane.sessions),
    ("godwit_lane_connections", "Connected devices of a lane", |lane| &lane.connections),
    ("godwit_lane_publishes", "Publishes and calls that are carried out and not answered", |lane| &lane.publishes),
    ("godwit_lane_waiting_reads", "Devices whose inboxes are to be read", |lane| &lane.reads_waiting),
    ("godwit_lane_stalled_devices", "Devices whose edge has no room for more", |lane| &lane.stalled),
    ("godwit_lane_waiting_turns", "Users that wait for their turn with work in slices", |lane| &lane.turns),
    ("godwit_lane_http_requests", "Requests over HTTP that wait for a lane's answer", |lane| &lane.http_requests),
    ("godwit_lane_outside_items", "Items that other partitions have not taken in", |lane| &lane.outside),
    ("godwit_lane_presence_changes", "Changes of presence that are to be told", |lane| &lane.presence_changes),
    ("godwit_lane_edges", "Edges that a lane has heard of", |lane| &lane.edges),
    ("godwit_lane_on_the_way_bytes", "Bytes of frames that edges have not taken", |lane| &lane.edge_bytes),
];

fn lanes(lanes: &[LaneMetrics], scrape: &mut Scrape) {
    for (name, help, gauge) in LANE_GAUGES {
        let samples =
            (0..).zip(lanes).map(|(number, lane): (u32, _)| (label("lane", number), gauge(lane).get() as f64));
        scrape.gauges(name, help, samples.collect());
    }
}

fn commits(metrics: &BridgeMetrics, scrape: &mut Scrape) {
    let commits = &metrics.commits;
    scrape.times(
        "godwit_commit_duration_seconds",
        "How long a batch of commits takes; synced: with its fsync",
        vec![(label("synced", true), &commits.synced), (label("synced", false), &commits.buffered)],
    );
    scrape.sizes("godwit_commit_writes", "Rows that a batch of commits writes", &commits.writes);
    scrape.gauge("godwit_waiting_commits", "Commits that wait for the committer, 4 at most", metrics.waiting_commits());
}

fn media(media: &MediaMetrics, waiting: usize, scrape: &mut Scrape) {
    scrape.counter("godwit_media_begun_uploads_total", "Uploads that were begun", &media.uploads_begun);
    scrape.counter("godwit_media_uploads_total", "Uploads that are complete", &media.uploads);
    scrape.counter("godwit_media_uploaded_bytes_total", "Bytes of complete uploads", &media.uploaded_bytes);
    scrape.counter(
        "godwit_media_uploads_over_quota_total",
        "Uploads that were refused because the user has had its share of the day",
        &media.over_quota,
    );
    scrape.counter("godwit_media_downloads_total", "Links to files that were given", &media.downloads);
    scrape.counter(
        "godwit_media_store_failures_total",
        "Requests that the object store did not answer",
        &media.store_failures,
    );
    scrape.gauge("godwit_media_waiting_calls", "Calls about files that wait, 256 at most", waiting);
    scrape.gauge("godwit_media_store_requests", "Requests to the object store under way, 64 at most", &media.at_work);
}

fn registration(registration: &RegistrationMetrics, waiting: usize, scrape: &mut Scrape) {
    scrape.counter("godwit_registration_codes_total", "Codes that were sent on their way", &registration.codes);
    scrape.counter("godwit_registration_verified_total", "Codes that were shown and right", &registration.verified);
    scrape.counter(
        "godwit_registration_wrong_codes_total",
        "Codes that were shown and wrong",
        &registration.wrong_codes,
    );
    scrape.counter(
        "godwit_registration_too_often_total",
        "Requests that were refused because there were too many",
        &registration.too_often,
    );
    scrape.gauge("godwit_registration_waiting_requests", "Requests that wait, 256 at most", waiting);
}

fn push(push: &PushMetrics, waiting: usize, scrape: &mut Scrape) {
    let kinds = Provider::ALL.into_iter().flat_map(|provider| PushAnswer::ALL.map(|answer| (provider, answer)));
    let answers = kinds.map(|(provider, answer)| {
        let labels = vec![("provider", provider.name().to_owned()), ("answer", answer.name().to_owned())];
        (labels, push.answers(provider, answer).get())
    });
    scrape.counters("godwit_push_answers_total", "What push services have answered", answers.collect());
    scrape.gauge("godwit_push_waiting_mails", "What lanes have told the pusher and it has not taken", waiting);
    scrape.gauge("godwit_push_waiting_devices", "Devices that wait to be pushed, push.queue at most", &push.waiting);
    scrape.gauge("godwit_push_recent_devices", "Devices that were pushed in the last ten minutes", &push.dampers);
    scrape.gauge("godwit_push_devices_under_way", "Devices that are being pushed, 256 at most", &push.under_way);
    scrape.counter(
        "godwit_push_rescans_total",
        "How often all registered devices are looked at again because a queue was full",
        &push.rescans,
    );
}

/// `now_ms`: since 1970.
pub(super) fn show_events(feeds: &[(&'static str, Arc<FeedMetrics>)], now_ms: u64, scrape: &mut Scrape) {
    let of_each = |value: fn(&FeedMetrics) -> u64| {
        feeds.iter().map(|(name, feed)| (label("consumer", name), value(feed))).collect::<Vec<_>>()
    };
    let floats =
        |samples: Vec<(Labels, u64)>| samples.into_iter().map(|(labels, value)| (labels, value as f64)).collect();
    scrape.gauges(
        "godwit_events_waiting",
        "Events that wait for a consumer, 65,536 at most",
        floats(of_each(|feed| feed.waiting.get())),
    );
    scrape.counters("godwit_events_told_total", "Events that a consumer has taken", of_each(|feed| feed.told.get()));
    scrape.counters(
        "godwit_events_dropped_total",
        "Events that a consumer did not get: it was too slow, or refused them",
        of_each(|feed| feed.dropped.get()),
    );
    let lag = feeds.iter().map(|(name, feed)| (label("consumer", name), feed.lag_ms(now_ms) as f64 / 1e3));
    scrape.gauges(
        "godwit_events_lag_seconds",
        "Age of the oldest event that a consumer was handed and has not taken",
        lag.collect(),
    );
}

pub(super) fn show_audit(audit: &AuditMetrics, scrape: &mut Scrape) {
    scrape.gauge("godwit_audit_waiting_entries", "Entries that wait to be written, 16,384 at most", &audit.waiting);
    scrape.counter("godwit_audit_entries_total", "Entries that were noted", &audit.noted);
    scrape.counter(
        "godwit_audit_dropped_total",
        "Entries that were dropped: the disk is too slow, or the file cannot be written",
        &audit.dropped,
    );
}
