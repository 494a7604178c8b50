//! What a leg encrypts with: which of the keys in two descriptions both sides take (RFC 4568 §7).

use crate::event::MediaFault;
use crate::sdp::{Audio, CryptoLine, Description, Profile, Transport};
use crate::srtp::{MasterKey, Srtp, Suite};

/// Suites of our offers. The first is what every phone speaks; more than three make the INVITE too long for a datagram.
const OFFERED: [Suite; 3] =
    [Suite::AesCm128HmacSha1, Suite::AesCm256HmacSha1, Suite::AeadAes128Gcm];

/// Our keys for one leg: one per suite, drawn when it is first needed and the same for the leg's life, so that a further
/// offer interrupts nothing. They are offered to every fork alike; each fork answers with a key of its own.
pub(crate) struct OwnKeys {
    srtp: Srtp,
    keys: Vec<MasterKey>,
    offered: Vec<CryptoLine>,
}

/// Both directions' keys, by the lines that named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keying {
    pub own: CryptoLine,
    pub far: CryptoLine,
}

impl OwnKeys {
    pub(crate) fn new(srtp: Srtp) -> Self {
        OwnKeys { srtp, keys: Vec::new(), offered: Vec::new() }
    }

    /// Those of an earlier process, by our own description of the leg.
    pub(crate) fn resumed(own: &Description) -> Self {
        let srtp = match &own.audio.transport {
            Transport::Srtp => Srtp::Required,
            Transport::Rtp | Transport::Secure(_) | Transport::Other(_) => {
                if own.audio.crypto.is_empty() { Srtp::Off } else { Srtp::Optional }
            }
        };
        let offered = own.audio.crypto.lines.clone();
        OwnKeys { srtp, keys: offered.iter().map(|line| line.key.clone()).collect(), offered }
    }

    pub(crate) fn srtp(&self) -> Srtp {
        self.srtp
    }

    /// The profile and keys of an offer of ours.
    pub(crate) fn offer(&mut self, srtp: Srtp) -> (Profile, Vec<CryptoLine>) {
        self.srtp = srtp;
        let (profile, suites) = match srtp {
            Srtp::Off => (Profile::Avp, &OFFERED[..0]),
            Srtp::Optional => (Profile::Avp, &OFFERED[..]),
            Srtp::Required => (Profile::Savp, &OFFERED[..]),
        };
        let tagged = (1..).zip(suites);
        self.offered =
            tagged.map(|(tag, &suite)| CryptoLine::new(tag, self.key_for(suite))).collect();
        (profile, self.offered.clone())
    }

    /// The far side's answer to our offer.
    pub(crate) fn accept(&self, audio: &Audio) -> Result<Option<Keying>, MediaFault> {
        if self.is_plain(audio)? {
            return Ok(None);
        }
        let taken = audio.crypto.lines.iter().find_map(|far| {
            let same = |own: &&CryptoLine| own.tag == far.tag && own.key.suite() == far.key.suite();
            let own = self.offered.iter().find(same)?;
            Some(Keying { own: own.clone(), far: far.clone() })
        });
        match taken {
            Some(keying) if keying.own.key == keying.far.key => Err(MediaFault::OwnKey),
            Some(keying) => Ok(Some(keying)),
            None => Err(unusable(audio)),
        }
    }

    /// Our answer to the far side's offer: the first of its lines that we can use.
    pub(crate) fn answer(&mut self, audio: &Audio) -> Result<Option<Keying>, MediaFault> {
        // A best-effort offer whose keys are of no use is a plain one.
        let none_usable = audio.transport == Transport::Rtp && audio.crypto.lines.is_empty();
        if self.srtp == Srtp::Optional && none_usable || self.is_plain(audio)? {
            return Ok(None);
        }
        let far = audio.crypto.lines.first().ok_or_else(|| unusable(audio))?.clone();
        let own = CryptoLine::new(far.tag, self.key_for(far.key.suite()));
        if own.key == far.key {
            return Err(MediaFault::OwnKey);
        }
        Ok(Some(Keying { own, far }))
    }

    /// Whether the audio is plain RTP, and may be.
    fn is_plain(&self, audio: &Audio) -> Result<bool, MediaFault> {
        let encrypted = audio.transport == Transport::Srtp;
        match self.srtp {
            Srtp::Off if encrypted => Err(MediaFault::Encrypted("RTP/SAVP".into())),
            // Nobody asked for keys, so nobody will use them.
            Srtp::Off => Ok(true),
            Srtp::Optional => Ok(!encrypted && audio.crypto.is_empty()),
            Srtp::Required if audio.crypto.is_empty() => Err(MediaFault::Unencrypted),
            Srtp::Required => Ok(false),
        }
    }

    fn key_for(&mut self, suite: Suite) -> MasterKey {
        if let Some(key) = self.keys.iter().find(|key| key.suite() == suite) {
            return key.clone();
        }
        let key = MasterKey::random(suite);
        self.keys.push(key.clone());
        key
    }
}

fn unusable(audio: &Audio) -> MediaFault {
    match &audio.crypto.refused {
        Some(error) => MediaFault::Crypto(error.clone()),
        None => MediaFault::NoCommonKey,
    }
}
