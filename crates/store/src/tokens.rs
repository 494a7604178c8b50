//! Bearer tokens and API keys, by their SHA-256: the secret itself is never stored.

use engine::vocabulary::TenantId;

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Row, Statement};
use crate::work::{EXPIRED_AT_ONCE, Edit};
use crate::{Reader, Scope, Store};

pub(crate) const SCHEMA: &str = "
CREATE TABLE tokens (
    sha256     BLOB PRIMARY KEY,
    tenant     INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    expires_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX tokens_by_expiry ON tokens (expires_ms) WHERE expires_ms IS NOT NULL;
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub sha256: [u8; 32],
    pub tenant: TenantId,
    pub kind: TokenKind,
    /// The ms since 1970 from which it is void; `None` for a key that lasts.
    pub expires_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Of tokenByAkSk.
    Bearer,
    /// Long-lived, of `/v1`.
    ApiKey,
}

impl Store {
    /// Keeps a token, replacing what is kept under its hash.
    pub async fn put_token(&self, token: Token) -> Result<(), StoreError> {
        self.edit(Edit::PutToken(token)).await?;
        Ok(())
    }

    /// The token with this hash, also where it has expired: compare its `expires_ms`.
    pub async fn token(&self, sha256: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new("SELECT * FROM tokens WHERE sha256 = $1");
                let query = query.bind(sha256.as_slice());
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.map(|row| decode(&row, *sha256)).transpose()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| tables.tokens.get(sha256).copied())),
        }
    }

    /// Removes the tokens that are void at `now_ms`; says how many.
    pub async fn expire_tokens(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.edit_in_steps(|| Edit::ExpireTokens { now_ms }).await
    }
}

pub(crate) async fn put(connection: &mut Connection<'_>, token: &Token) -> Result<u64, ApplyError> {
    let put = Statement::new(
        "INSERT INTO tokens (sha256, tenant, kind, expires_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (sha256) DO UPDATE SET tenant = excluded.tenant, kind = excluded.kind,
             expires_ms = excluded.expires_ms",
    );
    let put = put.bind(token.sha256.as_slice()).bind(token.tenant.0);
    Ok(put.bind(token.kind.name()).bind(token.expires_ms).execute(connection).await?)
}

pub(crate) async fn expire(
    connection: &mut Connection<'_>,
    now_ms: i64,
) -> Result<u64, ApplyError> {
    let expire = Statement::new(
        "DELETE FROM tokens WHERE sha256 IN
             (SELECT sha256 FROM tokens WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2)",
    );
    Ok(expire.bind(now_ms).bind(EXPIRED_AT_ONCE).execute(connection).await?)
}

impl TokenKind {
    fn name(self) -> &'static str {
        match self {
            TokenKind::Bearer => "bearer",
            TokenKind::ApiKey => "api_key",
        }
    }

    fn parse(name: &str) -> Result<Self, StoreError> {
        match name {
            "bearer" => Ok(TokenKind::Bearer),
            "api_key" => Ok(TokenKind::ApiKey),
            other => Err(StoreError::corrupt("tokens", format!("kind {other}"))),
        }
    }
}

fn decode(row: &Row, sha256: [u8; 32]) -> Result<Token, StoreError> {
    Ok(Token {
        sha256,
        tenant: TenantId(row.narrow("tokens", "tenant")?),
        kind: TokenKind::parse(row.get("kind")?)?,
        expires_ms: row.get("expires_ms")?,
    })
}
