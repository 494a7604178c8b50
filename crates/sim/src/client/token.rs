//! The access token: fetched when first needed, kept until shortly before it lapses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Client, ClientError};

/// A token is not used in the last part of its life: a request may wait on its way.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
pub(super) struct Tokens {
    /// One fetch at a time: the others wait for it.
    token: Arc<Mutex<Option<Token>>>,
}

struct Token {
    text: String,
    until: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    access_token: String,
    expires: String,
}

impl Tokens {
    pub async fn current(&self, client: &Client) -> Result<String, ClientError> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.until > Instant::now()) {
            return Ok(token.text.clone());
        }
        let asked = Instant::now();
        let issued: Issued = client.token_by_ak_sk(None).await?.ok()?.parse()?;
        let life = Duration::from_secs(issued.expires.parse().unwrap_or(0));
        let until = asked + life.saturating_sub(MARGIN);
        *held = Some(Token { text: issued.access_token.clone(), until });
        Ok(issued.access_token)
    }

    /// Drops a token that the server no longer takes, unless somebody has fetched another one meanwhile.
    pub async fn forget(&self, text: &str) {
        self.token.lock().await.take_if(|token| token.text == text);
    }
}
