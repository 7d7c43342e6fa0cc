//! Settings as given: defaults, file, environment, command line, merged key by key. Keys are handed out one at a time
//! to [`super::parse`]; what is wrong is gathered, so that an operator sees all of it at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};

/// The defaults: what an operator reads is what is in force.
pub(super) const DEFAULTS: &str = include_str!("../../../deploy/godwit.toml");

const PREFIX: &str = "GODWIT";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingSource {
    /// Nobody said anything.
    Default,
    /// The settings file.
    File,
    /// An environment variable.
    Environment,
    /// The command line's `--data`.
    DataFlag,
}

/// Something wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingProblem {
    key: String,
    origin: SettingSource,
    text: String,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            SettingSource::Environment => write!(f, "{} ({}): {}", self.key, variable(&self.key), self.text),
            SettingSource::DataFlag => write!(f, "{} (--data): {}", self.key, self.text),
            SettingSource::Default | SettingSource::File => write!(f, "{}: {}", self.key, self.text),
        }
    }
}

/// The environment variable of a key.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}__{}", key.replace('.', "__").to_uppercase())
}

/// A value in force, for people to read.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    /// Its key.
    pub(crate) key: &'static str,
    /// Its value, in TOML's types.
    pub(crate) value: toml::Value,
    /// Who said so.
    pub(crate) origin: SettingSource,
}

/// A value as given, of a type not yet checked.
#[derive(Debug, Clone)]
pub(super) struct RawSetting {
    kind: ValueKind,
    origin: SettingSource,
}

/// Values by key.
pub(super) struct Layers {
    defaults: BTreeMap<String, RawSetting>,
    given: BTreeMap<String, RawSetting>,
    effective: Vec<Effective>,
    problems: Vec<SettingProblem>,
}

impl Layers {
    /// Gathers all layers. `environment` replaces the process's own in tests.
    pub(super) fn gather(file: Option<&Path>, environment: Option<Map<String, String>>, data: Option<&Path>) -> Self {
        let none = BTreeMap::new;
        let mut layers = Self { defaults: none(), given: none(), effective: Vec::new(), problems: Vec::new() };
        layers.add(&File::from_str(DEFAULTS, FileFormat::Toml), SettingSource::Default);
        layers.defaults = std::mem::take(&mut layers.given);
        if let Some(path) = file {
            layers.add(&File::from(path).format(FileFormat::Toml), SettingSource::File);
        }
        layers.add(&Environment::with_prefix(PREFIX).separator("__").source(environment), SettingSource::Environment);
        if let Some(dir) = data {
            let kind = ValueKind::String(dir.display().to_string());
            layers.given.insert("data.dir".to_owned(), RawSetting { kind, origin: SettingSource::DataFlag });
        }
        layers
    }

    fn add(&mut self, source: &dyn Source, origin: SettingSource) {
        match source.collect() {
            Ok(values) => values.into_iter().for_each(|(key, value)| self.flatten(key, value, &origin)),
            Err(error) => {
                let key = if origin == SettingSource::File { "--config" } else { "environment" };
                let text = error.to_string().trim_end().to_owned();
                self.problems.push(SettingProblem { key: key.to_owned(), origin: SettingSource::Default, text });
            }
        }
    }

    fn flatten(&mut self, key: String, value: Value, origin: &SettingSource) {
        match value.kind {
            ValueKind::Table(table) if !table.is_empty() => {
                for (name, value) in table {
                    self.flatten(format!("{key}.{name}"), value, origin);
                }
            }
            // A known section may be empty.
            ValueKind::Table(_) if self.defaults.keys().any(|known| known.starts_with(&format!("{key}."))) => {}
            kind => drop(self.given.insert(key, RawSetting { kind, origin: origin.clone() })),
        }
    }

    /// The value of a key. If it is wrong, that is noted and the default stands in for it.
    pub(super) fn take<B: TomlType, T>(&mut self, key: &'static str, convert: impl Fn(B) -> Result<T, String>) -> T {
        let parse = |given: &RawSetting| {
            let base = B::of(given)?;
            Ok((convert(base.clone())?, base.into()))
        };
        let default = &self.defaults[key];
        let given = self.given.remove(key);
        let (parsed, origin) = match given.as_ref().map(|given| (parse(given), given.origin.clone())) {
            Some((Ok(parsed), origin)) => (Some(parsed), origin),
            Some((Err(text), origin)) => {
                self.problems.push(SettingProblem { key: key.to_owned(), origin, text });
                (None, SettingSource::Default)
            }
            None => (None, SettingSource::Default),
        };
        let (value, shown) = parsed.unwrap_or_else(|| match parse(default) {
            Ok(parsed) => parsed,
            Err(text) => panic!("the default of {key}: {text}"),
        });
        self.effective.push(Effective { key, value: shown, origin });
        value
    }

    /// Notes a conflict between good values; `key` is the one to change.
    pub(super) fn refuse(&mut self, key: &'static str, text: String) {
        let taken = self.effective.iter().find(|value| value.key == key);
        let origin = taken.map_or(SettingSource::Default, |value| value.origin.clone());
        self.problems.push(SettingProblem { key: key.to_owned(), origin, text });
    }

    /// What is in force.
    ///
    /// # Errors
    /// Every problem, including keys that nobody took.
    pub(super) fn finish(self) -> Result<Vec<Effective>, Vec<SettingProblem>> {
        let mut problems = self.problems;
        let unknown = |(key, given): (String, RawSetting)| SettingProblem {
            key,
            origin: given.origin,
            text: "unknown key".into(),
        };
        problems.extend(self.given.into_iter().map(unknown));
        if problems.is_empty() { Ok(self.effective) } else { Err(problems) }
    }
}

/// The types values have before they mean anything. The environment and the command line know only text.
pub(super) trait TomlType: Sized + Clone + Into<toml::Value> {
    fn of(given: &RawSetting) -> Result<Self, String>;
}

impl TomlType for i64 {
    fn of(given: &RawSetting) -> Result<Self, String> {
        let text = match &given.kind {
            ValueKind::I64(number) => return Ok(*number),
            ValueKind::String(text) if given.origin == SettingSource::Environment => {
                text.trim().replace('_', "").parse().ok()
            }
            _ => None,
        };
        text.ok_or_else(|| format!("{} is not a whole number", shown(given)))
    }
}

impl TomlType for bool {
    fn of(given: &RawSetting) -> Result<Self, String> {
        match &given.kind {
            ValueKind::Boolean(flag) => Ok(*flag),
            ValueKind::String(text) if given.origin == SettingSource::Environment && text == "true" => Ok(true),
            ValueKind::String(text) if given.origin == SettingSource::Environment && text == "false" => Ok(false),
            _ => Err(format!("{} is neither true nor false", shown(given))),
        }
    }
}

impl TomlType for String {
    fn of(given: &RawSetting) -> Result<Self, String> {
        match &given.kind {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err(format!("{} is not text: put it in quotes", shown(given))),
        }
    }
}

/// In the environment, and so on the command line, a list is text with commas.
impl TomlType for Vec<String> {
    fn of(given: &RawSetting) -> Result<Self, String> {
        let text = |value: &Value| match &value.kind {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err(format!("{value} is not text: put it in quotes")),
        };
        match &given.kind {
            ValueKind::Array(values) => values.iter().map(text).collect(),
            ValueKind::String(text) if given.origin == SettingSource::Environment => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
            _ => Err(format!("{} is not a list: put it in brackets", shown(given))),
        }
    }
}

fn shown(given: &RawSetting) -> String {
    match &given.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a section".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        kind => kind.to_string(),
    }
}
