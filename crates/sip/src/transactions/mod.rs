//! Transactions (RFC 3261 §17, RFC 6026): two stores, one per role, so that a call to ourselves
//! never meets its own key. They keep bytes, not messages: what is sent again is what was sent.

mod client;
mod server;

pub(crate) use client::{ClientKey, ClientStore, Failure, NewClient, Owner, Purpose, follow_up};
pub(crate) use server::{Found, ServerId, ServerStore, refused_as};
