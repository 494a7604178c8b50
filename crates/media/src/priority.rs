//! Media threads go first: under overload new calls wait, calls that are up keep their pace.
#![allow(unsafe_code, reason = "setpriority have no safe wrapper here")]

/// As far ahead as an interactive process may reasonably be.
const NICE: libc::c_int = -11;

/// Prefers the calling thread where the system lets us (root, CAP_SYS_NICE, RLIMIT_NICE); elsewhere all stays fair.
pub(crate) fn prefer_this_thread() {
    // SAFETY: takes numbers only; on Linux 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        tracing::debug!("media threads run at ordinary priority");
    }
}
