//! The notes of a call (SIP messages, media): one compressed blob, written with the terminal row.

use std::io::{Read as _, Write as _};

use engine::vocabulary::Serial;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::sql::Statement;
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::{Reader, Store};

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

    /// The notes of a call, as they were given.
    pub async fn timeline(&self, serial: Serial) -> Result<Option<Vec<u8>>, StoreError> {
        let notes: Option<Vec<u8>> = match self.reader().await? {
            Reader::Database(mut loan) => {
                let query = Statement::new("SELECT notes FROM timelines WHERE serial = $1");
                let row = query.bind(serial.0).fetch_optional(&mut loan.connection()).await?;
                row.map(|row| row.get("notes")).transpose()?
            }
            Reader::Memory(memory) => memory.read(|tables| tables.timelines.get(&serial).cloned()),
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
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(notes).expect("a vector takes all bytes");
    encoder.finish().expect("a vector takes all bytes")
}

fn inflate(notes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(notes)
        .take(MAX_TIMELINE_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| StoreError::corrupt("timelines", error))?;
    Ok(bytes)
}
