//! offhook: calls that software starts.

mod access;
mod app;
mod callbacks;
mod calls;
mod cli;
mod config;
mod http;
mod recordings;
mod speech;
mod tenants;
mod voices;

fn main() {}
