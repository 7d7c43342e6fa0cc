//! The simulator: the real bridge and the real edges under many simulated clients, on simulated time, disk and bus, with
//! everything going wrong that may go wrong. All of it follows from one seed, so a failure is replayed by its number.
//!
//! `tests/seeds.rs` runs it; `make sim SEEDS=1000 FROM=1` runs more. What is checked stands in `check`, one promise in
//! each file; what goes wrong stands in `plan`, and is done by `bus`, `store`, `server` and `client`.
//!
//! Replaced are only network, bus, disk and clock. Every part draws from dice of its own, tasks run on one thread, and
//! time passes only when nobody has anything to do.

mod bus;
mod check;
mod client;
mod clock;
mod dice;
mod event;
mod facts;
mod mqtt;
mod operator;
mod plan;
mod push;
mod record;
mod run;
mod server;
mod store;
mod world;

pub use run::{Outcome, run};
