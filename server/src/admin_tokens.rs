//! The file of operators' tokens (`http.admin_tokens_file`): names, scopes, ends, and hashes of tokens, in TOML. `godwit admin-token`
//! writes it, and a running server reads it. The tokens themselves are nowhere but with whoever was given them.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use godwit_bridge::audit::TokenName;
use godwit_http::{AdminScope, AdminToken, AdminTokens, ListedToken};
use godwit_store::time;
use serde::{Deserialize, Serialize};

use crate::cli::AdminTokenCommand;
use crate::exit::{CommandFailure, FAILED, USAGE};
use crate::settings;

const DAY_S: u64 = 24 * 3_600;
/// Most tokens of a file.
const TOKENS_MAX: usize = 1_000;
/// How often a server looks whether the file has changed.
const LOOK: Duration = Duration::from_secs(10);

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenEntry>,
}

/// One token of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    scope: String,
    /// Second since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at_s: Option<u64>,
    sha256: String,
}

/// Reads a file. One that is not there has no tokens.
///
/// # Errors
/// It cannot be read, or is not what `godwit admin-token` writes: which token, and why.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<ListedToken>> {
    let TokenFile { token } = read_file(path)?;
    let mut listed: Vec<ListedToken> = Vec::with_capacity(token.len());
    anyhow::ensure!(token.len() <= TOKENS_MAX, "{} has more than {TOKENS_MAX} tokens", path.display());
    for entry in token {
        let token = parse(&entry).with_context(|| format!("{}: token {:?}", path.display(), entry.name))?;
        anyhow::ensure!(
            listed.iter().all(|it| it.name != token.name),
            "{}: two tokens have the name {:?}",
            path.display(),
            entry.name
        );
        listed.push(token);
    }
    Ok(listed)
}

fn read_file(path: &Path) -> anyhow::Result<TokenFile> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TokenFile::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn parse(entry: &TokenEntry) -> anyhow::Result<ListedToken> {
    let name = TokenName::new(&entry.name).context("a name has 1 to 32 of the characters a-z A-Z 0-9 . _ -")?;
    let scope = AdminScope::named(&entry.scope).context("the scope is neither read, nor support, nor admin")?;
    let hash = from_hex(&entry.sha256).context("sha256 is not 64 hexadecimal digits")?;
    Ok(ListedToken { name, scope, ends_at_s: entry.ends_at_s, hash })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Takes up what the file says whenever it has changed, for ever. A file that is wrong changes nothing.
pub(crate) async fn watch(path: &Path, tokens: &AdminTokens) {
    let mut before = fs::read(path).ok();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = fs::read(path).ok();
        if now != before {
            take_up(path, tokens);
            before = now;
        }
    }
}

/// Takes up what the file says.
pub(crate) fn take_up(path: &Path, tokens: &AdminTokens) {
    match read(path) {
        Ok(listed) => {
            tracing::info!(count = listed.len(), "operators' tokens were read");
            tokens.list(listed);
        }
        Err(error) => tracing::error!("http.admin_tokens_file: {error:#}: the tokens of before stay good"),
    }
}

/// `godwit admin-token ...`
pub(crate) fn run(command: AdminTokenCommand) -> Result<(), CommandFailure> {
    let (AdminTokenCommand::Add { place, .. }
    | AdminTokenCommand::List { place }
    | AdminTokenCommand::Remove { place, .. }) = &command;
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let path = settings.admin_tokens_file;
    // What is wrong in it is not overwritten.
    read(&path)?;
    let mut file = read_file(&path)?;
    match command {
        AdminTokenCommand::Add { name, scope, days, .. } => {
            if file.token.iter().any(|entry| entry.name == name) {
                return Err(CommandFailure::new(FAILED, format!("a token {name:?} exists")));
            }
            let ends_at_s = days.map(|days| time::wall().as_secs() + days * DAY_S);
            let (token, lock) = AdminToken::generate().context("make a token")?;
            let entry = TokenEntry { name, scope, ends_at_s, sha256: lock.hash() };
            parse(&entry).map_err(|error| CommandFailure::new(USAGE, error.to_string()))?;
            file.token.push(entry.clone());
            write(&path, &file)?;
            let TokenEntry { name, scope, ends_at_s, .. } = entry;
            print(&serde_json::json!({ "name": name, "scope": scope, "ends_at_s": ends_at_s, "token": token }))
        }
        AdminTokenCommand::List { .. } => file.token.iter().try_for_each(|entry| {
            let has_ended = entry.ends_at_s.is_some_and(|end_s| end_s <= time::wall().as_secs());
            let TokenEntry { name, scope, ends_at_s, .. } = entry;
            print(&serde_json::json!({ "name": name, "scope": scope, "ends_at_s": ends_at_s, "has_ended": has_ended }))
        }),
        AdminTokenCommand::Remove { name, .. } => {
            let before = file.token.len();
            file.token.retain(|entry| entry.name != name);
            if file.token.len() == before {
                return Err(CommandFailure::new(FAILED, format!("there is no token {name:?}")));
            }
            Ok(write(&path, &file)?)
        }
    }
}

fn print(value: &serde_json::Value) -> Result<(), CommandFailure> {
    crate::commands::print_json(value)
}

/// Replaces the file at once: a server that reads it meanwhile sees the one before or this one.
fn write(path: &Path, file: &TokenFile) -> anyhow::Result<()> {
    let text = format!(
        "# Written by `godwit admin-token`. A running server takes changes up within ten seconds.\n\n{}",
        toml::to_string(file)?
    );
    let beside = path.with_extension("new");
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            new.sync_all()
        });
    written.and_then(|()| fs::rename(&beside, path)).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        let hash = "0".repeat(64);
        assert!(read(&path).expect("none yet").is_empty());
        for (text, words) in [
            (format!("[[token]]\nname = \"a b\"\nscope = \"read\"\nsha256 = \"{hash}\""), "\"a b\": a name has"),
            (format!("[[token]]\nname = \"a\"\nscope = \"root\"\nsha256 = \"{hash}\""), "\"a\": the scope is"),
            ("[[token]]\nname = \"a\"\nscope = \"read\"\nsha256 = \"00\"".to_owned(), "\"a\": sha256 is not"),
            (format!("[[token]]\nname = \"a\"\nscope = \"read\"\nsha256 = \"{}\"", "\u{e9}".repeat(32)), "sha256"),
            ("[[token]]\nname = \"a\"".to_owned(), "scope"),
            ("[[token]]\nname = \"a\"\nsecret = 1".to_owned(), "secret"),
        ] {
            fs::write(&path, &text).expect("written");
            let refused = format!("{:#}", read(&path).err().expect("refused"));
            assert!(refused.contains(words), "{text}: {refused}");
        }
        let one = format!("[[token]]\nname = \"a\"\nscope = \"support\"\nends_at_s = 5\nsha256 = \"{hash}\"\n");
        fs::write(&path, format!("{one}{one}")).expect("written");
        assert!(read(&path).is_err_and(|refused| refused.to_string().contains("two tokens")));
        fs::write(&path, &one).expect("written");
        let listed = read(&path).expect("good");
        assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].ends_at_s), (1, "a", Some(5)));
    }
}
