//! How a trunk wants numbers written, and who it is told that calls.

use sip::{Address, AddressError, Uri};

/// Numbers that begin with `prefix` go out with `replace` in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub prefix: String,
    pub replace: String,
}

/// What a trunk wants of the numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    pub called: Vec<Rule>,
    pub caller: Vec<Rule>,
    pub identity: Identity,
}

/// Where the caller's number stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Identity {
    /// In From.
    #[default]
    From,
    /// In From and in P-Asserted-Identity (RFC 3325 §9.1), for trunks that trust us.
    Asserted,
    /// In P-Asserted-Identity only; From is anonymous and `Privacy: id` asks that the called party does
    /// not learn it (RFC 3325 §7, RFC 3323 §4.2).
    Private,
}

/// The caller as a trunk is told of it.
#[derive(Debug)]
pub struct Caller {
    pub from: Address,
    pub asserted: Option<Address>,
    pub headers: Vec<(String, String)>,
}

impl Numbers {
    pub fn called(&self, number: &str) -> String {
        rewritten(number, &self.called)
    }

    /// Which numbers of ours the trunk may mean by `number`: those that it is told as that when they are called, the
    /// longest rule first, and then `number` itself.
    pub fn called_as(&self, number: &str) -> Vec<String> {
        written_as(number, &self.called)
    }

    /// The same for a number that it is told as the caller's.
    pub fn caller_as(&self, number: &str) -> Vec<String> {
        written_as(number, &self.caller)
    }

    pub fn caller(&self, number: &str, host: &str) -> Result<Caller, AddressError> {
        let number = Address::new(Uri::new(rewritten(number, &self.caller), host)?);
        Ok(match self.identity {
            Identity::From => Caller { from: number, asserted: None, headers: Vec::new() },
            Identity::Asserted => {
                Caller { from: number.clone(), asserted: Some(number), headers: Vec::new() }
            }
            Identity::Private => Caller {
                from: Address::new(Uri::new("anonymous", "anonymous.invalid")?),
                asserted: Some(number),
                headers: vec![("Privacy".to_owned(), "id".to_owned())],
            },
        })
    }
}

/// The rule of the longest prefix; a number that none fits goes out as it is.
fn rewritten(number: &str, rules: &[Rule]) -> String {
    let fitting = rules.iter().filter_map(|rule| Some((rule, number.strip_prefix(&*rule.prefix)?)));
    match fitting.max_by_key(|(rule, _)| rule.prefix.len()) {
        Some((rule, rest)) => format!("{}{rest}", rule.replace),
        None => number.to_owned(),
    }
}

/// The numbers that are [`rewritten`] to `written`, and `written`.
fn written_as(written: &str, rules: &[Rule]) -> Vec<String> {
    let undone = rules.iter().filter_map(|rule| {
        let rest = written.strip_prefix(&*rule.replace)?;
        Some((rule.replace.len(), format!("{}{rest}", rule.prefix)))
    });
    let mut undone: Vec<_> =
        undone.filter(|(_, number)| rewritten(number, rules) == written).collect();
    undone.sort_by_key(|(replaced, _)| std::cmp::Reverse(*replaced));
    let mut numbers: Vec<String> = Vec::new();
    for number in undone.into_iter().map(|(_, number)| number).chain([written.to_owned()]) {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str, replace: &str) -> Rule {
        Rule { prefix: prefix.to_owned(), replace: replace.to_owned() }
    }

    #[test]
    fn numbers_go_out_as_the_trunk_wants_them() {
        let numbers = Numbers {
            called: vec![rule("00", "+"), rule("0", "+86"), rule("110", "110")],
            ..Numbers::default()
        };
        for (number, sent) in [
            ("0044123", "+44123"),
            ("01380000", "+861380000"),
            ("110", "110"),
            ("+1555", "+1555"),
            ("7", "7"),
        ] {
            assert_eq!(numbers.called(number), sent);
        }
    }

    #[test]
    fn numbers_come_in_as_the_trunk_writes_them() {
        let called = vec![rule("00", "+"), rule("0", "+86"), rule("110", "110")];
        let numbers = Numbers { called, caller: vec![rule("", "+86")], ..Numbers::default() };
        for (written, ours) in [
            ("+8613800000001", vec!["013800000001", "008613800000001", "+8613800000001"]),
            ("+44123", vec!["0044123", "+44123"]),
            ("110", vec!["110"]),
            ("7", vec!["7"]),
        ] {
            assert_eq!(numbers.called_as(written), ours);
            assert!(ours.iter().all(|number| numbers.called(number) == written), "{ours:?}");
        }
        assert_eq!(numbers.caller_as("+8695001234"), ["95001234", "+8695001234"]);
        assert_eq!(numbers.caller_as("95001234"), ["95001234"], "as it came");
        assert_eq!(Numbers::default().called_as("+1"), ["+1"]);
    }

    #[test]
    fn the_caller_stands_where_the_trunk_looks_for_it() {
        let caller = |identity| {
            let numbers = Numbers { identity, caller: vec![rule("", "+86")], ..Numbers::default() };
            numbers.caller("2222201", "example.com").unwrap()
        };
        let from = caller(Identity::From);
        assert!(from.from.to_string().contains("+862222201@example.com"), "{}", from.from);
        assert!(from.asserted.is_none() && from.headers.is_empty());
        let asserted = caller(Identity::Asserted);
        assert_eq!(asserted.asserted.unwrap().to_string(), asserted.from.to_string());
        let private = caller(Identity::Private);
        assert!(private.from.to_string().contains("anonymous@anonymous.invalid"));
        assert!(private.asserted.unwrap().to_string().contains("+862222201"));
        assert_eq!(private.headers, [("Privacy".to_owned(), "id".to_owned())]);
    }
}
