//! The operator: adds users and devices, also while messages flow, and removes some devices again.

use godwit_bridge::admin::{Admin, AdminError, Credentials};
use godwit_schemas::ids::{DeviceName, UserId};
use tokio::time::{Duration, sleep};

use crate::client::Client;
use crate::dice::Dice;
use crate::event::Event;
use crate::world::World;

/// See the module.
pub(crate) struct Operator {
    world: World,
    dice: Dice,
    devices: usize,
}

impl Operator {
    pub(crate) fn new(seed: u64, world: World) -> Self {
        Self { world, dice: Dice::new(seed, "operator"), devices: 0 }
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
    }

    /// Changes devices for as long as there is turmoil.
    pub(crate) async fn run(mut self) {
        let Some(mean_ms) = self.world.plan.devices_change_ms else { return };
        while self.world.turmoil.reigns() {
            sleep(self.dice.ms(0..=2 * mean_ms)).await;
            let users = self.world.users.lock().clone();
            let Some(user) = self.dice.pick(&users) else { continue };
            if self.dice.chance(0.5) {
                self.add(user).await;
            } else {
                self.remove(user).await;
            }
        }
    }

    async fn add(&mut self, user: &str) {
        let World { record, plan, server, .. } = &self.world;
        let (index, traits) = (record.with(|facts| facts.devices.len()), plan.traits(&self.dice));
        let name = format!("d{}", self.devices);
        self.devices += 1;
        record.emit(Event::Adding { user: user.to_owned(), name: name.clone(), traits });
        let (Ok(id), Ok(device)) = (UserId::new(user), DeviceName::new(&name)) else { return };
        let added = server.command(async move |admin: Admin| -> Result<Credentials, AdminError> {
            match admin.add_device(id.clone(), device.clone()).await {
                Err(AdminError::NoUser(_)) => admin.add_user(id, device).await,
                added => added,
            }
        });
        match added.await {
            Some(Ok(credentials)) => {
                record.emit(Event::Added { device: index });
                self.world.spawn(Client::new(self.world.clone(), index, credentials, traits).run());
            }
            // Whether it is there is not known, nor its password: it is left alone.
            Some(Err(error)) => record.note(format!("{name} is not added: {error}")),
            None => record.note(format!("{name} is not added")),
        }
    }

    /// Removes a device of the user, unless it is the only one. An answer that was lost is asked for again.
    async fn remove(&mut self, user: &str) {
        let World { record, server, .. } = &self.world;
        let staying = record.with(|facts| {
            let staying = facts.devices.iter().enumerate().filter(|(_, it)| it.user == user && it.stays());
            staying.map(|(index, it)| (index, it.name.clone())).collect::<Vec<_>>()
        });
        let Some((index, name)) = self.dice.pick(&staying).filter(|_| staying.len() > 1) else { return };
        record.emit(Event::Leaving { device: *index });
        for _ in 0..10 {
            let (Ok(id), Ok(device)) = (UserId::new(user), DeviceName::new(name)) else { return };
            match server.command(async move |admin: Admin| admin.remove_device(id, device).await).await {
                Some(Ok(()) | Err(AdminError::NoDevice(..))) => return record.emit(Event::Gone { device: *index }),
                _ => sleep(Duration::from_secs(1)).await,
            }
        }
    }
}
