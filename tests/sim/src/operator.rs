//! The operator: adds users and devices, also while messages flow, removes some devices again, and shuts out whoever has got
//! hold of a password: by a new one, or by another device or user of the same name.

use godwit_bridge::admin::{Admin, AdminError, DeviceCredentials};
use godwit_bridge::chat::Principal;
use godwit_schemas::client::request::Call;
use godwit_schemas::ids::{DeviceName, UserId};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use crate::client::Client;
use crate::dice::Dice;
use crate::event::Event;
use crate::plan::Traits;
use crate::push;
use crate::world::World;

/// Before a command is repeated whose answer was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// Attempts to remove a device.
const TRIES: u32 = 10;

/// See the module.
pub(crate) struct Operator {
    world: World,
    dice: Dice,
    revoking: Dice,
    devices: usize,
}

impl Operator {
    pub(crate) fn new(seed: u64, world: World) -> Self {
        let revoking = Dice::new(seed, "operator, revoking");
        Self { world, dice: Dice::new(seed, "operator"), revoking, devices: 0 }
    }

    /// Everybody who is there from the beginning.
    pub(crate) async fn populate(&mut self) {
        let users: Vec<_> = (0..self.world.plan.users).map(|number| format!("u{number}")).collect();
        *self.world.users.lock() = users.clone();
        for user in &users {
            for _ in 0..self.dice.within(1..=self.world.plan.devices_max as u64) {
                while self.world.server.admin().is_none() {
                    sleep(Duration::from_millis(1)).await;
                }
                self.add(user).await;
            }
        }
        // Dice of its own: what everybody else does stays what it was.
        let paging = Dice::new(self.world.seed, "operator, paging");
        if let Some(user) = paging.pick(&users).filter(|_| paging.chance(0.5)) {
            self.page(user).await;
        }
    }

    /// Gives the user a device that never connects, and is pushed.
    async fn page(&self, user: &str) {
        let World { record, server, .. } = &self.world;
        let (index, name) = (record.with(|facts| facts.devices.len()), "pager");
        let (Ok(id), Ok(device)) = (UserId::new(user), DeviceName::new(name)) else { return };
        let traits = Traits { protocol: 5, events: false, counts: false, lasting: true, repetitive: false };
        record.emit(Event::Adding { user: user.to_owned(), name: name.to_owned(), traits });
        let add = {
            let id = id.clone();
            server.command(async move |admin: Admin| admin.add_device(id, device).await)
        };
        if !matches!(add.await, Some(Ok(_))) {
            return;
        }
        let set = Call::SetPush(push::registration(index, name));
        let Some(chat) = server.chat() else { return };
        let answer = timeout(AGAIN, chat.call(id, Principal::Administrator, set)).await;
        if matches!(answer, Ok(Ok(response)) if response.reason == 0) {
            record.emit(Event::Paged { device: index });
        }
    }

    /// Changes devices, and makes credentials void, for as long as there is turmoil.
    pub(crate) async fn run(mut self) {
        let (change_ms, revoke_ms) = (self.world.plan.devices_change_ms, self.world.plan.revoke_ms);
        let at = |mean_ms: Option<u64>, dice: &Dice| Some(Instant::now() + dice.ms(0..=2 * mean_ms?));
        let (mut change_at, mut revoke_at) = (at(change_ms, &self.dice), at(revoke_ms, &self.revoking));
        while let Some(next) = [change_at, revoke_at].into_iter().flatten().min() {
            sleep_until(next).await;
            if !self.world.turmoil.reigns() {
                return;
            }
            if change_at == Some(next) {
                self.change().await;
                change_at = at(change_ms, &self.dice);
            } else {
                self.revoke().await;
                revoke_at = at(revoke_ms, &self.revoking);
            }
        }
    }

    async fn change(&mut self) {
        let users = self.world.users.lock().clone();
        let Some(user) = self.dice.pick(&users) else { return };
        if self.dice.chance(0.5) {
            return self.add(user).await;
        }
        // Not the only one.
        let staying = self.staying(user);
        if let Some((index, name)) = self.dice.pick(&staying).filter(|_| staying.len() > 1) {
            self.remove(user, *index, name).await;
        }
    }

    async fn revoke(&mut self) {
        let users = self.world.users.lock().clone();
        let Some(user) = self.revoking.pick(&users) else { return };
        let staying = self.staying(user);
        let Some((index, name)) = self.revoking.pick(&staying) else { return };
        match self.revoking.within(0..=9) {
            0..=5 => self.renew(user, *index, name).await,
            6 | 7 => {
                if self.remove(user, *index, name).await {
                    self.add_as(user, name).await;
                }
            }
            _ => {
                self.erase(user).await;
                for (_, name) in &staying {
                    self.add_as(user, name).await;
                }
            }
        }
    }

    /// The user's devices that are there to stay.
    fn staying(&self, user: &str) -> Vec<(usize, String)> {
        self.world.record.with(|facts| {
            let staying = facts.devices.iter().enumerate().filter(|(_, it)| it.user == user && it.stays());
            staying.map(|(index, it)| (index, it.name.clone())).collect()
        })
    }

    async fn add(&mut self, user: &str) {
        let name = format!("d{}", self.devices);
        self.devices += 1;
        self.add_as(user, &name).await;
    }

    async fn add_as(&self, user: &str, name: &str) {
        let World { record, plan, server, .. } = &self.world;
        let (index, traits) = (record.with(|facts| facts.devices.len()), plan.traits(&self.dice));
        record.emit(Event::Adding { user: user.to_owned(), name: name.to_owned(), traits });
        let (Ok(id), Ok(device)) = (UserId::new(user), DeviceName::new(name)) else { return };
        let added = server.command(async move |admin: Admin| -> Result<DeviceCredentials, AdminError> {
            match admin.add_device(id.clone(), device.clone()).await {
                Err(AdminError::NoUser(_)) => admin.add_user(id, device).await,
                added => added,
            }
        });
        match added.await {
            Some(Ok(credentials)) => {
                record.emit(Event::Added { device: index });
                self.world.spawn(Client::new(self.world.clone(), index, 0, credentials, traits).run());
            }
            // Whether it is there is not known, nor its password: it is left alone.
            Some(Err(error)) => record.note(format!("{name} is not added: {error}")),
            None => record.note(format!("{name} is not added")),
        }
    }

    /// An answer that was lost is asked for again. Whether it came.
    async fn remove(&self, user: &str, index: usize, name: &str) -> bool {
        let World { record, server, .. } = &self.world;
        let (Ok(id), Ok(device)) = (UserId::new(user), DeviceName::new(name)) else { return false };
        record.emit(Event::Leaving { device: index });
        for _ in 0..TRIES {
            let (id, device) = (id.clone(), device.clone());
            match server.command(async move |admin: Admin| admin.remove_device(id, device).await).await {
                Some(Ok(()) | Err(AdminError::NoDevice(..))) => {
                    record.emit(Event::Gone { device: index });
                    return true;
                }
                _ => sleep(AGAIN).await,
            }
        }
        false
    }

    /// Gives a device a new password, and with it to another client. The one that it had is a thief's from here on.
    async fn renew(&self, user: &str, index: usize, name: &str) {
        let World { record, server, .. } = &self.world;
        let (Ok(id), Ok(device)) = (UserId::new(user), DeviceName::new(name)) else { return };
        record.emit(Event::Renewing { device: index });
        loop {
            let (id, device) = (id.clone(), device.clone());
            match server.command(async move |admin: Admin| admin.renew_password(id, device).await).await {
                Some(Ok(credentials)) => {
                    record.emit(Event::Renewed { device: index });
                    let (credential, traits) = record.with(|facts| {
                        let device = &facts.devices[index];
                        (device.renewed.len(), device.traits)
                    });
                    let client = Client::new(self.world.clone(), index, credential, credentials, traits);
                    return self.world.spawn(client.run());
                }
                _ => sleep(AGAIN).await,
            }
        }
    }

    /// Erases a user with all its devices.
    async fn erase(&self, user: &str) {
        let World { record, server, .. } = &self.world;
        let Ok(id) = UserId::new(user) else { return };
        let devices: Vec<_> = record.with(|facts| {
            let there = facts.devices.iter().enumerate().filter(|(_, it)| it.user == user && it.gone.is_none());
            there.map(|(index, it)| (index, it.leaving.is_some())).collect()
        });
        record.emit(Event::Erasing { user: user.to_owned() });
        for (device, _) in devices.iter().filter(|(_, leaving)| !leaving) {
            record.emit(Event::Leaving { device: *device });
        }
        loop {
            let id = id.clone();
            match server.command(async move |admin: Admin| admin.remove_user(id).await).await {
                Some(Ok(()) | Err(AdminError::NoUser(_))) => break,
                _ => sleep(AGAIN).await,
            }
        }
        devices.iter().for_each(|(device, _)| record.emit(Event::Gone { device: *device }));
    }
}
