//! Commands on their way to `sip` and `media`. None is ever lost: a leg that was not told to end would stay until the
//! process does.

use std::time::Duration;

use super::DriverError;

/// A queue that is full has room again after this: both sides empty theirs without waiting for anybody.
const AGAIN: Duration = Duration::from_millis(1);

/// Who takes nothing for so long is not there any more. Counted in tries, so that a machine that stood still meanwhile
/// has all of it again.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub struct Commands {
    sip: sip::Endpoint,
    media: media::Media,
}

impl Commands {
    pub fn new(sip: sip::Endpoint, media: media::Media) -> Commands {
        Commands { sip, media }
    }

    pub fn sip_counters(&self) -> sip::Counters {
        self.sip.counters()
    }

    /// # Errors
    /// [`DriverError::Stuck`]
    pub async fn sip(&self, command: sip::Command) -> Result<(), DriverError> {
        until_taken(command, |command| self.sip.try_command(command))
            .await
            .ok_or(DriverError::Stuck("the SIP core"))
    }

    /// # Errors
    /// [`DriverError::Stuck`]
    pub async fn media(&self, command: media::Command) -> Result<(), DriverError> {
        until_taken(command, |command| self.media.try_command(command))
            .await
            .ok_or(DriverError::Stuck("a media thread"))
    }
}

/// `hand` gives back what there is no room for. `None`: there was none in all that time.
async fn until_taken<C>(command: C, hand: impl Fn(C) -> Result<(), Box<C>>) -> Option<()> {
    let Err(mut command) = hand(command) else { return Some(()) };
    for _ in 0..PATIENCE.as_millis() / AGAIN.as_millis() {
        tokio::time::sleep(AGAIN).await;
        match hand(*command) {
            Ok(()) => return Some(()),
            Err(refused) => command = refused,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::mpsc;

    use super::*;

    const LEGS: u64 = 200;
    const LONG: Duration = Duration::from_secs(60);

    /// Both with room for one command, and nobody else is let in while a command is handed on.
    async fn started()
    -> (Commands, tokio::sync::mpsc::Receiver<sip::Event>, mpsc::Receiver<media::Event>) {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (heard, events) = mpsc::sync_channel(64 * LEGS as usize);
        let media = media::start(
            media::Config { bind: here, queue: 1, threads: 1, ..media::Config::default() },
            Box::new(move |event| {
                // The test may be over.
                let _ = heard.send(event);
            }),
        );
        let listener = sip::Listener {
            transport: sip::Transport::Udp,
            bind: (here, 0).into(),
            public_address: None,
        };
        let (sip, sip_events) = sip::Endpoint::start(sip::EndpointConfig {
            listeners: vec![listener],
            limits: sip::Limits { queue: 1, ..sip::Limits::default() },
            tls: sip::TlsSettings::default(),
            policy: sip::Policy::default(),
            user_agent: None,
            seed: 1,
        })
        .await
        .unwrap();
        (Commands::new(sip, media.unwrap()), sip_events, events)
    }

    fn invite(leg: u64) -> sip::Command {
        let uri = sip::Uri::new("1", "127.0.0.1").unwrap();
        let addr = (Ipv4Addr::LOCALHOST, 9).into();
        sip::Command::Prepare(Box::new(sip::Invite {
            leg: sip::LegId(leg),
            destination: sip::Destination::new(addr, sip::Transport::Udp),
            request_uri: uri.clone(),
            from: uri.clone().into(),
            to: uri.into(),
            p_asserted_identity: None,
            call_id: format!("call-{leg}"),
            from_tag: format!("tag-{leg}"),
            credentials: None,
            failover: sip::Failover::default(),
            session_expires: None,
            headers: Vec::new(),
            body: None,
        }))
    }

    #[tokio::test]
    async fn a_full_queue_of_sip_delays_commands_and_loses_none() {
        let (commands, mut events, _media) = started().await;
        let legs = || 1..=LEGS;
        for leg in legs() {
            commands.sip(invite(leg)).await.unwrap();
        }
        for leg in legs() {
            let (leg, cause) = (sip::LegId(leg), sip::HangUpCause::Normal);
            commands.sip(sip::Command::HangUp { leg, cause }).await.unwrap();
        }
        let mut ended = Vec::new();
        while ended.len() < legs().count() {
            let event = tokio::time::timeout(LONG, events.recv()).await.expect("every leg ends");
            if let Some(sip::Event::Ended { leg, .. }) = event {
                ended.push(leg.0);
            }
        }
        assert_eq!(ended, legs().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_full_queue_of_media_delays_commands_and_loses_none() {
        let (commands, _sip, events) = started().await;
        let legs = || (1..=LEGS).map(media::LegId);
        for leg in legs() {
            let codecs = vec![media::Codec::Pcma];
            let (dtmf, srtp, beside) = (false, media::Srtp::default(), None);
            let offer = media::Command::Offer { leg, codecs, dtmf, srtp, beside };
            commands.media(offer).await.unwrap();
        }
        for leg in legs() {
            commands.media(media::Command::Close { leg }).await.unwrap();
        }
        let mut closed = Vec::new();
        while closed.len() < legs().count() {
            if let media::Event::Closed { leg, .. } =
                events.recv_timeout(LONG).expect("every leg ends")
            {
                closed.push(leg);
            }
        }
        assert_eq!(closed, legs().collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_at_all_ends_the_process_and_not_the_wait() {
        let begun = tokio::time::Instant::now();
        assert_eq!(until_taken(7, |command| Err(Box::new(command))).await, None);
        assert!(begun.elapsed() >= PATIENCE);
    }
}
