//! One statement for many rows, prepared once per size.
//!
//! Each statement crosses to the connection's thread and back, which costs more than a row does.
//! Rows therefore travel in chunks of a power of two, so that few texts serve every group.

use std::sync::{Arc, OnceLock};

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Type};

/// Chunks of 1, 2, 4 … 128 rows: 128 rows of 10 columns stay far below SQLite's 32,766 parameters.
const SIZES: usize = 8;

/// Statements over one list of rows, which stands where each of them says `{rows}`. Several
/// statements cross together.
pub(crate) struct MultiRow {
    template: &'static str,
    columns: usize,
    texts: [OnceLock<Arc<str>>; SIZES],
}

/// A row's values, in the order of the statement's columns.
pub(crate) trait Bind {
    fn bind(self, to: &mut Values);
}

pub(crate) struct Values(SqliteArguments);

impl Values {
    pub(crate) fn push<T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'static, Sqlite> + Type<Sqlite>,
    {
        self.0.add(value).expect("integers, text and bytes have an encoding");
        self
    }
}

impl MultiRow {
    pub(crate) const fn new(template: &'static str, columns: usize) -> Self {
        MultiRow { template, columns, texts: [const { OnceLock::new() }; SIZES] }
    }

    /// Runs the statements for all rows; says how many rows of their tables changed.
    pub(crate) async fn execute<R: Bind>(
        &self,
        connection: &mut SqliteConnection,
        rows: Vec<R>,
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        while left > 0 {
            let size = (left.ilog2() as usize).min(SIZES - 1);
            let mut values = Values(SqliteArguments::default());
            values.0.reserve((1 << size) * self.columns, 0);
            for row in rows.by_ref().take(1 << size) {
                row.bind(&mut values);
            }
            left -= 1 << size;
            let text = AssertSqlSafe(Arc::clone(self.text(size)));
            changed +=
                sqlx::query_with(text, values.0).execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Safe as SQL: made of constants and placeholders only.
    fn text(&self, size: usize) -> &Arc<str> {
        self.texts[size].get_or_init(|| {
            // Numbered, so that each statement of the template gets the same rows.
            let row = |n: usize| {
                let first = n * self.columns + 1;
                let values = (first..first + self.columns).map(|value| format!("?{value}"));
                format!("({})", values.collect::<Vec<_>>().join(","))
            };
            let rows = (0..1 << size).map(row).collect::<Vec<_>>().join(",");
            self.template.replace("{rows}", &rows).into()
        })
    }
}
