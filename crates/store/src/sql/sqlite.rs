//! SQLite's side of a statement: on which thread it runs, how values get in and rows come out.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::{ToSql, ToSqlOutput, Value as Cell, ValueRef};
use tokio::task::spawn_blocking;

use super::Value;
use crate::error::DatabaseError;

/// A connection to the file.
#[derive(Debug)]
pub(crate) enum SqliteConnection {
    /// Of a thread that does nothing else: statements run where they are asked for. Handing each one over to
    /// another thread would cost several times what most of them do.
    Own(rusqlite::Connection),
    /// Of tasks, which must not wait for a disk: each statement runs on a thread for what blocks.
    Shared(Arc<Mutex<rusqlite::Connection>>),
}

impl SqliteConnection {
    pub(crate) fn shared(connection: rusqlite::Connection) -> SqliteConnection {
        SqliteConnection::Shared(Arc::new(Mutex::new(connection)))
    }

    /// # Errors
    /// What was written stands in the log all the same, which the next opener reads.
    pub(crate) fn close(self) -> Result<(), rusqlite::Error> {
        let connection = match self {
            SqliteConnection::Own(connection) => Some(connection),
            // Whoever still reads closes it.
            SqliteConnection::Shared(shared) => Arc::into_inner(shared)
                .map(|shared| shared.into_inner().unwrap_or_else(PoisonError::into_inner)),
        };
        connection.map_or(Ok(()), |connection| connection.close().map_err(|(_, error)| error))
    }

    /// How many rows were changed.
    pub(super) async fn execute(
        &mut self,
        text: impl AsRef<str> + Send + 'static,
        values: Vec<Value>,
    ) -> Result<u64, DatabaseError> {
        self.run(move |connection| execute(connection, text.as_ref(), &values)).await
    }

    /// Several texts with the same values; how many rows were changed.
    pub(super) async fn execute_all(
        &mut self,
        texts: Arc<[Arc<str>]>,
        values: Vec<Value>,
    ) -> Result<u64, DatabaseError> {
        let all = move |connection: &rusqlite::Connection| {
            texts.iter().map(|text| execute(connection, text, &values)).sum()
        };
        self.run(all).await
    }

    /// The first `limit` rows.
    pub(super) async fn fetch(
        &mut self,
        text: impl AsRef<str> + Send + 'static,
        values: Vec<Value>,
        limit: usize,
    ) -> Result<Vec<SqliteRow>, DatabaseError> {
        self.run(move |connection| fetch(connection, text.as_ref(), &values, limit)).await
    }

    async fn run<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&rusqlite::Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        match self {
            SqliteConnection::Own(connection) => Ok(job(connection)?),
            SqliteConnection::Shared(connection) => {
                let connection = Arc::clone(connection);
                // A panic elsewhere leaves the connection whole: what it was at was reset.
                let job = move || job(&connection.lock().unwrap_or_else(PoisonError::into_inner));
                match spawn_blocking(job).await {
                    Ok(done) => Ok(done?),
                    Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                    Err(_) => Err(DatabaseError::Ending),
                }
            }
        }
    }
}

fn execute(
    connection: &rusqlite::Connection,
    text: &str,
    values: &[Value],
) -> Result<u64, rusqlite::Error> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    Ok(statement.raw_execute()? as u64)
}

fn fetch(
    connection: &rusqlite::Connection,
    text: &str,
    values: &[Value],
    limit: usize,
) -> Result<Vec<SqliteRow>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let columns: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let cells = (0..columns.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        found.push(SqliteRow { columns: Arc::clone(&columns), cells });
    }
    Ok(found)
}

/// `$n` is a name for SQLite, whose own numbers follow the order in which names appear.
fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> Result<(), rusqlite::Error> {
    let mut last = 0;
    for place in 1..=statement.parameter_count() {
        let name = statement.parameter_name(place).unwrap_or("?");
        let number: Option<usize> = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
        let number =
            number.ok_or_else(|| rusqlite::Error::InvalidParameterName(name.to_owned()))?;
        let value = number.checked_sub(1).and_then(|at| values.get(at));
        let value = value.ok_or(rusqlite::Error::InvalidParameterCount(values.len(), number))?;
        statement.raw_bind_parameter(place, value)?;
        last = last.max(number);
    }
    if last < values.len() {
        return Err(rusqlite::Error::InvalidParameterCount(values.len(), last));
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Integer(Some(value)) => ValueRef::Integer(*value),
            Value::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Value::Bytes(value) => ValueRef::Blob(value),
            Value::Integer(None) | Value::Text(None) => ValueRef::Null,
        }))
    }
}

/// A row, copied: the statement it came from is free again.
#[derive(Debug)]
pub(crate) struct SqliteRow {
    columns: Arc<[String]>,
    cells: Vec<Cell>,
}

impl SqliteRow {
    pub(super) fn get<'r, T: FromCell<'r>>(&'r self, column: &str) -> Result<T, rusqlite::Error> {
        let at = self.columns.iter().position(|name| name == column);
        let at = at.ok_or_else(|| rusqlite::Error::InvalidColumnName(column.to_owned()))?;
        let cell = &self.cells[at];
        T::from_cell(cell).ok_or_else(|| {
            rusqlite::Error::InvalidColumnType(at, column.to_owned(), cell.data_type())
        })
    }
}

/// What a column holds, if it is of this type.
pub(crate) trait FromCell<'r>: Sized {
    fn from_cell(cell: &'r Cell) -> Option<Self>;
}

impl FromCell<'_> for i64 {
    fn from_cell(cell: &Cell) -> Option<i64> {
        if let Cell::Integer(value) = cell { Some(*value) } else { None }
    }
}

impl<'r> FromCell<'r> for &'r str {
    fn from_cell(cell: &'r Cell) -> Option<&'r str> {
        if let Cell::Text(value) = cell { Some(value) } else { None }
    }
}

impl FromCell<'_> for String {
    fn from_cell(cell: &Cell) -> Option<String> {
        <&str>::from_cell(cell).map(str::to_owned)
    }
}

impl FromCell<'_> for Vec<u8> {
    fn from_cell(cell: &Cell) -> Option<Vec<u8>> {
        if let Cell::Blob(value) = cell { Some(value.clone()) } else { None }
    }
}

impl<'r, T: FromCell<'r>> FromCell<'r> for Option<T> {
    fn from_cell(cell: &'r Cell) -> Option<Option<T>> {
        match cell {
            Cell::Null => Some(None),
            Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => {
                T::from_cell(cell).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_number_wherever_it_stands() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let text = "SELECT $2 AS second, $1 AS first, $2 AS again, '$.a' AS path, $11 AS last";
        let values: Vec<Value> = (1..=11_i64).map(Value::from).collect();
        let rows = fetch(&connection, text, &values, 2).unwrap();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        for (column, value) in [("first", 1), ("second", 2), ("again", 2), ("last", 11)] {
            assert_eq!(row.get::<i64>(column).unwrap(), value, "{column}");
        }
        assert_eq!(row.get::<&str>("path").unwrap(), "$.a");
    }

    #[test]
    fn a_statement_with_more_or_fewer_values_than_it_names_is_an_error() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let text = "SELECT $2 AS second, $1 AS first";
        for count in [0, 1, 3] {
            let values: Vec<Value> = (0..count).map(|n: i64| n.into()).collect();
            assert!(fetch(&connection, text, &values, 1).is_err(), "{count}");
        }
        for text in ["SELECT $0 AS none", "SELECT ? AS nameless", "SELECT $a AS word"] {
            assert!(fetch(&connection, text, &[1_i64.into()], 1).is_err(), "{text}");
        }
    }

    #[test]
    fn a_column_of_another_type_or_none_is_an_error() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let text = "SELECT 'a' AS text, NULL AS empty";
        let rows = fetch(&connection, text, &[], 1).unwrap();
        assert!(rows[0].get::<i64>("text").is_err());
        assert!(rows[0].get::<&str>("empty").is_err());
        assert!(rows[0].get::<&str>("missing").is_err());
        assert_eq!(rows[0].get::<Option<i64>>("empty").unwrap(), None);
        assert_eq!(rows[0].get::<Option<String>>("text").unwrap(), Some("a".into()));
    }
}
