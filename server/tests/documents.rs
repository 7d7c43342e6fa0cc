//! What documents say of the code: tests that they name are there.

use std::fs;
use std::path::{Path, PathBuf};

/// A test's file, by the short form that docs/conformance.md explains.
fn file_of(path: &str) -> PathBuf {
    let (first, rest) = path.split_once("::").unwrap_or((path, ""));
    let below = |folder: &str| PathBuf::from(format!("{folder}/{}.rs", rest.replace("::", "/")));
    match first {
        "mqtt" => below("broker/src/mqtt"),
        "websocket" => below("broker/src/websocket"),
        "connection" => below("broker/src/connection"),
        "lane" => below("bridge/src/lane/tests"),
        "e2e" => below("tests/e2e"),
        "content" => "bridge/core/src/decide/tests/content.rs".into(),
        _ => format!("broker/src/tests/{first}.rs").into(),
    }
}

#[test]
fn tests_that_show_conformance_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("the table");
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let named: Vec<_> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|it| it.contains("::")).collect();
    assert!(named.len() > 100, "{}", named.len());
    for name in named {
        let (path, test) = name.rsplit_once("::").expect("a path");
        let file = file_of(path);
        let code = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(code.contains(&format!("fn {test}(")), "{name} is not in {}", file.display());
    }
}

#[test]
fn statements_stand_once_in_each_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("the table");
    for version in text.split("\n## MQTT ").skip(1) {
        let cells = version.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let mut statements: Vec<_> = cells.filter(|cell| cell.starts_with(|c: char| c.is_ascii_digit())).collect();
        statements.sort_unstable();
        let all = statements.len();
        statements.dedup();
        assert_eq!(statements.len(), all);
    }
}

/// A default as documents say it (`65,536`, `1 GiB`, `10 seconds`, `a day unless configured`), in the unit of its setting.
fn default_in_words(key: &str, words: &str) -> Option<i64> {
    let words = words.split([';', ':']).next()?.trim_end_matches(" unless configured");
    let (number, unit) = words.split_once(' ').unwrap_or((words, ""));
    let number = match number {
        "a" | "an" => 1,
        digits => digits.replace(',', "").parse().ok()?,
    };
    let unit = match unit {
        "" | "bytes" | "files" => return Some(number),
        "second" | "seconds" => 1,
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3_600,
        "day" | "days" => 86_400,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let of_the_setting = match key.rsplit('_').next() {
        Some("mib") => 1 << 20,
        Some("days") => 86_400,
        _ => 1,
    };
    Some(number * unit / of_the_setting)
}

#[test]
fn defaults_that_documents_name_are_those_of_the_settings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let settings: toml::Table = include_str!("../../deploy/godwit.toml").parse().expect("TOML");
    let mut files = vec![root.join("README.md"), root.join("SECURITY.md"), root.join("ARCHITECTURE.md")];
    for folder in ["docs/users", "docs/operators", "docs/dev", "docs/dev/design", "schemas/proto/godwit"] {
        let entries = fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let entries = entries.map(|entry| entry.expect("an entry").path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|ext| ext == "md" || ext == "proto")));
    }
    let mut compared = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // A sentence may go on in the next line of a comment.
        let text = text.lines().map(|line| line.trim_start_matches([' ', '/'])).collect::<Vec<_>>().join(" ");
        for (before, after) in text.match_indices("` (").map(|(at, _)| (&text[..at], &text[at + 3..])) {
            let key = before.rsplit('`').next().unwrap_or_default();
            let Some((section, name)) = key.split_once('.') else { continue };
            let Some(default) = settings.get(section).and_then(|section| section.get(name)) else { continue };
            let words = after.split(')').next().unwrap_or_default();
            if let Some(said) = default_in_words(key, words) {
                assert_eq!(Some(said), default.as_integer(), "{}: `{key}` ({words})", file.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 30, "{compared}: they are not found any more");
}
