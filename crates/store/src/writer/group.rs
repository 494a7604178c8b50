//! Several pieces of work in one transaction: rows of neighbouring batches are gathered by table
//! and written together.
//!
//! Within a flush the order of tables does not matter, since a serial is never reused, except that
//! what ended is removed last.

use std::collections::{BTreeMap, BTreeSet};

use engine::cdr::Cdr;
use engine::events::Event;
use engine::vocabulary::{LegId, Serial};
use engine::writes::{Attempt, Write};

use crate::attempts::{self, Answer, AttemptRow};
use crate::batch::{Batch, Committed, EventPosition};
use crate::callbacks::rows::CallbackRow;
use crate::callbacks::{self, CallbackAttempt, CallbackId};
use crate::cdrs::{self, CdrRow};
use crate::error::ApplyError;
use crate::events::{self, EventRow, Positions};
use crate::idempotency::{self, IdempotencyRow};
use crate::intents::{self, IntentRow};
use crate::ita_usage::{self, Talked};
use crate::number_bindings::{NumberBinding, Numbers};
use crate::registrations::{self, Registration};
use crate::sql::Connection;
use crate::sql::multi_row::{Bind, Values};
use crate::timelines::{self, TimelineRow};
use crate::work::{Edit, Outcome, Work};
use crate::{
    meta, number_bindings, retention, secrets, softphones, tenants, tokens, voice_recordings,
    voice_templates,
};

/// Applies work inside an open transaction, in order; one outcome each.
pub(super) async fn apply(
    connection: &mut Connection<'_>,
    works: impl Iterator<Item = &Work>,
    positions: &mut Positions,
) -> Result<Vec<Outcome>, ApplyError> {
    let mut outcomes = Vec::new();
    let mut rows = Rows::default();
    for work in works {
        outcomes.push(match work {
            Work::Submit(batch) => Outcome::Committed(rows.gather(batch, positions)),
            Work::CallbackAttempt(attempt) => {
                if !rows.attempted.insert(attempt.id) {
                    rows.flush(connection).await?;
                    rows.attempted.insert(attempt.id);
                }
                rows.callback_attempts.push(attempt.clone());
                Outcome::Changed(1)
            }
            Work::Claim(claim) => {
                rows.flush(connection).await?;
                Outcome::Claimed(intents::claim(connection, claim).await?)
            }
            Work::Edit(change) => {
                rows.flush(connection).await?;
                Outcome::Changed(edit(connection, change).await?)
            }
        });
    }
    rows.flush(connection).await?;
    events::PUT_LAST_POSITION.execute(connection, positions.given()).await?;
    Ok(outcomes)
}

/// Rows that wait for the next flush, by table.
#[derive(Default)]
struct Rows {
    intents: Vec<IntentRow>,
    idempotency: Vec<IdempotencyRow>,
    /// One of each per leg: what replaces a row replaces it here already.
    attempts: BTreeMap<LegId, Attempt>,
    answers: BTreeMap<LegId, Answer>,
    events: Vec<EventRow>,
    callbacks: Vec<CallbackRow>,
    cdrs: Vec<CdrRow>,
    timelines: BTreeMap<Serial, TimelineRow>,
    callback_attempts: Vec<CallbackAttempt>,
    /// Callbacks that `callback_attempts` is about: one statement advances each once.
    attempted: BTreeSet<CallbackId>,
    withdrawn: Vec<Number>,
    cancelled: Vec<Number>,
    ended: Vec<Number>,
    ita_talked: Talked,
    bound: BTreeMap<Numbers, NumberBinding>,
    registrations: BTreeMap<String, Registration>,
}

impl Rows {
    fn gather(&mut self, batch: &Batch, positions: &mut Positions) -> Committed {
        let mut committed = Committed::default();
        for write in &batch.writes {
            match write {
                Write::Accepted { intent, idempotency, started } => {
                    let key = idempotency.as_ref();
                    self.idempotency.extend(
                        key.map(|key| IdempotencyRow::new(key, intent.serial, intent.created_ms)),
                    );
                    let bound = number_bindings::bound_by(intent);
                    self.bound.extend(bound.map(|bound| (bound.numbers(), bound)));
                    self.intents.push(IntentRow::new(intent, *started));
                }
                Write::Attempt(attempt) => {
                    self.attempts.insert(attempt.leg, (**attempt).clone());
                }
                Write::Answered { serial, leg, at_ms, dialog } => {
                    let (serial, leg, at_ms) = (*serial, *leg, *at_ms);
                    let answer = Answer { serial, leg, at_ms, dialog: dialog.clone() };
                    self.answers.insert(leg, answer);
                }
                Write::Withdrawn { leg, .. } => {
                    self.attempts.remove(leg);
                    self.withdrawn.push(Number(leg.0));
                }
                Write::Cancelled { serial } => self.cancelled.push(Number(serial.0)),
                Write::Event { event, callback } => {
                    let place = positions.next(event.tenant);
                    self.event(place, event, callback.as_deref(), record_of(batch, event));
                    committed.positions.push(place);
                }
                Write::Ended(cdr) => {
                    ita_usage::add(&mut self.ita_talked, cdr);
                    self.ended.push(Number(cdr.intent.serial.0));
                    self.cdrs.push(CdrRow((**cdr).clone()));
                }
            }
        }
        let notes = batch.kept_timelines();
        self.timelines
            .extend(notes.map(|(serial, notes)| (serial, TimelineRow::new(serial, notes))));
        let places = batch.registrations.iter();
        self.registrations.extend(places.map(|of| (of.number.clone(), of.clone())));
        committed
    }

    fn event(
        &mut self,
        id: EventPosition,
        event: &Event,
        callback: Option<&str>,
        recorded: Option<&Cdr>,
    ) {
        self.events.push(EventRow::new(id, event, recorded));
        self.callbacks.extend(callback.map(|url| CallbackRow {
            id,
            serial: event.serial,
            url: url.to_owned(),
            due_ms: event.at_ms,
        }));
    }

    async fn flush(&mut self, connection: &mut Connection<'_>) -> Result<(), ApplyError> {
        let rows = std::mem::take(self);
        intents::INSERT.execute(connection, rows.intents).await?;
        intents::CANCEL.execute(connection, rows.cancelled).await?;
        idempotency::insert(connection, rows.idempotency).await?;
        let attempts = rows.attempts.into_values().map(AttemptRow).collect::<Vec<_>>();
        attempts::INSERT.execute(connection, attempts).await?;
        attempts::WITHDRAW.execute(connection, rows.withdrawn).await?;
        let answers = rows.answers.into_values().collect::<Vec<_>>();
        attempts::INSERT_ANSWER.execute(connection, answers).await?;
        events::INSERT.execute(connection, rows.events).await?;
        callbacks::rows::INSERT.execute(connection, rows.callbacks).await?;
        cdrs::INSERT.execute(connection, rows.cdrs).await?;
        let timelines = rows.timelines.into_values().collect::<Vec<_>>();
        timelines::INSERT.execute(connection, timelines).await?;
        callbacks::rows::insert_attempts(connection, rows.callback_attempts).await?;
        ita_usage::put(connection, rows.ita_talked).await?;
        number_bindings::PUT.execute(connection, rows.bound.into_values()).await?;
        registrations::put(connection, rows.registrations.into_values()).await?;
        intents::DELETE.execute(connection, rows.ended).await?;
        Ok(())
    }
}

/// The record of an event's call, where the same batch writes it.
fn record_of<'a>(batch: &'a Batch, event: &Event) -> Option<&'a Cdr> {
    batch.writes.iter().find_map(|write| match write {
        Write::Ended(cdr) if Some(cdr.intent.serial) == event.serial => Some(&**cdr),
        Write::Ended(_)
        | Write::Accepted { .. }
        | Write::Attempt(_)
        | Write::Answered { .. }
        | Write::Withdrawn { .. }
        | Write::Cancelled { .. }
        | Write::Event { .. } => None,
    })
}

/// A serial or a leg.
struct Number(u64);

impl Bind for Number {
    fn bind(self, to: &mut Values) {
        to.push(self.0);
    }
}

async fn edit(connection: &mut Connection<'_>, edit: &Edit) -> Result<u64, ApplyError> {
    match edit {
        Edit::ReturnUndialled => {
            attempts::remove_orphans(connection).await?;
            intents::return_undialled(connection).await
        }
        Edit::ExpireIdempotency { accepted_until_ms } => {
            idempotency::expire(connection, *accepted_until_ms).await
        }
        Edit::ReplayCallback { id, now_ms } => {
            callbacks::rows::replay(connection, *id, *now_ms).await
        }
        Edit::PutTenant(tenant) => tenants::put(connection, tenant).await,
        Edit::PutToken(token) => tokens::put(connection, token).await,
        Edit::ExpireTokens { now_ms } => tokens::expire(connection, *now_ms).await,
        Edit::PutSecret { tenant, name, sealed } => {
            secrets::put(connection, *tenant, name, sealed).await
        }
        Edit::RemoveSecrets { tenant, names } => secrets::remove(connection, *tenant, names).await,
        Edit::PutVoiceRecording(recording) => voice_recordings::insert(connection, recording).await,
        Edit::UpdateVoiceRecording(recording) => {
            voice_recordings::update(connection, recording).await
        }
        Edit::PutVoiceTemplate(template) => voice_templates::insert(connection, template).await,
        Edit::PutMeta { key, value } => meta::put(connection, key, value).await,
        Edit::PutSoftphone(softphone) => softphones::put(connection, softphone).await,
        Edit::RemoveSoftphone { tenant, number } => {
            softphones::remove(connection, *tenant, number).await
        }
        Edit::PutNumberBinding(binding) => {
            Ok(number_bindings::PUT.execute(connection, [binding.clone()]).await?)
        }
        Edit::RemoveNumberBinding(binding) => number_bindings::remove(connection, binding).await,
        Edit::ExpireNumberBindings { now_ms } => number_bindings::expire(connection, *now_ms).await,
        Edit::Expire(expiry) => retention::expire(connection, expiry).await,
    }
}
