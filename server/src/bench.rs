//! `godwit-bench`: makes accounts, lets the load generator run, prints what it measured. Any MQTT broker can be the
//! target; then nothing is made.

mod accounts;
mod args;
mod in_process;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use godwit_load::{Account, Control, Disk, LoadTarget, Report, TopicStyle, Workload};

use crate::commands::print;
use crate::exit::{CommandFailure, FAILED, UNREACHABLE, USAGE};
use crate::runtime_files::{AdminNotice, Listeners};
use crate::{settings, stop};
use accounts::LoadAccounts;
pub(crate) use args::BenchArgs;
use args::{Style, Subject, TargetArgs};

const MQTT_PORT: u16 = 1883;

/// Measures, prints, and fails if something that was promised was not kept.
pub(crate) fn run(args: BenchArgs) -> Result<(), CommandFailure> {
    let (subject, target) = args.split();
    let control = Arc::new(Control::stderr());
    stop_on_signal(control.clone())?;
    let report = match (&subject, target.topic_style) {
        (Subject::Disk(disk), _) => run_disk(disk, &target, &control)?,
        (Subject::Within(within), _) => in_process::run(within, &target, &control)?,
        (Subject::Server(workload), Style::Plain) => run_plain(workload, &target, &control)?,
        (Subject::Server(workload), Style::Godwit) => run_godwit(workload, &target, &control)?,
    };
    let json = serde_json::to_string(&report).map_err(anyhow::Error::from)?;
    if !target.json {
        print(&report.to_string())?;
    }
    print(&json)?;
    let broken = || CommandFailure::new(FAILED, "the server did not keep what it promised: see the report");
    report.is_clean().then_some(()).ok_or_else(broken)
}

fn run_disk(disk: &Disk, args: &TargetArgs, control: &Control) -> Result<Report, CommandFailure> {
    let place = args.place();
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    Ok(Report::Disk(disk.run(&settings.data_dir, control)?))
}

fn run_plain(workload: &Workload, args: &TargetArgs, control: &Control) -> Result<Report, CommandFailure> {
    let no_target = || CommandFailure::new(USAGE, "--topic-style plain needs --target");
    let addr = resolve(args.target.as_deref().ok_or_else(no_target)?)?;
    let accounts = Account::anonymous(workload.accounts_needed());
    let (style, tls, server_pid, threads) = (TopicStyle::Plain, args.tls()?, args.pid, args.threads);
    let target = LoadTarget { addr, tls, style, accounts, server_pid, threads };
    Ok(workload.run(&target, control)?)
}

fn run_godwit(workload: &Workload, args: &TargetArgs, control: &Control) -> Result<Report, CommandFailure> {
    let place = args.place();
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let tls = args.tls()?;
    let notice = AdminNotice::read(&settings.data_dir)?;
    let listeners = running(&settings.data_dir);
    let (addr, pid) = match &args.target {
        Some(target) => (resolve(target)?, args.pid),
        None => {
            let listeners =
                listeners.ok_or_else(|| CommandFailure::new(UNREACHABLE, "no server is ready in the data folder"))?;
            let addr = if tls.is_some() { listeners.mqtts } else { listeners.mqtt.first().copied() };
            let addr = addr.ok_or_else(|| CommandFailure::new(UNREACHABLE, "the server has no such MQTT listener"))?;
            (addr, args.pid.or(Some(listeners.pid)))
        }
    };
    workload.allow_open_files()?;
    let accounts = LoadAccounts::make(notice, workload.accounts_needed())?;
    let (style, list, threads) = (TopicStyle::Godwit, accounts.list(), args.threads);
    let target = LoadTarget { addr, tls, style, accounts: list, server_pid: pid, threads };
    let report = workload.run(&target, control);
    if !args.keep_accounts {
        accounts.remove()?;
    }
    Ok(report?)
}

/// The process of this machine that has the MQTT listener.
fn running(data: &Path) -> Option<Listeners> {
    ["listeners.json", "listeners.broker.json"].iter().find_map(|file| Listeners::read(data, file).ok())
}

fn resolve(target: &str) -> Result<SocketAddr, CommandFailure> {
    let host = target.strip_prefix("mqtt://").unwrap_or(target).trim_end_matches('/');
    let found = host.to_socket_addrs().or_else(|_| (host, MQTT_PORT).to_socket_addrs());
    let found = found.ok().and_then(|mut all| all.next());
    found.ok_or_else(|| CommandFailure::new(USAGE, format!("--target {target:?} is not like mqtt://127.0.0.1:1883")))
}

/// Ctrl-C ends the measurement; a second one the program.
fn stop_on_signal(control: Arc<Control>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("listen for signals")?;
    let asked = runtime.block_on(async { stop::on_signal() })?;
    let wait = move || {
        runtime.block_on(asked.cancelled());
        control.stop();
        runtime.block_on(std::future::pending::<()>());
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(|error| anyhow!(error))?;
    Ok(())
}
