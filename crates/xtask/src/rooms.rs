//! The same noun names the file on every floor: a room of the engine has its HTTP file under the same name.

use std::path::Path;

/// Files of `crates/engine/src/calls` that no request starts, so that they have no HTTP file.
const INNER_ROOMS: &[&str] = &["connecting", "dial", "endings", "mod", "places", "talk", "way"];

/// Rooms of the engine without the server's file of the same name. Both folders exist, or neither does yet.
pub fn check(root: &Path) -> Vec<String> {
    let (rooms, http) = (root.join("crates/engine/src/calls"), root.join("crates/server/src/http"));
    match (rooms.is_dir(), http.is_dir()) {
        (true, true) => {}
        (false, false) => return Vec::new(),
        (true, false) => {
            return vec![format!("{} is missing: its rooms cannot be compared", http.display())];
        }
        (false, true) => {
            return vec![format!("{} is missing: its rooms cannot be compared", rooms.display())];
        }
    }
    let answered = stems(&http);
    stems(&rooms)
        .into_iter()
        .filter(|room| !INNER_ROOMS.contains(&room.as_str()) && !answered.contains(room))
        .map(|room| {
            format!(
                "engine/src/calls/{room} has no server/src/http/{room}: use one name on every floor"
            )
        })
        .collect()
}

/// Names of the modules in a folder, sorted: `a.rs` and `a/` are both `a`.
fn stems(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let modules = paths.filter(|path| path.is_dir() || path.extension().is_some_and(|e| e == "rs"));
    let mut names: Vec<String> =
        modules.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}
