//! Where softphones are registered, so that a start finds them again: one row a number, the latest.

use crate::error::{ApplyError, StoreError};
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, Row, Statement};
use crate::{Reader, Scope, Store};

/// Goes with the password that it was made with: [`crate::softphones`].
pub(crate) const SCHEMA: &str = "
CREATE TABLE registrations (
    number TEXT PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    places BLOB NOT NULL
) WITHOUT ROWID;
";

static PUT: MultiRow = MultiRow::new(
    &["INSERT INTO registrations (number, at_ms, places) VALUES {rows} \
       ON CONFLICT (number) DO UPDATE SET at_ms = excluded.at_ms, places = excluded.places"],
    3,
);

static REMOVE: MultiRow =
    MultiRow::new(&["DELETE FROM registrations WHERE number IN (VALUES {rows})"], 1);

/// Where the phone of a number is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Of a softphone; as long as there is one of that number, and its password is the same.
    pub number: String,
    /// When it was so, ms since 1970.
    pub at_ms: i64,
    /// What the server makes of it, without secrets; `None`: it is nowhere, and the row goes.
    pub places: Option<Vec<u8>>,
}

impl Store {
    /// All that are kept, by number.
    pub async fn registrations(&self) -> Result<Vec<Registration>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let all = Statement::new("SELECT * FROM registrations ORDER BY number");
                all.fetch_all(&mut loan.connection()).await?.iter().map(decode).collect()
            }
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.registrations.values().cloned().collect()))
            }
        }
    }
}

/// The last of each number.
pub(crate) async fn put(
    connection: &mut Connection<'_>,
    registrations: impl Iterator<Item = Registration>,
) -> Result<(), ApplyError> {
    let mut here = Vec::new();
    let mut gone = Vec::new();
    for Registration { number, at_ms, places } in registrations {
        match places {
            Some(places) => here.push(Here(number, at_ms, places)),
            None => gone.push(Gone(number)),
        }
    }
    PUT.execute(connection, here).await?;
    REMOVE.execute(connection, gone).await?;
    Ok(())
}

struct Here(String, i64, Vec<u8>);

impl Bind for Here {
    fn bind(self, to: &mut Values) {
        to.push(self.0).push(self.1).push(self.2);
    }
}

struct Gone(String);

impl Bind for Gone {
    fn bind(self, to: &mut Values) {
        to.push(self.0);
    }
}

fn decode(row: &Row) -> Result<Registration, StoreError> {
    Ok(Registration {
        number: row.get("number")?,
        at_ms: row.get("at_ms")?,
        places: Some(row.get("places")?),
    })
}
