//! What a tenant's calls with two legs may do: the bidirectional call, its ITA form, the anonymous call.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::settings::is_callable;
use serde::{Deserialize, Serialize};

/// Which of the two bidirectional calls a tenant has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bidirectional {
    /// HTTP 401.
    Off,
    /// Each party sees an access code.
    #[default]
    Aicc,
    /// Both parties see a virtual number, and reach each other by calling it.
    Ita,
}

/// `ita`: the virtual numbers and what may be done with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ita {
    /// The virtual numbers, 1 to 32 digits each; one tenant's only.
    pub numbers: Vec<String>,
    /// Where bindings come from; default `automatic`.
    pub binding: BindingMode,
    /// Seconds that a binding holds after its last createCall, 60 to 31536000; default 86400.
    pub binding_lifetime_s: u32,
    /// Minutes that its ITA calls may talk in all, ever; raised to load it up. Absent: as much as it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_minutes: Option<u32>,
    /// Refuse every request for an ITA call (90102002).
    pub restricted: bool,
    /// Addresses and networks (`203.0.113.0/24`) whose requests are taken; none written: from anywhere.
    pub sources: Vec<Network>,
    /// Numbers that may call, as the party that is dialled first.
    pub callers: NumberList,
    /// Numbers that may be called.
    pub callees: NumberList,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingMode {
    /// createCall makes the binding that it needs.
    #[default]
    Automatic,
    /// createCall uses bindings that were made at `/v1/number_bindings`.
    Existing,
}

/// Numbers, or the digits that they begin with. `deny` wins over `allow`; an empty `allow` allows all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NumberList {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

/// `anonymous_call`: calls that an app begins by dialling a code over SIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Anonymous {
    /// Off: result code 30010000001. Default false.
    pub enabled: bool,
    /// What every code begins with, 1 to 8 digits; default the tenant's first access code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_code: Option<String>,
    /// Seconds in which a code must be dialled, 1 to 60; default 60.
    pub code_lifetime_s: u32,
}

/// The longest access code that leaves its codes enough that cannot be guessed.
pub const MAX_CODE_PREFIX: usize = 8;

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Default for Ita {
    fn default() -> Self {
        Ita {
            numbers: Vec::new(),
            binding: BindingMode::Automatic,
            binding_lifetime_s: 86_400,
            balance_minutes: None,
            restricted: false,
            sources: Vec::new(),
            callers: NumberList::default(),
            callees: NumberList::default(),
        }
    }
}

impl Default for Anonymous {
    fn default() -> Self {
        Anonymous { enabled: false, access_code: None, code_lifetime_s: 60 }
    }
}

impl Ita {
    /// Whether a request that came from there is taken; where it came from may not be known.
    pub fn takes_from(&self, source: Option<IpAddr>) -> bool {
        let within = |source| self.sources.iter().any(|network| network.contains(source));
        self.sources.is_empty() || source.is_some_and(within)
    }

    pub fn is_default(&self) -> bool {
        *self == Ita::default()
    }

    /// The key at fault and what to write.
    pub fn check(&self) -> Result<(), (String, String)> {
        let mut seen = BTreeSet::new();
        for number in &self.numbers {
            if !is_number(number) {
                return Err(("ita.numbers".into(), format!("`{number}` is not 1 to 32 digits")));
            }
            if !seen.insert(number) {
                return Err(("ita.numbers".into(), format!("`{number}` stands twice")));
            }
        }
        let lifetime = self.binding_lifetime_s;
        if !(60..=31_536_000).contains(&lifetime) {
            let what = format!("is {lifetime}, must be 60 to 31536000");
            return Err(("ita.binding_lifetime_s".into(), what));
        }
        let lists = [("callers", &self.callers), ("callees", &self.callees)];
        for (name, list) in lists {
            let wrong = list.allow.iter().chain(&list.deny).find(|number| !is_callable(number));
            if let Some(wrong) = wrong {
                let what = format!("`{wrong}` is not 1 to 32 digits, with or without a leading +");
                return Err((format!("ita.{name}"), what));
            }
        }
        Ok(())
    }
}

impl NumberList {
    pub fn permits(&self, number: &str) -> bool {
        let begins = |list: &[String]| list.iter().any(|start| number.starts_with(&**start));
        !begins(&self.deny) && (self.allow.is_empty() || begins(&self.allow))
    }
}

impl Anonymous {
    pub fn is_default(&self) -> bool {
        *self == Anonymous::default()
    }

    /// The key at fault and what to write.
    pub fn check(&self) -> Result<(), (String, String)> {
        if let Some(code) = &self.access_code
            && (code.is_empty() || code.len() > MAX_CODE_PREFIX || !is_digits(code))
        {
            let what = format!("`{code}` is not 1 to {MAX_CODE_PREFIX} digits");
            return Err(("anonymous_call.access_code".into(), what));
        }
        if !(1..=60).contains(&self.code_lifetime_s) {
            let what = format!("is {}, must be 1 to 60", self.code_lifetime_s);
            return Err(("anonymous_call.code_lifetime_s".into(), what));
        }
        Ok(())
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let rest = width - u32::from(self.bits);
        // Shifting by the whole width leaves nothing to compare: every address is within.
        own.checked_shr(rest) == other.checked_shr(rest)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        let refused = || format!("`{text}` is no network: write 203.0.113.7 or 203.0.113.0/24");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| refused())?)),
            None => (&*text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(refused()) } else { Ok(Network { address, bits }) }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        format!("{}/{}", network.address, network.bits)
    }
}

/// `sip_service_address`: an address with its port.
pub fn check_service_address(text: &str) -> Result<(), (String, String)> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 && !address.ip().is_unspecified() => Ok(()),
        Ok(_) | Err(_) => {
            let what = format!("`{text}` is no address with a port, such as 203.0.113.7:5060");
            Err(("sip_service_address".into(), what))
        }
    }
}

pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && is_digits(text)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_an_empty_allow_is_everybody() {
        let list = |allow: &[&str], deny: &[&str]| NumberList {
            allow: allow.iter().map(|&number| number.into()).collect(),
            deny: deny.iter().map(|&number| number.into()).collect(),
        };
        for (list, number, permitted) in [
            (list(&[], &[]), "88884432", true),
            (list(&[], &["8888"]), "88884432", false),
            (list(&[], &["8888"]), "8899", true),
            (list(&["88"], &[]), "88884432", true),
            (list(&["88"], &[]), "13800138000", false),
            (list(&["88"], &["88884432"]), "88884432", false),
            (list(&["88"], &["88884432"]), "88884433", true),
        ] {
            assert_eq!(list.permits(number), permitted, "{list:?} {number}");
        }
    }

    #[test]
    fn a_network_holds_what_shares_its_bits() {
        for (network, address, within) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("203.0.113.0/24", "::ffff:203.0.113.9", true),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let parsed = Network::try_from(network.to_owned()).unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), within, "{network} {address}");
        }
        for wrong in ["", "203.0.113", "203.0.113.0/33", "2001:db8::/129", "a/8", "1.2.3.4/-1"] {
            assert!(Network::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        let ita = |text: &str| serde_json::from_str::<Ita>(text).unwrap().check();
        assert_eq!(ita("{}"), Ok(()));
        for (key, text) in [
            ("ita.numbers", r#"{"numbers": ["1", "x"]}"#),
            ("ita.numbers", r#"{"numbers": ["1", "1"]}"#),
            ("ita.binding_lifetime_s", r#"{"binding_lifetime_s": 59}"#),
            ("ita.callers", r#"{"callers": {"deny": ["a"]}}"#),
            ("ita.callees", r#"{"callees": {"allow": [""]}}"#),
        ] {
            assert_eq!(ita(text).unwrap_err().0, key, "{text}");
        }
        let anonymous = |text: &str| serde_json::from_str::<Anonymous>(text).unwrap().check();
        assert_eq!(anonymous(r#"{"access_code": "17908"}"#), Ok(()));
        for wrong in [
            r#"{"access_code": "123456789"}"#,
            r#"{"access_code": ""}"#,
            r#"{"code_lifetime_s": 61}"#,
            r#"{"code_lifetime_s": 0}"#,
        ] {
            assert!(anonymous(wrong).is_err(), "{wrong}");
        }
        assert!(check_service_address("203.0.113.7:5060").is_ok());
        for wrong in ["203.0.113.7", "0.0.0.0:5060", "203.0.113.7:0", "sip.example.com:5060"] {
            assert!(check_service_address(wrong).is_err(), "{wrong}");
        }
    }
}
