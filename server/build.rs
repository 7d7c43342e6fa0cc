//! Passes on to the linker what `scripts/linker-options` found that it can do.

fn main() {
    println!("cargo:rerun-if-env-changed=GODWIT_LINKER_OPTIONS");
    for option in std::env::var("GODWIT_LINKER_OPTIONS").unwrap_or_default().split_whitespace() {
        println!("cargo:rustc-link-arg-bins={option}");
    }
}
