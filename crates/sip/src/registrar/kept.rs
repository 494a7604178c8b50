//! Bindings as they are kept over a restart.

use std::{net::SocketAddr, time::Duration};

use super::register::Identity;
use crate::{
    Transport, Uri, WireError,
    wire::{Decoder, Encoder},
};

/// Where one phone is, for a later process. No secret is in it: who registers again shows its password again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptBindings(pub(super) Vec<Kept>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub uri: Uri,
    pub transport: Transport,
    /// The bound address of ours that it registered at.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub preference: u16,
    pub user_agent: Option<String>,
    pub identity: Identity,
    pub call_id: String,
    pub cseq: u32,
    /// Of its lifetime.
    pub left: Duration,
}

const FORMAT: u8 = 1;

impl KeptBindings {
    /// The phone is nowhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a datagram reaches it somewhere: [`crate::Command::Restore`] makes that good again. Who is behind a
    /// connection comes back by itself.
    pub fn has_datagrams(&self) -> bool {
        self.0.iter().any(|kept| !kept.transport.is_reliable())
    }

    /// What is left of them after this time.
    pub fn after(mut self, time: Duration) -> KeptBindings {
        self.0.retain_mut(|kept| {
            kept.left = kept.left.saturating_sub(time);
            !kept.left.is_zero()
        });
        self
    }

    /// A record for the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.number(self.0.len() as u64);
        for kept in &self.0 {
            out.text(&kept.uri.to_string());
            out.transport(kept.transport);
            out.text(&kept.local.to_string());
            out.text(&kept.remote.to_string());
            out.number(kept.preference.into());
            out.text(kept.user_agent.as_deref().unwrap_or_default());
            let (instance, reg_id) = match &kept.identity {
                Identity::Instance { instance, reg_id } => (instance.as_str(), reg_id.as_str()),
                Identity::Address(_) => ("", ""),
            };
            out.text(instance);
            out.text(reg_id);
            out.text(&kept.call_id);
            out.number(kept.cseq.into());
            out.number(u64::try_from(kept.left.as_millis()).unwrap_or(u64::MAX));
        }
        out.0
    }

    /// Reads what [`KeptBindings::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<KeptBindings, WireError> {
        let mut input = Decoder::new(bytes, FORMAT)?;
        let kept = (0..input.number()?).map(|_| Kept::read(&mut input));
        let kept = KeptBindings(kept.collect::<Result<_, _>>()?);
        input.end()?;
        Ok(kept)
    }
}

impl Kept {
    fn read(input: &mut Decoder<'_>) -> Result<Kept, WireError> {
        let uri = Uri::parse(&input.text()?).map_err(|_| WireError::Damaged)?;
        let (transport, local, remote) = (input.transport()?, input.address()?, input.address()?);
        let preference = u16::try_from(input.number()?).map_err(|_| WireError::Damaged)?;
        let user_agent = Some(input.text()?).filter(|name| !name.is_empty());
        let (instance, reg_id) = (input.text()?, input.text()?);
        let identity = match instance.is_empty() {
            true => Identity::Address(uri.clone()),
            false => Identity::Instance { instance, reg_id },
        };
        let call_id = input.text()?;
        let cseq = u32::try_from(input.number()?).map_err(|_| WireError::Damaged)?;
        let left = Duration::from_millis(input.number()?);
        Ok(Kept {
            uri,
            transport,
            local,
            remote,
            preference,
            user_agent,
            identity,
            call_id,
            cseq,
            left,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(instance: &str, cseq: u32, seconds: u64) -> Kept {
        let uri = Uri::parse("sip:66666666@192.0.2.9:5062;ob").unwrap();
        let reg_id = "1".to_owned();
        Kept {
            identity: match instance {
                "" => Identity::Address(uri.clone()),
                instance => Identity::Instance { instance: instance.to_owned(), reg_id },
            },
            uri,
            transport: if cseq.is_multiple_of(2) { Transport::Udp } else { Transport::Tls },
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "[2001:db8::9]:5062".parse().unwrap(),
            preference: 500,
            user_agent: (cseq > 7).then(|| "a phone".to_owned()),
            call_id: "a call".to_owned(),
            cseq,
            left: Duration::from_secs(seconds),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            all in prop::collection::vec(("[a-z:]*", any::<u32>(), 1..100_000_u64), 0..4),
        ) {
            let all = all.iter().map(|(instance, cseq, left)| kept(instance, *cseq, *left));
            let all = KeptBindings(all.collect());
            prop_assert_eq!(KeptBindings::from_bytes(&all.to_bytes()), Ok(all));
        }

        #[test]
        fn damage_is_an_error_never_a_panic(bytes: Vec<u8>) {
            let mut tagged = vec![FORMAT];
            tagged.extend(&bytes);
            let _ = KeptBindings::from_bytes(&tagged);
            prop_assert!(KeptBindings::from_bytes(&bytes[..bytes.len().min(1)]).is_err());
        }
    }

    #[test]
    fn time_goes_on_while_nothing_runs() {
        let all = KeptBindings(vec![kept("", 2, 60), kept("urn:uuid:1", 3, 600)]);
        assert!(all.has_datagrams());
        let left = all.after(Duration::from_secs(60));
        assert_eq!(left.0, [kept("urn:uuid:1", 3, 540)]);
        assert!(!left.has_datagrams(), "what is left is behind a connection");
        assert!(left.after(Duration::from_secs(540)).is_empty());
    }
}
