//! From text and variables to one typed value, with errors that name the place and the nearest key.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::{ConfigError, tenant};

/// Keys that hold a secret; each may be given as `<key>_file` instead.
const SECRETS: [&str; 6] =
    ["password", "app_secret", "callback_shared_key", "seal_key", "operator_key", "url"];

/// Merges, replaces `*_file` by what the files hold, and deserialises.
pub fn read<T: DeserializeOwned>(
    file: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let mut tree = merged(file, text, environment)?;
    let directory = Path::new(file).parent().unwrap_or(Path::new(""));
    read_secret_files(&mut tree, "", directory).map_err(|(key, what)| ConfigError {
        file: file.to_owned(),
        key,
        what,
    })?;
    tenant::split_settings(&mut tree);
    Value::from(tree).try_deserialize().map_err(|error| explain(file, &error))
}

fn merged(
    file: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Map<String, Value>, ConfigError> {
    let variables = environment
        .into_iter()
        .filter(|(name, _)| name.to_ascii_uppercase().starts_with("OFFHOOK__"))
        .collect();
    let build = || {
        let mut tree = File::from_str(text, FileFormat::Toml).collect()?;
        // Nothing is parsed here: "0123" as a secret stays "0123"; numbers are read where a number is due.
        let overrides = Environment::with_prefix("OFFHOOK")
            .prefix_separator("__")
            .separator("__")
            .source(Some(variables))
            .collect()?;
        for (key, value) in sorted(overrides) {
            place(&mut tree, &key, value);
        }
        Ok(tree)
    };
    build().map_err(|error: config::ConfigError| explain(file, &error))
}

/// Puts `value` at a dotted key, over what stands there.
fn place(tree: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        tree.insert(key.to_owned(), value);
        return;
    };
    let entry =
        tree.entry(section.to_owned()).or_insert_with(|| Value::from(Map::<String, Value>::new()));
    if !matches!(entry.kind, ValueKind::Table(_)) {
        *entry = Value::from(Map::<String, Value>::new());
    }
    if let ValueKind::Table(table) = &mut entry.kind {
        place(table, rest, value);
    }
}

/// Replaces each `<secret>_file` by `<secret>`: the file's text without the newline at its end.
fn read_secret_files(
    tree: &mut Map<String, Value>,
    path: &str,
    directory: &Path,
) -> Result<(), (String, String)> {
    for secret in SECRETS {
        let key = format!("{secret}_file");
        let Some(named) = tree.remove(&key) else { continue };
        let at = format!("{path}{key}");
        if tree.contains_key(secret) {
            return Err((at, format!("stands beside `{secret}`: write one of the two")));
        }
        let name = named
            .into_string()
            .map_err(|_| (at.clone(), "must be the name of a file".to_owned()))?;
        let text = std::fs::read_to_string(directory.join(&name))
            .map_err(|error| (at, format!("`{name}` cannot be read: {error}")))?;
        tree.insert(secret.to_owned(), Value::from(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let mut values = sorted(std::mem::take(tree));
    for (key, value) in &mut values {
        match &mut value.kind {
            ValueKind::Table(table) => {
                read_secret_files(table, &format!("{path}{key}."), directory)?;
            }
            ValueKind::Array(entries) => {
                for (index, entry) in entries.iter_mut().enumerate() {
                    if let ValueKind::Table(table) = &mut entry.kind {
                        read_secret_files(table, &format!("{path}{key}[{index}]."), directory)?;
                    }
                }
            }
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::String(_) => {}
        }
    }
    tree.extend(values);
    Ok(())
}

/// In the order of the keys: of two errors the same one is told each time.
fn sorted(table: Map<String, Value>) -> BTreeMap<String, Value> {
    table.into_iter().collect()
}

fn explain(file: &str, error: &config::ConfigError) -> ConfigError {
    let (section, what) = unwrap_error(error);
    // `config` leaves out the dot after an index; `settings` is ours, not the file's.
    let section = section.replace(']', "].").replace("..", ".").replace(".settings", "");
    let section = section.trim_end_matches('.').to_owned();
    let (key, what) = match unknown_key(&what) {
        None => (section, what),
        Some((unknown, known)) => {
            let hint = hint(&section, unknown, known);
            let dot = if section.is_empty() { "" } else { "." };
            (format!("{section}{dot}{unknown}"), hint)
        }
    };
    ConfigError { file: file.to_owned(), key, what }
}

/// The innermost message and the key that the outer errors collected.
fn unwrap_error(error: &config::ConfigError) -> (String, String) {
    match error {
        config::ConfigError::At { error, key, .. } => {
            let (_, what) = unwrap_error(error);
            (key.clone().unwrap_or_default(), what)
        }
        config::ConfigError::Type { unexpected, expected, key, .. } => {
            (key.clone().unwrap_or_default(), format!("is {unexpected}, must be {expected}"))
        }
        config::ConfigError::NotFound(key) => (key.clone(), "is missing".to_owned()),
        other => (String::new(), other.to_string()),
    }
}

/// serde names the unknown field and the known ones, each in backquotes.
fn unknown_key(what: &str) -> Option<(&str, Vec<&str>)> {
    let rest = what.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.filter(|known| *known != "settings").collect()))
}

/// The nearest of the known keys is what was meant.
fn hint(section: &str, unknown: &str, mut known: Vec<&str>) -> String {
    if section.starts_with("tenant") {
        known.extend(tenant::IDENTITY);
    }
    match nearest(unknown, &known) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// The known key within three edits, fewer for short words.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|key| (distance(unknown, key), *key))
        .filter(|(edits, key)| *edits <= 3.min(key.len().div_ceil(2)))
        .min()
        .map(|(_, key)| key)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
