//! RTCP: our reports every five seconds, and what the far side's say (RFC 3550 §6).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, Compound, Packet, ReceiverReport, ReportBlock, Sdes, SdesChunk, SdesItem, SenderReport,
};

use super::reception::Report;

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// What we know of the far side by its reports.
#[derive(Default)]
pub(crate) struct FarEnd {
    last_sender_report: Option<(u32, Instant)>,
    pub packets: u64,
    pub round_trip: Option<Duration>,
    /// Fraction of our packets that it last reported lost.
    pub loss: Option<f32>,
}

/// What a report of ours tells of our own stream.
pub(crate) struct Sent {
    pub ssrc: u32,
    pub timestamp: u32,
    pub packets: u64,
    pub bytes: u64,
}

impl FarEnd {
    /// Reads a compound packet; false where it is none. Reports about streams that are not ours are passed over.
    pub(crate) fn packet(&mut self, bytes: &[u8], our_ssrc: u32, arrived: Instant) -> bool {
        let Ok(compound) = Compound::parse(bytes) else { return false };
        let mut intact = false;
        for packet in compound {
            match packet {
                Ok(Packet::Sr(report)) => {
                    intact = true;
                    self.last_sender_report =
                        Some(((report.ntp_timestamp() >> 16) as u32, arrived));
                    report.report_blocks().for_each(|block| self.block(&block, our_ssrc));
                }
                Ok(Packet::Rr(report)) => {
                    intact = true;
                    report.report_blocks().for_each(|block| self.block(&block, our_ssrc));
                }
                // A BYE is no end of a call: SIP says that.
                Ok(Packet::Bye(_) | Packet::Sdes(_) | Packet::App(_)) => intact = true,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.packets += u64::from(intact);
        intact
    }

    fn block(&mut self, block: &ReportBlock<'_>, our_ssrc: u32) {
        if block.ssrc() != our_ssrc {
            return;
        }
        self.loss = Some(f32::from(block.fraction_lost()) / 256.0);
        let (last, delay) = (
            block.last_sender_report_timestamp(),
            block.delay_since_last_sender_report_timestamp(),
        );
        if last == 0 {
            return;
        }
        // Units of 1/65536 s (RFC 3550 §6.4.1); a result beyond a minute is a clock that was set.
        let now = (ntp_now() >> 16) as u32;
        let round_trip = now.wrapping_sub(last).wrapping_sub(delay);
        if round_trip < 60 << 16 {
            self.round_trip = Some(Duration::from_secs_f64(f64::from(round_trip) / 65_536.0));
        }
    }

    /// A report of ours: a sender's where we have sent, else a receiver's; with `bye` it is the last.
    pub(crate) fn report(
        &self,
        sent: &Sent,
        received: Option<Report>,
        cname: &str,
        bye: bool,
        now: Instant,
    ) -> Vec<u8> {
        let block = received.map(|report| self.our_block(report, now));
        let mut compound = Compound::builder();
        if sent.packets > 0 {
            let mut report = SenderReport::builder(sent.ssrc)
                .ntp_timestamp(ntp_now())
                .rtp_timestamp(sent.timestamp)
                .packet_count(sent.packets as u32)
                .octet_count(sent.bytes as u32);
            if let Some(block) = block {
                report = report.add_report_block(block);
            }
            compound = compound.add_packet(report);
        } else {
            let mut report = ReceiverReport::builder(sent.ssrc);
            if let Some(block) = block {
                report = report.add_report_block(block);
            }
            compound = compound.add_packet(report);
        }
        let name = SdesItem::builder(SdesItem::CNAME, cname);
        compound = compound
            .add_packet(Sdes::builder().add_chunk(SdesChunk::builder(sent.ssrc).add_item(name)));
        if bye {
            compound = compound.add_packet(Bye::builder().add_source(sent.ssrc));
        }
        let mut bytes = vec![0; 256];
        let length = compound.write_into(&mut bytes).unwrap_or_else(|error| {
            tracing::error!(?error, "an RTCP report could not be built");
            0
        });
        bytes.truncate(length);
        bytes
    }

    fn our_block(&self, report: Report, now: Instant) -> rtcp_types::ReportBlockBuilder {
        let (last, delay) = match self.last_sender_report {
            Some((last, at)) => {
                let delay = now.saturating_duration_since(at).as_secs_f64() * 65_536.0;
                (last, delay as u32)
            }
            None => (0, 0),
        };
        ReportBlock::builder(report.ssrc)
            .fraction_lost(report.fraction_lost)
            .cumulative_lost(report.cumulative_lost)
            .extended_sequence_number(report.extended_sequence)
            .interarrival_jitter(report.jitter)
            .last_sender_report_timestamp(last)
            .delay_since_last_sender_report_timestamp(delay)
    }
}

fn ntp_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (now.as_secs() + NTP_TO_UNIX) << 32 | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ssrc: u32, packets: u64) -> Sent {
        Sent { ssrc, timestamp: 1, packets, bytes: packets * 160 }
    }

    fn about(ssrc: u32) -> Option<Report> {
        let (fraction_lost, cumulative_lost) = (64, 5);
        Some(Report { ssrc, fraction_lost, cumulative_lost, extended_sequence: 100, jitter: 3 })
    }

    #[test]
    fn two_ends_learn_loss_and_round_trip_from_each_other() {
        let now = Instant::now();
        let (mut a, mut b) = (FarEnd::default(), FarEnd::default());
        assert!(b.packet(&a.report(&sent(1, 50), None, "a@x", false, now), 2, now));
        assert_eq!((b.loss, b.round_trip), (None, None));
        assert!(a.packet(&b.report(&sent(2, 0), about(1), "b@x", false, now), 1, now));
        assert_eq!(a.loss, Some(0.25));
        assert!(a.round_trip.unwrap() < Duration::from_secs(30));
        assert_eq!((a.packets, b.packets), (1, 1));
    }

    #[test]
    fn reports_about_others_say_nothing_and_bye_is_a_packet() {
        let now = Instant::now();
        let mut a = FarEnd::default();
        let others = FarEnd::default().report(&sent(2, 9), about(77), "b@x", true, now);
        assert!(a.packet(&others, 1, now));
        assert_eq!(a.loss, None);
        let Ok(compound) = Compound::parse(&others) else {
            panic!("our own report does not parse")
        };
        let kinds: Vec<_> = compound
            .map(|packet| match packet.unwrap() {
                Packet::Sr(_) => "sr",
                Packet::Sdes(_) => "sdes",
                Packet::Bye(_) => "bye",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["sr", "sdes", "bye"]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            FarEnd::default().packet(&bytes, 1, Instant::now());
        }

        #[test]
        fn our_own_report_with_any_bytes_changed_is_survived(
            at in 0usize..60, value in proptest::num::u8::ANY, cut in 0usize..200,
        ) {
            let now = Instant::now();
            let mut report = FarEnd::default().report(&sent(2, 9), about(1), "b@x", true, now);
            let length = report.len();
            report[at % length] = value;
            report.truncate(cut.max(1));
            FarEnd::default().packet(&report, 1, now);
        }
    }
}
