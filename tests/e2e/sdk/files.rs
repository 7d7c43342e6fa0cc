//! Files that the client library sends and saves: over networks that break, by apps that are killed, with files that
//! change; and messages to phone numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use godwit_client::ids::{ConversationId, UserId};
use godwit_client::{
    Client, Draft, Error, Event, FileDraft, FileFailure, FileHandle, FileId, FileState, Media, Message, PageRange,
    Past, PhoneNumber, Protocol, Purpose, Recipient, SendState,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::proxy::{Proxy, Weather};
use super::{builder, message, next, open, soon, text, user};
use crate::chat::media::depot::{content, files};
use crate::chat::media::moto::{KEYS, Moto};
use crate::server::{Account, Server};

/// About as much as a second carries.
const SLOW: Weather = Weather {
    bits_per_s: Some(4_000_000),
    delay: Duration::ZERO,
    cut_percent: 0,
    half_closed_percent: 0,
    silenced_percent: 0,
    cut_within: Duration::ZERO,
};

/// A folder with one file in it.
fn folder_with(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    (folder, path)
}

/// A server whose object store is reached through a network, with files in parts of 64 KiB.
async fn behind(weather: Weather, settings: &[(&str, &str)]) -> (Server, Proxy) {
    let mut server = Server::with(&[&[("media.multipart_bytes", "65536")], settings].concat());
    let proxy = Proxy::start(server.media(), weather, 0).await;
    server.set("media.public_url", &proxy.url());
    server.kill_and_start();
    (server, proxy)
}

async fn until(file: &FileHandle, what: &str, is_so: impl FnMut(&FileState) -> bool) -> FileState {
    soon(what, file.watch().wait_for(is_so)).await.expect("it is open").clone()
}

fn uploaded(state: &FileState) -> u64 {
    if let FileState::Uploading(progress) = state { progress.done } else { 0 }
}

async fn saved(client: &Client, id: ConversationId, media: &Media, path: &Path) -> Result<Vec<u8>, Error> {
    soon("saved", client.save_file(id, media, path).saved()).await?;
    Ok(fs::read(path).expect("a file"))
}

/// The file in this folder that is not whole.
fn part(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut parts = files.filter(|path| path.extension().is_some_and(|it| it == "part"));
    parts.next()
}

fn failure(error: Error) -> FileFailure {
    match error {
        Error::File(failure) => failure,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_is_sent_and_saved_by_who_may_see_it() {
    let server = Server::with(&[("retention.history", "forever")]);
    let accounts = ["alice", "bob", "carol"].map(|name| server.add_user(name, "phone"));
    let [alice, bob, carol] = accounts.each_ref().map(|account| open(&server, account));
    let (alice, bob, carol) = (alice.await, bob.await, carol.await);
    let photo = content(100_000, 1);
    let (folder, path) = folder_with("beach.JPG", &photo);
    let draft =
        FileDraft::new(&path).caption("look").thumbnail("small").key("secret").expires_in(Duration::from_secs(90));
    let sent = alice.send_file(user("bob"), draft).await.expect("kept");
    soon("two ticks", sent.delivered()).await.expect("sent");
    assert!(matches!(sent.state(), FileState::Message(_, SendState::Delivered { .. })), "{:?}", sent.state());
    let got = message(&mut bob.events()).await;
    let media = &got.media[0];
    assert_eq!((text(&got).as_str(), &media.name[..], &media.content_type[..]), ("look", "beach.JPG", "image/jpeg"));
    assert_eq!((media.size, &media.thumbnail[..], &media.key[..]), (100_000, &b"small"[..], &b"secret"[..]));
    // She sees the same of her own message, before and after she asked the server.
    let own = alice.messages(got.conversation, None, 9).await.expect("kept").remove(0).0;
    assert_eq!((&own.media, own.send), (&got.media, Some(soon("it", sent.uploaded()).await.expect("sent").id())));
    let past = bob.history(got.conversation, PageRange::default()).await.expect("kept").items.remove(0);
    assert!(matches!(past, Past::Message(past) if past.media == got.media));

    let target = folder.path().join("saved");
    assert_eq!(saved(&bob, got.conversation, media, &target).await.expect("saved"), photo);
    assert_eq!(part(folder.path()), None);
    let again = saved(&bob, got.conversation, media, &target).await.expect_err("nothing is replaced");
    assert_eq!(failure(again), FileFailure::Exists);
    let other = saved(&carol, got.conversation, media, &folder.path().join("stolen")).await.expect_err("not hers");
    assert!(matches!(failure(other), FileFailure::Refused(refusal) if refusal.reason.get() == 0x90));
    let traffic = [alice.traffic().of(Purpose::Media), bob.traffic().of(Purpose::Media)];
    assert!(traffic[0].sent > 100_000 && traffic[0].sent < 102_000 && traffic[1].received > 100_000, "{traffic:?}");

    // Passed on, it is the same file.
    let passed = Draft::new("").attach(Media::new(&media.id, "from alice"));
    soon("sent", bob.send_draft(user("carol"), passed).await.expect("queued").sent()).await.expect("taken");
    let again = message(&mut carol.events()).await;
    let hers = folder.path().join("hers");
    assert_eq!(saved(&carol, again.conversation, &again.media[0], &hers).await.expect("saved"), photo);
    assert_eq!(files(&server, "objects"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_goes_on_and_holds_up_no_message() {
    let (server, proxy) = behind(SLOW, &[]).await;
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &accounts[0]).await, open(&server, &accounts[1]).await);
    let film = content(330_000, 1);
    let (folder, path) = folder_with("film.mp4", &film);
    let sent = alice.send_file(user("bob"), path.clone()).await.expect("kept");
    until(&sent, "a part", |state| uploaded(state) > 70_000).await;
    soon("sent", alice.send(user("bob"), "wait").await.expect("queued").sent()).await.expect("taken");
    for part in [130_000, 200_000] {
        proxy.cut();
        until(&sent, "more", |state| uploaded(state) > part).await;
    }
    let mut events = bob.events();
    assert_eq!(text(&message(&mut events).await), "wait");
    let got = message(&mut events).await;
    assert_eq!(got.media[0].content_type, "video/mp4");
    let carried = proxy.carried()[0];
    assert!(carried < 330_000 + 3 * 70_000, "parts that were there did not go again: {carried}");

    // And down.
    let saving = bob.save_file(got.conversation, &got.media[0], folder.path().join("saved"));
    for bytes in [50_000, 200_000] {
        soon("a part", saving.watch().wait_for(|it| it.done > bytes)).await.expect("under way");
        proxy.cut();
    }
    soon("saved", saving.saved()).await.expect("saved");
    assert_eq!(fs::read(folder.path().join("saved")).expect("a file"), film);
    let came = proxy.carried()[1];
    assert!(came < 2 * 330_000, "what was there was not fetched again: {came}");
    assert_eq!((files(&server, "objects"), files(&server, "uploads")), (1, 0));
}

/// A client of alice whose runtime dies with everything that it did.
struct App {
    runtime: Runtime,
    client: Client,
}

impl App {
    fn start(server: &Server, account: &Account) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut client = None;
        // The one before holds the file until its thread has ended.
        crate::until("the store is free", || {
            let builder = builder(&format!("mqtt://{}", server.mqtt()), account);
            client = runtime.block_on(builder.sqlite(server.data().join("alice.sqlite")).open()).ok();
            client.is_some()
        });
        Self { runtime, client: client.expect("it opens") }
    }

    fn file(&self, id: FileId) -> FileHandle {
        self.runtime.block_on(self.client.follow_file(id)).expect("kept").expect("known")
    }

    fn kill(self) {
        drop(self.client);
        self.runtime.shutdown_background();
    }
}

#[test]
fn an_app_that_is_killed_sends_its_file_once() {
    let runtime = Runtime::new().expect("a runtime");
    let (mut server, _proxy) = runtime.block_on(behind(SLOW, &[]));
    let [alice, bob] = ["alice", "bob"].map(|name| server.add_user(name, "phone"));
    let film = content(150_000, 1);
    let (_folder, path) = folder_with("film", &film);

    // As soon as it is kept, and nothing can be done.
    server.kill();
    let app = App::start(&server, &alice);
    let id = app.runtime.block_on(app.client.send_file(user("bob"), path)).expect("kept").id();
    app.kill();
    server.start_again();
    // At the first byte, within the second part, within the last, and when it is all there.
    for point in [1, 70_000, 140_000, 150_000] {
        let app = App::start(&server, &alice);
        let file = app.file(id);
        let reached = |state: &FileState| uploaded(state) >= point || !matches!(uploaded(state), 1..) && further(state);
        app.runtime.block_on(until(&file, "the point", reached));
        app.kill();
    }
    let app = App::start(&server, &alice);
    let file = app.file(id);
    app.runtime.block_on(async { soon("sent", file.sent()).await }).expect("sent");
    assert_eq!(app.runtime.block_on(app.client.files()).expect("kept"), []);
    app.runtime.block_on(app.client.send(user("bob"), "behind it")).expect("queued");
    runtime.block_on(async {
        let mut events = open(&server, &bob).await.events();
        let got = message(&mut events).await;
        assert_eq!((got.media[0].size, got.media[0].content_type.as_str()), (150_000, "application/octet-stream"));
        assert_eq!(text(&message(&mut events).await), "behind it", "it came once");
    });
    assert_eq!((files(&server, "objects"), files(&server, "uploads")), (1, 0));
}

/// It is up.
fn further(state: &FileState) -> bool {
    matches!(state, FileState::Verifying | FileState::Message(..))
}

#[test]
fn a_pause_outlasts_the_app_and_what_is_called_off_is_discarded() {
    let runtime = Runtime::new().expect("a runtime");
    let (server, _proxy) = runtime.block_on(behind(SLOW, &[]));
    let [alice, bob] = ["alice", "bob"].map(|name| server.add_user(name, "phone"));
    let (folder, path) = folder_with("film", &content(200_000, 1));
    let app = App::start(&server, &alice);
    let (id, unwanted) = app.runtime.block_on(async {
        let file = app.client.send_file(user("bob"), path).await.expect("kept");
        until(&file, "a part", |state| uploaded(state) > 70_000).await;
        assert!(file.pause().await.expect("kept"));
        assert_eq!(file.state(), FileState::Paused);

        let path = folder.path().join("unwanted");
        fs::write(&path, content(200_000, 2)).expect("written");
        let unwanted = app.client.send_file(user("bob"), path).await.expect("kept");
        until(&unwanted, "a part", |state| uploaded(state) > 70_000).await;
        assert!(unwanted.cancel().await.expect("kept") && !unwanted.cancel().await.expect("kept"));
        assert_eq!(failure(unwanted.sent().await.expect_err("called off")), FileFailure::Cancelled);
        (file.id(), unwanted.id())
    });
    app.kill();
    let app = App::start(&server, &alice);
    assert_eq!(app.file(unwanted).state(), FileState::Failed(FileFailure::Cancelled));
    let file = app.file(id);
    assert_eq!(file.state(), FileState::Paused);
    assert_eq!(app.runtime.block_on(app.client.files()).expect("kept")[0].state, FileState::Paused);
    app.runtime.block_on(async {
        // What is behind it is not held up.
        soon("sent", app.client.send(user("bob"), "hello").await.expect("queued").sent()).await.expect("taken");
        assert!(file.resume().await.expect("kept"));
        soon("sent", file.sent()).await.expect("sent");
        assert!(!file.pause().await.expect("kept"), "too late");
    });
    runtime.block_on(async {
        let mut events = open(&server, &bob).await.events();
        assert_eq!(text(&message(&mut events).await), "hello");
        assert_eq!(message(&mut events).await.media[0].name, "film");
    });
    crate::until("the other is discarded", || (files(&server, "objects"), files(&server, "uploads")) == (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_or_is_gone_is_not_sent() {
    let mut server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.add_user(name, "phone"));
    server.kill();
    let client = builder(&format!("mqtt://{}", server.mqtt()), &alice).open().await.expect("it opens");
    let folder = tempfile::tempdir().expect("a folder");
    let mut sent = Vec::new();
    for name in ["gone", "changed", "disguised"] {
        let path = folder.path().join(name);
        fs::write(&path, content(5_000, 1)).expect("written");
        let file = client.send_file(user("bob"), path).await.expect("kept");
        sent.push((name, file));
    }
    let missing = client.send_file(user("bob"), folder.path().join("never")).await.expect_err("not there");
    assert_eq!(failure(missing), FileFailure::Gone);
    // Two at a time are hashed while there is no server; the third has its turn afterwards.
    for (_, file) in &sent[..2] {
        until(file, "hashed", |state| matches!(state, FileState::Hashing(it) if it.done == it.total)).await;
    }
    fs::remove_file(folder.path().join("gone")).expect("removed");
    fs::write(folder.path().join("changed"), content(5_000, 2)).expect("written");
    server.start_again();
    let mut events = client.events();
    for (name, expected) in [("gone", FileFailure::Gone), ("changed", FileFailure::Changed)] {
        let file = &sent.iter().find(|(it, _)| *it == name).expect("sent").1;
        assert_eq!(failure(soon("an end", file.sent()).await.expect_err(name)), expected);
    }
    soon("sent", sent[2].1.sent()).await.expect("nobody touched it");
    let mut told = Vec::new();
    while told.len() < 2 {
        if let Event::FileFailed { to, name, failure, .. } = next(&mut events).await {
            assert_eq!(to, Recipient::User(user("bob")));
            told.push((name, failure));
        }
    }
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(told, [("changed".to_owned(), FileFailure::Changed), ("gone".to_owned(), FileFailure::Gone)]);
    drop(bob);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_under_the_same_time_are_noticed() {
    let mut server = Server::start();
    let [alice, _bob] = ["alice", "bob"].map(|name| server.add_user(name, "phone"));
    server.kill();
    let client = builder(&format!("mqtt://{}", server.mqtt()), &alice).open().await.expect("it opens");
    let (_folder, path) = folder_with("disguised", &content(5_000, 1));
    let file = client.send_file(user("bob"), &path).await.expect("kept");
    until(&file, "hashed", |state| matches!(state, FileState::Hashing(it) if it.done == it.total)).await;
    let modified = fs::metadata(&path).expect("a file").modified().expect("a time");
    fs::write(&path, content(5_000, 2)).expect("written");
    fs::File::options().write(true).open(&path).expect("a file").set_modified(modified).expect("set");
    server.start_again();
    assert_eq!(failure(soon("an end", file.sent()).await.expect_err("not the same")), FileFailure::Changed);
    assert_eq!(files(&server, "objects"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_expire_are_asked_for_anew() {
    let (server, proxy) = behind(SLOW, &[("media.link_s", "1")]).await;
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &accounts[0]).await, open(&server, &accounts[1]).await);
    // More than what a second carries.
    let film = content(900_000, 1);
    let (folder, path) = folder_with("film", &film);
    let sent = alice.send_file(user("bob"), path).await.expect("kept");
    let got = message(&mut bob.events()).await;
    soon("sent", sent.sent()).await.expect("sent");
    let path = folder.path().join("saved");
    let saving = bob.save_file(got.conversation, &got.media[0], &path);
    soon("half of it", saving.watch().wait_for(|it| it.done > 500_000)).await.expect("under way");
    drop(saving);
    proxy.cut();
    assert!(part(folder.path()).is_some());
    assert_eq!(saved(&bob, got.conversation, &got.media[0], &path).await.expect("saved"), film);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_in_part_is_compared_with_what_was_sent() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &accounts[0]).await, open(&server, &accounts[1]).await);
    let photo = content(5_000, 1);
    let (folder, path) = folder_with("photo.png", &photo);
    alice.send_file(user("bob"), path).await.expect("kept");
    let got = message(&mut bob.events()).await;
    let path = folder.path().join("saved");
    // Where it begins: an answer that is not what was sent stays for another attempt.
    let longer = Media { size: 5_001, ..got.media[0].clone() };
    let saving = bob.save_file(got.conversation, &longer, &path);
    soon("all of it", saving.watch().wait_for(|it| it.done == 5_000)).await.expect("under way");
    drop(saving);
    let part = part(folder.path()).expect("a part");
    for there in [content(2_000, 9), content(5_000, 9), content(9_000, 9), photo[..4_000].to_vec(), photo.clone()] {
        fs::write(&part, there).expect("written");
        assert_eq!(saved(&bob, got.conversation, &got.media[0], &path).await.expect("saved"), photo);
        fs::remove_file(&path).expect("removed");
    }
    // Nobody else's file is written, wherever a link leads.
    let mine = folder.path().join("mine");
    fs::write(&mine, "mine").expect("written");
    std::os::unix::fs::symlink(&mine, &part).expect("linked");
    let linked = saved(&bob, got.conversation, &got.media[0], &path).await.expect_err("a link");
    assert!(matches!(failure(linked), FileFailure::Io(_)));
    assert_eq!((fs::read(&mine).expect("a file"), path.exists()), (b"mine".to_vec(), false));
    fs::remove_file(&part).expect("removed");
    let wrong = Media { sha256: vec![0; 32].into(), ..got.media[0].clone() };
    let error = saved(&bob, got.conversation, &wrong, &folder.path().join("wrong")).await.expect_err("not that");
    assert_eq!(failure(error), FileFailure::Damaged);
    assert!(!folder.path().join("wrong").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_take_is_told() {
    let server = Server::with(&[("media.file_bytes_max", "1000")]);
    let account = server.add_user("alice", "phone");
    let alice = open(&server, &account).await;
    let (folder, large) = folder_with("large.txt", &content(1_001, 1));
    let (empty, odd) = (folder.path().join("empty.txt"), folder.path().join("odd.txt"));
    fs::write(&empty, "").expect("written");
    fs::write(&odd, "x").expect("written");
    let odd = FileDraft::new(odd).content_type("model/gltf");
    for (draft, reason) in [(large.into(), 0x97), (empty.into(), 0x83), (odd, 0x83)] {
        let file = alice.send_file(user("alice"), draft).await.expect("kept");
        let failure = failure(soon("an end", file.sent()).await.expect_err("refused"));
        assert!(matches!(&failure, FileFailure::Refused(it) if it.reason.get() == reason), "{failure}");
        assert!(!failure.retry_helps());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_s3_server_will_do() {
    let moto = Moto::start();
    let settings = [("media.endpoint", &moto.url[..]), ("media.bucket", "files"), ("media.multipart_bytes", "4096")];
    let server = Server::within(&KEYS, &settings);
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &accounts[0]).await, open(&server, &accounts[1]).await);
    let (small, large) = (content(3_000, 1), content(90_000, 2));
    let (folder, path) = folder_with("small", &small);
    let other = folder.path().join("large");
    fs::write(&other, &large).expect("written");
    let mut events = bob.events();
    for (path, bytes) in [(path, small), (other, large)] {
        alice.send_file(user("bob"), path).await.expect("kept");
        let got: Message = message(&mut events).await;
        let target = folder.path().join(format!("saved {}", bytes.len()));
        let saving = bob.save_file(got.conversation, &got.media[0], &target);
        soon("some of it", saving.watch().wait_for(|it| it.done > 0)).await.expect("under way");
        drop(saving);
        assert_eq!(saved(&bob, got.conversation, &got.media[0], &target).await.expect("saved"), bytes);
    }
    assert_eq!(moto.holds(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_a_phone_number_has_its_ticks() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let server = Server::start();
        let account = server.add_user("alice", "phone");
        let address = format!("mqtt://{}", server.mqtt());
        let alice = builder(&address, &account).protocol(protocol).open().await.expect("it opens");
        let number = PhoneNumber::parse("+4930123456").expect("a number");
        let mut sent = Vec::new();
        for words in ["one", "two"] {
            sent.push(alice.send(number, words).await.expect("queued"));
        }
        for handle in &sent {
            soon("one tick", handle.sent()).await.expect("taken");
        }
        let ended = server.run(&["user", "add", "bob", "--device", "phone", "--phone", "+4930123456"]);
        let bob: Account = serde_json::from_str(&ended.stdout).expect("an account");
        let bob = open(&server, &bob).await;
        let mut events = bob.events();
        for words in ["one", "two"] {
            assert_eq!(text(&message(&mut events).await), words);
        }
        let three = alice.send(number, "three").await.expect("queued");
        let got = message(&mut events).await;
        assert_eq!(text(&got), "three");
        bob.mark_read(got.conversation, got.sequence).await.expect("kept");
        if protocol == Protocol::V311 {
            // It does not say where a message stands: that shows when the next one comes.
            bob.send(got.conversation, "hi").await.expect("queued");
        }
        soon("three ticks", three.read()).await.expect("taken");
        assert_eq!(alice.pending(number).await.expect("kept"), [], "{protocol:?}");
        assert_eq!(alice.direct(&UserId::new("bob").expect("a name")).await.expect("kept"), Some(got.conversation));
    }
}
