//! The notes of a call (SIP messages, media): one compressed blob, written with the terminal row.

use std::cell::RefCell;
use std::io::Read as _;

use engine::vocabulary::Serial;
use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::batch::Batch;
use crate::error::StoreError;
use crate::sql::Statement;
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::{Reader, Scope, Store};

/// The most that one call's notes may take before compression. Larger notes are dropped: a call's
/// record must not fail because of them.
pub const MAX_TIMELINE_BYTES: usize = 1 << 20;

pub(crate) const SCHEMA: &str = "
CREATE TABLE timelines (
    serial INTEGER PRIMARY KEY,
    notes  BLOB NOT NULL
);
";

pub(crate) static INSERT: MultiRow = MultiRow::new(
    &["INSERT INTO timelines (serial, notes) VALUES {rows} \
       ON CONFLICT (serial) DO UPDATE SET notes = excluded.notes"],
    2,
);

impl Store {
    /// Keeps the notes of a call apart from a batch; replaces those that are there.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where they have more than [`MAX_TIMELINE_BYTES`].
    pub async fn put_timeline(&self, serial: Serial, notes: Vec<u8>) -> Result<(), StoreError> {
        if notes.len() > MAX_TIMELINE_BYTES {
            let what = format!("{} bytes of notes; {MAX_TIMELINE_BYTES} may be kept", notes.len());
            return Err(StoreError::Conflict { what });
        }
        let batch = Batch { timelines: vec![(serial, notes)], ..Batch::default() };
        self.submit(batch).await?;
        Ok(())
    }

    /// The notes of a call that has its record, as they were given.
    pub async fn timeline(
        &self,
        whose: impl Into<Scope>,
        serial: Serial,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let scope = whose.into();
        let notes: Option<Vec<u8>> = match self.reader(scope).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new(
                    "SELECT notes FROM timelines WHERE serial = $1 AND ($2 IS NULL OR EXISTS
                         (SELECT 1 FROM cdrs WHERE cdrs.serial = $1 AND cdrs.tenant = $2))",
                );
                let query = query.bind(serial.0).bind(scope);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.map(|row| row.get("notes")).transpose()?
            }
            Reader::Memory(memory) => memory.read(|tables| {
                let record = tables.cdrs.rows.get(&serial);
                let of_tenant = |tenant| record.is_some_and(|cdr| cdr.intent.tenant == tenant);
                let shown = scope.tenant().is_none_or(of_tenant);
                tables.timelines.get(&serial).filter(|_| shown).cloned()
            }),
        };
        notes.map(|notes| inflate(&notes)).transpose()
    }
}

pub(crate) struct TimelineRow {
    serial: Serial,
    notes: Vec<u8>,
}

impl TimelineRow {
    pub(crate) fn new(serial: Serial, notes: &[u8]) -> Self {
        TimelineRow { serial, notes: deflate(notes) }
    }
}

impl Bind for TimelineRow {
    fn bind(self, to: &mut Values) {
        to.push(self.serial.0).push(self.notes);
    }
}

/// RFC 1951; the fastest level, since notes are written on the path of every commit.
pub(crate) fn deflate(notes: &[u8]) -> Vec<u8> {
    thread_local! {
        /// Its tables are large: to get and to clear them for each call would cost more than the compression.
        static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    }
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut deflated = Vec::with_capacity(notes.len() / 4 + 64);
        loop {
            let rest = &notes[compress.total_in() as usize..];
            let status = compress.compress_vec(rest, &mut deflated, FlushCompress::Finish);
            match status.expect("a compressor in order takes all bytes") {
                Status::StreamEnd => return deflated,
                Status::Ok | Status::BufError => deflated.reserve(deflated.capacity().max(64)),
            }
        }
    })
}

fn inflate(notes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(notes)
        .take(MAX_TIMELINE_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| StoreError::corrupt("timelines", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_one_call_after_the_other() {
        let noise = |bytes: usize| (0..bytes).map(|n| ((n * n) >> 3) as u8).collect::<Vec<u8>>();
        for notes in [vec![], b"one note".to_vec(), noise(300_000), vec![7; MAX_TIMELINE_BYTES]] {
            let deflated = deflate(&notes);
            assert_eq!(inflate(&deflated).unwrap(), notes);
            assert_eq!(deflate(&notes), deflated, "nothing is left of the call before");
        }
    }
}
