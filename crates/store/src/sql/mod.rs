//! One way to say a statement to either database.
//!
//! The tables are written once, in the SQL that both understand: `$1` for a value, integers of 64
//! bits, text and bytes. Where the two differ, [`PerDatabase`] holds both texts.

pub(crate) mod multi_row;
pub(crate) mod schema;
pub(crate) mod sqlite;

use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::{
    Arguments as _, AssertSqlSafe, Decode, Row as _, SqlSafeStr as _, SqlStr, Transaction, Type,
};

use self::sqlite::{FromCell, SqliteConnection, SqliteRow};
use crate::error::{DatabaseError, StoreError};
use crate::sqlite::ReaderLoan;

/// Where a statement goes.
pub(crate) enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// A connection that reads, on loan.
pub(crate) enum Loan {
    Sqlite(ReaderLoan),
    /// Its rows are a tenant's, or all: `postgres/walls.rs`. Rolled back on its way home.
    Postgres(Transaction<'static, Postgres>),
}

impl Loan {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Loan::Sqlite(loan) => Connection::Sqlite(loan.connection()),
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

    /// How many rows it changed.
    pub(crate) async fn execute(self, on: &mut Connection<'_>) -> Result<u64, DatabaseError> {
        Ok(match on {
            Connection::Sqlite(connection) => connection.execute(self.text, self.values).await?,
            Connection::Postgres(connection) => {
                let query = sqlx::query_with(self.text, arguments(self.values));
                query.execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    pub(crate) async fn fetch_all(
        self,
        on: &mut Connection<'_>,
    ) -> Result<Vec<Row>, DatabaseError> {
        Ok(match on {
            Connection::Sqlite(connection) => {
                let rows = connection.fetch(self.text, self.values, usize::MAX).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(connection) => {
                let query = sqlx::query_with(self.text, arguments(self.values));
                let rows = query.fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn fetch_optional(
        self,
        on: &mut Connection<'_>,
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(match on {
            Connection::Sqlite(connection) => {
                connection.fetch(self.text, self.values, 1).await?.pop().map(Row::Sqlite)
            }
            Connection::Postgres(connection) => {
                let query = sqlx::query_with(self.text, arguments(self.values));
                query.fetch_optional(&mut **connection).await?.map(Row::Postgres)
            }
        })
    }

    /// Of a statement that always gives a row: its column `value`.
    pub(crate) async fn fetch_integer(
        self,
        on: &mut Connection<'_>,
    ) -> Result<Option<i64>, DatabaseError> {
        let row = self.fetch_optional(on).await?.ok_or(DatabaseError::NoRow)?;
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
    pub(crate) fn get<'r, T>(&'r self, column: &str) -> Result<T, DatabaseError>
    where
        T: FromCell<'r> + Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Row::Sqlite(row) => row.get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
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
    pub(crate) fn unsigned(&self, column: &str) -> Result<u64, DatabaseError> {
        Ok(self.get::<i64>(column)? as u64)
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, DatabaseError> {
        Ok(self.get::<i64>(column)? != 0)
    }
}

/// As PostgreSQL takes them.
fn arguments(values: Vec<Value>) -> PgArguments {
    let mut arguments = PgArguments::default();
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
