//! House rules that a line of code shows by itself. What needs to understand code is clippy's (Cargo.toml, clippy.toml).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::arrows::DRAWER_NAMES;

/// Lines of a Rust file; a longer one is usually two things.
pub const MAX_LINES: usize = 600;

/// A line that breaks a rule, and what to do instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    /// Counted from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.advice),
            None => write!(f, "{}: {}", self.path.display(), self.advice),
        }
    }
}

/// Every finding in the Rust files below `root`, in order of path and line.
pub fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        findings.extend(check_file(file.strip_prefix(root).unwrap_or(&file), &text));
    }
    Ok(findings)
}

/// The findings in one file; `path` is relative to the workspace.
pub fn check_file(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |line: Option<usize>, advice: String| {
        findings.push(Finding { path: path.to_owned(), line, advice });
    };
    let lines = text.lines().count();
    if lines > MAX_LINES {
        report(
            None,
            format!("{lines} lines, at most {MAX_LINES}: split off the second thing that it does"),
        );
    }
    if module_name(path).is_some_and(|name| DRAWER_NAMES.contains(&name)) {
        report(None, "this name says nothing: name the module after what it knows".to_owned());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        report(None, "the last line does not end: run `cargo fmt`".to_owned());
    }

    let tests_from = if is_test_file(path) { 0 } else { inline_tests_start(text) };
    let in_engine = path.starts_with("crates/engine/src");
    let in_room = path.starts_with("crates/engine/src/calls");
    let in_server =
        path.starts_with("crates/server/src") && !path.starts_with("crates/server/src/world");
    for (index, line) in text.lines().enumerate() {
        if line.trim_end() != line {
            report(
                Some(index + 1),
                "white space at the end of the line: run `cargo fmt`, or take it off".to_owned(),
            );
        }
        let code = code_of(line);
        for ban in BANS {
            let applies = match ban.place {
                Place::Anywhere => true,
                Place::Tests => index >= tests_from,
                Place::Engine => in_engine,
                Place::Rooms => in_room && index < tests_from,
                Place::Server => in_server && index < tests_from,
            };
            if let Some(word) = ban.words.iter().find(|word| applies && code.contains(*word)) {
                report(Some(index + 1), format!("`{word}`: {}", ban.instead));
            }
        }
    }
    findings
}

struct Ban {
    words: &'static [&'static str],
    place: Place,
    instead: &'static str,
}

enum Place {
    Anywhere,
    Tests,
    Engine,
    /// The state machines; not their tests.
    Rooms,
    /// What serves requests, each of one tenant; neither its tests nor the simulated world, which looks at everybody's.
    Server,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["sleep(", "sleep_until(", "sleep_ms("],
        place: Place::Tests,
        instead: "a test moves the clock (time is an argument), or waits for the condition: receive from a channel with a limit that fails",
    },
    Ban {
        words: &["#[ignore"],
        place: Place::Anywhere,
        instead: "a test that does not run proves nothing: make it fit for every run, or delete it",
    },
    Ban {
        words: &["todo!(", "unimplemented!("],
        place: Place::Anywhere,
        instead: "what is not there is an error that tells the caller so",
    },
    Ban {
        words: &["allow(dead_code", "expect(dead_code"],
        place: Place::Anywhere,
        instead: "delete what nothing calls; git keeps it",
    },
    Ban {
        words: &["fn get_"],
        place: Place::Anywhere,
        instead: "name what is returned: `fn caller()`",
    },
    Ban {
        words: &["Instant::now", "SystemTime"],
        place: Place::Engine,
        instead: "time is an argument (`now`); the driver reads the clock",
    },
    Ban {
        words: &["tokio", "async fn", "thread::", "std::fs"],
        place: Place::Engine,
        instead: "the engine decides and never does: return an action, the driver performs it",
    },
    Ban {
        words: &["HashMap", "HashSet"],
        place: Place::Engine,
        instead: "its order differs from run to run, so that a seed would not replay: BTreeMap, BTreeSet",
    },
    Ban {
        // Clippy's wildcard_enum_match_arm looks at enums only, and a room matches pairs.
        words: &["_ =>", "(_, _) =>", "(_, _, _) =>"],
        place: Place::Rooms,
        instead: "name the cases: a new state or input is then asked for by the compiler",
    },
    Ban {
        words: &["Scope::All"],
        place: Place::Server,
        instead: "a request sees what is its tenant's: name that one",
    },
];

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_symlink() || name.starts_with('.') || name == "target" || name == "node_modules"
        {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `a/b.rs` and `a/b/mod.rs` are both the module `b`.
fn module_name(path: &Path) -> Option<&str> {
    let stem = path.file_stem()?.to_str()?;
    if stem == "mod" { path.parent()?.file_name()?.to_str() } else { Some(stem) }
}

fn is_test_file(path: &Path) -> bool {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests");
    in_tests || matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("test" | "tests"))
}

/// The line (from 0) where the file's own tests begin: they are last, so they reach to its end.
fn inline_tests_start(text: &str) -> usize {
    let mut after_cfg = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test") {
            after_cfg = Some(index);
        }
        let Some(start) = after_cfg else { continue };
        let item = line.trim_start_matches("#[cfg(test)]").trim_start();
        if item.starts_with("mod ") && item.ends_with('{') {
            return start;
        }
        if !item.is_empty() && !item.starts_with('#') && !item.starts_with("//") {
            after_cfg = None; // it belonged to something else than a module with a body
        }
    }
    usize::MAX
}

/// The line without its comment and without what stands in its strings.
fn code_of(line: &str) -> String {
    let line = line.replace("'\"'", "' '").replace("'\\\"'", "' '");
    let mut code = String::with_capacity(line.len());
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => {
                characters.next();
            }
            '"' => {
                in_string = !in_string;
                code.push('"');
            }
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if in_string => {}
            other => code.push(other),
        }
    }
    code
}
