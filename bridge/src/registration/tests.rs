//! The registrar in a bridge on a store in memory, on a clock of the test's own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::ids::UserId;
use godwit_store::memory::MemoryStore;
use godwit_store::{ClockS, Durability, Row, Store, StoreError, Table, Write, keys};
use tokio::task::JoinSet;

use super::courier::Sms;
use super::*;
use crate::chat::{Chat, Principal};
use crate::tests::{Silence, settings};
use crate::{BridgeSettings, assemble};

/// Notes what is asked of it.
#[derive(Clone)]
struct Watched {
    store: MemoryStore,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Store for Watched {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let tags: Vec<_> = keys.iter().map(|(_, key)| char::from(key[0])).collect();
        self.asked.lock().unwrap().push(format!("read {tags:?}"));
        self.store.multi_get(keys).await
    }

    async fn scan(&self, of: Table, from: &[u8], to: &[u8], rows: usize, max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.scan(of, from, to, rows, max).await
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        self.asked.lock().unwrap().push(format!("write {} {durability:?}", writes.len()));
        self.store.commit(writes, durability).await
    }
}

#[derive(Debug, Default)]
struct Sent(Mutex<Vec<String>>);

impl Courier for Sent {
    fn send(&self, sms: Sms) {
        self.0.lock().unwrap().push(sms.code);
    }
}

struct Scene {
    store: Watched,
    now_s: Arc<AtomicU32>,
    sent: Arc<Sent>,
    limits: RegistrationLimits,
    running: JoinSet<Result<(), StoreError>>,
    registration: Option<Registration>,
    chat: Option<Chat>,
}

impl Scene {
    async fn new() -> Self {
        let now_s = Arc::new(AtomicU32::new(1_000));
        let store = Watched { store: MemoryStore::new(clock(&now_s)), asked: Arc::default() };
        let (limits, sent) = (RegistrationLimits::default(), Arc::default());
        let running = JoinSet::new();
        let mut scene = Self { store, now_s, sent, limits, running, registration: None, chat: None };
        scene.start().await;
        scene
    }

    async fn start(&mut self) {
        self.running = JoinSet::new();
        let registration = RegistrationSettings {
            courier: self.sent.clone(),
            code_digits: 6,
            code_ttl_s: 300,
            tries: 3,
            limits: self.limits,
        };
        let settings = BridgeSettings { registration: Some(registration), ..settings() };
        let bridge = assemble(settings, self.store.clone(), clock(&self.now_s), Silence, 1, None).await.unwrap();
        (self.registration, self.chat) = (bridge.registration(), Some(bridge.chat()));
        bridge.into_tasks().for_each(|task| drop(self.running.spawn(task)));
    }

    fn pass(&self, seconds: u32) {
        self.now_s.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn code_for(&self, phone: &str) -> String {
        self.registration.as_ref().unwrap().send_code(number(phone), None).await.unwrap();
        self.sent.0.lock().unwrap().last().unwrap().clone()
    }

    async fn register(&self, phone: &str, code: &str, device: &str) -> Result<DeviceCredentials, RegistrationRefusal> {
        let device = DeviceName::new(device).unwrap();
        self.registration.as_ref().unwrap().register(number(phone), code.to_owned(), device, None).await
    }

    async fn is_let_in(&self, with: &DeviceCredentials) -> bool {
        let who = Principal::Device(DeviceName::new(&with.device).unwrap(), with.password.clone().into());
        let call = godwit_schemas::client::request::Call::ListDevices(Default::default());
        self.chat.as_ref().unwrap().call(UserId::new(&with.user).unwrap(), who, call).await.unwrap().reason == 0
    }

    /// What the store was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.store.asked.lock().unwrap())
    }
}

fn clock(now_s: &Arc<AtomicU32>) -> ClockS {
    let now_s = now_s.clone();
    Arc::new(move || now_s.load(Ordering::Relaxed))
}

fn number(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text).unwrap()
}

/// Another code.
fn wrong(code: &str) -> String {
    let last = if code.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &code[..code.len() - 1])
}

const PHONE: &str = "+4930123456";

#[tokio::test(start_paused = true)]
async fn a_first_code_makes_a_user_and_the_next_one_a_device() {
    let scene = Scene::new().await;
    let code = scene.code_for(PHONE).await;
    let first = scene.register(PHONE, &code, "phone").await.unwrap();
    assert!(scene.is_let_in(&first).await);
    assert!(
        matches!(scene.register(PHONE, &code, "thief").await, Err(RegistrationRefusal::WrongCode)),
        "it is used up"
    );
    let code = scene.code_for(PHONE).await;
    let second = scene.register(PHONE, &code, "tablet").await.unwrap();
    assert_eq!((&second.user, &second.device[..]), (&first.user, "tablet"));
    let code = scene.code_for(PHONE).await;
    let again = scene.register(PHONE, &code, "phone").await.unwrap();
    assert_eq!((&again.user, &again.device), (&first.user, &first.device));
    assert!(!scene.is_let_in(&first).await, "the old password is void");
    assert!(scene.is_let_in(&again).await && scene.is_let_in(&second).await);
    let code = scene.code_for("+4930654321").await;
    assert_ne!(scene.register("+4930654321", &code, "phone").await.unwrap().user, first.user);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_its_number_has_left_stays_its_user_s() {
    let scene = Scene::new().await;
    let code = scene.code_for(PHONE).await;
    let before = scene.register(PHONE, &code, "phone").await.unwrap();
    let admin = &scene.registration.as_ref().unwrap().admin;
    admin.set_phone(UserId::new(&before.user).unwrap(), None).await.unwrap();
    let code = scene.code_for(PHONE).await;
    let after = scene.register(PHONE, &code, "phone").await.unwrap();
    assert_ne!(after.user, before.user);
    assert!(scene.is_let_in(&before).await && scene.is_let_in(&after).await);
}

#[tokio::test(start_paused = true)]
async fn guessing_uses_a_code_up() {
    let scene = Scene::new().await;
    let code = scene.code_for(PHONE).await;
    for guess in [wrong(&code), String::new(), "x".repeat(500)] {
        assert!(matches!(scene.register(PHONE, &guess, "thief").await, Err(RegistrationRefusal::WrongCode)));
    }
    assert!(
        matches!(scene.register(PHONE, &code, "phone").await, Err(RegistrationRefusal::WrongCode)),
        "three guesses were too many"
    );
    let code = scene.code_for(PHONE).await;
    assert!(scene.register(PHONE, &code, "phone").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_code_grows_old_is_replaced_by_a_newer_one_and_is_swept() {
    let scene = Scene::new().await;
    let first = scene.code_for(PHONE).await;
    let mut second = scene.code_for(PHONE).await;
    while second == first {
        second = scene.code_for(PHONE).await;
    }
    assert!(
        matches!(scene.register(PHONE, &first, "phone").await, Err(RegistrationRefusal::WrongCode)),
        "there is a newer one"
    );
    scene.pass(300);
    assert!(matches!(scene.register(PHONE, &second, "phone").await, Err(RegistrationRefusal::WrongCode)), "too old");
    scene.code_for(PHONE).await;
    scene.pass(300);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let (from, to) = keys::codes();
    assert!(scene.store.scan(Table::Directory, &from, &to, 10, usize::MAX).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn codes_and_guesses_outlive_a_crash() {
    let mut scene = Scene::new().await;
    let code = scene.code_for(PHONE).await;
    for _ in 0..2 {
        assert!(scene.register(PHONE, &wrong(&code), "thief").await.is_err());
        scene.start().await;
    }
    let other = scene.code_for("+4930654321").await;
    scene.start().await;
    assert!(scene.register("+4930654321", &other, "phone").await.is_ok());
    assert!(scene.register(PHONE, &wrong(&code), "thief").await.is_err());
    assert!(
        matches!(scene.register(PHONE, &code, "phone").await, Err(RegistrationRefusal::WrongCode)),
        "three guesses in all"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_done_tells_who_is_registered() {
    let scene = Scene::new().await;
    let code = scene.code_for(PHONE).await;
    scene.register(PHONE, &code, "phone").await.unwrap();
    scene.asked();
    let mut done = Vec::new();
    // The first is registered, the second is not, nor was a code ever sent to the third.
    for (phone, sends) in [(PHONE, true), ("+4930654321", true), ("+4930999999", false)] {
        if sends {
            scene.code_for(phone).await;
            assert_eq!(scene.asked(), ["write 1 Synced"]);
        }
        assert!(scene.register(phone, "wrong", "phone").await.is_err());
        done.push(scene.asked());
    }
    assert_eq!(done, vec![["read ['g']", "write 1 Synced"]; 3]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_waits() {
    let mut scene = Scene::new().await;
    scene.limits = RegistrationLimits { per_number_per_hour: 1, ..RegistrationLimits::default() };
    scene.start().await;
    scene.code_for(PHONE).await;
    scene.pass(600);
    let asked = scene.registration.as_ref().unwrap().send_code(number(PHONE), None).await;
    assert!(matches!(asked, Err(RegistrationRefusal::TooOften { wait_s: 3_000 })), "{asked:?}");
    assert_eq!(scene.sent.0.lock().unwrap().len(), 1);
}
