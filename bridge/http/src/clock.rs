//! `/v1/admin/clock`: the server's time beside the wall clock, and an operator's word that a leap was time that passed.

use axum::Json;
use axum::extract::State;
use godwit_store::time::{ClockStanding, Time};

pub(super) async fn show(State(time): State<Time>) -> Json<ClockStanding> {
    Json(time.standing())
}

pub(super) async fn follow(State(time): State<Time>) -> Json<ClockStanding> {
    Json(time.follow())
}
