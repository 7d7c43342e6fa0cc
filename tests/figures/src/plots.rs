//! Which plots there are.

use crate::figure::{BULK, CPU, DISK, Figure, MEMORY, PACED, PAIRS};
use crate::page::SERVERS;
use crate::plot::{Bar, Group, Plot};
use crate::results::Results;

/// File name and content of each. Those of which nothing was measured are left out.
pub(crate) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let pairs = plot(results, "Messages delivered per second: more is better", "msg/s", &PAIRS);
    let bulk = plot(results, "Replay and fan-out, messages per second: more is better", "msg/s", &BULK);
    let mut latency = plot(results, "Publish to delivery at 5,000 msg/s: less is better", "ms", &PACED);
    let of = |disk: &Figure| Some(Bar { series: SERVERS.len(), spread: disk.of(results, "disk")? });
    for (group, disk) in latency.groups.iter_mut().zip(&DISK) {
        group.bars.extend(of(disk));
    }
    latency.series.push("the disk: one synced write");
    let memory = plot(results, "Memory of an idle connection: less is better", "bytes", &[MEMORY]);
    let cpu = plot(results, "Server's processor time per message: less is better", "us", &CPU[..5]);
    let all =
        [("pairs.svg", pairs), ("bulk.svg", bulk), ("latency.svg", latency), ("memory.svg", memory), ("cpu.svg", cpu)];
    all.into_iter().filter(|(_, plot)| plot.has_bars()).map(|(name, plot)| (name, plot.svg())).collect()
}

fn plot(results: &Results, title: &'static str, unit: &'static str, figures: &[Figure]) -> Plot {
    let group = |figure: &Figure| {
        let servers = SERVERS.iter().enumerate();
        let bar =
            |(series, (_, server)): (usize, &(_, &str))| Some(Bar { series, spread: figure.of(results, server)? });
        Group { name: figure.name, bars: servers.filter_map(bar).collect() }
    };
    let series = SERVERS.iter().map(|(title, _)| *title).collect();
    Plot { title, unit, series, groups: figures.iter().map(group).collect() }
}
