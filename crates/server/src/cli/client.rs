//! One request to `/v1` and its reply.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(40);

pub struct Client {
    http: reqwest::Client,
    base: String,
    api_key: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no connection can be made: {0}")]
    Tls(#[from] crate::callbacks::tls::TlsError),
    #[error(
        "{url} is not reached: {source}; is `offhook serve` running there? --url names another address"
    )]
    Unreachable { url: String, source: reqwest::Error },
    #[error("the server refuses the key: {0}; give one by --api-key or OFFHOOK_API_KEY")]
    Refused(String),
    #[error("the server says {status}: {detail}")]
    Problem { status: u16, detail: String },
    #[error("the reply is no JSON; is this an offhook server?")]
    NoJson,
}

impl Client {
    pub fn new(base: &str, api_key: Option<&str>) -> Result<Client, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let tls = crate::callbacks::tls::client_config(None)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|source| ClientError::Unreachable { url: base.clone(), source })?;
        Ok(Client { http, base, api_key: api_key.map(str::to_owned) })
    }

    /// GET.
    pub async fn read(&self, path: &str) -> Result<Value, ClientError> {
        self.send(Method::GET, path, String::new()).await
    }

    /// POST without a body.
    pub async fn act(&self, path: &str) -> Result<Value, ClientError> {
        self.send(Method::POST, path, String::new()).await
    }

    /// PUT of a JSON text.
    pub async fn put(&self, path: &str, body: String) -> Result<Value, ClientError> {
        self.send(Method::PUT, path, body).await
    }

    /// POST of a JSON document.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.send(Method::POST, path, body.to_string()).await
    }

    /// DELETE.
    pub async fn remove(&self, path: &str) -> Result<Value, ClientError> {
        self.send(Method::DELETE, path, String::new()).await
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Value, ClientError> {
        let unreachable = |source| ClientError::Unreachable { url: self.base.clone(), source };
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let reply = request.send().await.map_err(unreachable)?;
        let status = reply.status();
        let body = reply.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            if body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&body).map_err(|_| ClientError::NoJson);
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("no detail given").to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ClientError::Refused(detail)),
            other => Err(ClientError::Problem { status: other.as_u16(), detail }),
        }
    }
}
