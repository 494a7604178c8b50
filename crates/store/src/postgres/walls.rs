//! Row-level security: for each session only the rows exist that its setting `offhook.tenant` lets it see. A tenant's
//! number shows that tenant's, `*` all; without it there are none, and none can be written.
//!
//! The tables' owner, who we are, is bound by it as well (FORCE); superusers and roles with BYPASSRLS are not.
//! Readers have no setting but that of their transaction, which [`begin`] makes in one message with it. The writer's
//! session has `*` from its first question on ([`IS_STANDBY_SEEING_ALL`]), so that it costs no message at all.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::Scope;
use crate::error::DatabaseError;
use crate::sql::{Connection, Statement};

const SETTING: &str = "offhook.tenant";
const EVERYTHING: &str = "*";

/// Whether the server is a standby; from then on the session sees everything. No option of its start: a pooler may drop
/// that without a word.
pub(super) const IS_STANDBY_SEEING_ALL: &str =
    "SELECT pg_is_in_recovery() FROM set_config('offhook.tenant', '*', false)";

/// The policy of a table.
pub(crate) struct Wall {
    table: &'static str,
    rows: Rows,
}

/// Whose the rows of a table are.
enum Rows {
    /// Of the tenant in this column.
    Of(&'static str),
    /// Of the tenant whose call has the same `serial`, once that has its record.
    OfRecord,
    /// Nobody's: what the server keeps for itself.
    Own,
}

/// A new table gets its own with its version.
pub(crate) const OF_VERSION_4: &[Wall] = &[
    wall("answers", Rows::Own),
    wall("attempts", Rows::Own),
    wall("callback_attempts", Rows::Of("tenant")),
    wall("callbacks", Rows::Of("tenant")),
    wall("cdrs", Rows::Of("tenant")),
    wall("event_positions", Rows::Of("tenant")),
    wall("events", Rows::Of("tenant")),
    wall("idempotency", Rows::Of("tenant")),
    wall("intents", Rows::Of("tenant")),
    wall("ita_usage", Rows::Of("tenant")),
    wall("last_commit", Rows::Own),
    wall("meta", Rows::Own),
    wall("number_bindings", Rows::Of("tenant")),
    wall("registrations", Rows::Own),
    wall("schema_version", Rows::Own),
    wall("secrets", Rows::Of("tenant")),
    wall("softphones", Rows::Of("tenant")),
    wall("tenants", Rows::Of("id")),
    wall("timelines", Rows::OfRecord),
    wall("tokens", Rows::Of("tenant")),
    wall("voice_recordings", Rows::Of("tenant")),
    wall("voice_templates", Rows::Of("tenant")),
];

const fn wall(table: &'static str, rows: Rows) -> Wall {
    Wall { table, rows }
}

impl Wall {
    /// What builds it. Each setting is read once a statement, since it stands in a query of its own; after a
    /// transaction that had one it is empty, and not NULL any more.
    pub(crate) fn sql(&self) -> String {
        let Wall { table, rows } = self;
        let setting = format!("current_setting('{SETTING}', true)");
        let all = format!("(SELECT {setting}) = '{EVERYTHING}'");
        let visible = match rows {
            Rows::Of(column) => format!(
                "{all} OR {column} =
                 (SELECT nullif(nullif({setting}, '{EVERYTHING}'), '')::BIGINT)"
            ),
            // What a policy reads is behind the policy of that table.
            Rows::OfRecord => {
                format!("{all} OR EXISTS (SELECT 1 FROM cdrs WHERE cdrs.serial = {table}.serial)")
            }
            Rows::Own => all,
        };
        format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             CREATE POLICY tenancy ON {table} USING ({visible}) WITH CHECK ({visible});"
        )
    }
}

/// Begins a transaction that reads, and sees this.
pub(super) fn begin(scope: Scope) -> SqlStr {
    let whose = match scope {
        Scope::Tenant(tenant) => tenant.0.to_string(),
        Scope::All => EVERYTHING.to_owned(),
    };
    // Safe as SQL: a number or a constant.
    AssertSqlSafe(format!("BEGIN READ ONLY; SET LOCAL {SETTING} = '{whose}'")).into_sql_str()
}

/// The first wall, each statement's own condition, stands all the same.
pub(super) async fn warn_of_a_role_that_ignores_them(
    connection: &mut PgConnection,
) -> Result<(), DatabaseError> {
    let ignoring = Statement::new(
        "SELECT count(*) AS value FROM pg_roles
         WHERE rolname = current_user AND (rolsuper OR rolbypassrls)",
    );
    if ignoring.fetch_integer(&mut Connection::Postgres(connection)).await? != Some(0) {
        tracing::warn!(
            "the database role is a superuser or has BYPASSRLS, so that row-level security does not keep tenants \
             apart; docs/storage.md has the two statements that make a role of its own"
        );
    }
    Ok(())
}
