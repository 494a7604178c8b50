//! What a REGISTER asks for.

use std::time::Duration;

use sipx_sip::HeaderName;

use super::{Answer, seconds};
use crate::{
    PhonePolicy, Uri,
    message::{Request, split_values, text, texts, uri_of},
};

#[derive(Debug)]
pub(super) enum Wish {
    /// Only which bindings there are.
    Query,
    /// `Contact: *`.
    RemoveAll,
    Bind(Vec<Contact>),
}

#[derive(Debug)]
pub(super) struct Contact {
    pub uri: Uri,
    pub identity: Identity,
    /// `q` in thousandths.
    pub preference: u16,
    /// Zero removes it.
    pub lifetime: Duration,
}

/// By what a phone is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// RFC 5626 §4.1: it stays the same where the phone's address changes.
    Instance {
        instance: String,
        reg_id: String,
    },
    Address(Uri),
}

/// Contacts in one REGISTER.
const MAX_CONTACTS: usize = 8;
/// Longest URI of a Contact, and what else of a phone is kept, in bytes.
const MAX_URI: usize = 512;
const MAX_TEXT: usize = 128;

/// What `user`, who has shown its password, wants.
pub(super) fn wish(user: &str, request: &Request, policy: &PhonePolicy) -> Result<Wish, Answer> {
    let to = uri_of(&request.to).and_then(|uri| Uri::parse(&uri).ok());
    if to.is_none_or(|to| to.user() != user) {
        // Nobody registers for somebody else.
        return Err((403, Vec::new()));
    }
    let lines = split_values(&texts(&request.headers, &HeaderName::Contact));
    let expires = text(&request.headers, &HeaderName::Expires).map(|value| number(&value));
    match &lines[..] {
        [] => Ok(Wish::Query),
        [only] if only == "*" => match expires {
            Some(Some(0)) => Ok(Wish::RemoveAll),
            Some(_) | None => Err((400, Vec::new())),
        },
        lines if lines.len() > MAX_CONTACTS => Err((400, Vec::new())),
        lines => {
            let contacts = lines.iter().map(|line| contact(line, expires.flatten(), policy));
            contacts.collect::<Result<Vec<_>, _>>().map(Wish::Bind)
        }
    }
}

/// The phone's name of itself, for whoever looks at the list of phones.
pub(super) fn user_agent(request: &Request) -> Option<String> {
    let name = text(&request.headers, &HeaderName::UserAgent)?;
    Some(name.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect())
}

fn contact(line: &str, expires: Option<u64>, policy: &PhonePolicy) -> Result<Contact, Answer> {
    let bad = || (400, Vec::new());
    let parsed = sipx_sip::Address::parse(line.as_bytes(), "contact").map_err(|_| bad())?;
    let is_sip = matches!(parsed.uri.scheme(), sipx_sip::Scheme::Sip | sipx_sip::Scheme::Sips);
    let uri = Uri::from_parsed(&parsed.uri).map_err(|_| bad())?;
    let written = uri.to_string();
    // It will stand in our request line.
    let is_plain = written.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_sip || !is_plain || written.len() > MAX_URI {
        return Err(bad());
    }
    let param = |name: &str| {
        let value = parsed.param(name)?;
        Some(String::from_utf8_lossy(value).trim_matches('"').to_owned())
    };
    let asked = param("expires").map_or(expires, |own| number(&own));
    let lifetime = lifetime(asked, policy)?;
    let identity = match param("+sip.instance") {
        Some(instance) if instance.len() <= MAX_TEXT => {
            let reg_id = param("reg-id").filter(|id| id.len() <= MAX_TEXT).unwrap_or_default();
            Identity::Instance { instance, reg_id }
        }
        Some(_) | None => Identity::Address(uri.clone()),
    };
    let preference = crate::message::preference(line);
    Ok(Contact { uri, identity, preference, lifetime })
}

/// The lifetime within the bounds of policy; too short a one is refused (RFC 3261 §10.3, 7).
fn lifetime(asked: Option<u64>, policy: &PhonePolicy) -> Result<Duration, Answer> {
    let asked = asked.map_or(policy.max_expires, Duration::from_secs);
    if !asked.is_zero() && asked < policy.min_expires {
        let least = ("Min-Expires".to_owned(), seconds(policy.min_expires));
        return Err((423, vec![least]));
    }
    Ok(asked.min(policy.max_expires))
}

/// What is no number counts as not said (RFC 3261 §10.3, 6).
fn number(value: &str) -> Option<u64> {
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_phone_is_known_by_its_instance_else_by_its_address() {
        let policy = PhonePolicy::default();
        let read = |line: &str| contact(line, None, &policy).unwrap();
        let named = "<sip:1@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;q=0.5;expires=90";
        let elsewhere = named.replace("@h", "@i:5070");
        assert_eq!(read(named).identity, read(&elsewhere).identity);
        assert_ne!(read(named).identity, read(&named.replace("reg-id=1", "reg-id=2")).identity);
        assert_ne!(read("<sip:1@h>").identity, read("<sip:1@i>").identity);
        let named = read(named);
        assert_eq!((named.preference, named.lifetime), (500, Duration::from_secs(90)));
        assert_eq!(read("<sip:1@h>").lifetime, policy.max_expires);
        assert_eq!(read("<sip:1@h>;expires=never").lifetime, policy.max_expires);
        assert_eq!(read("<sip:1@h>;expires=99999999999").lifetime, policy.max_expires);
    }

    proptest! {
        #[test]
        fn any_contact_is_read_or_refused(line in ".*", expires: Option<u64>) {
            if let Err((status, _)) = contact(&line, expires, &PhonePolicy::default()) {
                prop_assert!(status == 400 || status == 423);
            }
        }
    }
}
