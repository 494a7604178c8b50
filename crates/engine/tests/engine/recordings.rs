//! S-16: a stretch of a call is kept out of its recording.

use engine::action::{Input, LegInput};
use engine::cdr::Cause;
use engine::intent::Order;
use engine::vocabulary::{LegId, Serial, TenantId};
use engine::{RecordingSwitch, Refusal, Reply, Ticket};

use crate::bidirectional_call::{over_trunks, talking};
use crate::world::{TENANT, World, ended, order};

fn switch(world: &mut World, serial: Serial, switch: RecordingSwitch, ticket: u64) -> Ticket {
    let ticket = Ticket(1_000 + ticket);
    world.input(Input::SwitchRecording { ticket, tenant: TENANT, serial, switch });
    ticket
}

fn said(world: &World, ticket: Ticket) -> Option<Reply> {
    world.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply.clone())
}

fn recorded_notification(world: &mut World) -> Serial {
    let serial = world.playing(Order { record: true, ..order() });
    world.leg(1, LegInput::RecordingStarted);
    serial
}

#[test]
fn a_pause_is_confirmed_once_media_has_made_it_and_the_log_has_it() {
    let mut world = World::new();
    let serial = recorded_notification(&mut world);
    let pause = switch(&mut world, serial, RecordingSwitch::Pause, 1);
    assert_eq!(world.wants(), ["pause the recording of 1"]);
    world.commit();
    assert_eq!(said(&world, pause), None, "media has not said it");
    world.input(Input::RecordingSwitched { leg: LegId(1) });
    world.wants();
    assert_eq!(said(&world, pause), None, "it is not on disk");
    world.commit();
    assert_eq!(said(&world, pause), Some(Reply::RecordingSwitched));
    assert_eq!(world.events().last(), Some(&"call.recording_paused"));

    let resume = switch(&mut world, serial, RecordingSwitch::Resume, 2);
    assert_eq!(world.wants(), ["resume the recording of 1"]);
    world.input(Input::RecordingSwitched { leg: LegId(1) });
    world.commit();
    assert_eq!(said(&world, resume), Some(Reply::RecordingSwitched));
    assert_eq!(world.events().last(), Some(&"call.recording_resumed"));
}

#[test]
fn keys_that_are_pressed_in_a_pause_are_written_nowhere() {
    let mut world = World::new();
    let serial = talking(&mut world, Order { record: true, ..over_trunks() });
    world.leg(1, LegInput::RecordingStarted);
    world.leg(2, LegInput::Digit('1'));
    switch(&mut world, serial, RecordingSwitch::Pause, 1);
    for digit in "4111".chars() {
        world.leg(2, LegInput::Digit(digit));
    }
    world.wants();
    world.leg(2, LegInput::InfoDigit('5'));
    assert_eq!(world.wants(), ["send 5 to 1"], "the other party hears it all the same");
    switch(&mut world, serial, RecordingSwitch::Resume, 2);
    world.leg(2, LegInput::Digit('2'));
    world.leg(2, ended(Cause::Released));
    world.leg(1, ended(Cause::HungUp));
    assert_eq!(world.record().digits, "12");
    assert_eq!(world.events().iter().filter(|name| **name == "call.digit").count(), 2);
}

#[test]
fn to_pause_what_is_paused_succeeds_and_is_not_logged_again() {
    let mut world = World::new();
    let serial = recorded_notification(&mut world);
    for ticket in 1..=3 {
        let ticket = switch(&mut world, serial, RecordingSwitch::Pause, ticket);
        world.input(Input::RecordingSwitched { leg: LegId(1) });
        world.commit();
        assert_eq!(said(&world, ticket), Some(Reply::RecordingSwitched));
    }
    let paused = world.events().into_iter().filter(|name| *name == "call.recording_paused");
    assert_eq!(paused.count(), 1);
}

#[test]
fn what_is_not_recorded_not_there_or_another_tenant_s_is_not_switched() {
    let mut world = World::new();
    let serial = world.playing(Order { record: true, ..order() });
    let early = switch(&mut world, serial, RecordingSwitch::Pause, 1);
    world.leg(1, LegInput::RecordingStarted);
    let stranger = Ticket(77);
    let (tenant, pause) = (TenantId(2), RecordingSwitch::Pause);
    world.input(Input::SwitchRecording { ticket: stranger, tenant, serial, switch: pause });
    let nowhere = switch(&mut world, Serial(5), RecordingSwitch::Pause, 2);
    assert!(world.wants().iter().all(|want| !want.contains("recording of")));
    assert_eq!(said(&world, early), Some(Reply::NotRecording));
    assert_eq!(said(&world, stranger), Some(Reply::NotFound));
    assert_eq!(said(&world, nowhere), Some(Reply::NotFound));
}

#[test]
fn who_waits_for_a_switch_is_answered_when_the_call_ends_and_only_so_many_may_wait() {
    let mut world = World::new();
    let serial = recorded_notification(&mut world);
    let tickets: Vec<Ticket> =
        (0..17).map(|n| switch(&mut world, serial, RecordingSwitch::Pause, n)).collect();
    world.wants();
    let full = Some(Reply::Refused(Refusal::QueueFull { retry_after_s: 1 }));
    assert_eq!(said(&world, tickets[16]), full);
    world.leg(1, ended(Cause::Released));
    world.commit();
    for ticket in &tickets[..16] {
        assert_eq!(said(&world, *ticket), Some(Reply::NotFound));
    }
}
