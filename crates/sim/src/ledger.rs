//! The far end's book: every INVITE that arrived and every call that ended.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::carrier::KeepAudio;
use crate::sniff::Glance;
use crate::{CallReport, Moment, Totals};

/// Call-IDs and reports kept; the oldest is dropped first, and counted.
const MAX_KEPT: usize = 500_000;
/// Reports that a slow subscriber may be behind.
const SUBSCRIPTION: usize = 4096;

pub(crate) struct Ledger {
    book: Mutex<Book>,
    /// Grows with every change: wakes those who wait.
    changed: watch::Sender<u64>,
    subscribers: broadcast::Sender<Arc<CallReport>>,
    keep_audio: KeepAudio,
}

#[derive(Default)]
struct Book {
    invites: HashMap<String, Invites>,
    invite_order: VecDeque<String>,
    reports: VecDeque<CallReport>,
    totals: Totals,
}

/// What arrived with one Call-ID.
#[derive(Clone, Debug)]
struct Invites {
    first_at: Moment,
    /// Hashes of the branches: a retransmission has the branch of what it repeats.
    branches: Vec<u64>,
    phones_rung: u32,
}

impl Ledger {
    pub fn new(keep_audio: KeepAudio) -> Ledger {
        Ledger {
            book: Mutex::default(),
            changed: watch::Sender::new(0),
            subscribers: broadcast::Sender::new(SUBSCRIPTION),
            keep_audio,
        }
    }

    /// An INVITE outside any dialog has arrived: the first time or again.
    pub fn invite_arrived(&self, invite: &Glance<'_>, at: Moment) {
        let mut hasher = DefaultHasher::new();
        invite.branch.hash(&mut hasher);
        let branch = hasher.finish();
        let mut book = self.lock();
        let known = book.invites_of(invite.call_id, at);
        if !known.branches.contains(&branch) {
            known.branches.push(branch);
            book.totals.invites += 1;
        }
        drop(book);
        self.wake();
    }

    /// A phone rings because of this Call-ID; when its first INVITE arrived.
    pub fn phone_rung(&self, call_id: &str, at: Moment) -> Moment {
        let mut book = self.lock();
        book.totals.calls += 1;
        let invites = book.invites_of(call_id, at);
        invites.phones_rung += 1;
        let (first_at, phones) = (invites.first_at, invites.phones_rung);
        book.totals.repeated_call_ids += u64::from(phones == 2);
        drop(book);
        self.wake();
        first_at
    }

    pub fn registered(&self) {
        self.lock().totals.registrations += 1;
        self.wake();
    }

    /// Whoever waits for a total looks again.
    fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn ended(&self, report: CallReport) {
        let mut book = self.lock();
        book.count(&report);
        let shared = Arc::new(book.completed(report.clone()));
        book.reports.push_back(report);
        if book.reports.len() > MAX_KEPT {
            book.reports.pop_front();
            book.totals.reports_dropped += 1;
        }
        if let KeepAudio::Last(count) = self.keep_audio
            && let Some(old) = book.reports.len().checked_sub(count + 1)
        {
            book.reports[old].heard = None;
        }
        drop(book);
        // Nobody has to listen.
        let _listeners = self.subscribers.send(shared);
        self.wake();
    }

    pub fn calls(&self) -> Vec<CallReport> {
        let book = self.lock();
        book.reports.iter().map(|report| book.completed(report.clone())).collect()
    }

    /// The first report that satisfies `predicate`, among those there are and those to come.
    pub async fn ended_with(&self, predicate: impl Fn(&CallReport) -> bool) -> CallReport {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let book = self.lock();
                if let Some(found) = book.reports.iter().find(|report| predicate(report)) {
                    return book.completed(found.clone());
                }
            }
            changed.changed().await.expect("self holds the sender");
        }
    }

    /// Returns when the totals satisfy `predicate`; looked at whenever a call has ended.
    pub async fn totals_reached(&self, predicate: impl Fn(&Totals) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if predicate(&self.totals()) {
                return;
            }
            changed.changed().await.expect("self holds the sender");
        }
    }

    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Arc<CallReport>> {
        self.subscribers.subscribe()
    }

    pub fn clear(&self) {
        *self.lock() = Book::default();
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // A panic elsewhere leaves a book that is still true.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn invites_of(&mut self, call_id: &str, at: Moment) -> &mut Invites {
        if !self.invites.contains_key(call_id) {
            self.invite_order.push_back(call_id.to_owned());
            if self.invite_order.len() > MAX_KEPT
                && let Some(oldest) = self.invite_order.pop_front()
            {
                self.invites.remove(&oldest);
            }
        }
        self.invites.entry(call_id.to_owned()).or_insert(Invites {
            first_at: at,
            branches: Vec::new(),
            phones_rung: 0,
        })
    }

    /// A report with the counts of its Call-ID as they are by now.
    fn completed(&self, mut report: CallReport) -> CallReport {
        if let Some(invites) = self.invites.get(&report.call_id) {
            report.invites = u32::try_from(invites.branches.len()).unwrap_or(u32::MAX);
            report.dialogs = invites.phones_rung;
        }
        report
    }

    fn count(&mut self, report: &CallReport) {
        let totals = &mut self.totals;
        totals.ended += 1;
        totals.answered += u64::from(report.answered_at.is_some());
        totals.packets += report.rtp.packets;
        totals.late_packets += report.rtp.late_packets;
        totals.lost_packets += report.rtp.lost;
    }
}
