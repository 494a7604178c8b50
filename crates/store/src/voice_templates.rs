//! Texts with variables that are spoken (createVoiceTemplate, contract §5.4b).

use engine::vocabulary::TenantId;
use serde::{Deserialize, Serialize};

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Row, Statement};
use crate::work::Edit;
use crate::{Reader, Store, rows};

pub(crate) const SCHEMA: &str = "
CREATE TABLE voice_templates (
    tenant      INTEGER NOT NULL,
    template_id TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (tenant, template_id)
) WITHOUT ROWID;
CREATE INDEX voice_templates_by_time ON voice_templates (tenant, created_ms, template_id);
";

/// One template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceTemplate {
    pub tenant: TenantId,
    /// Chosen by the server, unique per tenant.
    pub template_id: String,
    pub name: String,
    /// What it may be used for; `"3"` is voice notification.
    pub scene: String,
    /// −200 to 500.
    pub speed: i32,
    /// 0 to 100.
    pub volume: u32,
    pub voice_name: String,
    /// Fixed text and variables.
    pub text: String,
    /// Ms since 1970.
    pub created_ms: i64,
}

impl Store {
    /// Adds a template.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the tenant has one with its id.
    pub async fn put_voice_template(&self, template: VoiceTemplate) -> Result<(), StoreError> {
        self.edit(Edit::PutVoiceTemplate(template)).await?;
        Ok(())
    }

    /// How many templates a tenant has, and one page of them, oldest first.
    pub async fn voice_templates(
        &self,
        tenant: TenantId,
        offset: u32,
        limit: u32,
    ) -> Result<(u64, Vec<VoiceTemplate>), StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => page(&mut loan.connection(), tenant, offset, limit).await,
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let all = tables.voice_templates.values();
                let mut of_tenant: Vec<&VoiceTemplate> =
                    all.filter(|template| template.tenant == tenant).collect();
                of_tenant.sort_by_key(|template| (template.created_ms, &template.template_id));
                let page = of_tenant.iter().skip(offset as usize).take(limit as usize);
                (of_tenant.len() as u64, page.map(|template| (*template).clone()).collect())
            })),
        }
    }

    pub async fn voice_template(
        &self,
        tenant: TenantId,
        template_id: &str,
    ) -> Result<Option<VoiceTemplate>, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new(
                    "SELECT body FROM voice_templates WHERE tenant = $1 AND template_id = $2",
                );
                let query = query.bind(tenant.0).bind(template_id);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.as_ref().map(decode).transpose()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                tables.voice_templates.get(&(tenant, template_id.to_owned())).cloned()
            })),
        }
    }
}

pub(crate) async fn insert(
    connection: &mut Connection<'_>,
    template: &VoiceTemplate,
) -> Result<u64, ApplyError> {
    let insert = Statement::new(
        "INSERT INTO voice_templates (tenant, template_id, created_ms, body)
         VALUES ($1, $2, $3, $4)",
    );
    let insert = insert.bind(template.tenant.0).bind(template.template_id.as_str());
    Ok(insert.bind(template.created_ms).bind(rows::json(template)).execute(connection).await?)
}

async fn page(
    connection: &mut Connection<'_>,
    tenant: TenantId,
    offset: u32,
    limit: u32,
) -> Result<(u64, Vec<VoiceTemplate>), StoreError> {
    let count = Statement::new("SELECT count(*) AS value FROM voice_templates WHERE tenant = $1");
    let total = count.bind(tenant.0).fetch_integer(connection).await?;
    let page = Statement::new(
        "SELECT body FROM voice_templates WHERE tenant = $1
         ORDER BY created_ms, template_id LIMIT $2 OFFSET $3",
    );
    let rows = page.bind(tenant.0).bind(limit).bind(offset).fetch_all(connection).await?;
    Ok((total.unwrap_or(0) as u64, rows.iter().map(decode).collect::<Result<_, _>>()?))
}

fn decode(row: &Row) -> Result<VoiceTemplate, StoreError> {
    rows::parse("voice_templates", row.get("body")?)
}
