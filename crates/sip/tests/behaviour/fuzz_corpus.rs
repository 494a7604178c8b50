//! What the fuzz targets of this crate know, with a stable compiler. The targets are those of `fuzz/`.

#[path = "../../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../../fuzz/src/signalling.rs"]
mod signalling;

use corpus::replay;

#[test]
fn datagrams() {
    replay("sip_datagram", signalling::sip_datagram);
}

#[test]
fn streams() {
    replay("sip_stream", signalling::sip_stream);
}

#[test]
fn uris() {
    replay("uri", signalling::uri);
}

#[test]
fn digests() {
    replay("digest", signalling::digest);
}

#[test]
fn vias_and_contacts() {
    replay("via_contact", signalling::via_contact);
}

#[test]
fn registers_of_phones() {
    replay("register", signalling::register);
}

#[test]
fn programs_of_commands_messages_and_time() {
    replay("transaction_program", signalling::transaction_program);
}
