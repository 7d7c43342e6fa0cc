//! See `godwit_fuzz::mqtt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| godwit_fuzz::on_paused_time(godwit_fuzz::mqtt(data)));
