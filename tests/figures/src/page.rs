//! The part of docs/benchmarks.md that is measured.

use anyhow::{Context as _, Result};

use crate::figure::{BULK, CONNECTS, CPU, DISK, FILLED, Figure, HELD, MEMORY, PACED, PAIRS, SWITCHES, WRITTEN};
use crate::results::{Machine, Results};
use crate::table;

const BEGIN: &str = "<!-- figures:begin (written by `make bench`) -->\n";
const END: &str = "<!-- figures:end -->";

/// Servers that are compared: title, and name in the results.
pub(crate) const SERVERS: [(&str, &str); 4] = [
    ("Godwit", "godwit"),
    ("mosquitto", "mosquitto"),
    ("mosquitto, persistent", "mosquitto-persistent"),
    ("nats-server", "nats-server"),
];
const TLS: [(&str, &str); 2] = [("with TLS", "godwit-tls"), ("without", "godwit")];
const GROWTH: [(&str, &str); 2] = [("full", "godwit-filled"), ("empty", "godwit-empty")];

/// Replaces what stands between the markers.
///
/// # Errors
/// There are no markers.
pub(crate) fn replace(page: &str, text: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no marker figures:begin")?;
    let (_, after) = rest.split_once(END).context("the page has no marker figures:end")?;
    Ok(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

/// All tables.
pub(crate) fn render(results: &Results) -> String {
    let Machine { date, cores, memory_kib, kernel, file_system, versions, rounds } = &results.machine;
    let memory_gib = memory_kib >> 20;
    let bulk: Vec<Figure> = PAIRS.into_iter().chain(BULK).chain([CONNECTS, MEMORY]).chain(PACED).collect();
    let cost: Vec<Figure> = CPU.into_iter().chain(SWITCHES).chain(WRITTEN).collect();
    let growth = [PAIRS[0], BULK[0]];
    [
        format!(
            "{date}; {cores} cores, {memory_gib} GiB, {kernel}, {file_system}; {versions}. Median of {rounds} runs \
             (least to most)."
        ),
        "### Side by side".to_owned(),
        table::compare(results, &SERVERS, &bulk),
        "The disk in the same run, and Godwit's paced latency as a multiple of it:".to_owned(),
        table::list(results, "disk", &DISK) + &multiples(results),
        "![messages per second](plots/pairs.svg)\n![replay and fan-out](plots/bulk.svg)\n\
         ![latency](plots/latency.svg)\n![memory](plots/memory.svg)"
            .to_owned(),
        "### What a message costs the server".to_owned(),
        table::compare(results, &SERVERS, &cost),
        "![processor time](plots/cpu.svg)".to_owned(),
        "### TLS".to_owned(),
        table::compare(results, &TLS, &[PAIRS[0], CPU[0], MEMORY]),
        "### Growth".to_owned(),
        table::list(results, "godwit", &FILLED),
        table::compare(results, &GROWTH, &growth),
        "### Many connections in one process".to_owned(),
        table::list(results, "godwit", &HELD),
    ]
    .map(|part| part.trim_end().to_owned() + "\n")
    .join("\n")
}

/// Rows: paced latency over the disk's.
fn multiples(results: &Results) -> String {
    let row = |(paced, disk): (&Figure, &Figure)| {
        let ratio = paced.of(results, "godwit")?.median / disk.of(results, "disk")?.median;
        Some(format!("| {}, over that | {} |\n", paced.name, crate::figure::number(ratio)))
    };
    PACED.iter().zip(&DISK).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::sample;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = format!("# Title\n{BEGIN}old\n{END}\nend\n");
        let new = replace(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}\nnew\n\n{END}\nend\n"));
        assert_eq!(replace(&new, "new\n").unwrap(), new);
        assert!(replace("# Title\n", "new").is_err());
    }

    #[test]
    fn what_was_measured_is_shown() {
        let text = render(&sample());
        assert!(text.starts_with("2026-01-02; 2 cores, 2 GiB, "), "{text}");
        assert!(text.contains("| 50 pairs, window 8, msg/s | 2,000"), "{text}");
    }
}
