//! Softphones as the driver needs them: where each is registered now, and the INVITE to one of those
//! places.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::action::Dialled;
use engine::vocabulary::{BindingId, LegId};
use sip::{Address, Binding, Failover, Invite, Uri};

use super::trunks::{NamedAttempt, TrunkError};

/// How softphones are called.
#[derive(Debug, Clone)]
pub struct PhoneLine {
    /// The host in From and To: as what they know this server.
    pub host: String,
    pub codecs: Vec<media::Codec>,
    pub srtp: media::Srtp,
    /// Seconds of RFC 4028 that calls to them ask for.
    pub session_expires: Option<u32>,
}

#[derive(Debug)]
pub struct Phones {
    line: PhoneLine,
    /// By number; the preferred place first. Nobody without a place is here.
    bound: BTreeMap<String, Vec<Binding>>,
}

impl Phones {
    pub fn new(line: PhoneLine) -> Phones {
        Phones { line, bound: BTreeMap::new() }
    }

    pub fn line(&self) -> &PhoneLine {
        &self.line
    }

    /// The registrar says where the phone of a number is from now on.
    pub fn bound(&mut self, number: String, places: Vec<Binding>) {
        if places.is_empty() {
            self.bound.remove(&number);
        } else {
            self.bound.insert(number, places);
        }
    }

    /// Where the phone of a number can be called.
    pub fn places(&self, number: &str) -> Vec<BindingId> {
        let places = self.bound.get(number).into_iter().flatten();
        places.map(|place| BindingId(place.id.0)).collect()
    }

    /// # Errors
    /// The phone is not registered there any more, or the number shown to it cannot stand in an address.
    pub fn invite(
        &self,
        leg: LegId,
        to: &Dialled,
        binding: BindingId,
        name: NamedAttempt,
        sdp: Bytes,
    ) -> Result<Invite, TrunkError> {
        let mut places = self.bound.get(&to.called).into_iter().flatten();
        let place =
            places.find(|place| place.id.0 == binding.0).ok_or(TrunkError::NotRegistered)?;
        Ok(Invite {
            leg: sip::LegId(leg.0),
            destination: place.destination,
            request_uri: place.uri.clone(),
            from: Uri::new(&to.caller_present, &self.line.host)?.into(),
            to: Address::new(Uri::new(&to.called, &self.line.host)?),
            p_asserted_identity: None,
            call_id: name.call_id,
            from_tag: name.from_tag,
            credentials: None,
            failover: Failover::default(),
            session_expires: self.line.session_expires,
            headers: Vec::new(),
            body: Some(sip::Body::sdp(sdp)),
        })
    }
}
