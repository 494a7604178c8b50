//! What was dropped or refused, by kind.

/// Totals since start. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub messages_received: u64,
    pub messages_sent: u64,
    /// Not SIP, or SIP that no response can be built for.
    pub malformed: u64,
    /// Lines ended by LF alone: refused, because two readers would disagree on where it ends.
    pub bare_line_feed: u64,
    /// Longer than the message limit.
    pub oversize: u64,
    /// Well-formed requests that were answered 4xx to 6xx by policy or validation.
    pub refused: u64,
    /// Responses that belong to no transaction of ours.
    pub stray_responses: u64,
    /// ACKs that belong to no leg.
    pub stray_acks: u64,
    /// Messages dropped because the core's queue was full.
    pub queue_full: u64,
    /// Datagrams that the kernel did not take.
    pub send_failed: u64,
    /// Timeline records and other optional events dropped because the caller was too slow.
    pub events_dropped: u64,
    pub connections_opened: u64,
    pub connections_accepted: u64,
    /// Connections refused because of the limit.
    pub connections_refused: u64,
    /// Connections closed because the peer did not read.
    pub connections_not_reading: u64,
    /// Connections closed for silence or for a message that was begun and not finished.
    pub connections_timed_out: u64,
    /// Connections closed because their bytes were not SIP.
    pub connections_broken_framing: u64,
    pub connect_failed: u64,
    /// Connections of others that never got through their TLS handshake.
    pub handshakes_failed: u64,
    /// Legs lost to a broken invariant.
    pub panics: u64,
}
