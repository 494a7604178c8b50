//! Who may know whom. A crate that is not in the table may not exist: whoever adds one decides here what it may see.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::Package;

/// Each crate and the crates that it may depend on, in its code, its tests and its build script alike.
const ARROWS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("sip", &[]),
    ("media", &[]),
    ("store", &["engine"]), // nouns only
    ("sim", &["sip", "media"]),
    ("server", &["engine", "sip", "media", "store", "sim"]),
    ("xtask", &[]),
];

/// Names that say nothing about what is inside, so that everything ends up there.
pub const DRAWER_NAMES: &[&str] =
    &["common", "helper", "helpers", "misc", "shared", "type", "types", "util", "utils"];

/// Every crate that knows one that it may not, is unknown to the table, or has disappeared.
pub fn check(packages: &[Package]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut findings = Vec::new();
    for package in packages.iter().filter(|p| p.source.is_none()) {
        let name = package.name.as_str();
        if DRAWER_NAMES.contains(&name) {
            findings.push(format!("crate `{name}`: name it after what it knows, or move each piece to the crate that needs it"));
        }
        match allowed.get(name) {
            Some(allowed) => findings.extend(forbidden_arrows(package, allowed)),
            None => findings.push(format!(
                "crate `{name}` has no place in the design: add it to ARROWS and to ARCHITECTURE.md"
            )),
        }
    }
    let present: BTreeSet<&str> = crate::workspace::member_names(packages);
    for missing in allowed.keys().filter(|name| !present.contains(*name)) {
        findings
            .push(format!("crate `{missing}` is gone: take it out of ARROWS and ARCHITECTURE.md"));
    }
    findings
}

fn forbidden_arrows(package: &Package, allowed: &[&str]) -> Vec<String> {
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    ours.filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| {
            let (from, to) = (&package.name, &dependency.name);
            format!("`{from}` depends on `{to}`; it may know {allowed:?}. Let the server pass what is needed, or move the noun down to where both may see it")
        })
        .collect()
}
