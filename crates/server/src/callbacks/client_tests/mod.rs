//! The client against raw receivers and a DNS server of the tests' own, all on loopback.
mod addresses;
mod receiver;
mod receivers;
mod tls;

use super::*;
use crate::callbacks::trust::TrustList;
use receiver::{DnsServer, Receiver};
use url::Url;

const PATIENT: Duration = Duration::from_secs(30);

fn settings() -> ClientSettings {
    ClientSettings { timeout: PATIENT, ..ClientSettings::default() }
}

fn client(settings: ClientSettings) -> CallbackClient {
    CallbackClient::new(settings).unwrap()
}

fn trust(entries: &[String]) -> TrustList {
    TrustList(entries.iter().map(|entry| entry.parse().unwrap()).collect())
}

fn permit(entry: &str, url: &str) -> Permit {
    trust(&[entry.to_owned()]).permits(&Url::parse(url).unwrap()).unwrap()
}

fn failed(failure: Failure) -> AttemptResult {
    AttemptResult::Failed { failure, status: None }
}

async fn post(client: &CallbackClient, permit: &Permit) -> AttemptResult {
    client.post(permit, HeaderMap::new(), Bytes::from_static(b"{\"called\":\"8899\"}")).await.result
}
