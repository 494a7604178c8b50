use super::*;
use crate::driver::idle::{self, at};
use crate::driver::{Happening, Heard, Wanted};

const LEG: LegId = LegId(7);
const SERIAL: Serial = Serial(1);

/// Nothing that it wanted at its start is left.
fn driver() -> Driver {
    let mut driver = idle::driver(Vec::new());
    while driver.wanted().is_some() {}
    driver
}

fn hear(driver: &mut Driver, heard: impl Into<Heard>) {
    driver.hear(heard.into(), at(Duration::from_secs(1)));
}

impl From<media::Event> for Heard {
    fn from(event: media::Event) -> Heard {
        Heard::Happened(Happening::Media(event))
    }
}

fn failed() -> media::Event {
    media::Event::Failed { leg: to_media(LEG), fault: media::MediaFault::NoPort }
}

fn closed() -> media::Event {
    media::Event::Closed { leg: to_media(LEG), stats: media::Stats::default() }
}

fn ended_by_us() -> Heard {
    let end = sip::End {
        status: None,
        reason: "hung up".into(),
        by: sip::EndedBy::Us,
        q850: None,
        retry_after: None,
        was_ringing: false,
        contacts: Vec::new(),
    };
    Heard::Sip(sip::Event::Ended { leg: to_sip(LEG), end })
}

fn wants_the_port_back(driver: &mut Driver) -> bool {
    let close = |wanted: &Wanted| matches!(wanted, Wanted::Media(media::Command::Close { .. }));
    std::iter::from_fn(|| driver.wanted()).filter(close).count() == 1
}

/// `media` answers each order to close, also for a leg that it never had: `worker.rs`.
#[test]
fn a_caller_who_is_hung_up_while_there_is_no_port_for_it_leaves_nothing_behind() {
    for port_fails_first in [true, false] {
        let mut driver = driver();
        driver.add_leg(LEG, SERIAL, Stage::Binding(Purpose::TakeIn));
        driver.hang_up(LEG);
        if port_fails_first {
            hear(&mut driver, failed());
            hear(&mut driver, ended_by_us());
        } else {
            hear(&mut driver, ended_by_us());
            hear(&mut driver, failed());
        }
        assert!(wants_the_port_back(&mut driver));
        hear(&mut driver, closed());
        assert!(driver.legs.is_empty(), "port_fails_first: {port_fails_first}");
    }
}

#[test]
fn a_port_that_is_bound_for_a_leg_that_is_over_is_given_back() {
    let mut driver = driver();
    let (leg, sdp) = (to_media(LEG), Bytes::from_static(b"v=0"));
    hear(&mut driver, media::Event::Offered { leg, sdp, port: 40_000 });
    assert!(wants_the_port_back(&mut driver));
    hear(&mut driver, closed());
    assert!(driver.legs.is_empty());
}

#[test]
fn a_leg_that_lost_its_port_and_is_asked_for_an_offer_gives_back_the_new_one() {
    let mut driver = driver();
    let stage = Stage::Signalling { media: false, reoffer: Reoffer::No };
    driver.add_leg(LEG, SERIAL, stage);
    let leg = to_sip(LEG);
    hear(&mut driver, Heard::Sip(sip::Event::Offered { leg, body: None }));
    let (leg, sdp) = (to_media(LEG), Bytes::from_static(b"v=0"));
    hear(&mut driver, media::Event::Offered { leg, sdp, port: 40_000 });
    hear(&mut driver, ended_by_us());
    assert!(wants_the_port_back(&mut driver));
    hear(&mut driver, closed());
    assert!(driver.legs.is_empty());
}
