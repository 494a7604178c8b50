//! The rules of STYLE.md that a line shows by itself.

use std::path::Path;

use xtask::{tidy, workspace};

#[test]
fn this_workspace_is_tidy() {
    let findings = tidy::check(&workspace::root()).expect("the tree is read");
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn the_walk_finds_rust_files_and_stays_out_of_build_output() {
    let tree = tempfile::tempdir().expect("a temporary folder");
    for folder in ["crates/sip/src", "target/debug", ".git"] {
        std::fs::create_dir_all(tree.path().join(folder)).unwrap();
        std::fs::write(tree.path().join(folder).join("core.rs"), "fn f() { todo!() }\n").unwrap();
    }
    let findings = tidy::check(tree.path()).expect("the tree is read");
    assert!(
        matches!(&findings[..], [one] if one.to_string().starts_with("crates/sip/src/core.rs:1: `todo!(`")),
        "{findings:?}"
    );
}

#[test]
fn a_test_that_sleeps_is_found_and_a_phone_that_waits_is_not() {
    assert_eq!(lines_of("crates/sip/tests/race.rs", "    std::thread::sleep(D);\n"), [1]);
    assert_eq!(lines_of("crates/sip/src/core/tests.rs", "tokio::time::sleep(D).await;\n"), [1]);
    assert_eq!(lines_of("crates/sim/src/phone.rs", "tokio::time::sleep(D).await;\n"), [0; 0]);
    let with_tests = "fn f() { sleep(D) }\n#[cfg(test)]\nmod tests {\n    fn g() { sleep(D) }\n}\n";
    assert_eq!(lines_of("crates/sim/src/phone.rs", with_tests), [4]);
    let test_helper_only = "#[cfg(test)]\nfn quick() {}\nfn f() { sleep(D) }\n";
    assert_eq!(lines_of("crates/sim/src/phone.rs", test_helper_only), [0; 0]);
    let tests_elsewhere = "#[cfg(test)]\nmod tests;\nfn f() { sleep(D) }\n";
    assert_eq!(lines_of("crates/sim/src/phone.rs", tests_elsewhere), [0; 0]);
}

#[test]
fn what_is_undone_or_switched_off_is_found_in_code_and_not_in_words_about_it() {
    assert_eq!(lines_of("a.rs", "#[ignore = \"slow\"]\n"), [1]);
    assert_eq!(lines_of("a.rs", "fn f() { unimplemented!() }\n"), [1]);
    assert_eq!(lines_of("a.rs", "#![allow(dead_code)]\n"), [1]);
    assert_eq!(lines_of("a.rs", "fn get_name() {}\n"), [1]);
    assert_eq!(
        lines_of("a.rs", "// never todo!() here\nconst A: &str = \"todo!() \\\" todo!()\";\n"),
        [0; 0]
    );
    assert_eq!(lines_of("a.rs", "let quote = '\"'; todo!()\n"), [1]);
}

#[test]
fn an_engine_that_reaches_for_the_world_is_found() {
    for impure in [
        "let now = Instant::now();\n",
        "use std::time::SystemTime;\n",
        "use tokio::sync;\n",
        "async fn f() {}\n",
        "use std::collections::HashMap;\n",
        "std::thread::spawn(f);\n",
    ] {
        assert_eq!(lines_of("crates/engine/src/calls/talk.rs", impure), [1], "{impure}");
        assert_eq!(lines_of("crates/server/src/driver.rs", impure), [0; 0], "{impure}");
    }
}

#[test]
fn a_room_that_passes_over_cases_is_found() {
    let room = "crates/engine/src/calls/talk.rs";
    assert_eq!(
        lines_of(room, "match (s, i) {\n    (State::Held, _) => f(),\n    (_, _) => g(),\n}\n"),
        [3]
    );
    assert_eq!(
        lines_of(room, "match s {\n    State::Held | State::Up => f(),\n    _ => g(),\n}\n"),
        [3]
    );
    assert_eq!(
        lines_of(room, "match s {\n    State::Ringing { .. } => f(),\n    Some(_) => g(),\n}\n"),
        [0; 0]
    );
    assert_eq!(
        lines_of(room, "#[cfg(test)]\nmod tests {\n    fn f() { match s { _ => g() } }\n}\n"),
        [0; 0]
    );
}

#[test]
fn a_route_that_reads_every_tenants_rows_is_found() {
    let read = "let cdr = store.cdr(Scope::All, serial).await?;\n";
    assert_eq!(lines_of("crates/server/src/http/v1/calls.rs", read), [1]);
    assert_eq!(lines_of("crates/server/src/calls.rs", read), [1]);
    assert_eq!(lines_of("crates/server/src/world/witness.rs", read), [0; 0]);
    assert_eq!(lines_of("crates/server/src/http/v1/tests.rs", read), [0; 0]);
}

#[test]
fn files_too_long_named_for_nothing_or_with_loose_ends_are_found() {
    let long = "fn f() {}\n".repeat(tidy::MAX_LINES + 1);
    assert_eq!(
        advice("a.rs", &long),
        ["601 lines, at most 600: split off the second thing that it does"]
    );
    assert_eq!(advice("a.rs", &"fn f() {}\n".repeat(tidy::MAX_LINES)), [""; 0]);
    assert!(advice("crates/sip/src/utils.rs", "")[0].starts_with("this name says nothing"));
    assert!(advice("crates/sip/tests/common/mod.rs", "")[0].starts_with("this name says nothing"));
    assert_eq!(lines_of("a.rs", "fn f() {} \n"), [1]);
    assert!(advice("a.rs", "fn f() {}")[0].starts_with("the last line does not end"));
}

fn lines_of(path: &str, text: &str) -> Vec<usize> {
    tidy::check_file(Path::new(path), text).iter().filter_map(|finding| finding.line).collect()
}

fn advice(path: &str, text: &str) -> Vec<String> {
    tidy::check_file(Path::new(path), text).into_iter().map(|finding| finding.advice).collect()
}
