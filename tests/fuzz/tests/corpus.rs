//! What fuzzing has kept, played again.

use std::fs;
use std::path::Path;

/// Runs a target with each of its inputs.
#[expect(clippy::print_stdout, reason = "shown when a test fails: the last one is the input that did it")]
fn play(target: &str, run: impl AsyncFn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    for input in inputs {
        let data = fs::read(&input).expect("an input");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        println!("{}", input.display());
        runtime.expect("a runtime").block_on(run(&data));
    }
}

#[test]
fn mqtt() {
    play("mqtt", godwit_fuzz::mqtt);
}

#[test]
fn websocket() {
    play("websocket", godwit_fuzz::websocket);
}

#[test]
fn proxy() {
    play("proxy", godwit_fuzz::proxy);
}

#[test]
fn bus() {
    play("bus", godwit_fuzz::bus);
}

#[test]
fn topics() {
    play("topics", godwit_fuzz::topics);
}

#[test]
fn http() {
    play("http", godwit_fuzz::http);
}
