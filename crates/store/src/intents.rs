//! Accepted calls that are not over: the backlog, and those that were started.
//!
//! A row is `waiting` (`started` is 0) until it is claimed, `started` (1) from then on, and goes with the call's record. A
//! call that was started and is cancelled says so (2) until it is over.

use std::collections::{BTreeMap, BTreeSet};

use engine::intent::{Intent, Order};
use engine::route::Route;
use engine::vocabulary::{CallKind, Priority, Serial, TenantId};

use crate::error::{ApplyError, StoreError};
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, PerDatabase, Row, Statement};
use crate::work::{Outcome, Work};
use crate::{Reader, Scope, Store, rows};

/// `caller_present` is the number that stands for the caller, whoever that is (`Order::caller_number`).
/// The partial indexes hold waiting rows only: a call that is dialled at once pays for neither. The last one gives lists
/// of calls, as that of the records does.
pub(crate) const SCHEMA: &str = "
CREATE TABLE intents (
    serial            INTEGER PRIMARY KEY,
    tenant            INTEGER NOT NULL,
    kind              TEXT NOT NULL,
    route             TEXT NOT NULL,
    priority          INTEGER NOT NULL,
    called            TEXT NOT NULL,
    caller_present    TEXT NOT NULL,
    created_ms        INTEGER NOT NULL,
    queue_deadline_ms INTEGER NOT NULL,
    started           INTEGER NOT NULL,
    body              TEXT NOT NULL
);
CREATE INDEX intents_waiting ON intents (tenant, route, priority, serial) WHERE started = 0;
CREATE INDEX intents_expiring ON intents (queue_deadline_ms) WHERE started = 0;
CREATE INDEX intents_by_time ON intents (tenant, created_ms, serial, kind, caller_present);
";

/// `route` of a call to a softphone; not NULL, which `<>` passes over.
pub(crate) const NO_ROUTE: &str = "";

pub(crate) static INSERT: MultiRow = MultiRow::new(
    &["INSERT INTO intents (serial, tenant, kind, route, priority, called, caller_present, \
       created_ms, queue_deadline_ms, started, body) VALUES {rows}"],
    11,
);
/// Neither a claim nor a restart takes it up again.
pub(crate) static CANCEL: MultiRow =
    MultiRow::new(&["UPDATE intents SET started = 2 WHERE serial IN (VALUES {rows})"], 1);
/// What a call that is over leaves behind.
pub(crate) static DELETE: MultiRow = MultiRow::new(
    &[
        "DELETE FROM intents WHERE serial IN (VALUES {rows})",
        "DELETE FROM attempts WHERE serial IN (VALUES {rows})",
        "DELETE FROM answers WHERE serial IN (VALUES {rows})",
    ],
    1,
);

/// Takes what a query of serials finds. PostgreSQL passes over rows that another session is taking.
macro_rules! take {
    ($serials:literal) => {
        PerDatabase {
            sqlite: concat!(
                "UPDATE intents SET started = 1 WHERE serial IN (",
                $serials,
                ") RETURNING *"
            ),
            postgres: concat!(
                "WITH chosen AS MATERIALIZED (",
                $serials,
                " FOR UPDATE SKIP LOCKED) UPDATE intents SET started = 1 FROM chosen
                 WHERE intents.serial = chosen.serial RETURNING intents.*"
            ),
        }
    };
}

const READY: PerDatabase = take!(
    "SELECT serial FROM intents WHERE started = 0 AND tenant = $1 AND route = $2
     ORDER BY priority, serial LIMIT $3"
);
const EXPIRED: PerDatabase = take!(
    "SELECT serial FROM intents WHERE started = 0 AND queue_deadline_ms <= $1
     ORDER BY queue_deadline_ms LIMIT $2"
);
const ONE: PerDatabase =
    take!("SELECT serial FROM intents WHERE started = 0 AND serial = $1 AND tenant = $2");

/// Which waiting calls to take. Each is given once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Those of a tenant over a route, by priority, then first come first served. A call whose
    /// wait is over may be among them: compare its deadline before dialling.
    Ready { tenant: TenantId, route: Route, limit: u32 },
    /// Those whose wait in the queue is over at `now_ms`.
    Expired { now_ms: i64, limit: u32 },
    /// This one, where it still waits.
    One { tenant: TenantId, serial: Serial },
}

impl Claim {
    pub(crate) fn limit(&self) -> usize {
        match self {
            Claim::Ready { limit, .. } | Claim::Expired { limit, .. } => *limit as usize,
            Claim::One { .. } => 1,
        }
    }
}

/// Where an accepted call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentState {
    /// In the backlog.
    Waiting,
    /// Claimed, or dialled at once.
    Started,
}

/// What makes two unfinished calls equal for `refuse_duplicates` (decisions.md, natural key).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NaturalKey {
    pub tenant: TenantId,
    pub kind: CallKind,
    pub caller_present: String,
    pub called: String,
    pub serial: Serial,
}

impl Store {
    /// Takes waiting calls, ordered by priority, then serial. Sees every batch submitted before;
    /// resolves after the claim is on disk, so that a call is offered once.
    pub async fn claim(&self, claim: Claim) -> Result<Vec<Intent>, StoreError> {
        match self.perform(Work::Claim(claim)).await? {
            Outcome::Claimed(intents) => Ok(intents),
            Outcome::Committed(_) | Outcome::Changed(_) => {
                unreachable!("a claim is answered as a claim")
            }
        }
    }

    /// An accepted call that is not over, and where it stands.
    pub async fn intent(
        &self,
        whose: impl Into<Scope>,
        serial: Serial,
    ) -> Result<Option<(Intent, IntentState)>, StoreError> {
        let scope = whose.into();
        match self.reader(scope).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new(
                    "SELECT * FROM intents WHERE serial = $1 AND ($2 IS NULL OR tenant = $2)",
                );
                let query = query.bind(serial.0).bind(scope);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.map(|row| Ok((decode(&row)?, state(row.flag("started")?)))).transpose()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let (intent, started) = tables.intents.rows.get(&serial)?;
                scope.holds(intent.tenant).then(|| (intent.clone(), state(*started)))
            })),
        }
    }

    /// How many calls wait, by tenant and route.
    pub async fn waiting(&self) -> Result<Vec<(TenantId, Route, u32)>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let counts = Statement::new(
                    "SELECT tenant, route, count(*) AS calls FROM intents WHERE started = 0
                     GROUP BY tenant, route ORDER BY tenant, route",
                );
                let counts = counts.fetch_all(&mut loan.connection()).await?;
                let decode = |row: &Row| {
                    let tenant = TenantId(row.narrow("intents", "tenant")?);
                    let route = rows::route("intents", row.get("route")?)?;
                    Ok((tenant, route, row.narrow("intents", "calls")?))
                };
                counts.iter().map(decode).collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let mut counts = BTreeMap::<_, u32>::new();
                for (tenant, route, _, _) in &tables.intents.waiting {
                    *counts.entry((*tenant, route.clone())).or_default() += 1;
                }
                counts.into_iter().map(|((tenant, route), count)| (tenant, route, count)).collect()
            })),
        }
    }

    /// When the next wait in the queue is over, ms since 1970.
    pub async fn next_queue_deadline_ms(&self) -> Result<Option<i64>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let first = Statement::new(
                    "SELECT min(queue_deadline_ms) AS value FROM intents WHERE started = 0",
                );
                Ok(first.fetch_integer(&mut loan.connection()).await?)
            }
            Reader::Memory(memory) => Ok(memory
                .read(|tables| tables.intents.deadlines.first().map(|(deadline, _)| *deadline))),
        }
    }

    /// The natural keys of a tenant's unfinished calls, by serial. For a start, and for tenants
    /// that refuse duplicates only: it reads every unfinished call.
    pub async fn natural_keys(&self, tenant: TenantId) -> Result<Vec<NaturalKey>, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let keys = Statement::new(
                    "SELECT tenant, kind, caller_present, called, serial FROM intents
                     WHERE tenant = $1 ORDER BY serial",
                );
                let keys = keys.bind(tenant.0).fetch_all(&mut loan.connection()).await?;
                keys.iter().map(natural_key).collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let all = tables.intents.rows.values().map(|(intent, _)| intent);
                all.filter(|intent| intent.tenant == tenant).map(NaturalKey::from).collect()
            })),
        }
    }
}

impl From<&Intent> for NaturalKey {
    fn from(intent: &Intent) -> Self {
        NaturalKey {
            tenant: intent.tenant,
            kind: intent.order.call_kind(),
            caller_present: intent.order.caller_number().to_owned(),
            called: intent.order.called.clone(),
            serial: intent.serial,
        }
    }
}

pub(crate) struct IntentRow {
    intent: Intent,
    started: bool,
}

impl IntentRow {
    pub(crate) fn new(intent: &Intent, started: bool) -> Self {
        IntentRow { intent: intent.clone(), started }
    }
}

impl Bind for IntentRow {
    fn bind(self, to: &mut Values) {
        let body = rows::json(&self.intent.order);
        let order = self.intent.order;
        to.push(self.intent.serial.0)
            .push(self.intent.tenant.0)
            .push(rows::task(&order))
            .push(order.place.route().map_or_else(|| NO_ROUTE.to_owned(), Route::to_string))
            .push(order.priority.value())
            .push(&*order.called)
            .push(order.caller_number())
            .push(self.intent.created_ms)
            .push(self.intent.queue_deadline_ms)
            .push(self.started)
            .push(body);
    }
}

/// Runs a claim inside the writer's transaction.
pub(crate) async fn claim(
    connection: &mut Connection<'_>,
    claim: &Claim,
) -> Result<Vec<Intent>, ApplyError> {
    let take = match claim {
        Claim::Ready { tenant, route, limit } => {
            let ready = Statement::new(READY.on(connection));
            ready.bind(tenant.0).bind(route.to_string()).bind(*limit)
        }
        Claim::Expired { now_ms, limit } => {
            Statement::new(EXPIRED.on(connection)).bind(*now_ms).bind(*limit)
        }
        Claim::One { tenant, serial } => {
            Statement::new(ONE.on(connection)).bind(serial.0).bind(tenant.0)
        }
    };
    let rows = take.fetch_all(connection).await?;
    let intents: Result<Vec<Intent>, StoreError> = rows.iter().map(decode).collect();
    let mut intents = intents.map_err(ApplyError::broken)?;
    // RETURNING gives rows in no order.
    intents.sort_by_key(|intent| (intent.order.priority, intent.serial));
    Ok(intents)
}

/// Puts calls that were claimed and never dialled back. One that waits for its caller, or is for a softphone, never was
/// in the queue.
pub(crate) async fn return_undialled(connection: &mut Connection<'_>) -> Result<u64, ApplyError> {
    let returned = Statement::new(
        "UPDATE intents SET started = 0
         WHERE started = 1 AND kind <> $1 AND route <> $2
         AND serial NOT IN (SELECT serial FROM attempts)",
    );
    let returned = returned.bind(CallKind::AnonymousCall.name()).bind(NO_ROUTE);
    Ok(returned.execute(connection).await?)
}

/// Reads an intent from a row that has this table's columns.
pub(crate) fn decode(row: &Row) -> Result<Intent, StoreError> {
    Ok(Intent {
        serial: Serial(row.unsigned("serial")?),
        tenant: TenantId(row.narrow("intents", "tenant")?),
        created_ms: row.get("created_ms")?,
        queue_deadline_ms: row.get("queue_deadline_ms")?,
        order: rows::parse::<Order>("intents", row.get("body")?)?,
    })
}

fn natural_key(row: &Row) -> Result<NaturalKey, StoreError> {
    Ok(NaturalKey {
        tenant: TenantId(row.narrow("intents", "tenant")?),
        kind: rows::call_kind("intents", row.get("kind")?)?,
        caller_present: row.get("caller_present")?,
        called: row.get("called")?,
        serial: Serial(row.unsigned("serial")?),
    })
}

pub(crate) fn state(started: bool) -> IntentState {
    if started { IntentState::Started } else { IntentState::Waiting }
}

/// The table in memory, with the two indexes over what waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intents {
    pub(crate) rows: BTreeMap<Serial, (Intent, bool)>,
    /// Of the started ones.
    pub(crate) cancelled: BTreeSet<Serial>,
    waiting: BTreeSet<(TenantId, Route, Priority, Serial)>,
    deadlines: BTreeSet<(i64, Serial)>,
}

impl Intents {
    pub(crate) fn insert(&mut self, intent: &Intent, started: bool) {
        self.rows.insert(intent.serial, (intent.clone(), started));
        if !started {
            self.waiting.extend(place(intent));
            self.deadlines.insert((intent.queue_deadline_ms, intent.serial));
        }
    }

    pub(crate) fn cancel(&mut self, serial: Serial) {
        if self.rows.contains_key(&serial) {
            self.cancelled.insert(serial);
        }
    }

    pub(crate) fn remove(&mut self, serial: Serial) {
        self.cancelled.remove(&serial);
        if let Some((intent, _)) = self.rows.remove(&serial) {
            self.leave_queue(&intent);
        }
    }

    pub(crate) fn claim(&mut self, claim: &Claim) -> Vec<Intent> {
        let serials: Vec<Serial> = match claim {
            Claim::Ready { tenant, route, limit } => self
                .waiting
                .range((*tenant, route.clone(), first(), Serial(0))..)
                .take_while(|(of, over, _, _)| of == tenant && over == route)
                .take(*limit as usize)
                .map(|(_, _, _, serial)| *serial)
                .collect(),
            Claim::Expired { now_ms, limit } => self
                .deadlines
                .range(..=(*now_ms, Serial(u64::MAX)))
                .take(*limit as usize)
                .map(|(_, serial)| *serial)
                .collect(),
            Claim::One { tenant, serial } => {
                let owned = |(intent, _): &&(Intent, bool)| intent.tenant == *tenant;
                self.rows.get(serial).filter(owned).map(|_| *serial).into_iter().collect()
            }
        };
        let mut claimed: Vec<Intent> =
            serials.into_iter().filter_map(|serial| self.start(serial)).collect();
        claimed.sort_by_key(|intent| (intent.order.priority, intent.serial));
        claimed
    }

    /// Puts started calls for which `dialled` is false back into the queue.
    pub(crate) fn return_undialled(&mut self, dialled: impl Fn(Serial) -> bool) -> u64 {
        let mut returned = 0;
        for (serial, (intent, started)) in &mut self.rows {
            let queues = intent.order.call_kind() != CallKind::AnonymousCall
                && !self.cancelled.contains(serial);
            let place = place(intent).filter(|_| *started && queues && !dialled(*serial));
            if let Some(place) = place {
                *started = false;
                self.waiting.insert(place);
                self.deadlines.insert((intent.queue_deadline_ms, *serial));
                returned += 1;
            }
        }
        returned
    }

    fn start(&mut self, serial: Serial) -> Option<Intent> {
        let (intent, started) = self.rows.get_mut(&serial).filter(|(_, started)| !started)?;
        *started = true;
        let intent = intent.clone();
        self.leave_queue(&intent);
        Some(intent)
    }

    fn leave_queue(&mut self, intent: &Intent) {
        if let Some(place) = place(intent) {
            self.waiting.remove(&place);
        }
        self.deadlines.remove(&(intent.queue_deadline_ms, intent.serial));
    }
}

fn first() -> Priority {
    Priority::new(1).expect("1 is a priority")
}

/// `None`: it waits in no queue.
fn place(intent: &Intent) -> Option<(TenantId, Route, Priority, Serial)> {
    let Intent { tenant, serial, order, .. } = intent;
    Some((*tenant, order.place.route()?.clone(), order.priority, *serial))
}
