//! The whole server, from outside: its own process, a carrier, phones and receivers around it.

mod carriers;
mod crash;
mod demo;
mod endings;
mod failover;
mod limits;
mod media;
mod page_003;
mod peers;
mod queueing;
mod secrets;
mod sipp;
mod srtp;
mod stopping;
mod support;
