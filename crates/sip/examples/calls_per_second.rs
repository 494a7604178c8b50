//! CPU per call of the pure core: two cores hand each other the messages of whole calls, without
//! sockets. `cargo run --release -p sip --example calls_per_second`

use std::time::Instant;

use sip::*;

const CALLS: u64 = 20_000;

fn core(bound: &str, seed: u64) -> Core {
    let bound = bound.parse().expect("an address");
    let config = CoreConfig {
        listeners: vec![CoreListener { transport: Transport::Udp, bound, public: bound }],
        policy: Policy { accept_invites: AcceptInvites::Open, ..Policy::default() },
        user_agent: Some("offhook".to_owned()),
        max_legs: 1_000_000,
        max_message: 65_535,
    };
    Core::new(config, seed, Instant::now())
}

/// Does what both cores want until nothing is left: each side says what it answers to an event.
fn settle(caller: &mut Core, callee: &mut Core) {
    loop {
        let mut idle = true;
        for outgoing in [true, false] {
            let (from, to) =
                if outgoing { (&mut *caller, &mut *callee) } else { (&mut *callee, &mut *caller) };
            while let Some(output) = from.poll() {
                idle = false;
                match output {
                    Output::Transmit(message) => to.received(
                        Received {
                            transport: message.transport,
                            local: message.remote,
                            remote: message.local,
                            flow: None,
                            bytes: message.bytes,
                        },
                        Instant::now(),
                    ),
                    Output::Event(event) => {
                        if let Some(command) = reaction(event) {
                            from.command(command, Instant::now());
                        }
                    }
                }
            }
        }
        if idle {
            return;
        }
    }
}

fn reaction(event: Event) -> Option<Command> {
    let body = Some(Body::sdp("v=0\r\n"));
    match event {
        Event::Prepared { leg, .. } => Some(Command::Send { leg }),
        Event::Incoming { leg, .. } => Some(Command::Answer { leg, body }),
        Event::Answered { leg, .. } => Some(Command::Acknowledge { leg, body: None }),
        Event::Confirmed { leg, .. } => {
            let cause = HangUpCause::Normal;
            Some(Command::HangUp { leg, cause })
        }
        _ => None,
    }
}

fn main() {
    let mut caller = core("192.0.2.1:5060", 1);
    let mut callee = core("192.0.2.2:5060", 2);
    let uri = Uri::new("200", "192.0.2.2").expect("a URI");
    let start = Instant::now();
    for call in 1..=CALLS {
        let invite = Invite {
            leg: LegId(call),
            destination: Destination::new(
                "192.0.2.2:5060".parse().expect("an address"),
                Transport::Udp,
            ),
            request_uri: uri.clone(),
            from: Address::new(uri.clone()),
            to: Address::new(uri.clone()),
            p_asserted_identity: None,
            call_id: format!("call-{call}"),
            from_tag: format!("{call}"),
            credentials: None,
            failover: Failover::default(),
            session_expires: None,
            headers: Vec::new(),
            body: Some(Body::sdp("v=0\r\n".repeat(40))),
        };
        caller.command(Command::Prepare(Box::new(invite)), Instant::now());
        settle(&mut caller, &mut callee);
    }
    let each = start.elapsed() / u32::try_from(CALLS).expect("it fits");
    assert_eq!(caller.load().0, 0, "every call has ended");
    println!("{each:?} for both ends of a call");
}
