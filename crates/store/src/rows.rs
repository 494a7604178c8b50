//! Values as they stand in a row, and back.

use engine::intent::Order;
use engine::route::Route;
use engine::vocabulary::CallKind;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use serde::{Deserialize as _, Serialize};

use crate::error::StoreError;

pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the nouns have string keys only and cannot fail")
}

pub(crate) fn parse<T: DeserializeOwned>(table: &'static str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::corrupt(table, error))
}

/// The kind of an ITA call in a row: bidirectional, and told apart.
pub(crate) const ITA: &str = "ita_call";

/// The column `kind` of a call.
pub(crate) fn task(order: &Order) -> &'static str {
    if order.is_ita() { ITA } else { order.call_kind().name() }
}

pub(crate) fn call_kind(table: &'static str, name: &str) -> Result<CallKind, StoreError> {
    if name == ITA {
        return Ok(CallKind::BidirectionalCall);
    }
    let name: StrDeserializer<'_, NameError> = name.into_deserializer();
    CallKind::deserialize(name).map_err(|error| StoreError::corrupt(table, error))
}

pub(crate) fn route(table: &'static str, text: &str) -> Result<Route, StoreError> {
    text.parse().map_err(|error| StoreError::corrupt(table, error))
}

pub(crate) fn sha256(table: &'static str, bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::corrupt(table, "a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use engine::intent::Place;

    #[test]
    fn the_place_of_the_called_party_reads_as_it_is_written_and_as_a_route_alone() {
        let on_disk = |route| {
            json!({
                "route": route, "called": "8899", "caller_present": "2222201", "priority": 10,
                "ring_limit_s": 60, "max_duration_s": 60, "record": false, "callback_url": null,
                "kind": { "kind": "voice_notification", "playlist": [], "play_times": 1 },
            })
        };
        let places = [
            (json!("carrier"), Place::from("carrier")),
            (json!("a*3,b*1"), Place::Trunks("a*3,b*1".parse().unwrap())),
            (json!(null), Place::Softphone),
        ];
        for (route, place) in places {
            let order: Order = parse("intents", &on_disk(route.clone()).to_string()).unwrap();
            assert_eq!(order.place, place);
            assert_eq!(json(&order).parse::<Value>().unwrap(), on_disk(route));
        }
        assert!(parse::<Order>("intents", &on_disk(json!("a,a")).to_string()).is_err());
    }
}
