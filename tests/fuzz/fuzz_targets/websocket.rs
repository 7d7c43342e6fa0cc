//! See `godwit_fuzz::websocket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| godwit_fuzz::on_paused_time(godwit_fuzz::websocket(data)));
