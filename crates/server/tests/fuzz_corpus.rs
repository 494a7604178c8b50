//! What the fuzz targets of this crate know, with a stable compiler. The targets are those of `fuzz/`.

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/interfaces.rs"]
mod interfaces;

use corpus::replay;

#[test]
fn requests_for_calls() {
    replay("call_json", interfaces::call_json);
}

#[test]
fn templates_and_their_values() {
    replay("template", interfaces::template);
}
