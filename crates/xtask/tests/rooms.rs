//! `git ls-files '*voice_notification*'` lists a whole slice, because every floor uses the same name.

use std::fs;

use xtask::{rooms, workspace};

#[test]
fn every_room_of_the_engine_has_its_http_file() {
    let findings = rooms::check(&workspace::root());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_room_under_another_name_is_found() {
    let tree = tempfile::tempdir().expect("a temporary folder");
    let (calls, http) =
        (tree.path().join("crates/engine/src/calls"), tree.path().join("crates/server/src/http"));
    fs::create_dir_all(&calls).unwrap();
    fs::write(calls.join("click_to_call.rs"), "").unwrap();
    fs::write(calls.join("talk.rs"), "").unwrap();
    assert!(rooms::check(tree.path())[0].contains("http is missing"));

    fs::create_dir_all(&http).unwrap();
    fs::write(http.join("click2call.rs"), "").unwrap();
    let findings = rooms::check(tree.path());
    assert!(matches!(&findings[..], [one] if one.contains("http/click_to_call")), "{findings:?}");

    fs::write(http.join("click_to_call.rs"), "").unwrap();
    assert_eq!(rooms::check(tree.path()), Vec::<String>::new());
}
