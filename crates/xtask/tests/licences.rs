//! Every crate in the program is under a licence that lets anyone ship it, and TLS and SRTP have one crypto provider.

use xtask::licences::{Expression, Policy};
use xtask::workspace::{self, Locked, Package, Scope};

#[test]
fn every_dependency_is_under_an_accepted_licence() {
    let packages =
        workspace::packages(Scope::Everything).expect("cargo describes the dependencies");
    assert!(
        packages.iter().any(|p| p.name == "ring"),
        "the dependencies are listed, not only our crates"
    );
    let findings = policy().check_licences(&packages);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn nothing_banned_or_from_elsewhere_is_locked() {
    let findings = policy().check_lock(&workspace::locked().expect("Cargo.lock is read"));
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn ring_is_the_one_crypto_provider_in_one_version() {
    let locked = workspace::locked().expect("Cargo.lock is read");
    assert_eq!(
        locked.iter().filter(|p| p.name == "ring").count(),
        1,
        "two versions of ring are two providers"
    );
    for rival in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "cmake"] {
        assert!(policy().bans(rival), "deny.toml bans {rival}");
    }
}

#[test]
fn the_policy_accepts_no_licence_that_binds_the_whole_program() {
    let binding = |name: &&str| {
        ["GPL", "SSPL", "BUSL", "CC-BY-NC", "EUPL", "OSL"]
            .iter()
            .any(|family| name.contains(family))
    };
    let policy = policy();
    assert_eq!(policy.allowed_licences().filter(binding).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn offhook_itself_is_under_mit_or_apache() {
    let packages = workspace::packages(Scope::Members).expect("cargo describes the workspace");
    for package in &packages {
        assert_eq!(package.license.as_deref(), Some("MIT OR Apache-2.0"), "crate {}", package.name);
    }
    for (file, words) in [("LICENSE-MIT", "MIT License"), ("LICENSE-APACHE", "Apache License")] {
        let text = std::fs::read_to_string(workspace::root().join(file))
            .expect("the licence's text is in the root");
        assert!(text.contains(words), "{file} is {words}");
    }
}

#[test]
fn a_binding_licence_a_missing_one_and_an_unreadable_one_are_found() {
    let findings = policy().check_licences(&[
        package("espeak", Some("GPL-3.0-or-later")),
        package("nameless", None),
        package("garbled", Some("MIT OR")),
        package("half", Some("MIT AND GPL-2.0-only")),
        package("choice", Some("GPL-2.0-only OR MIT")),
    ]);
    assert_eq!(findings.len(), 4, "{findings:?}");
    assert!(findings[0].starts_with("espeak 1.0.0 is under `GPL-3.0-or-later`"));
    assert!(findings[1].starts_with("nameless 1.0.0 states no licence"));
    assert!(findings[2].starts_with("garbled 1.0.0 states a licence that cannot be read"));
    assert!(findings[3].starts_with("half 1.0.0"));
}

#[test]
fn a_banned_crate_and_a_foreign_source_are_found() {
    let locked = |name: &str, source: &str| Locked {
        name: name.to_owned(),
        source: Some(source.to_owned()),
    };
    let findings = policy().check_lock(&[
        locked("aws-lc-rs", "registry+https://github.com/rust-lang/crates.io-index"),
        locked("ours", "git+https://example.org/ours"),
        locked("serde", "registry+https://github.com/rust-lang/crates.io-index"),
    ]);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings[0].contains("aws-lc-rs") && findings[1].contains("git+https://example.org/ours"),
        "{findings:?}"
    );
}

#[test]
fn expressions_are_read_as_spdx_says() {
    let accepted = |text: &str, allow: &[&str]| {
        let allow: Vec<String> = allow.iter().map(|&name| name.to_owned()).collect();
        Expression::parse(text).expect(text).accepted(&allow)
    };
    assert!(accepted("MIT OR Apache-2.0", &["MIT"]));
    assert!(accepted("Apache-2.0 / MIT", &["MIT"]));
    assert!(!accepted("(MIT OR Apache-2.0) AND Unicode-3.0", &["MIT"]));
    assert!(accepted("(MIT OR Apache-2.0) AND Unicode-3.0", &["MIT", "Unicode-3.0"]));
    assert!(accepted("MIT OR ISC AND X", &["MIT"]), "AND binds tighter than OR");
    assert!(
        !accepted("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]),
        "an exception makes another licence"
    );
    for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "OR MIT", "MIT WITH"] {
        assert!(Expression::parse(broken).is_err(), "`{broken}` is refused");
    }
}

fn policy() -> Policy {
    Policy::read(&workspace::root()).expect("deny.toml is read")
}

fn package(name: &str, license: Option<&str>) -> Package {
    Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: license.map(str::to_owned),
        source: Some("registry+https://github.com/rust-lang/crates.io-index".to_owned()),
        dependencies: Vec::new(),
    }
}
