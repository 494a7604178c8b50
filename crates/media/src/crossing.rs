//! Packets on their way from the leg that received them to the leg that sends them on. They wait in buffers of the thread's,
//! never longer than it takes to empty one socket.

use crate::batch;
use crate::codec::Codec;
use crate::command::LegId;
use crate::rtp::reception::Head;
use crate::rtp::stream::LONGEST_PAYLOAD;

/// More than one look at a socket can bring.
const ROOM: usize = 4 * batch::SIZE + 2;

/// What one leg has received for another.
pub(crate) struct Crossing {
    pub from: LegId,
    pub to: LegId,
    pub cargo: Cargo,
    payload: [u8; LONGEST_PAYLOAD],
    length: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Cargo {
    Audio {
        packet: Packet,
        codec: Codec,
    },
    /// A packet of a digit. `codec`: that of the audio around it, in whose clock it tells its time; `clock`: that of its
    /// duration.
    Event {
        packet: Packet,
        codec: Codec,
        clock: u32,
    },
    /// A packet that is not passed on, so that its number shall not look lost.
    LeftOut(Packet),
    /// A key was pressed and released.
    Key(char),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub head: Head,
    pub marker: bool,
    /// It begins a stream: numbers and times have nothing to do with those before.
    pub new_stream: bool,
}

impl Crossing {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload[..self.length]
    }
}

/// What waits to be handed over.
pub(crate) struct Crossings {
    places: Box<[Crossing]>,
    used: usize,
}

impl Crossings {
    pub(crate) fn new() -> Self {
        let place = || Crossing {
            from: LegId(0),
            to: LegId(0),
            cargo: Cargo::Key('0'),
            payload: [0; LONGEST_PAYLOAD],
            length: 0,
        };
        Crossings { places: std::iter::repeat_with(place).take(ROOM).collect(), used: 0 }
    }

    /// False where it is longer than anything that is passed on, or where there is no room.
    pub(crate) fn push(&mut self, from: LegId, to: LegId, cargo: Cargo, payload: &[u8]) -> bool {
        let Some(place) = self.places.get_mut(self.used) else { return false };
        let Some(room) = place.payload.get_mut(..payload.len()) else { return false };
        room.copy_from_slice(payload);
        (place.from, place.to, place.cargo, place.length) = (from, to, cargo, payload.len());
        self.used += 1;
        true
    }

    pub(crate) fn waiting(&self) -> &[Crossing] {
        &self.places[..self.used]
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_too_much_is_refused_and_the_rest_waits_in_order() {
        let mut crossings = Crossings::new();
        let mut push = |digit, length| {
            crossings.push(
                LegId(1),
                LegId(2),
                Cargo::Key(digit),
                &[7; LONGEST_PAYLOAD + 1][..length],
            )
        };
        assert!(push('1', 3) && push('2', LONGEST_PAYLOAD) && !push('3', LONGEST_PAYLOAD + 1));
        assert!((2..ROOM).all(|_| push('4', 0)));
        assert!(!push('5', 0));
        assert_eq!(crossings.waiting().len(), ROOM);
        assert_eq!(crossings.waiting()[0].payload(), [7; 3]);
        crossings.clear();
        assert!(crossings.waiting().is_empty());
    }
}
