//! Who lives in a world, and where.

use std::net::SocketAddr;

use sip::Transport;

/// What there is in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charter {
    /// Notifications over two trunks, as in the first worlds: their seeds mean what they meant.
    Notifications,
    /// Every kind of call, softphones, callers from outside, connections, a trunk that is asked whether it lives.
    EveryKind,
    /// The same with people who talk for long: whoever falls silent among them is given up.
    Silence,
}

impl Charter {
    pub fn has_every_kind(self) -> bool {
        match self {
            Charter::Notifications => false,
            Charter::EveryKind | Charter::Silence => true,
        }
    }
}

/// One of the places on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Server,
    Carrier,
    Phone(u8),
    Caller(u8),
}

/// A softphone, or the program of somebody who calls in.
pub struct Seat {
    /// The number that it registers.
    pub number: &'static str,
    pub address: &'static str,
    pub transport: Transport,
}

pub const SERVER: &str = "192.0.2.1:5060";
pub const CARRIER: &str = "192.0.2.2:5060";
/// The carrier as well, at a place that dies now and then.
pub const FRAGILE_PLACE: &str = "192.0.2.3:5060";

pub const USER: &str = "offhook";
pub const PASSWORD: &str = "a password of this world";
/// The realm in which softphones show it.
pub const REALM: &str = "offhook";

/// A trunk that is always there.
pub const LINE: &str = "line";
/// A trunk that is there while the carrier takes registrations.
pub const REGISTERED: &str = "registered";
/// A trunk over TCP.
pub const STREAM: &str = "stream";
/// A trunk that dies, is found dead by OPTIONS, and returns.
pub const FRAGILE: &str = "fragile";

/// What the numbers of softphones, of managers and of customers begin with.
pub const SOFTPHONE: &str = "6666";
pub const MANAGER: &str = "60";
pub const CUSTOMER: &str = "8899";
/// What codes and guesses at codes begin with.
pub const CODE: &str = "880";
pub const GUESS: &str = "990";
/// The virtual numbers of ITA calls.
pub const POOL: [&str; 3] = ["55501", "55502", "55503"];

/// Two of them are places of one phone.
pub const PHONES: [Seat; 4] = [
    Seat { number: "66661", address: "192.0.2.20:5060", transport: Transport::Udp },
    Seat { number: "66662", address: "192.0.2.21:5060", transport: Transport::Tcp },
    Seat { number: "66663", address: "192.0.2.22:5060", transport: Transport::Tls },
    Seat { number: "66663", address: "192.0.2.23:5060", transport: Transport::Udp },
];

pub const CALLERS: [Seat; 4] = [
    Seat { number: "AnonymousCard", address: "192.0.2.30:5060", transport: Transport::Udp },
    Seat { number: "AnonymousCard", address: "192.0.2.31:5060", transport: Transport::Udp },
    Seat { number: "AnonymousCard", address: "192.0.2.32:5060", transport: Transport::Tcp },
    Seat { number: "AnonymousCard", address: "192.0.2.33:5060", transport: Transport::Udp },
];

impl Side {
    /// `carrier`, `phone2`.
    pub fn name(self) -> String {
        match self {
            Side::Server => "server".to_owned(),
            Side::Carrier => "carrier".to_owned(),
            Side::Phone(index) => format!("phone{index}"),
            Side::Caller(index) => format!("caller{index}"),
        }
    }

    /// Who is reached at an address.
    pub fn at(address: SocketAddr) -> Side {
        let ip = address.ip();
        let is = |text: &str| self::address(text).ip() == ip;
        let seat = |seats: &[Seat]| seats.iter().position(|seat| is(seat.address));
        match (seat(&PHONES), seat(&CALLERS)) {
            (Some(phone), _) => Side::Phone(phone as u8),
            (_, Some(caller)) => Side::Caller(caller as u8),
            _ if is(SERVER) => Side::Server,
            _ if is(CARRIER) || is(FRAGILE_PLACE) => Side::Carrier,
            _ => panic!("nobody lives at {address}"),
        }
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
