//! Has the linker make `godwit` smaller, as far as it can and programs that it links like this run on this machine.

use std::env;
use std::path::Path;
use std::process::Command;

const OPTIONS: [&str; 2] = [
    // Saves 2 MB. Programs that have them run with glibc 2.36 or newer, and others that read DT_RELR.
    "-Wl,-z,pack-relative-relocs",
    // Functions whose machine code is the same become one, which saves 1 MB. A stack trace then names any of them. lld and mold
    // can; nothing here compares addresses of functions.
    "-Wl,--icf=all",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // What is built for another machine cannot be tried on this one.
    if env::var_os("HOST") == env::var_os("TARGET") {
        for option in OPTIONS.into_iter().filter(|option| runs_with(option) == Some(true)) {
            println!("cargo:rustc-link-arg-bins={option}");
        }
    }
}

/// Whether a program that is linked like this runs here. `None`: it cannot be made.
fn runs_with(option: &str) -> Option<bool> {
    let folder = env::var_os("OUT_DIR")?;
    let (source, program) = (Path::new(&folder).join("tried.rs"), Path::new(&folder).join("tried"));
    std::fs::write(&source, "fn main() {}").ok()?;
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags = flags.split('\x1f').filter(|flag| !flag.is_empty());
    let mut compiler = Command::new(env::var_os("RUSTC")?);
    compiler.args(flags).arg("-C").arg(format!("link-arg={option}")).arg("-o").arg(&program).arg(&source);
    Some(compiler.output().ok()?.status.success() && Command::new(&program).status().ok()?.success())
}
