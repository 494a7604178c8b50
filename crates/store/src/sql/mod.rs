//! One way to say a statement to either database.
//!
//! The tables are written once, in the SQL that both understand: `$1` for a value, integers of 64
//! bits, text and bytes. Where the two differ, [`PerDatabase`] holds both texts.

pub(crate) mod multi_row;
pub(crate) mod schema;

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Decode, Encode, Row as _, SqlSafeStr as _, SqlStr, Type};

use crate::error::StoreError;

/// Where a statement goes.
pub(crate) enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// A connection that reads, on loan.
pub(crate) enum Loan {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Loan {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Loan::Sqlite(connection) => Connection::Sqlite(connection),
            Loan::Postgres(connection) => Connection::Postgres(connection),
        }
    }
}

/// A text that the two say differently.
pub(crate) struct PerDatabase {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl PerDatabase {
    pub(crate) fn on(&self, connection: &Connection<'_>) -> &'static str {
        match connection {
            Connection::Sqlite(_) => self.sqlite,
            Connection::Postgres(_) => self.postgres,
        }
    }
}

/// What stands for `$n`.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

/// A text of ours and the values for it. It is prepared once per connection.
pub(crate) struct Statement {
    text: SqlStr,
    values: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(text: &'static str) -> Self {
        Statement { text: SqlStr::from_static(text), values: Vec::new() }
    }

    /// Of texts that are put together from constants and placeholders only.
    pub(crate) fn assembled(text: impl Into<Arc<str>>, values: Vec<Value>) -> Self {
        Statement { text: AssertSqlSafe(text.into()).into_sql_str(), values }
    }

    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many rows it changed. On SQLite the text may hold several statements.
    pub(crate) async fn execute(self, on: &mut Connection<'_>) -> Result<u64, sqlx::Error> {
        Ok(match on {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_with(self.text, arguments::<SqliteArguments>(self.values));
                query.execute(&mut **connection).await?.rows_affected()
            }
            Connection::Postgres(connection) => {
                let query = sqlx::query_with(self.text, arguments::<PgArguments>(self.values));
                query.execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    pub(crate) async fn fetch_all(self, on: &mut Connection<'_>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match on {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_with(self.text, arguments::<SqliteArguments>(self.values));
                let rows = query.fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(connection) => {
                let query = sqlx::query_with(self.text, arguments::<PgArguments>(self.values));
                let rows = query.fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn fetch_optional(
        self,
        on: &mut Connection<'_>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(match on {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_with(self.text, arguments::<SqliteArguments>(self.values));
                query.fetch_optional(&mut **connection).await?.map(Row::Sqlite)
            }
            Connection::Postgres(connection) => {
                let query = sqlx::query_with(self.text, arguments::<PgArguments>(self.values));
                query.fetch_optional(&mut **connection).await?.map(Row::Postgres)
            }
        })
    }

    /// Of a statement that always gives a row: its column `value`.
    pub(crate) async fn fetch_integer(
        self,
        on: &mut Connection<'_>,
    ) -> Result<Option<i64>, sqlx::Error> {
        let row = self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)?;
        row.get("value")
    }
}

/// A row of either database.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// `i64`, text, bytes, or an `Option` of them.
    pub(crate) fn get<'r, T>(&'r self, column: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }

    /// An integer that was narrower when it was written.
    pub(crate) fn narrow<T: TryFrom<i64>>(
        &self,
        table: &'static str,
        column: &str,
    ) -> Result<T, StoreError> {
        let wide: i64 = self.get(column)?;
        T::try_from(wide).map_err(|_| StoreError::corrupt(table, format!("{column} is {wide}")))
    }

    /// One of our numbers of 64 bits without a sign, which are stored as they are.
    pub(crate) fn unsigned(&self, column: &str) -> Result<u64, sqlx::Error> {
        Ok(self.get::<i64>(column)? as u64)
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, sqlx::Error> {
        Ok(self.get::<i64>(column)? != 0)
    }
}

/// As either database takes them.
fn arguments<A: Arguments>(values: Vec<Value>) -> A
where
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<String>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Vec<u8>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        };
        added.expect("integers, text and bytes have an encoding");
    }
    arguments
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Value::Integer(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        i64::from(value).into()
    }
}

impl From<u8> for Value {
    fn from(value: u8) -> Self {
        i64::from(value).into()
    }
}

/// Of serials, positions and legs: the same 64 bits, read back by [`Row::unsigned`].
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        (value as i64).into()
    }
}

impl From<Option<u64>> for Value {
    fn from(value: Option<u64>) -> Self {
        Value::Integer(value.map(|value| value as i64))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        i64::from(value).into()
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Value::Text(value)
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Value::Text(value.map(str::to_owned))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Value::Bytes(value.to_vec())
    }
}
