//! Whole exchanges with a broker that errs: what it does must be seen, and must not be seen when it errs not.

use std::sync::Arc;

use super::*;
use crate::faulty::{Fault, start};
use crate::target::{Account, TopicStyle};
use crate::violation::Violations;

const CLOSED: Drive = Drive::Closed { window: 4 };

fn plan(target: &LoadTarget, drive: Drive) -> Plan {
    let channel = |n: usize| Channel {
        sender: 2 * n,
        topic: target.topic(2 * n + 1),
        receivers: vec![(2 * n + 1, target.filter(2 * n + 1))],
    };
    Plan {
        title: "test".into(),
        channels: (0..3).map(channel).collect(),
        drive,
        body_bytes: 100,
        warmup: Duration::ZERO,
        duration: Duration::from_millis(200),
        drain: Duration::from_millis(200),
    }
}

fn run_against(fault: Fault, drive: Drive) -> Result<MessagesReport> {
    let (addr, accounts) = (start(fault), Account::anonymous(6));
    let server_pid = Some(std::process::id());
    let target = LoadTarget { addr, tls: None, style: TopicStyle::Plain, accounts, server_pid, threads: 2 };
    run(&target, &plan(&target, drive), &Control::new(|_| {}))
}

/// The kinds of violations there were.
fn kinds(fault: Fault) -> Vec<&'static str> {
    let report = run_against(fault, CLOSED).unwrap();
    let Violations { lost, duplicated, reordered, misrouted, damaged } = report.violations;
    let all = [
        (lost, "lost"),
        (duplicated, "duplicated"),
        (reordered, "reordered"),
        (misrouted, "misrouted"),
        (damaged, "damaged"),
        (report.unacknowledged, "unacknowledged"),
    ];
    assert_eq!(report.is_clean(), all.iter().all(|(count, _)| *count == 0));
    all.into_iter().filter(|(count, _)| *count > 0).map(|(_, kind)| kind).collect()
}

#[test]
fn every_fault_is_seen_as_what_it_is() {
    assert!(kinds(Fault::Nothing).is_empty());
    assert_eq!(kinds(Fault::Lose), ["lost"]);
    assert_eq!(kinds(Fault::Double), ["duplicated"]);
    assert!(kinds(Fault::Swap).contains(&"reordered"));
    assert_eq!(kinds(Fault::Damage), ["lost", "damaged"]);
    assert_eq!(kinds(Fault::Misroute), ["misrouted"]);
    assert_eq!(kinds(Fault::Withhold), ["unacknowledged"]);
}

#[test]
fn an_open_loop_sends_exactly_what_is_due() {
    let report = run_against(Fault::Nothing, Drive::Open { per_second: 5000.0 }).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.published, 1000);
    assert_eq!((report.acknowledged.count, report.delivery.count), (1000, 1000));
    assert!(report.lateness.is_some() && report.server.is_some());
}

#[test]
fn a_server_that_does_not_play_along_is_an_error() {
    let error = |fault| format!("{:#}", run_against(fault, CLOSED).unwrap_err());
    let refused = error(Fault::Refuse);
    assert!(refused.contains("refused with code 5: not authorized"), "{refused}");
    let refused = error(Fault::RefuseFilter);
    assert!(refused.contains("subscription to") && refused.contains("is refused"), "{refused}");
    let gone = error(Fault::HangUp);
    assert!(gone.contains("is closed"), "{gone}");
}

#[test]
fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let target = LoadTarget {
        addr,
        tls: None,
        style: TopicStyle::Plain,
        accounts: Account::anonymous(6),
        server_pid: None,
        threads: 1,
    };
    let error = run(&target, &plan(&target, CLOSED), &Control::new(|_| {})).unwrap_err();
    assert!(format!("{error:#}").contains("0 of 6 clients are connected"), "{error:#}");
}

#[test]
fn a_stopped_run_reports_what_it_has() {
    let target = LoadTarget {
        tls: None,
        addr: start(Fault::Nothing),
        style: TopicStyle::Plain,
        accounts: Account::anonymous(6),
        server_pid: None,
        threads: 2,
    };
    let plan = Plan { warmup: Duration::from_millis(20), duration: Duration::from_secs(3600), ..plan(&target, CLOSED) };
    let (told, control) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::<Control>::new()));
    let (seen, handle) = (told.clone(), control.clone());
    control.get_or_init(|| {
        Control::new(move |line| {
            if line.contains("measuring") {
                seen.store(true, Relaxed);
                handle.get().into_iter().for_each(Control::stop);
            }
        })
    });
    let report = run(&target, &plan, control.get().unwrap()).unwrap();
    assert!(told.load(Relaxed) && report.is_clean() && report.seconds < 3600.0, "{report}");
}
