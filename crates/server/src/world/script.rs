//! What befalls a world: crashes, pauses, clocks that jump, a bad line, a receiver that goes away.

use std::time::Duration;

use super::agenda::Agenda;
use super::cast::{Charter, PHONES};
use super::link::Weather;
use super::nature::Dice;
use super::receiver::Mood;

#[derive(Debug, Clone, Copy)]
pub enum Blow {
    Line(Weather),
    Receiver(Mood),
    /// The server dies at once.
    Kill,
    /// The server dies after so many more things that it does.
    KillAfter(u32),
    Restart,
    /// It stands still for so long, as a machine that swaps does.
    Pause(Duration),
    /// It is told to stop, and to hang up what is still up after five seconds.
    Stop,
    HangUpAll,
    DiskFails,
    WallClock {
        by_ms: i64,
    },
    Registrations {
        taken: bool,
    },
    /// One of the connections; `half`: only one of its ends hears of it.
    BreaksConnection {
        half: bool,
    },
    FragileDies(Duration),
    /// It was away for so long.
    FragileReturns(Duration),
    Phone(u8, PhoneDoes),
}

/// What becomes of a softphone.
#[derive(Debug, Clone, Copy)]
pub enum PhoneDoes {
    Registers,
    GoesHome,
    /// For so long nothing is heard of it.
    Dies(Duration),
}

/// How long the world is bad.
pub const BAD: Duration = Duration::from_secs(60);

pub fn script(charter: Charter, dice: &mut Dice) -> Agenda<Blow> {
    let mut blows = Agenda::default();
    if charter.has_every_kind() {
        befall_the_cast(&mut blows, dice);
        // In a third of the worlds whatever goes wrong is what people do; in most of those in which they talk for long, as
        // few would be able to.
        let people = if charter == Charter::Silence { 80 } else { 33 };
        if dice.percent(people) {
            return blows;
        }
    }
    for _ in 0..dice.below(5) {
        let at = some_time(dice);
        blows.put(at, Blow::Line(weather(dice)));
    }
    for _ in 0..dice.below(4) {
        let at = some_time(dice);
        blows.put(at, Blow::Receiver(mood(dice)));
    }
    for _ in 0..dice.below(4) {
        let at = some_time(dice);
        let blow = match dice.below(8) {
            0 => Blow::Kill,
            1 => Blow::Stop,
            2 => Blow::DiskFails,
            _ => Blow::KillAfter(1 + dice.below(120) as u32),
        };
        blows.put(at, blow);
    }
    if dice.percent(40) {
        let at = some_time(dice);
        // Also longer than the transactions of the far side, which do not wait for a process that stands still.
        let longest = if dice.percent(20) { 60_000 } else { 4_000 };
        blows.put(at, Blow::Pause(Duration::from_millis(dice.below(longest))));
    }
    if dice.percent(30) {
        let at = some_time(dice);
        let hour = 3_600_000;
        let by_ms = if dice.percent(50) { hour } else { -hour };
        blows.put(at, Blow::WallClock { by_ms });
    }
    if dice.percent(30) {
        let from = some_time(dice);
        blows.put(from, Blow::Registrations { taken: false });
    }
    blows
}

/// Softphones come, go and die; connections break; the fragile trunk dies and returns.
fn befall_the_cast(blows: &mut Agenda<Blow>, dice: &mut Dice) {
    for phone in 0..PHONES.len() as u8 {
        let comes = Duration::from_millis(dice.below(3_000));
        blows.put(comes, Blow::Phone(phone, PhoneDoes::Registers));
        let does = match dice.below(6) {
            0 => PhoneDoes::GoesHome,
            1 => PhoneDoes::Dies(Duration::from_millis(dice.below(50_000))),
            2 => PhoneDoes::Registers,
            _ => continue,
        };
        let at = comes + some_time(dice);
        blows.put(at, Blow::Phone(phone, does));
    }
    for _ in 0..dice.below(3) {
        let (at, half) = (some_time(dice), dice.percent(30));
        blows.put(at, Blow::BreaksConnection { half });
    }
    if dice.percent(30) {
        let (at, long) = (some_time(dice), Duration::from_millis(5_000 + dice.below(40_000)));
        blows.put(at, Blow::FragileDies(long));
    }
}

/// How long the receiver is away after the 60 s that the world is bad.
pub fn longest_absence(charter: Charter, dice: &mut Dice) -> Duration {
    match dice.below(20) {
        // The schedule of callbacks is the same for every kind of call.
        0..=5 if charter.has_every_kind() => Duration::from_secs(dice.below(3_600)),
        // Until the last try has failed.
        0 => Duration::from_secs(90 * 3600),
        1..=5 => Duration::from_secs(dice.below(20) * 3600),
        _ => Duration::ZERO,
    }
}

/// How long a server that died is down.
pub fn down_time(dice: &mut Dice) -> Duration {
    let longest = if dice.percent(25) { 60_000 } else { 6_000 };
    Duration::from_millis(20 + dice.below(longest))
}

fn some_time(dice: &mut Dice) -> Duration {
    Duration::from_millis(dice.below(BAD.as_millis() as u64))
}

fn weather(dice: &mut Dice) -> Weather {
    match dice.below(6) {
        0 => Weather::Fine,
        1 => Weather::Cut,
        _ => Weather::Bad {
            lost: dice.below(21),
            doubled: dice.below(15),
            delay_ms: [40, 300, 2_000][dice.below(3) as usize],
        },
    }
}

fn mood(dice: &mut Dice) -> Mood {
    match dice.below(5) {
        0 => Mood::Takes,
        1 => Mood::Refuses,
        2 => Mood::AsksToWait,
        3 => Mood::Late(200 + dice.below(9_000)),
        _ => Mood::Away,
    }
}
