//! `/v1`: the product's own surface. JSON in, JSON out, errors as problem documents (RFC 9457),
//! serial numbers as strings, times as ms since 1970.

mod anonymous_calls;
mod api_keys;
mod bidirectional_calls;
mod call_recording;
mod callbacks;
mod calls;
mod docs;
mod events;
mod health;
mod metrics;
mod number_bindings;
mod problem;
mod recordings;
mod softphones;
mod tenants;
mod timeline;
pub mod voice_notifications;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub use problem::Problem;

/// A body that is a JSON object. serde would also take an array of the fields in their order, which
/// no description promises.
fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let fault = |error| Problem::bad_request(format!("the body is not as described: {error}"));
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(fault)?;
    let nested =
        |value: &Value| value.as_array().is_some_and(|all| all.iter().any(Value::is_array));
    if fields.values().any(nested) {
        return Err(Problem::bad_request("the body is not as described: an array in an array"));
    }
    serde_json::from_value(Value::Object(fields)).map_err(fault)
}

/// The routes of `/v1`, and the document that describes them at `/v1/openapi.json`; its pages at `/v1/docs`.
pub fn router() -> Router<App> {
    let (router, document) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(voice_notifications::create))
        .routes(routes!(bidirectional_calls::create))
        .routes(routes!(anonymous_calls::create))
        .routes(routes!(calls::list))
        .routes(routes!(calls::show))
        .routes(routes!(calls::cancel))
        .routes(routes!(call_recording::pause))
        .routes(routes!(call_recording::resume))
        .routes(routes!(timeline::timeline))
        .routes(routes!(callbacks::of_call))
        .routes(routes!(callbacks::dead))
        .routes(routes!(callbacks::replay))
        .routes(routes!(events::read))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::submit))
        .routes(routes!(recordings::approve))
        .routes(routes!(recordings::reject))
        .routes(routes!(softphones::list))
        .routes(routes!(softphones::put))
        .routes(routes!(softphones::remove))
        .routes(routes!(number_bindings::list))
        .routes(routes!(number_bindings::create))
        .routes(routes!(number_bindings::end))
        .routes(routes!(api_keys::create))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(tenants::own))
        .routes(routes!(tenants::list))
        .routes(routes!(tenants::put))
        .routes(routes!(health::healthy))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    let mut document = serde_json::to_value(&document).expect("the document has string keys only");
    name_problems(&mut document);
    let document = document.to_string();
    router.route("/v1/openapi.json", get(move || openapi(document.clone()))).merge(docs::router())
}

/// Problems have a media type of their own (RFC 9457 §3), which the macros would want at each of them.
fn name_problems(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    let responses = operations.filter_map(|operation| operation["responses"].as_object_mut());
    for response in responses.flat_map(Map::values_mut) {
        let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else {
            continue;
        };
        let schema = content.get("application/json").map(|body| &body["schema"]["$ref"]);
        if schema.is_some_and(|schema| schema == "#/components/schemas/Problem")
            && let Some(problem) = content.remove("application/json")
        {
            content.insert("application/problem+json".to_owned(), problem);
        }
    }
}

#[expect(clippy::unused_async, reason = "axum takes async handlers")]
async fn openapi(document: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "offhook",
        description = "Calls that software starts: place them, follow them, know what happened and why."
    ),
    modifiers(&BearerKey),
    security(("bearer" = []))
)]
struct Description;

/// Bearer tokens of tokenByAkSk and API keys go into the same header.
struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

#[cfg(test)]
mod tests;
