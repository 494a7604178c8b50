//! An HTTP client of the calling interfaces, as an integrator would write it.

mod request;
mod token;

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::Moment;
pub use request::{Entry, Recording, Template, VoiceNotification};
use token::Tokens;

const TOKEN: &str = "/apigovernance/api/oauth/tokenByAkSk";
const NOTIFY_V2: &str = "/apiaccess/rest/voiceNotification/v2/createVoiceNotification";
const NOTIFY_V1: &str = "/apiaccess/rest/voiceNotification/v1/createVoiceNotification";
const RECORDINGS: &str = "/apiaccess/rest/voiceNotification/v1/queryVoiceNotificationRecording";
const UPLOAD: &str = "/apiaccess/rest/cc-management/v1/importVoiceFile/upload";
const TEMPLATE: &str = "/apiaccess/rest/cc-management/v1/createVoiceTemplate";
const CALL_RECORDS: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryCallDetailRecord";
const RECORDING_ADDRESS: &str = "/apiaccess/CC-Management/v1/mobileAgent/getRecordingAddress";
const CREATE_CALL: &str = "/apiaccess/CC-Management/v3/mobileAgent/createCall";
const CREATE_ANONYMOUS: &str = "/apiaccess/ccmessaging/v1/mobileagent/createcall";
const CALL_STATE: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryCallState";

/// A request without an answer after this long has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Speaks for one tenant. Clones share connections and the access token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    app_key: String,
    app_secret: String,
    tokens: Tokens,
}

/// Why there is no usable reply.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("the HTTP client could not be set up: {0}")]
    SetUp(reqwest::Error),
    #[error("no reply from {path}: {source}")]
    NoReply { path: String, source: reqwest::Error },
    #[error("{path} answered status {status}: {body}")]
    Status { path: String, status: u16, body: String },
    #[error("{path} refused with code {code}: {message}")]
    Refused { path: String, code: String, message: String },
    #[error("the reply of {path} is not as documented ({reason}): {body}")]
    Shape { path: String, reason: String, body: String },
}

/// A reply as it came, with the time around it.
#[derive(Clone, Debug)]
pub struct Reply {
    pub path: String,
    pub status: u16,
    /// Seconds, from `Retry-After`.
    pub retry_after: Option<u64>,
    pub body: String,
    /// Just before the request was handed to its connection: never later than its first byte.
    pub sent_at: Moment,
    pub replied_at: Moment,
}

/// An anonymous call that waits for its caller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedCall {
    #[serde(rename = "callSerialNo")]
    pub serial: String,
    /// Where the code is dialled.
    #[serde(rename = "sipServiceAddress")]
    pub service: std::net::SocketAddr,
    #[serde(rename = "accesscode")]
    pub code: String,
}

impl Reply {
    /// The body as JSON of this shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.body).map_err(|error| self.misshapen(error.to_string()))
    }

    /// `result.callSerialNo` of a creation that was accepted.
    pub fn call_serial_no(&self) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Created {
            ret_code: String,
            #[serde(default)]
            ret_msg: String,
            result: Option<Serial>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Serial {
            call_serial_no: String,
        }
        let created: Created = self.ok()?.parse()?;
        match created.result {
            Some(result) if created.ret_code == "0" => Ok(result.call_serial_no),
            Some(_) | None => Err(self.refused(created.ret_code, created.ret_msg)),
        }
    }

    /// `resultData` of an anonymous call that was accepted.
    pub fn expected_call(&self) -> Result<ExpectedCall, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Created {
            result_code: String,
            #[serde(default)]
            result_desc: String,
            result_data: Option<ExpectedCall>,
        }
        let created: Created = self.ok()?.parse()?;
        match created.result_data {
            Some(expected) if created.result_code == "0" => Ok(expected),
            Some(_) | None => Err(self.refused(created.result_code, created.result_desc)),
        }
    }

    /// The text field `name` of a reply whose `returnCode` is 0, for example `fileId`.
    pub fn returned(&self, name: &str) -> Result<String, ClientError> {
        let value: Value = self.ok()?.parse()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        match text("returnCode").as_deref() {
            Some("0") => text(name).ok_or_else(|| self.misshapen(format!("{name} is missing"))),
            Some(code) => {
                Err(self.refused(code.to_owned(), text("description").unwrap_or_default()))
            }
            None => Err(self.misshapen("returnCode is missing".to_owned())),
        }
    }

    /// Itself where the status is 2xx.
    pub fn ok(&self) -> Result<&Reply, ClientError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(ClientError::Status {
            path: self.path.clone(),
            status: self.status,
            body: self.body.clone(),
        })
    }

    fn refused(&self, code: String, message: String) -> ClientError {
        ClientError::Refused { path: self.path.clone(), code, message }
    }

    fn misshapen(&self, reason: String) -> ClientError {
        ClientError::Shape { path: self.path.clone(), reason, body: self.body.clone() }
    }
}

impl Client {
    /// `base_url` is scheme, host and port, for example `http://127.0.0.1:8088`.
    pub fn new(
        base_url: impl Into<String>,
        app_key: impl Into<String>,
        app_secret: impl Into<String>,
    ) -> Result<Client, ClientError> {
        install_tls_provider();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::SetUp)?;
        Ok(Client::with_http(http, base_url, app_key, app_secret))
    }

    /// As [`Client::new`] over a client that is set up already, for example with a certificate of its own.
    pub fn with_http(
        http: reqwest::Client,
        base_url: impl Into<String>,
        app_key: impl Into<String>,
        app_secret: impl Into<String>,
    ) -> Client {
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        let (app_key, app_secret) = (app_key.into(), app_secret.into());
        Client { http, base_url, app_key, app_secret, tokens: Tokens::default() }
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A new access token; `lifetime_s` is the header `X-Token-Expire` (at most 3600).
    pub async fn token_by_ak_sk(&self, lifetime_s: Option<u32>) -> Result<Reply, ClientError> {
        let body = json!({ "app_key": self.app_key, "app_secret": self.app_secret });
        let mut request = self.http.post(self.url(TOKEN)).json(&body);
        if let Some(lifetime_s) = lifetime_s {
            request = request.header("X-Token-Expire", lifetime_s);
        }
        perform(TOKEN, request).await
    }

    /// createVoiceNotification v2 with a body as it is: also one that the server should refuse.
    pub async fn create_voice_notification(
        &self,
        body: impl Into<String>,
        idempotency_key: Option<&str>,
    ) -> Result<Reply, ClientError> {
        self.api(NOTIFY_V2, body.into(), idempotency_key).await
    }

    /// createVoiceNotification v2; the call's serial number.
    pub async fn notify(&self, wanted: &VoiceNotification) -> Result<String, ClientError> {
        self.create_voice_notification(wanted.to_json(), None).await?.call_serial_no()
    }

    /// createVoiceNotification v1 with a body as it is.
    pub async fn create_voice_notification_v1(
        &self,
        body: impl Into<String>,
    ) -> Result<Reply, ClientError> {
        self.api(NOTIFY_V1, body.into(), None).await
    }

    /// Uploads a WAV or MP3 file; its `fileId`, which is the `voiceId` to play.
    pub async fn upload_recording(&self, recording: &Recording) -> Result<String, ClientError> {
        self.api(UPLOAD, recording.to_json(), None).await?.returned("fileId")
    }

    /// queryVoiceNotificationRecording: `offset`, `limit`, `type` (0 audio, 2 text).
    pub async fn query_recordings(&self, body: &Value) -> Result<Reply, ClientError> {
        self.api(RECORDINGS, body.to_string(), None).await
    }

    /// createVoiceTemplate; its `templateId`.
    pub async fn create_voice_template(&self, template: &Template) -> Result<String, ClientError> {
        self.api(TEMPLATE, template.to_json(), None).await?.returned("templateId")
    }

    /// createCall v3 of the bidirectional call, with a body as it is.
    pub async fn create_call(
        &self,
        body: impl Into<String>,
        idempotency_key: Option<&str>,
    ) -> Result<Reply, ClientError> {
        self.api(CREATE_CALL, body.into(), idempotency_key).await
    }

    /// createcall of the anonymous call, with a body as it is.
    pub async fn create_anonymous_call(
        &self,
        body: impl Into<String>,
        idempotency_key: Option<&str>,
    ) -> Result<Reply, ClientError> {
        self.api(CREATE_ANONYMOUS, body.into(), idempotency_key).await
    }

    /// queryCallState v1.
    pub async fn query_call_state(&self, serial: &str) -> Result<Reply, ClientError> {
        self.api(CALL_STATE, json!({ "callSerialNo": serial }).to_string(), None).await
    }

    /// queryCallDetailRecord over a span of milliseconds since 1970; `task_type` 0 is all, 3 voice notification.
    pub async fn query_call_detail_record(
        &self,
        start_ms: i64,
        end_ms: i64,
        task_type: &str,
        offset: u32,
        limit: u32,
    ) -> Result<Reply, ClientError> {
        let body = json!({
            "startTime": start_ms.to_string(),
            "endTime": end_ms.to_string(),
            "taskType": task_type,
            "offset": offset,
            "limit": limit,
        });
        self.api(CALL_RECORDS, body.to_string(), None).await
    }

    pub async fn recording_address(&self, serial: &str) -> Result<Reply, ClientError> {
        self.api(RECORDING_ADDRESS, json!({ "callSerialNo": serial }).to_string(), None).await
    }

    /// `GET /v1/calls/{serial}/timeline`
    pub async fn timeline(&self, serial: &str) -> Result<Value, ClientError> {
        let path = format!("/v1/calls/{serial}/timeline");
        self.v1(Method::GET, &path).await?.ok()?.parse()
    }

    /// `POST /v1/calls/{serial}/cancel`
    pub async fn cancel(&self, serial: &str) -> Result<Reply, ClientError> {
        self.v1(Method::POST, &format!("/v1/calls/{serial}/cancel")).await
    }

    /// Any request without a body to `/v1`, with this tenant's token.
    pub async fn v1(&self, method: Method, path: &str) -> Result<Reply, ClientError> {
        self.authorised(path, |token| {
            self.http.request(method.clone(), self.url(path)).bearer_auth(token)
        })
        .await
    }

    async fn api(
        &self,
        path: &'static str,
        body: String,
        idempotency_key: Option<&str>,
    ) -> Result<Reply, ClientError> {
        self.authorised(path, |token| {
            let mut request = self
                .http
                .post(self.url(path))
                .header("Content-Type", "application/json;charset=UTF-8")
                .header("X-APP-Key", &self.app_key)
                .bearer_auth(token)
                .body(body.clone());
            if let Some(key) = idempotency_key {
                request = request.header("Idempotency-Key", key);
            }
            request
        })
        .await
    }

    /// Sends with the present token, and once more with a new one where the server says that it has lapsed.
    async fn authorised(
        &self,
        path: &str,
        build: impl Fn(&str) -> reqwest::RequestBuilder,
    ) -> Result<Reply, ClientError> {
        let token = self.tokens.current(self).await?;
        let reply = perform(path, build(&token)).await?;
        if !matches!(reply.status, 401 | 403) {
            return Ok(reply);
        }
        self.tokens.forget(&token).await;
        let token = self.tokens.current(self).await?;
        perform(path, build(&token)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

async fn perform(path: &str, request: reqwest::RequestBuilder) -> Result<Reply, ClientError> {
    let lost = |source| ClientError::NoReply { path: path.to_owned(), source };
    let sent_at = Moment::now();
    let response = request.send().await.map_err(lost)?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.text().await.map_err(lost)?;
    let replied_at = Moment::now();
    Ok(Reply { path: path.to_owned(), status, retry_after, body, sent_at, replied_at })
}

/// reqwest asks the process for its TLS provider; where the program has not chosen one this does.
pub(crate) fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another thread has installed a TLS provider meanwhile");
    }
}
