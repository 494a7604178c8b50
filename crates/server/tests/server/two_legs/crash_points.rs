//! T-1 for calls of two parties: the process dies wherever such a call may be; after the restart each accepted call has
//! one record and one callback, the caller is not dialled again, and nobody is dialled for a caller who is not up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sim::client::ExpectedCall;
use sim::{AppPhone, AppPhoneConfig, EndedBy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::crash_points::{died, one_record_and_callback_each};
use crate::support::Launch;

/// Servers at a time, until the call only has to end.
const AT_A_TIME: usize = 6;

const KEY: &str = "the-request-of-this-run";

/// A customer manager's number in the telephone network.
const MANAGER: &str = "13800000001";

/// A phone that is to be taken back rings for longer than a restart takes.
const LONG_RING: Duration = Duration::from_secs(4);

/// Then the caller hangs up, where the call gets so far.
const TALK: Duration = Duration::from_millis(700);

/// Who calls, or is called first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// A bidirectional call whose manager is called over the trunk.
    Manager,
    /// One whose manager has a softphone.
    Softphone,
    /// An anonymous call: an application comes with its code.
    App,
}

/// One life that ends at `place`, and what must have become of the call.
#[derive(Clone, Copy, Debug)]
struct Death {
    first: First,
    /// `name`, or `name:n` for the n-th passage.
    place: &'static str,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing of it was on the wire: both are called as if nothing had happened; the code is good.
    Whole,
    /// That, or the caller's INVITE was in the commit of the intent, and the call is given up: a matter of milliseconds.
    WholeOr(&'static str),
    /// The customer was not called, and is not.
    Lonely(&'static str),
    /// The customer was called, once.
    Both(&'static str),
    /// Likewise, and both answers, or none of them, were in the commit: they are written a moment apart.
    BothAnswered,
    /// The caller had hung up before the process died.
    OverBefore(&'static str),
}

use Fate::{Both, BothAnswered, Lonely, OverBefore, Whole, WholeOr};

const TABLE: &[(First, &[(&str, Fate)])] =
    &[(First::Manager, WITH_MANAGER), (First::Softphone, WITH_SOFTPHONE), (First::App, WITH_APP)];

const WITH_MANAGER: &[(&str, Fate)] = &[
    ("accepted_before_commit", Whole),
    ("accepted_after_commit", WholeOr("unknown")),
    ("reply_after", WholeOr("unknown")),
    ("attempt_before_commit", Whole),
    ("attempt_after_commit", Lonely("unknown")),
    ("invite_after", Lonely("unknown")),
    ("answered_before_commit", Lonely("unknown")),
    ("answered_after_commit", Lonely("interrupted")),
    ("ack_before", Lonely("interrupted")),
    ("attempt_before_commit:2", Lonely("interrupted")),
    ("attempt_after_commit:2", Lonely("interrupted")),
    ("invite_before:2", Lonely("interrupted")),
    ("invite_after:2", Both("interrupted")),
    ("answered_before_commit:2", Both("interrupted")),
    ("answered_after_commit:2", Both("interrupted")),
    ("bridge_before", Both("interrupted")),
    ("ack_after:2", Both("interrupted")),
    ("recording_begun", Both("interrupted")),
    ("hang_up_before", OverBefore("interrupted")),
    ("bye_after", OverBefore("interrupted")),
    ("recording_closed", OverBefore("interrupted")),
    ("ended_before_commit", OverBefore("interrupted")),
    ("ended_after_commit", OverBefore("caller_hung_up")),
    ("callback_before_post", OverBefore("caller_hung_up")),
    ("callback_after_post", OverBefore("caller_hung_up")),
];

/// The softphone does not register again: where it was is on disk.
const WITH_SOFTPHONE: &[(&str, Fate)] = &[
    ("accepted_before_commit", Whole),
    ("phone_found", Whole),
    ("attempt_after_commit", Lonely("unknown")),
    ("invite_after", Lonely("unknown")),
    ("answered_after_commit", Lonely("interrupted")),
    ("attempt_after_commit:2", Lonely("interrupted")),
    ("invite_after:2", Both("interrupted")),
    ("answered_after_commit:2", Both("interrupted")),
    ("ack_after:2", Both("interrupted")),
    ("bye_after", OverBefore("interrupted")),
    ("ended_after_commit", OverBefore("caller_hung_up")),
];

const WITH_APP: &[(&str, Fate)] = &[
    ("accepted_before_commit", Whole),
    ("accepted_after_commit", Whole),
    ("reply_after", Whole),
    ("code_used", Whole),
    ("attempt_before_commit", Whole),
    ("attempt_after_commit", Lonely("unknown")),
    ("invite_after", Both("unknown")),
    ("answered_before_commit", Both("unknown")),
    ("answered_after_commit", Both("interrupted")),
    ("answered_before_commit:2", BothAnswered),
    ("answered_after_commit:2", Both("interrupted")),
    ("ack_before", Both("interrupted")),
    ("answer_before", Both("interrupted")),
    ("answer_after", Both("interrupted")),
    ("bye_after", OverBefore("interrupted")),
    ("ended_after_commit", OverBefore("caller_hung_up")),
    ("callback_after_post", OverBefore("caller_hung_up")),
];

fn deaths() -> impl Iterator<Item = Death> {
    TABLE.iter().flat_map(|(first, places)| {
        places.iter().map(|(place, fate)| Death { first: *first, place, fate: *fate })
    })
}

/// The names of all crash points at which a call of two parties dies here.
pub fn places() -> impl Iterator<Item = &'static str> {
    deaths().map(|death| death.place.split(':').next().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn whatever_kills_it_a_call_of_two_parties_calls_nobody_twice_and_leaves_nobody_alone() {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut runs = JoinSet::new();
    // An INVITE that never left is waited for as long as SIP waits (32 s): these begin first.
    let mut all: Vec<Death> = deaths().collect();
    all.sort_by_key(|death| !matches!(death.fate, Lonely(_) | WholeOr(_)));
    for (number, death) in (1..).zip(all) {
        // Here and not in the run, so that they begin in their order.
        let turn = turns.clone().acquire_owned().await.expect("it is never closed");
        runs.spawn(survive(death, number, turn));
    }
    let mut failed = 0;
    while let Some(run) = runs.join_next().await {
        // Each has said by itself what was wrong.
        failed += usize::from(run.is_err());
    }
    assert_eq!(failed, 0, "of {} runs", deaths().count());
}

async fn survive(death: Death, number: u8, turn: OwnedSemaphorePermit) {
    let what = format!("{death:?}");
    let mut world = world_of(death, number).await;
    let phones = Phones::around(&world, death).await;
    let ordered = order(&world, death.first).await;
    let caller = match (&ordered, &phones.app) {
        (Some(Ordered { code: Some(code), .. }), Some(app)) => {
            Some(comes_with(app, code, death.talk()).await)
        }
        _ => None,
    };
    died(&mut world, &what).await;
    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();

    // Whoever had no reply asks again with the same key, and gets the call that there is.
    let again = order(&world, death.first).await.expect("the server is up");
    if let Some(ordered) = &ordered {
        assert_eq!(again.serial, ordered.serial, "{what}: an accepted call is lost");
        let codes = (again.code.as_ref(), ordered.code.as_ref());
        assert_eq!(codes.0.map(|at| &at.code), codes.1.map(|at| &at.code), "{what}");
    }
    if let (Some(code), Some(app)) = (&again.code, &phones.app) {
        code_is_good_once(app, code, death.fate == Whole, &what).await;
    }
    drop(turn);
    world.released(&again.serial).await;
    let record = world.record(&again.serial).await;
    let outcome = record["end"]["outcome"].as_str().unwrap_or_default();
    assert!(death.fate.ends_as(outcome), "{what}: it ended as {outcome:?}: {record}");
    far_ends_agree(&world, &phones, death, &again.serial, outcome).await;
    if let Some(caller) = caller {
        caller_agrees(caller, death).await;
    }
    one_record_and_callback_each(&world, 1, &what).await;
    nothing_is_left(&world).await;
}

impl Death {
    /// Where an INVITE is out when the process dies, nobody has answered it before the restart.
    fn rings(self) -> (Duration, Duration) {
        let is_lonely = matches!(self.fate, Lonely("unknown") | WholeOr("unknown"));
        let callers = is_lonely && self.place != "answered_before_commit";
        let customers = matches!(self.fate, Both(_)) && self.place.starts_with("invite_after");
        let ring = |is_long: bool| if is_long { LONG_RING } else { Duration::ZERO };
        (ring(callers), ring(customers))
    }

    /// `None`: until the other side hangs up.
    fn talk(self) -> Option<Duration> {
        match self.fate {
            Whole | WholeOr(_) | OverBefore(_) => Some(TALK),
            Lonely(_) | Both(_) | BothAnswered => None,
        }
    }
}

impl Fate {
    fn ends_as(self, outcome: &str) -> bool {
        match self {
            Whole => outcome == "caller_hung_up",
            WholeOr(other) => ["caller_hung_up", other].contains(&outcome),
            BothAnswered => ["unknown", "interrupted"].contains(&outcome),
            Lonely(wanted) | Both(wanted) | OverBefore(wanted) => outcome == wanted,
        }
    }
}

/// Each has an address of its own, so that nobody takes its port between its two lives.
async fn world_of(death: Death, number: u8) -> World {
    let mut setting = setting("", "");
    setting.calls_back = true;
    setting.bind = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 9, number)));
    setting.launch = Launch { crash_point: Some(death.place.into()), ..Launch::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let ((ring, customers), talk) = (death.rings(), death.talk());
    world.carrier.behave(MANAGER, Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
    let called = Behaviour::Tone { ring: customers, hz: CALLED_TONE, talk: None };
    world.carrier.behave(CALLED, called);
    world
}

/// Those that are no carrier's.
struct Phones {
    softphone: Option<Softphone>,
    app: Option<AppPhone>,
}

impl Phones {
    async fn around(world: &World, death: Death) -> Phones {
        let mut phones = Phones { softphone: None, app: None };
        match death.first {
            First::Manager => {}
            First::Softphone => {
                let phone = softphone(world, None).await;
                let ((ring, _), talk) = (death.rings(), death.talk());
                phone.behave(Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
                phones.softphone = Some(phone);
            }
            First::App => {
                let app = AppPhone::start(AppPhoneConfig::default()).await;
                phones.app = Some(app.expect("an application starts"));
            }
        }
        phones
    }
}

struct Ordered {
    serial: String,
    code: Option<ExpectedCall>,
}

/// `None` where the server did not live long enough to say it.
async fn order(world: &World, first: First) -> Option<Ordered> {
    let mut body = json!({ "called": CALLED });
    match first {
        First::App => {
            let reply = world.client.create_anonymous_call(body.to_string(), Some(KEY)).await;
            let code = reply.ok()?.expected_call().ok()?;
            return Some(Ordered { serial: code.serial.clone(), code: Some(code) });
        }
        First::Manager => body["caller"] = json!(MANAGER),
        First::Softphone => {}
    }
    body["softPhone"] = json!(SOFTPHONE);
    let reply = world.client.create_call(body.to_string(), Some(KEY)).await.ok()?;
    Some(Ordered { serial: reply.call_serial_no().ok()?, code: None })
}

/// The application dials its code and talks; it hangs up after that time, or is hung up on.
async fn comes_with(
    app: &AppPhone,
    code: &ExpectedCall,
    talk: Option<Duration>,
) -> JoinHandle<CallReport> {
    let mut phone = app.dial(code.service, &code.code).await.expect("it dials");
    tokio::spawn(async move {
        if phone.until_answered().await.is_ok()
            && phone.tone_for(CALLERS_TONE, talk.unwrap_or(PATIENCE)).await.is_ok()
        {
            // Over is what it is after that.
            let _ = phone.hang_up().await;
        }
        phone.end().await
    })
}

async fn code_is_good_once(app: &AppPhone, code: &ExpectedCall, is_good: bool, what: &str) {
    let call = comes_with(app, code, Some(TALK)).await;
    let call = tokio::time::timeout(PATIENCE, call).await.expect("it ends").expect("no panic");
    assert_eq!(call.answered_at.is_some(), is_good, "{what}: {call:?}");
    if is_good {
        let used = comes_with(app, code, Some(TALK)).await;
        let used = tokio::time::timeout(PATIENCE, used).await.expect("it ends").expect("no panic");
        assert_eq!(used.status, Some(404), "{what}: a code is good once");
    } else {
        assert_eq!(call.status, Some(404), "{what}: a used code is worth nothing");
    }
}

/// An application that has its 200 is hung up on. One that has none rings on until it gives up: nothing of its
/// INVITE is on disk.
async fn caller_agrees(caller: JoinHandle<CallReport>, death: Death) {
    if death.place != "answer_after" {
        return caller.abort();
    }
    let report = tokio::time::timeout(PATIENCE, caller).await.expect("it ends").expect("no panic");
    assert!(report.answered_at.is_some(), "{death:?}: {report:?}");
    assert_eq!(report.ended_by, EndedBy::Caller, "{death:?}: the far side hung up");
}

/// Each phone rang for one INVITE at most, and is not left with the receiver in its hand.
async fn far_ends_agree(world: &World, phones: &Phones, death: Death, serial: &str, outcome: &str) {
    let let_go = world.carrier.totals_reached(|totals| totals.ended >= totals.calls);
    let let_go = tokio::time::timeout(PATIENCE, let_go).await;
    let_go.unwrap_or_else(|_| panic!("{death:?}: a phone is left in the call"));
    let mut reports = world.carrier.calls();
    if let Some(softphone) = &phones.softphone {
        if softphone.live_calls() > 0 {
            let up = softphone.call_ended(|_| true);
            tokio::time::timeout(PATIENCE, up).await.expect("the softphone is let go");
        }
        reports.extend(softphone.calls());
    }
    assert_eq!(world.carrier.totals().repeated_call_ids, 0, "{death:?}");
    for report in &reports {
        assert!(report.call_id.starts_with(serial), "{death:?}: a call of its own: {report:?}");
        assert_eq!((report.dialogs, report.invites), (1, 1), "{death:?}: {report:?}");
        assert_ne!(report.ended_by, EndedBy::Lost, "{death:?}: {report:?}");
    }
    let of = |number: &str| reports.iter().filter(|report| report.to_user == number).count();
    let is_whole = outcome == "caller_hung_up";
    let customer =
        usize::from(is_whole || matches!(death.fate, Both(_) | BothAnswered | OverBefore(_)));
    assert_eq!(of(CALLED), customer, "{death:?}: the customer's phone rang");
    let callers = of(MANAGER) + of(SOFTPHONE);
    match death.first {
        First::App => assert_eq!(callers, 0, "{death:?}"),
        First::Manager | First::Softphone => {
            let never = ["attempt_after_commit", "accepted_after_commit", "reply_after"];
            let may_miss = never.contains(&death.place) && !is_whole;
            assert!(callers == 1 || may_miss && callers == 0, "{death:?}: it rang {callers} times");
        }
    }
}
