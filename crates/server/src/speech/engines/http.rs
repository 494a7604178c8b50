//! Any speech service over HTTP: text in a POST, WAV in the reply. The address is the operator's, so it is trusted.
use super::{MAX_OUTPUT, SpeechError, Utterance};
use crate::speech::{
    Speech,
    config::{HttpBody, Secret},
    wav,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;
use url::Url;

pub(super) fn client(tls: rustls::ClientConfig) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
        .build()
}

pub(super) async fn render(
    client: &reqwest::Client,
    url: &Url,
    body: HttpBody,
    token: Option<&Secret>,
    utterance: &Utterance,
) -> Result<Speech, SpeechError> {
    let mut request = client.post(url.clone()).header(ACCEPT, "audio/wav");
    if let Some(token) = token {
        request = request.bearer_auth(token.expose());
    }
    let request = match body {
        HttpBody::Text => {
            request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(utterance.words.clone())
        }
        HttpBody::Json => request.json(&json!({
            "text": utterance.words,
            "language": utterance.language.tag(),
            "voice": utterance.style.voice,
            "speed": utterance.style.speed.value(),
            "speed_factor": utterance.style.speed.factor(),
        })),
    };
    let transport =
        |error: reqwest::Error| SpeechError::HttpTransport(error.without_url().to_string());
    let mut response = request.send().await.map_err(transport)?;
    if !response.status().is_success() {
        return Err(SpeechError::HttpStatus(response.status().as_u16()));
    }
    let mut output = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if output.len() + chunk.len() > MAX_OUTPUT {
            return Err(SpeechError::TooLong);
        }
        output.extend_from_slice(&chunk);
    }
    Ok(wav::parse(&output)?)
}
