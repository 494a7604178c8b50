//! Steps by hand, then a server in virtual time: one processor with a run queue, a disk with grouped
//! commits, calls that cost at their beginning, while they are up and at their end.

mod machine;

use super::*;
use machine::{Machine, Run, USUAL};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn overload() -> Overload {
    Overload::new(ms(10))
}

/// Requests that each take `took`, `every` so often, one after the other.
fn series(overload: &mut Overload, from: Duration, every: Duration, took: Duration, steps: u32) {
    for step in 0..steps {
        let now = from + every * step;
        if overload.enter(now) {
            overload.leave(Stage::Accepting, took, now + took);
        }
    }
}

#[test]
fn slow_steps_for_a_whole_period_begin_to_shed_and_quiet_ends_it() {
    let mut overload = overload();
    series(&mut overload, ms(0), ms(10), ms(60), 5);
    assert!(!overload.is_shedding(), "not for a hiccup");
    series(&mut overload, ms(50), ms(10), ms(60), 20);
    assert!(overload.is_shedding());
    let let_in = (0..100).filter(|_| overload.enter(ms(320))).count();
    assert!((1..100).contains(&let_in), "{let_in}: some are let in, the rest is refused");
    assert!(!overload.enter(ms(1_250)), "nobody has left");
    assert!(overload.enter(ms(2_300)), "a second without a refusal is the end of it");
    assert!(!overload.is_shedding());
}

#[test]
fn one_quick_step_breaks_the_row() {
    let mut overload = overload();
    for round in 0..50 {
        let at = ms(100) * round;
        series(&mut overload, at, ms(10), ms(60), 7);
        series(&mut overload, at + ms(90), ms(1), ms(1), 1);
        assert!(!overload.is_shedding());
    }
}

#[test]
fn the_disk_is_not_held_against_the_server_unless_it_is_in_trouble() {
    let slow_disk = |commit| {
        let mut overload = overload();
        overload.committed(commit, ms(0));
        series(&mut overload, ms(0), ms(10), 2 * commit, 100);
        overload.is_shedding()
    };
    assert!(!slow_disk(ms(6)));
    assert!(!slow_disk(ms(120)));
    assert!(slow_disk(ms(2_000)));
}

#[test]
fn dialling_counts_as_accepting_does() {
    let mut overload = overload();
    for step in 0..30 {
        overload.begin(Stage::Dialling, ms(0));
        overload.leave(Stage::Dialling, ms(400), ms(10) * step);
    }
    assert!(overload.is_shedding());
    assert_eq!(overload.under_way(Stage::Dialling), 0);
}

#[test]
fn memory_is_bounded_even_while_calm() {
    let mut overload = overload();
    assert_eq!((0..10_000).filter(|_| overload.enter(ms(0))).count(), MOST as usize);
}

/// The machine's own capacity: the highest rate at which all is let in and dialled within 100 ms.
fn capacity(machine: Machine) -> f64 {
    let (mut holds, mut fails) = (0.0, 10_000.0);
    for _ in 0..10 {
        let rate = f64::midpoint(holds, fails);
        let run = machine.run(rate, 3);
        if run.refused_ms.is_empty() && Run::p99(&run.dialled_ms) < 100.0 {
            holds = rate;
        } else {
            fails = rate;
        }
    }
    holds
}

#[test]
fn at_four_times_its_capacity_a_server_keeps_its_goodput_and_its_pace() {
    let machines = [
        USUAL,
        Machine { fsync_us: 6_000, ..USUAL },
        Machine { fsync_us: 30_000, ..USUAL },
        Machine { slowness: 0.2, ..USUAL },
        Machine { slowness: 4.0, ..USUAL },
        Machine { hold_ms: 200, ..USUAL },
    ];
    for machine in machines {
        let capacity = capacity(machine);
        let once = machine.run(capacity, 12);
        let over = machine.run(4.0 * capacity, 12);
        let goodput = over.dialled_ms.len() as f64 / once.dialled_ms.len() as f64;
        let (p99, before) = (Run::p99(&over.settled_ms), Run::p99(&once.settled_ms));
        let (noticed, at_once) = (Run::p99(&over.dialled_ms), Run::p99(&over.refused_ms));
        assert!(goodput >= 0.85, "{machine:?} at {capacity:.0}/s: goodput {goodput:.2}");
        assert!(
            p99 <= 2.0 * before,
            "{machine:?}: dialled within {p99:.0} ms, before {before:.0} ms"
        );
        assert!(noticed < 500.0, "{machine:?}: dialled within {noticed:.0} ms at the beginning");
        // The first ones queue behind what was let in; longer where a slow disk lets in more.
        let soon = 50.0 + 2.0 * machine.fsync_us as f64 / 1_000.0;
        assert!(at_once < soon, "{machine:?} at {capacity:.0}/s: refused within {at_once:.0} ms");
        let most = (capacity / 2.0).max(400.0) as u32;
        assert!(over.most_under_way <= most, "{machine:?}: {} under way", over.most_under_way);
    }
}

#[test]
fn what_it_can_do_is_let_in_whole() {
    let run = USUAL.run(0.8 * capacity(USUAL), 10);
    assert_eq!(run.refused_ms.len(), 0);
}

#[test]
fn what_a_stall_left_behind_is_worked_off_and_nobody_is_refused_for_it_later() {
    for (every_ms, lasts_ms, share) in [(250, 45, 0.7), (1_000, 150, 0.5)] {
        let machine = Machine { stolen_ms: (every_ms, lasts_ms), ..USUAL };
        let rate = share * capacity(USUAL);
        let refused = machine.run(rate, 20).refused_ms.len() as f64 / (20.0 * rate);
        assert!(refused < 0.03, "{machine:?} at {rate:.0}/s: {refused:.3} refused");
    }
}

#[test]
fn a_process_that_stood_still_does_not_take_the_silence_for_quiet() {
    let machine = Machine { standstill_ms: (7_000, 9_000), ..USUAL };
    let run = machine.run(4.0 * capacity(USUAL), 12);
    let late = run.dialled_ms.iter().filter(|&&ms| ms > 500.0).count();
    assert!(late < 30, "{late}: only those that were under way are late");
    assert!(run.most_under_way <= 400, "{} under way", run.most_under_way);
}

#[test]
fn nor_for_idleness() {
    let mut overload = overload();
    series(&mut overload, ms(0), ms(10), ms(60), 20);
    overload.beat(ms(200));
    // It stands still until now, and is busy from then on.
    for at in (2_400..2_800).step_by(50) {
        overload.begin(Stage::Dialling, ms(at));
        overload.beat(ms(at));
        overload.leave(Stage::Dialling, ms(49), ms(at + 49));
    }
    overload.enter(ms(2_801));
    assert!(overload.is_shedding());
}

#[test]
fn hardly_anybody_refused_is_the_end_of_it_too() {
    let mut overload = overload();
    series(&mut overload, ms(0), ms(10), ms(60), 20);
    assert!(overload.is_shedding(), "a stall has left a queue");
    // A request each 5 ms is done at once; now and then six come together.
    for step in 0..500u32 {
        let now = ms(300) + ms(5) * step;
        let burst = if step % 100 == 0 { 6 } else { 1 };
        let let_in = (0..burst).filter(|_| overload.enter(now)).count();
        for _ in 0..let_in {
            overload.leave(Stage::Accepting, ms(1), now + ms(1));
        }
    }
    assert!(!overload.is_shedding());
}

#[test]
fn gaps_between_those_let_in_are_no_idleness_while_most_are_refused() {
    for (offered, stays) in [(4, true), (1, false)] {
        let mut overload = overload();
        series(&mut overload, ms(0), ms(10), ms(60), 20);
        // All that are let in go through one commit and are done; then there is nobody for a while.
        for wave in 0..200u32 {
            let now = ms(300) + ms(8) * wave;
            let let_in = (0..offered * LEAST).filter(|_| overload.enter(now)).count();
            for _ in 0..let_in {
                overload.leave(Stage::Accepting, ms(6), now + ms(6));
            }
            if !overload.is_shedding() {
                break;
            }
        }
        assert_eq!(overload.is_shedding(), stays, "{offered} times what it can do");
    }
}

#[test]
fn shedding_ends_where_nobody_asks_any_more() {
    let mut overload = overload();
    series(&mut overload, ms(0), ms(10), ms(60), 20);
    assert!(overload.is_shedding());
    for at in (300..3_000).step_by(50) {
        overload.beat(ms(at));
    }
    assert!(!overload.is_shedding());
    assert_eq!(overload.sheddings(), 1);
}

#[test]
fn no_more_are_let_in_than_their_audio_has_time_for_later() {
    let machine = Machine { slowness: 0.1, audio: 0.01, ..USUAL };
    let capacity = capacity(machine);
    let (once, over) = (machine.run(capacity, 24), machine.run(4.0 * capacity, 24));
    let goodput = over.dialled_ms.len() as f64 / once.dialled_ms.len() as f64;
    let (p99, before) = (Run::p99(&over.settled_ms), Run::p99(&once.settled_ms));
    assert!(goodput >= 0.9, "at {capacity:.0}/s: goodput {goodput:.2}");
    assert!(p99 <= 2.0 * before, "dialled within {p99:.0} ms, before {before:.0} ms");
}

#[test]
fn who_was_asked_for_little_so_far_soon_finds_out_what_it_can_do() {
    // Twenty a second for a while; then a stall, and far more, each done as quickly as the disk allows. Alone or in bunches.
    // Where it is idle meanwhile that takes two seconds, else it goes on by a sixth in each.
    let cases = [(5, 2, 1, 2), (100, 40, 1, 2), (5, 1, 25, 20), (100, 40, 25, 20)];
    for (every_ms, bunch, took_ms, soon_s) in cases {
        let mut overload = overload();
        overload.committed(ms(took_ms / 3), ms(0));
        series(&mut overload, ms(0), ms(50), ms(took_ms), 100);
        series(&mut overload, ms(5_000), ms(10), ms(60), 20);
        assert!(overload.is_shedding());
        let mut leaving = VecDeque::new();
        let mut let_in = 0;
        let soon = ms(5_300 + 1_000 * soon_s);
        for now in (5_300..8_300 + 1_000 * soon_s).map(ms) {
            while leaving.front().is_some_and(|at| *at <= now) {
                leaving.pop_front();
                overload.leave(Stage::Accepting, ms(took_ms), now);
            }
            if (now.as_millis() as u64).is_multiple_of(every_ms) {
                let entered = (0..bunch).filter(|_| overload.enter(now)).count();
                leaving.extend(std::iter::repeat_n(now + ms(took_ms), entered));
                let_in += if now >= soon { entered } else { 0 };
            }
        }
        let asked = 3_000 / every_ms as usize * bunch;
        assert!(let_in * 10 > asked * 9, "{bunch} each {every_ms} ms: {let_in} of {asked}");
    }
}
