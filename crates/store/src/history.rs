//! The calls of a tenant as one list, oldest first: those that are over with their records, the others with their
//! intents.
//!
//! A call goes from one table to the other in one transaction, and a page is one statement: it is in it once.

use engine::cdr::Cdr;
use engine::intent::Intent;
use engine::vocabulary::{CallKind, Serial, TenantId};

use crate::error::StoreError;
use crate::intents::IntentState;
use crate::memory::Tables;
use crate::sql::{Connection, Row, Statement};
use crate::{Reader, Store, cdrs, intents, rows};

/// Which calls of a tenant; by the time at which they were accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallQuery {
    pub tenant: TenantId,
    /// The first ms since 1970 that counts.
    pub start_ms: i64,
    /// The last ms since 1970 that counts.
    pub end_ms: i64,
    /// The number that stands for the caller ([`Order::caller_number`](engine::intent::Order::caller_number)).
    pub caller: Option<String>,
    pub tasks: Tasks,
    /// Calls to leave out from the front.
    pub offset: u32,
    pub limit: u32,
}

/// Kinds of calls as queryCallDetailRecord tells them apart (contract §6): ITA's calls are a kind of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    All,
    AllButIta,
    VoiceNotification,
    /// AICC's alone.
    Bidirectional,
    Anonymous,
    Ita,
}

impl Tasks {
    /// What the column `kind` must be.
    fn only(self) -> Option<&'static str> {
        match self {
            Tasks::All | Tasks::AllButIta => None,
            Tasks::VoiceNotification => Some(CallKind::VoiceNotification.name()),
            Tasks::Bidirectional => Some(CallKind::BidirectionalCall.name()),
            Tasks::Anonymous => Some(CallKind::AnonymousCall.name()),
            Tasks::Ita => Some(rows::ITA),
        }
    }

    /// What the column `kind` must not be.
    fn without(self) -> &'static str {
        if self == Tasks::AllButIta { rows::ITA } else { "" }
    }

    fn hold(self, kind: &str) -> bool {
        self.only().is_none_or(|only| only == kind) && self.without() != kind
    }
}

/// A call as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptCall {
    Unfinished(Box<Intent>, IntentState),
    Over(Box<Cdr>),
}

/// What a query compares; both tables have these columns, and an index that holds them all.
macro_rules! matching {
    () => {
        "WHERE tenant = $1 AND created_ms BETWEEN $2 AND $3
         AND ($4 IS NULL OR kind = $4) AND kind <> $5 AND ($6 IS NULL OR caller_present = $6)"
    };
}

const COUNT: &str = concat!(
    "SELECT (SELECT count(*) FROM intents ",
    matching!(),
    ") + (SELECT count(*) FROM cdrs ",
    matching!(),
    ") AS value"
);

/// The indexes give the page; only its rows are read whole.
const PAGE: &str = concat!(
    "WITH page AS (SELECT created_ms, serial, 0 AS is_over FROM intents ",
    matching!(),
    " UNION ALL SELECT created_ms, serial, 1 AS is_over FROM cdrs ",
    matching!(),
    " ORDER BY created_ms, serial LIMIT $7 OFFSET $8)
    SELECT page.created_ms, page.serial, intents.tenant, intents.queue_deadline_ms, intents.started,
           intents.body, cdrs.body AS record
    FROM page LEFT JOIN intents ON page.is_over = 0 AND intents.serial = page.serial
    LEFT JOIN cdrs ON page.is_over = 1 AND cdrs.serial = page.serial
    ORDER BY page.created_ms, page.serial"
);

impl Store {
    /// How many calls match, and one page of them, oldest first.
    pub async fn calls(&self, query: &CallQuery) -> Result<(u64, Vec<KeptCall>), StoreError> {
        match self.reader(query.tenant).await? {
            Reader::Database(mut loan) => page(&mut loan.connection(), query).await,
            Reader::Memory(memory) => Ok(memory.read(|tables| page_in_memory(tables, query))),
        }
    }
}

async fn page(
    connection: &mut Connection<'_>,
    query: &CallQuery,
) -> Result<(u64, Vec<KeptCall>), StoreError> {
    let matching = |text: &'static str| {
        let matching = Statement::new(text).bind(query.tenant.0).bind(query.start_ms);
        let matching = matching.bind(query.end_ms).bind(query.tasks.only());
        matching.bind(query.tasks.without()).bind(query.caller.clone())
    };
    let total = matching(COUNT).fetch_integer(connection).await?;
    let page = matching(PAGE).bind(query.limit).bind(query.offset);
    let rows = page.fetch_all(connection).await?;
    Ok((total.unwrap_or(0) as u64, rows.iter().map(decode).collect::<Result<_, _>>()?))
}

fn decode(row: &Row) -> Result<KeptCall, StoreError> {
    if let Some(record) = row.get::<Option<&str>>("record")? {
        return Ok(KeptCall::Over(Box::new(cdrs::parse(record)?)));
    }
    let (intent, state) = (intents::decode(row)?, intents::state(row.flag("started")?));
    Ok(KeptCall::Unfinished(Box::new(intent), state))
}

fn page_in_memory(tables: &Tables, query: &CallQuery) -> (u64, Vec<KeptCall>) {
    let fits = |intent: &Intent| {
        intent.tenant == query.tenant
            && (query.start_ms..=query.end_ms).contains(&intent.created_ms)
            && query.tasks.hold(rows::task(&intent.order))
            && query.caller.as_ref().is_none_or(|caller| caller == intent.order.caller_number())
    };
    let unfinished = tables.intents.rows.values().filter(|(intent, _)| fits(intent));
    let unfinished = unfinished.map(|(intent, started)| {
        KeptCall::Unfinished(Box::new(intent.clone()), intents::state(*started))
    });
    let over = tables.cdrs.rows.values().filter(|cdr| fits(&cdr.intent));
    let over = over.map(|cdr| KeptCall::Over(Box::new(cdr.clone())));
    let mut all: Vec<KeptCall> = unfinished.chain(over).collect();
    all.sort_by_key(KeptCall::place);
    let total = all.len() as u64;
    let page = all.into_iter().skip(query.offset as usize).take(query.limit as usize);
    (total, page.collect())
}

impl KeptCall {
    pub fn intent(&self) -> &Intent {
        match self {
            KeptCall::Unfinished(intent, _) => intent,
            KeptCall::Over(cdr) => &cdr.intent,
        }
    }

    fn place(&self) -> (i64, Serial) {
        (self.intent().created_ms, self.intent().serial)
    }
}
