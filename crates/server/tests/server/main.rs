//! The whole server, from outside: its own process, a carrier, phones and receivers around it.

mod crash;
mod endings;
mod page_003;
mod support;
