//! Rows of one table, written together.
//!
//! To PostgreSQL each statement crosses a socket and back, which costs more than a row does. Rows
//! therefore travel in chunks of a power of two, so that few texts serve every group. SQLite runs in
//! the writer's own thread: there one short text is stepped for each row.

use std::sync::{Arc, OnceLock};

use super::{Connection, Statement, Value};
use crate::error::DatabaseError;

/// Chunks of 1, 2, 4 … 128 rows: 128 rows of 10 columns stay far below the 65,535 parameters of
/// PostgreSQL.
const SIZES: usize = 8;

/// Statements over one list of rows, which stands where each of them says `{rows}`.
pub(crate) struct MultiRow {
    templates: &'static [&'static str],
    columns: usize,
    /// By the number of rows; SQLite's are those of one.
    chunks: [OnceLock<Arc<[Arc<str>]>>; SIZES],
}

/// A row's values, in the order of the statement's columns.
pub(crate) trait Bind {
    fn bind(self, to: &mut Values);
}

pub(crate) struct Values(Vec<Value>);

impl Values {
    pub(crate) fn push(&mut self, value: impl Into<Value>) -> &mut Self {
        self.0.push(value.into());
        self
    }
}

impl MultiRow {
    pub(crate) const fn new(templates: &'static [&'static str], columns: usize) -> Self {
        MultiRow { templates, columns, chunks: [const { OnceLock::new() }; SIZES] }
    }

    /// Runs the statements for all rows; says how many rows of their tables changed.
    pub(crate) async fn execute<R: Bind>(
        &self,
        connection: &mut Connection<'_>,
        rows: impl IntoIterator<Item = R, IntoIter: ExactSizeIterator>,
    ) -> Result<u64, DatabaseError> {
        let mut changed = 0;
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let size = match connection {
                Connection::Sqlite(_) => 0,
                Connection::Postgres(_) => (rows.len().ilog2() as usize).min(SIZES - 1),
            };
            let mut values = Values(Vec::with_capacity((1 << size) * self.columns));
            for row in rows.by_ref().take(1 << size) {
                row.bind(&mut values);
            }
            changed += self.execute_chunk(connection, size, values.0).await?;
        }
        Ok(changed)
    }

    async fn execute_chunk(
        &self,
        connection: &mut Connection<'_>,
        size: usize,
        values: Vec<Value>,
    ) -> Result<u64, DatabaseError> {
        let texts = self.chunks[size].get_or_init(|| self.texts(size));
        if let Connection::Sqlite(sqlite) = connection {
            return sqlite.execute_all(Arc::clone(texts), values).await;
        }
        let mut changed = 0;
        for text in texts.iter() {
            // Safe as SQL: made of constants and placeholders only.
            let one = Statement::assembled(Arc::clone(text), values.clone());
            changed += one.execute(connection).await?;
        }
        Ok(changed)
    }

    /// Of so many rows, as a power of two. Numbered, so that each of the statements gets the same.
    fn texts(&self, size: usize) -> Arc<[Arc<str>]> {
        let row = |n: usize| {
            let first = n * self.columns + 1;
            let values = (first..first + self.columns).map(|value| format!("${value}"));
            format!("({})", values.collect::<Vec<_>>().join(","))
        };
        let rows = (0..1 << size).map(row).collect::<Vec<_>>().join(",");
        let text = |template: &&str| template.replace("{rows}", &rows).into();
        self.templates.iter().map(text).collect()
    }
}
