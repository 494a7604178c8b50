//! `server → engine, sip, media, store, sim; store → engine; sim → sip, media`, and nothing else.

use xtask::arrows;
use xtask::workspace::{self, Dependency, Package, Scope};

#[test]
fn every_arrow_of_this_workspace_is_one_of_the_design() {
    let packages = workspace::packages(Scope::Members).expect("cargo describes the workspace");
    let findings = arrows::check(&packages);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn an_arrow_that_points_upward_is_found() {
    let mut packages = workspace::packages(Scope::Members).expect("cargo describes the workspace");
    let engine = packages.iter_mut().find(|p| p.name == "engine").expect("the engine is a crate");
    engine.dependencies.push(Dependency { name: "sip".to_owned(), path: Some("../sip".into()) });
    let findings = arrows::check(&packages);
    assert!(
        matches!(&findings[..], [one] if one.contains("`engine` depends on `sip`")),
        "{findings:?}"
    );
}

#[test]
fn a_crate_that_the_design_does_not_name_is_found() {
    let mut packages = workspace::packages(Scope::Members).expect("cargo describes the workspace");
    packages.push(Package {
        name: "utils".to_owned(),
        version: "0.1.0".to_owned(),
        license: None,
        source: None,
        dependencies: Vec::new(),
    });
    packages.retain(|p| p.name != "media");
    let findings = arrows::check(&packages).join("\n");
    assert!(findings.contains("`utils`: name it after what it knows"), "{findings}");
    assert!(findings.contains("`utils` has no place in the design"), "{findings}");
    assert!(findings.contains("`media` is gone"), "{findings}");
}
