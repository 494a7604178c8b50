//! The tables in memory and the writes to them. A piece of work is checked before it is applied,
//! so that it is applied wholly or not at all.

use std::collections::{BTreeMap, BTreeSet};

use engine::vocabulary::{Serial, TenantId};
use engine::writes::Write;

use crate::attempts::{Answer, Attempts};
use crate::batch::{Batch, Committed};
use crate::callbacks::memory::Callbacks;
use crate::cdrs::Cdrs;
use crate::error::CommitError;
use crate::events::{Events, Positions};
use crate::idempotency::{self, IdempotencyKeys};
use crate::intents::Intents;
use crate::ita_usage::{self, Talked};
use crate::number_bindings::{self, NumberBinding, Numbers};
use crate::registrations::Registration;
use crate::retention::{Expired, Expiry};
use crate::softphones::{self, Softphone};
use crate::tenants::Tenant;
use crate::timelines;
use crate::tokens::Token;
use crate::voice_recordings::VoiceRecording;
use crate::voice_templates::VoiceTemplate;
use crate::work::{Edit, Outcome, Work};

#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) intents: Intents,
    pub(crate) attempts: Attempts,
    pub(crate) idempotency: IdempotencyKeys,
    pub(crate) events: Events,
    positions: Positions,
    pub(crate) cdrs: Cdrs,
    /// Compressed, as on disk.
    pub(crate) timelines: BTreeMap<Serial, Vec<u8>>,
    pub(crate) callbacks: Callbacks,
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) tokens: BTreeMap<[u8; 32], Token>,
    pub(crate) secrets: BTreeMap<(TenantId, String), Vec<u8>>,
    pub(crate) voice_recordings: BTreeMap<(TenantId, String), VoiceRecording>,
    pub(crate) voice_templates: BTreeMap<(TenantId, String), VoiceTemplate>,
    pub(crate) ita_talked: Talked,
    pub(crate) softphones: BTreeMap<String, Softphone>,
    pub(crate) registrations: BTreeMap<String, Registration>,
    pub(crate) number_bindings: BTreeMap<Numbers, NumberBinding>,
    pub(crate) meta: BTreeMap<String, Vec<u8>>,
}

impl Tables {
    pub(crate) fn apply(&mut self, work: &Work) -> Result<Outcome, CommitError> {
        match work {
            Work::Submit(batch) => {
                self.check(batch)?;
                Ok(Outcome::Committed(self.write(batch)))
            }
            Work::CallbackAttempt(attempt) => {
                if let Some(what) = self.callbacks.refuses(attempt) {
                    return Err(conflict(what));
                }
                self.callbacks.insert_attempt(attempt);
                Ok(Outcome::Changed(1))
            }
            Work::Claim(claim) => Ok(Outcome::Claimed(self.intents.claim(claim))),
            Work::Edit(edit) => self.edit(edit).map(Outcome::Changed),
        }
    }

    /// What the keys of the database refuse.
    fn check(&self, batch: &Batch) -> Result<(), CommitError> {
        let mut accepted = BTreeSet::new();
        let mut ended = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for write in &batch.writes {
            match write {
                Write::Accepted { intent, idempotency, started: _ } => {
                    let serial = intent.serial;
                    if !accepted.insert(serial) || self.intents.rows.contains_key(&serial) {
                        return Err(conflict("a serial was given twice"));
                    }
                    let taken = |key| self.idempotency.is_taken(key, intent.created_ms);
                    if let Some(first) = idempotency
                        && (!keys.insert(&first.key) || taken(&first.key))
                    {
                        return Err(conflict(idempotency::TAKEN));
                    }
                }
                Write::Ended(cdr) => {
                    let serial = cdr.intent.serial;
                    if !ended.insert(serial) || self.cdrs.rows.contains_key(&serial) {
                        return Err(conflict("a call has its record"));
                    }
                }
                Write::Attempt(_)
                | Write::Answered { .. }
                | Write::Withdrawn { .. }
                | Write::Cancelled { .. }
                | Write::Event { .. } => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Committed {
        let mut committed = Committed::default();
        let mut ended = Vec::new();
        for write in &batch.writes {
            match write {
                Write::Accepted { intent, idempotency, started } => {
                    self.intents.insert(intent, *started);
                    let bound = number_bindings::bound_by(intent);
                    self.number_bindings.extend(bound.map(|bound| (bound.numbers(), bound)));
                    if let Some(key) = idempotency {
                        self.idempotency.insert(key, intent.serial, intent.created_ms);
                    }
                }
                Write::Attempt(attempt) => self.attempts.insert(attempt),
                Write::Answered { serial, leg, at_ms, dialog } => self.attempts.answer(Answer {
                    serial: *serial,
                    leg: *leg,
                    at_ms: *at_ms,
                    dialog: dialog.clone(),
                }),
                Write::Withdrawn { serial, leg } => self.attempts.withdraw(*serial, *leg),
                Write::Cancelled { serial } => self.intents.cancel(*serial),
                Write::Event { event, callback } => {
                    let place = self.positions.next(event.tenant);
                    self.events.insert(place, event);
                    if let Some(url) = callback {
                        self.callbacks.insert(place, event.serial, url, event.at_ms);
                    }
                    committed.positions.push(place);
                }
                Write::Ended(cdr) => {
                    ita_usage::add(&mut self.ita_talked, cdr);
                    self.cdrs.insert(cdr);
                    ended.push(cdr.intent.serial);
                }
            }
        }
        self.positions.commit();
        for serial in ended {
            self.intents.remove(serial);
            self.attempts.remove(serial);
        }
        let notes = batch.kept_timelines();
        self.timelines.extend(notes.map(|(serial, notes)| (serial, timelines::deflate(notes))));
        for registration in &batch.registrations {
            match registration.places {
                Some(_) => {
                    self.registrations.insert(registration.number.clone(), registration.clone())
                }
                None => self.registrations.remove(&registration.number),
            };
        }
        committed
    }

    fn edit(&mut self, edit: &Edit) -> Result<u64, CommitError> {
        match edit {
            Edit::ReturnUndialled => {
                let Tables { intents, attempts, .. } = self;
                attempts.remove_orphans(|serial| intents.rows.contains_key(&serial));
                Ok(intents.return_undialled(|serial| attempts.dialled(serial)))
            }
            Edit::ExpireIdempotency { accepted_until_ms } => {
                Ok(self.idempotency.expire(*accepted_until_ms))
            }
            Edit::ReplayCallback { id, now_ms } => Ok(self.callbacks.replay(*id, *now_ms)),
            Edit::PutTenant(tenant) => self.put_tenant(tenant),
            Edit::PutToken(token) => {
                self.tokens.insert(token.sha256, *token);
                Ok(1)
            }
            Edit::ExpireTokens { now_ms } => Ok(self.expire_tokens(*now_ms)),
            Edit::PutSecret { tenant, name, sealed } => {
                self.secrets.insert((*tenant, name.clone()), sealed.clone());
                Ok(1)
            }
            Edit::RemoveSecrets { tenant, names } => {
                let remove = |name: &String| self.secrets.remove(&(*tenant, name.clone()));
                Ok(names.iter().filter_map(remove).count() as u64)
            }
            Edit::PutVoiceRecording(recording) => self.put_voice_recording(recording),
            Edit::UpdateVoiceRecording(recording) => self.update_voice_recording(recording),
            Edit::PutVoiceTemplate(template) => self.put_voice_template(template),
            Edit::PutMeta { key, value } => {
                self.meta.insert(key.clone(), value.clone());
                Ok(1)
            }
            Edit::PutSoftphone(softphone) => self.put_softphone(softphone),
            Edit::RemoveSoftphone { tenant, number } => {
                let own = self.softphones.get(number).is_some_and(|phone| phone.tenant == *tenant);
                if own {
                    self.softphones.remove(number);
                    self.registrations.remove(number);
                }
                Ok(u64::from(own))
            }
            Edit::PutNumberBinding(binding) => {
                self.number_bindings.insert(binding.numbers(), binding.clone());
                Ok(1)
            }
            Edit::RemoveNumberBinding(binding) => {
                let numbers = binding.numbers();
                let found = self.number_bindings.get(&numbers);
                let own = found.is_some_and(|found| found.tenant == binding.tenant);
                Ok(u64::from(own && self.number_bindings.remove(&numbers).is_some()))
            }
            Edit::ExpireNumberBindings { now_ms } => {
                let before = self.number_bindings.len();
                self.number_bindings.retain(|_, binding| binding.expires_ms > *now_ms);
                Ok((before - self.number_bindings.len()) as u64)
            }
            Edit::Expire(expired) => Ok(self.expire(expired)),
        }
    }

    fn put_softphone(&mut self, softphone: &Softphone) -> Result<u64, CommitError> {
        let found = self.softphones.get(&softphone.number);
        if found.is_some_and(|found| found.tenant != softphone.tenant) {
            return Err(conflict(softphones::TAKEN));
        }
        if found.is_some_and(|found| !found.keeps_its_places(softphone)) {
            self.registrations.remove(&softphone.number);
        }
        self.softphones.insert(softphone.number.clone(), softphone.clone());
        Ok(1)
    }

    fn expire(&mut self, expired: &Expired) -> u64 {
        let Tables { events, callbacks, cdrs, timelines, .. } = self;
        match expired {
            Expired::Events(Expiry { tenant, before_ms, limit }) => {
                let needed = |id| callbacks.is_undelivered(id);
                events.expire(*tenant, *before_ms, *limit as usize, needed)
            }
            Expired::Callbacks(expiry) => callbacks.expire(expiry),
            Expired::Records(Expiry { tenant, before_ms, limit }) => {
                let old: Vec<Serial> =
                    cdrs.older(*tenant, *before_ms).take(*limit as usize).collect();
                for serial in &old {
                    cdrs.remove(*serial);
                    timelines.remove(serial);
                }
                old.len() as u64
            }
            Expired::Timelines(serials) => {
                let removed = serials.iter().filter(|serial| timelines.remove(serial).is_some());
                removed.count() as u64
            }
        }
    }

    fn put_tenant(&mut self, tenant: &Tenant) -> Result<u64, CommitError> {
        let mut others = self.tenants.values().filter(|other| other.id != tenant.id);
        if others.any(|other| other.app_key == tenant.app_key) {
            return Err(conflict("another tenant has the app key"));
        }
        self.tenants.insert(tenant.id, tenant.clone());
        Ok(1)
    }

    fn expire_tokens(&mut self, now_ms: i64) -> u64 {
        let before = self.tokens.len();
        self.tokens.retain(|_, token| token.expires_ms.is_none_or(|expires| expires > now_ms));
        (before - self.tokens.len()) as u64
    }

    fn put_voice_recording(&mut self, recording: &VoiceRecording) -> Result<u64, CommitError> {
        let key = (recording.tenant, recording.voice_id.clone());
        if self.voice_recordings.contains_key(&key) {
            return Err(conflict("the tenant has a recording with this id"));
        }
        self.check_recording_name(recording)?;
        self.voice_recordings.insert(key, recording.clone());
        Ok(1)
    }

    fn update_voice_recording(&mut self, recording: &VoiceRecording) -> Result<u64, CommitError> {
        self.check_recording_name(recording)?;
        let key = (recording.tenant, recording.voice_id.clone());
        match self.voice_recordings.get_mut(&key) {
            Some(row) => {
                *row = recording.clone();
                Ok(1)
            }
            None => Ok(0),
        }
    }

    fn check_recording_name(&self, recording: &VoiceRecording) -> Result<(), CommitError> {
        let taken = self.voice_recordings.values().any(|other| {
            other.tenant == recording.tenant
                && other.name == recording.name
                && other.voice_id != recording.voice_id
        });
        if taken { Err(conflict("the tenant has a recording with this name")) } else { Ok(()) }
    }

    fn put_voice_template(&mut self, template: &VoiceTemplate) -> Result<u64, CommitError> {
        let key = (template.tenant, template.template_id.clone());
        if self.voice_templates.contains_key(&key) {
            return Err(conflict("the tenant has a template with this id"));
        }
        self.voice_templates.insert(key, template.clone());
        Ok(1)
    }
}

fn conflict(what: &str) -> CommitError {
    CommitError::Conflict { what: what.to_owned() }
}
