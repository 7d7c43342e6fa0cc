//! See `godwit_fuzz::http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| godwit_fuzz::on_paused_time(godwit_fuzz::http(data)));
