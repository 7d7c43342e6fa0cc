//! `godwit top`: what a server does right now, from its metrics, on one screen that is drawn anew every few seconds. It needs no more
//! of the terminal than the escape sequences that every terminal has. With `--once` it prints one screen and ends.

mod sample;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use godwit_store::time;

use crate::cli::TopArgs;
use crate::exit::{CommandFailure, UNREACHABLE};
use crate::runtime_files::Listeners;
use crate::serve::ProcessRole;
use crate::settings;
use sample::{Change, Sample};

/// Refusals that are shown.
const REFUSALS: usize = 8;
/// The other screen of the terminal, and back to the one before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the first line; and what is behind a line, and below the last one, is cleared.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// What refuses, by the metric that counts it.
const REFUSING: [(&str, &str); 5] = [
    ("godwit_mqtt_refused_logins_total", "logins refused"),
    ("godwit_mqtt_rejected_connections_total", "connections rejected"),
    ("godwit_mqtt_closed_connections_total", "clients closed"),
    ("godwit_mqtt_refused_publishes_total", "publishes refused"),
    ("godwit_push_answers_total", "pushes"),
];

/// Runs until the terminal is closed or Ctrl-C; with `--once` for one interval.
pub(crate) fn run(TopArgs { interval, once, place }: TopArgs) -> Result<(), CommandFailure> {
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let roles = [ProcessRole::Serve, ProcessRole::Bridge, ProcessRole::Broker];
    let read = || {
        let listeners = roles.iter().filter_map(|role| Listeners::read(&settings.data_dir, role.listeners_file()).ok());
        let mut sample = Sample::default();
        for address in listeners.filter_map(|listeners| listeners.metrics) {
            // One of two processes may be away.
            if let Ok(text) = get(&format!("http://{address}/metrics")) {
                sample.add(&text);
            }
        }
        match sample.is_empty() {
            true => {
                let text = format!("no server in {} shows metrics (metrics.listen)", settings.data_dir.display());
                Err(CommandFailure::new(UNREACHABLE, text))
            }
            false => Ok(sample),
        }
    };
    let interval = Duration::from_secs(interval);
    let mut screen = Screen::default();
    let (mut before, mut at) = (read()?, Instant::now());
    if once {
        thread::sleep(interval);
        let change = Change { before: &before, after: &read()?, seconds: at.elapsed().as_secs_f64() };
        return crate::commands::print(screen.lines(&change).join("\n").trim_end());
    }
    if !io::stdout().is_terminal() {
        return Err(CommandFailure::new(crate::exit::USAGE, "this needs a terminal: elsewhere use --once"));
    }
    let _entered = OtherScreen::enter();
    let ended = ended_by_signal()?;
    loop {
        if ended.recv_timeout(interval).is_ok() {
            return Ok(());
        }
        let after = match read() {
            Ok(after) => after,
            Err(_) => {
                draw(&["the server does not answer".to_owned()]);
                continue;
            }
        };
        let change = Change { before: &before, after: &after, seconds: at.elapsed().as_secs_f64() };
        draw(&screen.lines(&change));
        (before, at) = (after, Instant::now());
    }
}

fn get(url: &str) -> Result<String, ureq::Error> {
    ureq::get(url).config().timeout_global(Some(Duration::from_secs(10))).build().call()?.body_mut().read_to_string()
}

/// Told when the user has had enough: the terminal is to be left as it was.
fn ended_by_signal() -> Result<std::sync::mpsc::Receiver<()>, CommandFailure> {
    let (tell, told) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    thread::spawn(move || {
        runtime.block_on(async {
            if let Ok(stop) = crate::stop::on_signal() {
                stop.cancelled().await;
            }
        });
        // The main thread may have ended.
        _ = tell.send(());
    });
    Ok(told)
}

/// The terminal's other screen, until this is dropped.
struct OtherScreen;

impl OtherScreen {
    fn enter() -> Self {
        // Who has closed the terminal sees nothing anyway: here and below.
        _ = write!(io::stdout(), "{ENTER}");
        Self
    }
}

impl Drop for OtherScreen {
    fn drop(&mut self) {
        _ = write!(io::stdout(), "{LEAVE}");
        _ = io::stdout().flush();
    }
}

fn draw(lines: &[String]) {
    let mut text = String::from(HOME);
    for line in lines {
        _ = write!(text, "{line}{CLEAR_LINE}\r\n");
    }
    text.push_str(CLEAR_BELOW);
    _ = io::stdout().write_all(text.as_bytes());
    _ = io::stdout().flush();
}

/// What is shown, and the refusals of late.
#[derive(Default)]
struct Screen {
    refusals: VecDeque<String>,
}

impl Screen {
    fn lines(&mut self, change: &Change) -> Vec<String> {
        let now_s = time::wall().as_secs();
        let clock = format!("{:02}:{:02}:{:02} UTC", now_s / 3_600 % 24, now_s / 60 % 60, now_s % 60);
        let up_s = now_s.saturating_sub(change.now("process_start_time_seconds") as u64);
        let mut lines = vec![
            format!("godwit {}, up {} h {} min, {clock}", crate::VERSION, up_s / 3_600, up_s / 60 % 60),
            String::new(),
        ];
        lines.extend(TRAFFIC.iter().map(|line| line(change)));
        lines.push(String::new());
        self.note_refusals(change, &clock);
        lines.push("refused of late".to_owned());
        lines.extend(self.refusals.iter().map(|line| format!("  {line}")));
        lines
    }

    fn note_refusals(&mut self, change: &Change, clock: &str) {
        for (metric, what) in REFUSING {
            for (labels, grown) in change.grown(metric) {
                // A push that was taken is none.
                if !labels.contains("answer=\"accepted\"") {
                    self.refusals.push_front(format!("{clock}  {grown:>6}  {what}: {labels}"));
                }
            }
        }
        self.refusals.truncate(REFUSALS);
    }
}

/// Lines about what goes on, each from its metrics.
const TRAFFIC: [fn(&Change) -> String; 10] = [
    |it| {
        let [stored, entries, acknowledged, read, repeated] = [
            "godwit_stored_messages_total",
            "godwit_stored_entries_total",
            "godwit_acknowledged_entries_total",
            "godwit_read_receipts_total",
            "godwit_repeated_publishes_total",
        ]
        .map(|name| it.rate(name));
        format!(
            "messages/s   stored {stored:.1}, inbox entries {entries:.1}, acknowledged {acknowledged:.1}, read {read:.1}, \
             repeated {repeated:.1}"
        )
    },
    |it| {
        let open = it.now("godwit_mqtt_connections");
        let [waiting, strangers] =
            ["godwit_mqtt_waiting_logins", "godwit_mqtt_unauthenticated_connections"].map(|name| it.now(name));
        let logins = it.rate("godwit_mqtt_logins_total");
        format!("connections  {open}, logins/s {logins:.1}, logins that wait {waiting}, not logged in {strangers}")
    },
    |it| {
        let [received, sent] =
            ["godwit_mqtt_received_bytes_total", "godwit_mqtt_sent_bytes_total"].map(|name| bytes(it.rate(name)));
        format!("traffic/s    received {received}, sent {sent}")
    },
    |it| {
        let [half, most] = [0.5, 0.99].map(|part| it.quantile("godwit_delivery_duration_seconds", "", part));
        format!("delivery     half within {}, 99 of 100 within {}", seconds(half), seconds(most))
    },
    |it| {
        let [half, most] =
            [0.5, 0.99].map(|part| it.quantile("godwit_commit_duration_seconds", "synced=\"true\"", part));
        let (commits, rows) = (it.rate("godwit_commit_writes_count"), it.rate("godwit_commit_writes_sum"));
        let each = if commits > 0.0 { rows / commits } else { 0.0 };
        format!(
            "commits      {commits:.1}/s of {each:.0} rows, half within {}, 99 of 100 within {}",
            seconds(half),
            seconds(most)
        )
    },
    |it| {
        let [inboxes, entries, full, half_full] =
            ["godwit_inboxes", "godwit_inbox_entries", "godwit_full_inboxes", "godwit_half_full_inboxes"]
                .map(|name| it.now(name));
        let content = bytes(it.now("godwit_inbox_content_bytes"));
        format!("inboxes      {inboxes} with {entries} entries, {content}; full {full}, half full {half_full}")
    },
    |it| {
        let [messages, publishes, reads, stalled, turns] = [
            "godwit_lane_waiting_messages",
            "godwit_lane_publishes",
            "godwit_lane_waiting_reads",
            "godwit_lane_stalled_devices",
            "godwit_lane_waiting_turns",
        ]
        .map(|name| it.now(name));
        format!(
            "lanes        messages that wait {messages}, publishes {publishes}, inboxes to read {reads}, stalled {stalled}, \
             turns {turns}"
        )
    },
    |it| {
        let [tables, log, free, reserve] = [
            "godwit_store_table_bytes",
            "godwit_store_log_bytes",
            "godwit_store_disk_free_bytes",
            "godwit_store_disk_reserve_bytes",
        ]
        .map(|name| bytes(it.now(name)));
        format!("store        {tables}, log {log}, free on the disk {free}, reserve {reserve}")
    },
    |it| {
        let [used, most] = ["godwit_memory_used_bytes", "godwit_memory_limit_bytes"].map(|name| bytes(it.now(name)));
        let (cores, files) = (it.rate("process_cpu_seconds_total"), it.now("process_open_fds"));
        format!("process      memory {used} of {most}, processors {cores:.2}, files {files}")
    },
    |it| {
        let requests = it.rate("godwit_http_requests_total");
        let most = seconds(it.quantile("godwit_http_request_duration_seconds", "", 0.99));
        let (pushes, events) = (it.now("godwit_push_waiting_devices"), it.now("godwit_events_waiting"));
        format!(
            "beside       HTTP {requests:.1}/s, 99 of 100 within {most}; to be pushed {pushes}, events that wait {events}"
        )
    },
];

/// With the largest unit that leaves a digit before the point.
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut units = UNITS.iter().peekable();
    while let Some(unit) = units.next() {
        if value < 1_024.0 || units.peek().is_none() {
            return if *unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1_024.0;
    }
    String::new()
}

/// `None`: nothing was measured.
fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.is_infinite() => "longer than is measured".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_written_for_people() {
        assert_eq!([0.0, 1_023.0, 1_536.0, 5e12].map(bytes), ["0 B", "1023 B", "1.5 KiB", "4.5 TiB"]);
        let shown = [None, Some(0.0025), Some(2.5), Some(f64::INFINITY)].map(seconds);
        assert_eq!(shown, ["-", "2.5 ms", "2.5 s", "longer than is measured"]);
    }

    #[test]
    fn the_last_refusals_are_shown_newest_first() {
        let metric = "godwit_mqtt_refused_logins_total{reason=";
        let sample = |wrong: u32, busy: u32| {
            let mut sample = Sample::default();
            sample.add(&format!("{metric}\"0x86\"}} {wrong}\n{metric}\"0x89\"}} {busy}\n"));
            sample
        };
        let mut screen = Screen::default();
        let [first, second, third] = [sample(1, 0), sample(4, 0), sample(4, 2)];
        screen.note_refusals(&Change { before: &first, after: &second, seconds: 1.0 }, "1");
        screen.note_refusals(&Change { before: &second, after: &third, seconds: 1.0 }, "2");
        let shown: Vec<_> = screen.refusals.iter().map(String::as_str).collect();
        assert_eq!(shown, ["2       2  logins refused: reason=\"0x89\"", "1       3  logins refused: reason=\"0x86\""]);
    }
}
