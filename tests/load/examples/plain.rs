//! Measures any MQTT broker that lets everybody in: `plain ADDR` and one of `pairs PAIRS WINDOW`, `paced PAIRS RATE`,
//! `connections COUNT`, `replay MESSAGES`, `fanout MEMBERS WINDOW`.
//! mosquitto needs `max_inflight_messages 0` and `max_queued_messages 0`, and for `paced` `set_tcp_nodelay true`:
//! otherwise Nagle's algorithm holds its PUBACKs back until the next publish. For `pairs` leave that out: it costs
//! mosquitto a quarter of its CPU time per message, and throughput.
//!
//! `SERVER_PID` in the environment names its process, `THREADS` those of the generator.

use std::env;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use godwit_load::{Account, Connections, Control, Fanout, LoadTarget, Paced, Pairs, Replay, TopicStyle, Workload};

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (warmup, duration, body_bytes) = (Duration::from_secs(2), Duration::from_secs(5), 100);
    let [addr, workload @ ..] = &args[..] else { bail!("which address?") };
    let workload = match *workload {
        ["pairs", pairs, window] => {
            Workload::Pairs(Pairs { pairs: pairs.parse()?, window: window.parse()?, body_bytes, warmup, duration })
        }
        ["paced", pairs, rate] => {
            Workload::Paced(Paced { pairs: pairs.parse()?, rate: rate.parse()?, body_bytes, warmup, duration })
        }
        ["connections", count] => {
            Workload::Connections(Connections { count: count.parse()?, subscribe: false, hold: duration })
        }
        ["replay", messages] => {
            Workload::Replay(Replay { messages: messages.parse()?, emptied: 0, senders: 8, body_bytes })
        }
        ["fanout", members, window] => {
            let (members, window) = (members.parse()?, window.parse()?);
            Workload::Fanout(Fanout { members, window, body_bytes, warmup, duration })
        }
        _ => bail!("which workload?"),
    };
    let number = |name| env::var(name).ok().map(|value| value.parse().context(name)).transpose();
    let target = LoadTarget {
        tls: None,
        addr: addr.parse()?,
        style: TopicStyle::Plain,
        accounts: Account::anonymous(workload.accounts_needed()),
        server_pid: number("SERVER_PID")?,
        threads: number("THREADS")?.unwrap_or(1) as usize,
    };
    let report = workload.run(&target, &Control::stderr())?;
    writeln!(io::stdout(), "{report}\n{}", serde_json::to_string(&report)?)?;
    Ok(())
}
