//! Values as they stand in a row, and back.

use engine::intent::{BidirectionalCall, Order, OrderKind};
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
    match &order.kind {
        OrderKind::BidirectionalCall(BidirectionalCall { ita: true, .. }) => ITA,
        OrderKind::VoiceNotification { .. }
        | OrderKind::BidirectionalCall(_)
        | OrderKind::AnonymousCall(_) => order.call_kind().name(),
    }
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
