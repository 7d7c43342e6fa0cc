//! `docs/operators/settings.md` is generated from `deploy/godwit.toml`. `make settings-page` writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# Settings

`make settings-page` generates this page from [deploy/godwit.toml](../../deploy/godwit.toml), which is built into the program:
the defaults here are the defaults in force. [Where settings come from](README.md#where-settings-come-from) says which source
wins. In the environment the setting `mqtt.listen` is `GODWIT__MQTT__LISTEN`.
";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A table for each section: a setting's comment is its meaning.
fn page(example: &str) -> String {
    let mut page = HEAD.to_owned();
    let (mut section, mut meaning) = ("", Vec::new());
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            _ = write!(page, "\n## {section}\n\n| setting | default | meaning |\n|---|---|---|\n");
        } else if let Some(text) = line.strip_prefix("# ") {
            meaning.push(text);
        } else if let Some((key, default)) = line.split_once(" = ") {
            let meaning = std::mem::take(&mut meaning).join(" ").replace('|', "\\|").replace('<', "\\<");
            _ = writeln!(page, "| `{section}.{key}` | `{default}` | {meaning} |");
        } else {
            // What stands before the first section is about the file.
            meaning.clear();
        }
    }
    page
}

#[test]
fn settings_page_says_what_the_example_file_says() {
    let page = page(&fs::read_to_string(file("deploy/godwit.toml")).expect("the example"));
    let path = file("docs/operators/settings.md");
    if std::env::var_os("GODWIT_WRITE_PAGES").is_some() {
        fs::write(&path, &page).expect("written");
    }
    assert_eq!(fs::read_to_string(path).expect("the page"), page, "it is out of date: make settings-page");
}
