//! The whole server, from outside: its own process, a carrier, phones and receivers around it.

mod addresses;
mod attackers;
mod callbacks;
mod carriers;
#[path = "../../../store/tests/postgres/cluster.rs"]
mod cluster;
mod crash;
mod crash_points;
mod database;
mod demo;
mod disk;
mod dns;
mod endings;
mod failover;
mod limits;
mod long_queue;
mod media;
mod memory;
mod overload;
mod page_003;
mod peers;
#[path = "../../../store/tests/postgres/proxy.rs"]
mod proxy;
mod queueing;
mod real_phones;
mod recording_pause;
mod rubbish;
mod secrets;
mod sipp;
mod srtp;
mod stopping;
mod support;
mod tls;
mod two_legs;
