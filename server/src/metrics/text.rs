//! A scrape as text, in the format that whoever scrapes asks for: Prometheus' own, or OpenMetrics 1.0.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use godwit_metrics::HistogramReading;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::scrape::{Family, Labels, Samples, Scrape};

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Text of version 0.0.4, which every Prometheus reads.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a request prefers (RFC 9110, section 12.5.1). Who does not say so gets Prometheus' own.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> = accepted.flat_map(|value| value.split(',')).map(weight).collect();
        let best = |wanted: &dyn Fn(&str) -> bool| {
            ranges.iter().filter(|(media, _)| wanted(media)).map(|(_, weight)| *weight).fold(0.0, f32::max)
        };
        let open = best(&|media| media == "application/openmetrics-text");
        let plain = best(&|media| matches!(media, "text/plain" | "text/*" | "*/*"));
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes a scrape.
    pub(super) fn write(self, scrape: Scrape) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut written = String::new();
        match self {
            Self::Prometheus => prometheus_text::encode(&mut written, &registry)?,
            Self::OpenMetrics => text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }
}

/// A range of media types without its parameters, and its weight.
fn weight(range: &str) -> (&str, f32) {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |weight| weight.parse().ok());
    (media, weight.unwrap_or(0.0))
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let (name, unit) = parts(self.name);
        let kind = match self.samples {
            Samples::Counters(_) | Samples::Seconds(_) => MetricType::Counter,
            Samples::Gauges(_) => MetricType::Gauge,
            Samples::Histograms(..) => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(name, self.help, unit.as_ref(), kind)?;
        match &self.samples {
            Samples::Counters(samples) => {
                each(&mut metric, samples, |metric, value| metric.encode_counter::<NoLabelSet, u64, f64>(value, None))
            }
            Samples::Seconds(seconds) => metric.encode_counter::<NoLabelSet, f64, f64>(seconds, None),
            Samples::Gauges(samples) => each(&mut metric, samples, |metric, value| metric.encode_gauge(value)),
            Samples::Histograms(samples, scale) => each(&mut metric, samples, |metric, reading| {
                let HistogramReading { buckets, sum } = reading;
                let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 / scale);
                let buckets: Vec<_> = buckets.iter().map(|(most, count)| (bound(*most), *count)).collect();
                metric.encode_histogram::<NoLabelSet>(*sum as f64 / scale, reading.count(), &buckets, None)
            }),
        }
    }
}

/// Encodes each sample under its labels.
fn each<T>(
    metric: &mut MetricEncoder,
    samples: &[(Labels, T)],
    encode: impl Fn(&mut MetricEncoder, &T) -> fmt::Result,
) -> fmt::Result {
    samples.iter().try_for_each(|(labels, value)| match &labels[..] {
        [] => encode(metric, value),
        _ => encode(&mut metric.encode_family(labels)?, value),
    })
}

/// A full name without its type and its unit, and the unit.
fn parts(name: &str) -> (&str, Option<Unit>) {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
    let of_unit = units.into_iter().find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, Some(unit))));
    of_unit.unwrap_or((name, None))
}

#[cfg(test)]
mod tests {
    use godwit_metrics::Histogram;

    use super::*;
    use crate::metrics::scrape::label;

    fn scrape() -> Scrape {
        let mut scrape = Scrape::default();
        scrape.counters("godwit_received_bytes_total", "Bytes.", vec![(Labels::new(), 7)]);
        scrape.gauges("godwit_things", "Things.", vec![(label("kind", "a\"b"), 1.5)]);
        let histogram = Histogram::new(&[1_000]);
        [500, 2_000_000].into_iter().for_each(|micros| histogram.observe(micros));
        scrape.times("godwit_wait_seconds", "Waits.", vec![(Labels::new(), &histogram)]);
        scrape
    }

    #[test]
    fn a_scrape_is_written_in_prometheus_own_format() {
        let text = Format::Prometheus.write(scrape()).expect("written");
        let expected = "# HELP godwit_received_bytes_total Bytes.\n# TYPE godwit_received_bytes_total counter\n\
            godwit_received_bytes_total 7\n# HELP godwit_things Things.\n# TYPE godwit_things gauge\n\
            godwit_things{kind=\"a\\\"b\"} 1.5\n# HELP godwit_wait_seconds Waits.\n\
            # TYPE godwit_wait_seconds histogram\ngodwit_wait_seconds_bucket{le=\"0.001\"} 1\n\
            godwit_wait_seconds_bucket{le=\"+Inf\"} 2\ngodwit_wait_seconds_sum 2.0005\ngodwit_wait_seconds_count 2\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn openmetrics_says_the_unit_and_ends() {
        let text = Format::OpenMetrics.write(scrape()).expect("written");
        for line in [
            "# TYPE godwit_received_bytes counter",
            "# UNIT godwit_received_bytes bytes",
            "godwit_received_bytes_total 7",
            "# UNIT godwit_wait_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn who_scrapes_chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
            q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/html, */*;q=0.8"), Format::Prometheus),
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text; q=0, text/plain"), Format::Prometheus),
            (Some("application/openmetrics-text; q=0.2, text/plain"), Format::Prometheus),
            (Some("application/openmetrics-text; q=x"), Format::Prometheus),
        ] {
            let headers = accept.map(|accept| (ACCEPT, accept.parse().expect("a header"))).into_iter().collect();
            assert_eq!(Format::wanted(&headers), format, "{accept:?}");
        }
    }
}
