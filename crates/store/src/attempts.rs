//! The dial attempts of each unfinished call, and the dialog of its 2xx.
//!
//! One row per leg: a restart resolves the last INVITE of each, so a later attempt of the same leg (with
//! credentials) replaces the row of the one before.

use std::collections::BTreeMap;

use engine::intent::Intent;
use engine::vocabulary::{LegId, Serial, TrunkName};
use engine::writes::{Attempt, Unfinished};

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

pub(crate) static INSERT: MultiRow = MultiRow::new(
    &["INSERT INTO attempts (serial, leg, trunk, number, at_ms, wire, media) VALUES {rows} \
       ON CONFLICT (leg) DO UPDATE SET serial = excluded.serial, trunk = excluded.trunk, \
       number = excluded.number, at_ms = excluded.at_ms, wire = excluded.wire, \
       media = excluded.media"],
    7,
);
pub(crate) static INSERT_ANSWER: MultiRow = MultiRow::new(
    &["INSERT INTO answers (serial, leg, at_ms, dialog) VALUES {rows} \
       ON CONFLICT (serial) DO UPDATE SET leg = excluded.leg, at_ms = excluded.at_ms, \
       dialog = excluded.dialog"],
    4,
);

pub(crate) struct AttemptRow(pub(crate) Attempt);

impl Bind for AttemptRow {
    fn bind(self, to: &mut Values) {
        let attempt = self.0;
        to.push(attempt.serial.0)
            .push(attempt.leg.0)
            .push(&*attempt.trunk.0)
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

/// The calls that were dialled, by serial; each with its last attempt and those of its earlier legs.
pub(crate) async fn unfinished(
    connection: &mut Connection<'_>,
) -> Result<Vec<Unfinished>, StoreError> {
    let rows = Statement::new(
        "SELECT intents.*, attempts.leg, attempts.trunk AS attempt_trunk, attempts.number,
                attempts.at_ms, attempts.wire, attempts.media,
                answers.at_ms AS answered_ms, answers.dialog
         FROM attempts JOIN intents USING (serial)
         LEFT JOIN answers ON answers.serial = attempts.serial AND answers.leg = attempts.leg
         ORDER BY attempts.serial, attempts.number",
    )
    .fetch_all(connection)
    .await?;
    let mut calls: Vec<Unfinished> = Vec::new();
    for row in &rows {
        let mut call = decode(row)?;
        if let Some(before) = calls.pop_if(|before| before.intent.serial == call.intent.serial) {
            call.earlier = before.earlier;
            call.earlier.extend(before.attempt);
        }
        calls.push(call);
    }
    Ok(calls)
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

fn decode(row: &Row) -> Result<Unfinished, StoreError> {
    let intent = intents::decode(row)?;
    let attempt = Attempt {
        serial: intent.serial,
        leg: LegId(row.unsigned("leg")?),
        trunk: TrunkName(row.get::<&str>("attempt_trunk")?.into()),
        number: row.narrow("attempts", "number")?,
        at_ms: row.get("at_ms")?,
        wire: row.get("wire")?,
        media: row.get("media")?,
    };
    let dialog: Option<Vec<u8>> = row.get("dialog")?;
    let answered = match (dialog, row.get("answered_ms")?) {
        (Some(dialog), Some(at_ms)) => Some((dialog, at_ms)),
        (None, _) | (_, None) => None,
    };
    let (attempt, earlier) = (Some(attempt), Vec::new());
    let (ringing_ms, recorded) = (None, false);
    Ok(Unfinished { intent, ringing_ms, recorded, attempt, answered, earlier })
}

/// Both tables in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    attempts: BTreeMap<(Serial, LegId), Attempt>,
    answers: BTreeMap<Serial, Answer>,
}

impl Attempts {
    pub(crate) fn insert(&mut self, attempt: &Attempt) {
        self.attempts.insert((attempt.serial, attempt.leg), attempt.clone());
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        self.answers.insert(answer.serial, answer);
    }

    pub(crate) fn remove(&mut self, serial: Serial) {
        let of_call = self.of(serial).map(|attempt| (serial, attempt.leg)).collect::<Vec<_>>();
        for key in of_call {
            self.attempts.remove(&key);
        }
        self.answers.remove(&serial);
    }

    pub(crate) fn dialled(&self, serial: Serial) -> bool {
        self.of(serial).next().is_some()
    }

    pub(crate) fn remove_orphans(&mut self, unfinished: impl Fn(Serial) -> bool) {
        self.attempts.retain(|(serial, _), _| unfinished(*serial));
        self.answers.retain(|serial, _| unfinished(*serial));
    }

    pub(crate) fn unfinished(&self, intents: &intents::Intents) -> Vec<Unfinished> {
        let unfinished = |(serial, (intent, _)): (&Serial, &(Intent, bool))| {
            let mut earlier: Vec<Attempt> = self.of(*serial).cloned().collect();
            earlier.sort_by_key(|attempt| attempt.number);
            let attempt = earlier.pop()?;
            let answer = self.answers.get(serial).filter(|answer| answer.leg == attempt.leg);
            Some(Unfinished {
                intent: intent.clone(),
                ringing_ms: None,
                recorded: false,
                answered: answer.map(|answer| (answer.dialog.clone(), answer.at_ms)),
                attempt: Some(attempt),
                earlier,
            })
        };
        intents.rows.iter().filter_map(unfinished).collect()
    }

    fn of(&self, serial: Serial) -> impl Iterator<Item = &Attempt> {
        let legs = (serial, LegId(0))..=(serial, LegId(u64::MAX));
        self.attempts.range(legs).map(|(_, attempt)| attempt)
    }
}
