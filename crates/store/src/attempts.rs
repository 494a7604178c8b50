//! The dial attempts of each unfinished call, and the dialogs of its 2xx.
//!
//! One row per leg in each: a restart resolves the last INVITE of each, so a later attempt of the same leg
//! (with credentials) replaces the row of the one before. A leg that came from outside has an answer only.

use std::collections::BTreeMap;

use engine::intent::Intent;
use engine::vocabulary::{CallKind, LegId, Serial, Side, TrunkName};
use engine::writes::{Attempt, FoundLeg, Unfinished};

use crate::error::{ApplyError, StoreError};
use crate::intents;
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, Row, Statement};

pub(crate) const SCHEMA: &str = "
CREATE TABLE attempts (
    leg    INTEGER PRIMARY KEY,
    serial INTEGER NOT NULL,
    trunk  TEXT NOT NULL,
    number INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    wire   BLOB NOT NULL,
    media  BLOB NOT NULL
);
CREATE INDEX attempts_of_call ON attempts (serial);
CREATE TABLE answers (
    serial INTEGER PRIMARY KEY,
    leg    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    dialog BLOB NOT NULL
);
";

/// A call of two parties has two answered legs; an attempt says whose it is.
pub(crate) const TWO_LEGS: &str = "
ALTER TABLE attempts ADD COLUMN side TEXT NOT NULL DEFAULT 'called';
CREATE TABLE answers_of_legs (
    leg    INTEGER PRIMARY KEY,
    serial INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    dialog BLOB NOT NULL
);
INSERT INTO answers_of_legs (leg, serial, at_ms, dialog)
    SELECT leg, serial, at_ms, dialog FROM answers;
DROP TABLE answers;
ALTER TABLE answers_of_legs RENAME TO answers;
CREATE INDEX answers_of_call ON answers (serial);
";

/// How a softphone's row names its trunk: no trunk has an empty name.
const NO_TRUNK: &str = "";

pub(crate) static INSERT: MultiRow = MultiRow::new(
    &["INSERT INTO attempts (serial, leg, side, trunk, number, at_ms, wire, media) \
       VALUES {rows} \
       ON CONFLICT (leg) DO UPDATE SET serial = excluded.serial, side = excluded.side, \
       trunk = excluded.trunk, number = excluded.number, at_ms = excluded.at_ms, wire = excluded.wire, \
       media = excluded.media"],
    8,
);
/// INVITEs that never left.
pub(crate) static WITHDRAW: MultiRow =
    MultiRow::new(&["DELETE FROM attempts WHERE leg IN (VALUES {rows})"], 1);
pub(crate) static INSERT_ANSWER: MultiRow = MultiRow::new(
    &["INSERT INTO answers (serial, leg, at_ms, dialog) VALUES {rows} \
       ON CONFLICT (leg) DO UPDATE SET serial = excluded.serial, at_ms = excluded.at_ms, \
       dialog = excluded.dialog"],
    4,
);

pub(crate) struct AttemptRow(pub(crate) Attempt);

impl Bind for AttemptRow {
    fn bind(self, to: &mut Values) {
        let attempt = self.0;
        to.push(attempt.serial.0)
            .push(attempt.leg.0)
            .push(attempt.side.name())
            .push(attempt.trunk.as_ref().map_or(NO_TRUNK, |trunk| &*trunk.0))
            .push(attempt.number)
            .push(attempt.at_ms)
            .push(attempt.wire)
            .push(attempt.media);
    }
}

/// The 2xx that a leg of a call got.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) serial: Serial,
    pub(crate) leg: LegId,
    pub(crate) at_ms: i64,
    pub(crate) dialog: Vec<u8>,
}

impl Bind for Answer {
    fn bind(self, to: &mut Values) {
        to.push(self.serial.0).push(self.leg.0).push(self.at_ms).push(self.dialog);
    }
}

/// What a restart must resolve, by serial: the calls of which a leg is known, and those that wait for
/// their caller, whom the backlog never sees.
pub(crate) async fn unfinished(
    connection: &mut Connection<'_>,
) -> Result<Vec<Unfinished>, StoreError> {
    let calls = Statement::new(
        "SELECT * FROM intents WHERE kind = $1 OR serial IN (SELECT serial FROM attempts)
         OR serial IN (SELECT serial FROM answers) OR started = 2 OR route = $2 ORDER BY serial",
    );
    let calls = calls.bind(CallKind::AnonymousCall.name()).bind(intents::NO_ROUTE);
    let calls = calls.fetch_all(connection).await?;
    let attempts = Statement::new("SELECT * FROM attempts").fetch_all(connection).await?;
    let answers = Statement::new("SELECT * FROM answers").fetch_all(connection).await?;
    let mut known = Attempts::default();
    for row in &attempts {
        known.insert(&decode_attempt(row)?);
    }
    for row in &answers {
        known.answer(decode_answer(row)?);
    }
    let found = |row: &Row| {
        let cancelled = row.get::<i64>("started")? == 2;
        Ok(known.found(intents::decode(row)?, cancelled))
    };
    calls.iter().map(found).collect()
}

/// Removes attempts and answers of calls that are over.
pub(crate) async fn remove_orphans(connection: &mut Connection<'_>) -> Result<(), ApplyError> {
    for statement in [
        "DELETE FROM attempts WHERE serial NOT IN (SELECT serial FROM intents)",
        "DELETE FROM answers WHERE serial NOT IN (SELECT serial FROM intents)",
    ] {
        Statement::new(statement).execute(connection).await?;
    }
    Ok(())
}

fn decode_attempt(row: &Row) -> Result<Attempt, StoreError> {
    let trunk: &str = row.get("trunk")?;
    let trunk = (trunk != NO_TRUNK).then(|| TrunkName(trunk.into()));
    let side = match row.get::<&str>("side")? {
        name if name == Side::Caller.name() => Side::Caller,
        name if name == Side::Called.name() => Side::Called,
        name => {
            return Err(StoreError::corrupt("attempts", format!("`{name}` is no side of a call")));
        }
    };
    Ok(Attempt {
        serial: Serial(row.unsigned("serial")?),
        leg: LegId(row.unsigned("leg")?),
        side,
        trunk,
        number: row.narrow("attempts", "number")?,
        at_ms: row.get("at_ms")?,
        wire: row.get("wire")?,
        media: row.get("media")?,
    })
}

fn decode_answer(row: &Row) -> Result<Answer, StoreError> {
    Ok(Answer {
        serial: Serial(row.unsigned("serial")?),
        leg: LegId(row.unsigned("leg")?),
        at_ms: row.get("at_ms")?,
        dialog: row.get("dialog")?,
    })
}

/// Both tables in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    attempts: BTreeMap<(Serial, LegId), Attempt>,
    answers: BTreeMap<(Serial, LegId), Answer>,
}

impl Attempts {
    pub(crate) fn insert(&mut self, attempt: &Attempt) {
        self.attempts.insert((attempt.serial, attempt.leg), attempt.clone());
    }

    pub(crate) fn withdraw(&mut self, serial: Serial, leg: LegId) {
        self.attempts.remove(&(serial, leg));
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        self.answers.insert((answer.serial, answer.leg), answer);
    }

    pub(crate) fn remove(&mut self, serial: Serial) {
        remove(&mut self.attempts, serial);
        remove(&mut self.answers, serial);
    }

    pub(crate) fn dialled(&self, serial: Serial) -> bool {
        of(&self.attempts, serial).next().is_some()
    }

    pub(crate) fn remove_orphans(&mut self, unfinished: impl Fn(Serial) -> bool) {
        self.attempts.retain(|(serial, _), _| unfinished(*serial));
        self.answers.retain(|(serial, _), _| unfinished(*serial));
    }

    pub(crate) fn unfinished(&self, intents: &intents::Intents) -> Vec<Unfinished> {
        let calls = intents.rows.values().map(|(intent, _)| intent);
        let unfinished = |intent: &&Intent| {
            intent.order.call_kind() == CallKind::AnonymousCall
                || intent.order.place.route().is_none()
                || of(&self.attempts, intent.serial).next().is_some()
                || of(&self.answers, intent.serial).next().is_some()
                || intents.cancelled.contains(&intent.serial)
        };
        let cancelled = |intent: &Intent| intents.cancelled.contains(&intent.serial);
        let unfinished = calls.filter(unfinished);
        unfinished.map(|intent| self.found(intent.clone(), cancelled(intent))).collect()
    }

    /// A call with its legs: the one that came from outside, then by the numbers of their attempts.
    fn found(&self, intent: Intent, cancelled: bool) -> Unfinished {
        let answer = |leg: LegId| {
            let answer = self.answers.get(&(intent.serial, leg))?;
            Some((answer.dialog.clone(), answer.at_ms))
        };
        let mut dialled: Vec<Attempt> = of(&self.attempts, intent.serial).cloned().collect();
        dialled.sort_by_key(|attempt| attempt.number);
        let from_outside = of(&self.answers, intent.serial)
            .map(|answer| answer.leg)
            .filter(|leg| dialled.iter().all(|attempt| attempt.leg != *leg))
            .map(|leg| FoundLeg { leg, attempt: None, answered: answer(leg) });
        let mut legs: Vec<FoundLeg> = from_outside.collect();
        legs.extend(dialled.into_iter().map(|attempt| FoundLeg {
            leg: attempt.leg,
            answered: answer(attempt.leg),
            attempt: Some(attempt),
        }));
        Unfinished { intent, ringing_ms: None, recorded: false, cancelled, legs }
    }
}

/// The rows of one call.
fn of<T>(rows: &BTreeMap<(Serial, LegId), T>, serial: Serial) -> impl Iterator<Item = &T> {
    rows.range((serial, LegId(0))..=(serial, LegId(u64::MAX))).map(|(_, row)| row)
}

fn remove<T>(rows: &mut BTreeMap<(Serial, LegId), T>, serial: Serial) {
    let legs = (serial, LegId(0))..=(serial, LegId(u64::MAX));
    let keys: Vec<(Serial, LegId)> = rows.range(legs).map(|(key, _)| *key).collect();
    for key in keys {
        rows.remove(&key);
    }
}
