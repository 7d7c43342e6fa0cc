//! Apps that are killed, by SIGKILL, at any moment, with a server that is killed too: then every message is everywhere
//! exactly once and in order, and all ticks are right.
//!
//! An app is this test program once more, told by a variable to be one. It sends numbered messages, writes what it is
//! told to a file of its own, confirms it, and reads what it received. When it is told to finish it goes on until every
//! message it ever sent has three ticks, says so in its file, and ends.
//!
//! `GODWIT_SDK_S` is how long kills go on (10 s), `GODWIT_SDK_SEED` what chance begins with.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use godwit_client::ids::ConversationId;
use godwit_client::{Client, Event, Recipient, SendState};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::proxy::{Proxy, Weather};
use super::{builder, soon, user};
use crate::server::{Account, Server};
use crate::soak::{Random, variable};
use crate::until;

const APP: &str = "GODWIT_TEST_APP";
const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// Of all ticks, when the kills are over.
const FINISH: Duration = Duration::from_secs(120);

/// What an app is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Orders {
    address: String,
    user: String,
    password: String,
    folder: PathBuf,
    group: u64,
}

impl Orders {
    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.user))
    }

    fn finish(&self) -> PathBuf {
        self.folder.join("finish")
    }
}

/// Not a test of its own: what the program does as an app. Without orders it does nothing.
#[test]
fn app() {
    let Ok(orders) = env::var(APP) else { return };
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(run(&orders));
}

async fn run(orders: &Orders) {
    let account = Account { user: orders.user.clone(), device: "phone".to_owned(), password: orders.password.clone() };
    let store = orders.folder.join(format!("{}.sqlite", orders.user));
    let client = builder(&orders.address, &account).sqlite(store).patience(Duration::from_secs(2));
    let client = client.open().await.expect("it opens");
    let mut log = OpenOptions::new().create(true).append(true).open(orders.log()).expect("a file");
    // A line that was cut off by a kill was not confirmed.
    writeln!(log).expect("written");
    tokio::join!(listen(&client, &mut log, orders), talk(&client, orders));
}

/// Sends until it is told to finish, then waits for all ticks.
async fn talk(client: &Client, orders: &Orders) {
    let to: Vec<Recipient> = USERS
        .iter()
        .filter(|name| **name != orders.user)
        .map(|name| user(name).into())
        .chain([ConversationId::new(orders.group).into()])
        .collect();
    let mut counts = Vec::new();
    for to in &to {
        counts.push(sent(client, to).await);
    }
    for at in (0..to.len()).cycle() {
        if orders.finish().exists() {
            break;
        }
        counts[at] += 1;
        let body = format!("{}>{}/{}", orders.user, to[at], counts[at]);
        client.send(to[at].clone(), body).await.expect("queued");
        sleep(Duration::from_millis(2)).await;
    }
    for to in &to {
        until_read(client, to).await;
    }
    fs::write(orders.folder.join(format!("{}.done", orders.user)), "").expect("written");
}

/// How many messages this device has sent to a recipient: all that are in its store.
async fn sent(client: &Client, to: &Recipient) -> usize {
    let pending = client.pending(to.clone()).await.expect("kept").len();
    let Some(id) = conversation(client, to).await else { return pending };
    let messages = client.messages(id, None, usize::MAX).await.expect("kept");
    pending + messages.iter().filter(|(message, _)| message.send.is_some()).count()
}

async fn conversation(client: &Client, to: &Recipient) -> Option<ConversationId> {
    match to {
        Recipient::User(user) => client.direct(user).await.expect("kept"),
        Recipient::Conversation(id) => Some(*id),
        Recipient::Phone(_) => None,
    }
}

/// Until everything that was sent to this recipient has three ticks.
async fn until_read(client: &Client, to: &Recipient) {
    loop {
        let pending = client.pending(to.clone()).await.expect("kept");
        if let (true, Some(id)) = (pending.is_empty(), conversation(client, to).await) {
            let messages = client.messages(id, None, usize::MAX).await.expect("kept");
            if messages.iter().all(|(_, state)| state.as_ref().is_none_or(|it| matches!(it, SendState::Read { .. }))) {
                return;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Writes events down, confirms them, and reads what was said.
async fn listen(client: &Client, log: &mut File, orders: &Orders) {
    let mut events = client.events();
    // What is in the file and was not confirmed comes again: known by its number.
    let mut last = fs::read_to_string(orders.log()).expect("a file").lines().filter_map(number).max().unwrap_or(0);
    while !all_done(orders) {
        let Ok(delivery) = tokio::time::timeout(Duration::from_millis(100), events.next()).await else { continue };
        let delivery = delivery.expect("it is open");
        if delivery.id > last {
            last = delivery.id;
            writeln!(log, "{}", line(delivery.id, &delivery.event)).expect("written");
        }
        events.confirm(&delivery).await.expect("confirmed");
        writeln!(log, "confirmed {}", delivery.id).expect("written");
        if let Event::Message(message) = &delivery.event {
            client.mark_read(message.conversation, message.sequence).await.expect("kept");
        }
    }
}

fn all_done(orders: &Orders) -> bool {
    USERS.iter().all(|user| orders.folder.join(format!("{user}.done")).exists())
}

/// `<id> <conversation> <sequence> <body>` for what has a place; `<id> ...` for the rest.
fn line(id: u64, event: &Event) -> String {
    match event {
        Event::Message(it) => {
            format!("{id} {} {} {}", it.conversation, it.sequence, String::from_utf8_lossy(&it.body))
        }
        Event::Changed { conversation, sequence, .. } => format!("{id} {conversation} {sequence} change"),
        Event::Receipt { .. } => format!("{id} receipt"),
        other => format!("{id} {other:?}"),
    }
}

fn number(line: &str) -> Option<u64> {
    line.split(' ').next()?.parse().ok()
}

struct App {
    orders: Orders,
    child: Child,
}

impl App {
    fn start(orders: Orders) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        let text = serde_json::to_string(&orders).expect("orders");
        let child = command
            .args(["--exact", "sdk::apps::app", "--nocapture"])
            .env(APP, text)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self { orders, child: child.expect("it starts") }
    }

    fn kill_and_start(&mut self) {
        self.assert_running();
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
        *self = Self::start(self.orders.clone());
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child") {
            let mut text = String::new();
            if let Some(stderr) = &mut self.child.stderr {
                stderr.read_to_string(&mut text).expect("text");
            }
            assert!(status.success(), "{} ended: {text}", self.orders.user);
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_apps_and_servers() {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = variable("GODWIT_SDK_SEED").unwrap_or(time);
    let lasts = Duration::from_secs(variable("GODWIT_SDK_S").unwrap_or(10));
    println!("killed apps and servers: GODWIT_SDK_SEED={seed}");
    let mut random = Random::new(seed);
    let mut server = Server::start();
    let folder = server.data().join("apps");
    fs::create_dir(&folder).expect("a folder");
    let accounts = USERS.map(|name| server.add_user(name, "phone"));
    let group = make_group(&server, &accounts[0]).await;
    let weather = Weather { cut_percent: 30, half_closed_percent: 10, ..Weather::TWO_G };
    let weather = Weather { bits_per_s: None, delay: Duration::from_millis(5), ..weather };
    let mut apps = Vec::new();
    let mut proxies = Vec::new();
    for account in &accounts {
        let proxy = Proxy::start(server.mqtt(), weather, random.below(u64::MAX)).await;
        let (user, password) = (account.user.clone(), account.password.clone());
        let orders = Orders { address: proxy.address(), user, password, folder: folder.clone(), group };
        proxies.push(proxy);
        apps.push(App::start(orders));
    }
    let (begun, mut kills) = (Instant::now(), [0, 0]);
    while begun.elapsed() < lasts {
        sleep(Duration::from_millis(100 + random.below(700))).await;
        match random.below(5) {
            0 => {
                server.kill_and_start();
                kills[1] += 1;
            }
            1 => proxies[random.below(3) as usize].cut(),
            _ => {
                apps[random.below(3) as usize].kill_and_start();
                kills[0] += 1;
            }
        }
    }
    fs::write(folder.join("finish"), "").expect("written");
    let finishing = Instant::now();
    while !all_done(&apps[0].orders) {
        apps.iter_mut().for_each(App::assert_running);
        assert!(finishing.elapsed() < FINISH, "not all ticks came; the apps' files are in {}", folder.display());
        sleep(Duration::from_millis(20)).await;
    }
    until("the apps end", || apps.iter_mut().all(|app| app.child.try_wait().expect("a child").is_some()));
    let messages = check(&folder);
    println!(
        "{messages} messages, {} apps and {} servers killed: each message once, in order, read",
        kills[0], kills[1]
    );
}

async fn make_group(server: &Server, account: &Account) -> u64 {
    let store = server.data().join("apps/alice.sqlite");
    let client = builder(&format!("mqtt://{}", server.mqtt()), account).sqlite(store).open().await.expect("it opens");
    let members = [user("bob"), user("carol")];
    let group = soon("a group", client.create_group("all", &members)).await.expect("made");
    client.close().await.expect("closed");
    group.get()
}

/// What has a place: conversation, sequence, body.
type Told = (u64, u64, String);

/// Reads the files of all apps: what each was told, in its order.
fn check(folder: &Path) -> usize {
    let mut told: BTreeMap<&str, Vec<Told>> = BTreeMap::new();
    for name in USERS {
        let text = fs::read_to_string(folder.join(format!("{name}.log"))).expect("a file");
        let mut confirmed = 0;
        for line in text.lines() {
            if let Some(id) = line.strip_prefix("confirmed ") {
                confirmed = id.parse().expect("a number");
            } else if let Some(id) = number(line) {
                assert!(id > confirmed, "{name} was told {line} after it had confirmed {confirmed}");
                assert!(!line.contains("Missing") && !line.contains("Refused"), "{name}: {line}");
                let mut fields = line.splitn(4, ' ').skip(1);
                if let (Some(Ok(conversation)), Some(Ok(sequence)), Some(body)) =
                    (fields.next().map(str::parse), fields.next().map(str::parse), fields.next())
                {
                    told.entry(name).or_default().push((conversation, sequence, body.to_owned()));
                }
            }
        }
    }
    let mut by_place: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    let mut heard: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (name, told) in &told {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (conversation, sequence, body) in told {
            let before = last.insert(*conversation, *sequence);
            assert!(before.is_none_or(|before| before < *sequence), "{name}: {conversation}/{sequence} out of order");
            let known = by_place.insert((*conversation, *sequence), body);
            assert!(known.is_none_or(|known| known == body), "{conversation}/{sequence}: {known:?}, {body}");
            if let Some((stream, count)) = body.rsplit_once('/') {
                heard.entry((name, stream)).or_default().push(count.parse().expect("a number"));
            }
        }
    }
    for ((name, stream), counts) in &heard {
        let expected: Vec<u64> = (1..=counts.len() as u64).collect();
        assert_eq!(*counts, expected, "what {name} heard of {stream}");
    }
    // A group's stream is heard by both others, to the same end.
    let streams: BTreeSet<_> = heard.keys().map(|(_, stream)| *stream).collect();
    assert_eq!(streams.len(), USERS.len() * USERS.len(), "everybody to everybody else and to the group: {streams:?}");
    for stream in streams {
        let lengths: BTreeSet<_> = heard.iter().filter(|((_, it), _)| *it == stream).map(|(_, it)| it.len()).collect();
        assert_eq!(lengths.len(), 1, "{stream}");
    }
    by_place.values().filter(|body| **body != "change").count()
}
