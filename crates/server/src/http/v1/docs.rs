//! The description of `/v1` as pages to read and try: Swagger UI out of this binary. No key opens more there than
//! elsewhere, and nothing is fetched from anywhere else.

use std::io::Read as _;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use flate2::read::GzDecoder;
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::Problem;
use crate::app::App;

/// Only scripts of ours run, and they reach only us. The interface writes styles into its own elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // Its default asks a stranger's server whether the document is valid.
    Arc::new(Config::new(["/v1/openapi.json"]).validator_url("none"))
});

pub fn router() -> Router<App> {
    Router::new()
        // Its pages name their files relatively.
        .route("/v1/docs", get(async || Redirect::permanent("/v1/docs/")))
        .route("/v1/docs/", get(async |headers: HeaderMap| page("", &headers)))
        .route(
            "/v1/docs/{file}",
            get(async |Path(file): Path<String>, headers: HeaderMap| page(&file, &headers)),
        )
}

fn page(file: &str, headers: &HeaderMap) -> Response {
    let found = utoipa_swagger_ui::serve(file, CONFIG.clone());
    match found.expect("the files of our build are text where they have settings in them") {
        Some(found) => send(found, headers),
        None => Problem::not_found().into_response(),
    }
}

fn send(file: SwaggerFile<'_>, headers: &HeaderMap) -> Response {
    let mut bytes = file.bytes.into_owned();
    let takes_gzip = takes_gzip(headers);
    if file.gzpipped && !takes_gzip {
        let mut plain = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("it was compressed by our build");
        bytes = plain;
    }
    let mut response = bytes.into_response();
    let told = response.headers_mut();
    let content_type = HeaderValue::try_from(file.content_type);
    told.insert(header::CONTENT_TYPE, content_type.expect("a media type is plain text"));
    told.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    told.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    told.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    told.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if file.gzpipped && takes_gzip {
        told.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// `Accept-Encoding` names it (RFC 9110 §12.5.3) and does not rule it out by `q=0`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    accepted.into_iter().any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::http::testing::World;

    #[tokio::test]
    async fn the_pages_come_from_here_and_load_nothing_from_elsewhere() {
        let world = World::new().await;
        let get = async |path: &str| world.send(Method::GET, path, &[], "").await;
        assert_eq!(get("/v1/docs").await.header("location"), "/v1/docs/");
        let index = get("/v1/docs/").await;
        assert_eq!((index.status.as_u16(), index.header("content-type")), (200, "text/html"));
        let named = |part: &'static str| -> Vec<String> {
            let parts = index.text.split(part).skip(1);
            parts.map(|part| part.split('"').next().expect("a value").to_owned()).collect()
        };
        let files = [named("src=\""), named("href=\"")].concat();
        assert!(files.len() > 4, "{}", index.text);
        for file in files {
            assert!(!file.contains(':') && !file.starts_with('/'), "{file} is elsewhere");
            let path = format!("/v1/docs/{}", file.trim_start_matches("./"));
            let got = get(&path).await;
            assert_eq!(got.status, 200, "{path}");
            assert_eq!(got.header("content-security-policy"), POLICY);
            assert_eq!(got.header("x-content-type-options"), "nosniff");
            assert_eq!(got.header("content-encoding"), "", "nobody asked for it");
        }
        assert!(!index.text.contains("<script>"), "the policy lets no script stand in the page");
        let settings = get("/v1/docs/swagger-initializer.js").await.text;
        assert!(settings.contains("\"/v1/openapi.json\""), "{settings}");
        assert!(settings.contains("\"validatorUrl\": \"none\""), "{settings}");
        for path in ["/v1/docs/nothing.js", "/v1/docs/%2e%2e%2fopenapi.json"] {
            assert_eq!(get(path).await.status, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn who_takes_gzip_gets_it() {
        let world = World::new().await;
        for (accepted, encoding) in
            [("gzip, br", "gzip"), ("br;q=1, GZIP;q=0.5", "gzip"), ("gzip;q=0", ""), ("br", "")]
        {
            let headers = [("accept-encoding", accepted)];
            let got = world.send(Method::GET, "/v1/docs/", &headers, "").await;
            assert_eq!(got.header("content-encoding"), encoding, "{accepted}");
            assert_eq!(got.text.contains("swagger-ui-bundle.js"), encoding.is_empty());
        }
    }
}
