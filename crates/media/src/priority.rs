//! Media threads go first: under overload new calls wait, calls that are up keep their pace.
#![allow(unsafe_code, reason = "sched_setattr and prctl have no safe wrapper here")]

use std::time::Duration;

/// As far ahead as an interactive process may reasonably be.
const NICE: i32 = -11;
/// How long it runs before another of its kind may. Kernels from 6.12 on let a thread that asks for less than the running one
/// interrupt that at once; with the usual slices it would wait for milliseconds, as a packet then does. 0.1 ms is the least.
const SLICE: Duration = Duration::from_micros(100);
/// How much later than asked for a sleep may end.
const SLACK: Duration = Duration::from_micros(1);

/// Prefers the calling thread as far as the system lets us: a short slice costs no right, a better priority needs one (root,
/// CAP_SYS_NICE, RLIMIT_NICE).
pub(crate) fn prefer_this_thread() {
    // SAFETY: takes numbers only, and names the calling thread.
    if unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK.as_nanos() as libc::c_ulong) } != 0 {
        tracing::debug!("media threads wake a little late");
    }
    if !schedule(NICE) && !schedule(0) {
        tracing::debug!("media threads run as all others do");
    }
}

fn schedule(nice: i32) -> bool {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        // One that runs in real time, because its operator said so, goes on to.
        sched_flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: 0 names the calling thread; the attributes outlive the call and tell their true size.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}
