//! Places where a test makes the process die as by `kill -9`: `OFFHOOK_CRASH_POINT=name`, or `name:n` for the n-th
//! passage. Around a commit, and at the steps of the server that depend on one.
//!
//! In debug builds only: a release binary has no such place. A name that is not in [`ALL`] does not compile.

use crate::work::Work;

/// Every place, in the order in which a call comes past. A test of the server dies at each of them.
pub const ALL: &[&str] = &[
    "upload_written",
    "upload_before_commit",
    "upload_after_commit",
    "accepted_before_commit",
    "accepted_after_commit",
    "reply_before",
    "reply_after",
    "claim_before_commit",
    "claim_after_commit",
    "code_used",
    "phone_found",
    "attempt_before_commit",
    "attempt_after_commit",
    "invite_before",
    "invite_after",
    "answered_before_commit",
    "answered_after_commit",
    "ack_before",
    "ack_after",
    "answer_before",
    "answer_after",
    "bridge_before",
    "recording_begun",
    "recording_closed",
    "hang_up_before",
    "cancelled_before_commit",
    "cancelled_after_commit",
    "cancel_after",
    "bye_after",
    "ended_before_commit",
    "ended_after_commit",
    "callback_before_post",
    "callback_after_post",
    "callback_before_commit",
    "callback_after_commit",
    "recovery_before_commit",
    "recovery_after_commit",
    "recovery_found",
    "recovery_decided",
    "resume_before",
    "abandon_before",
    "stored_hang_up_before",
];

/// The process may die here; see [`crash_points`](crate::crash_points).
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {{
        #[cfg(debug_assertions)]
        {
            const _: () = assert!($crate::crash_points::is_listed($name), "add it to `ALL`");
            $crate::crash_points::pass($name);
        }
    }};
}

/// Whether there is such a place.
#[must_use]
pub const fn is_listed(name: &str) -> bool {
    let mut index = 0;
    while index < ALL.len() {
        if same(ALL[index].as_bytes(), name.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    let mut index = 0;
    while index < left.len() && index < right.len() && left[index] == right[index] {
        index += 1;
    }
    index == left.len() && index == right.len()
}

/// Behind [`crash_point!`](crate::crash_point).
#[cfg(debug_assertions)]
pub fn pass(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let wanted = std::env::var("OFFHOOK_CRASH_POINT").ok()?;
        let (name, passage) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        let passage = passage.parse().expect("OFFHOOK_CRASH_POINT is `name` or `name:number`");
        assert!(is_listed(name), "OFFHOOK_CRASH_POINT: there is no `{name}`");
        Some((name.to_owned(), AtomicU64::new(passage)))
    });
    if let Some((armed, left)) = &*ARMED
        && armed == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        die();
    }
}

/// The signal itself: no handler, no destructor and no buffer gets a chance.
#[cfg(debug_assertions)]
fn die() -> ! {
    use rustix::process::{Signal, getpid, kill_process};

    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    loop {
        std::thread::park();
    }
}

/// Everything is applied and `COMMIT` has not been said.
pub(crate) fn before_commit<'a>(works: impl Iterator<Item = &'a Work>) {
    for moment in works.flat_map(moments) {
        match moment {
            Moment::Accepted => crash_point!("accepted_before_commit"),
            Moment::Attempt => crash_point!("attempt_before_commit"),
            Moment::Answered => crash_point!("answered_before_commit"),
            Moment::Cancelled => crash_point!("cancelled_before_commit"),
            Moment::Ended => crash_point!("ended_before_commit"),
            Moment::Claim => crash_point!("claim_before_commit"),
            Moment::Callback => crash_point!("callback_before_commit"),
            Moment::Upload => crash_point!("upload_before_commit"),
            Moment::Recovery => crash_point!("recovery_before_commit"),
        }
    }
}

/// It is on disk and nobody knows yet.
pub(crate) fn after_commit<'a>(works: impl Iterator<Item = &'a Work>) {
    for moment in works.flat_map(moments) {
        match moment {
            Moment::Accepted => crash_point!("accepted_after_commit"),
            Moment::Attempt => crash_point!("attempt_after_commit"),
            Moment::Answered => crash_point!("answered_after_commit"),
            Moment::Cancelled => crash_point!("cancelled_after_commit"),
            Moment::Ended => crash_point!("ended_after_commit"),
            Moment::Claim => crash_point!("claim_after_commit"),
            Moment::Callback => crash_point!("callback_after_commit"),
            Moment::Upload => crash_point!("upload_after_commit"),
            Moment::Recovery => crash_point!("recovery_after_commit"),
        }
    }
}

/// What a commit may hold that a promise hangs on.
enum Moment {
    Accepted,
    Attempt,
    Answered,
    Cancelled,
    Ended,
    Claim,
    Callback,
    Upload,
    Recovery,
}

fn moments(work: &Work) -> Vec<Moment> {
    use engine::writes::Write;

    use crate::intents::Claim;
    use crate::work::Edit;

    if !cfg!(debug_assertions) {
        return Vec::new();
    }
    match work {
        Work::Submit(batch) => {
            let moment = |write: &Write| match write {
                Write::Accepted { .. } => Some(Moment::Accepted),
                Write::Attempt(_) => Some(Moment::Attempt),
                Write::Answered { .. } => Some(Moment::Answered),
                Write::Cancelled { .. } => Some(Moment::Cancelled),
                Write::Ended(_) => Some(Moment::Ended),
                Write::Event { .. } | Write::Withdrawn { .. } => None,
            };
            batch.writes.iter().filter_map(moment).collect()
        }
        Work::CallbackAttempt(_) => vec![Moment::Callback],
        Work::Claim(Claim::Ready { .. }) => vec![Moment::Claim],
        Work::Claim(Claim::Expired { .. } | Claim::One { .. }) => Vec::new(),
        Work::Edit(edit) => match **edit {
            Edit::PutVoiceRecording(_) => vec![Moment::Upload],
            Edit::ReturnUndialled => vec![Moment::Recovery],
            _ => Vec::new(),
        },
    }
}
