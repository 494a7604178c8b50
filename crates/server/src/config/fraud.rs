//! `[fraud]`: what keeps a stolen key from becoming a telephone bill.

use serde::Deserialize;

/// Ranges that are dear wherever they are called from: satellites, international networks and international premium
/// rate (ITU-T E.164 country codes).
const PREMIUM: [&str; 5] = ["+870", "+881", "+882", "+883", "+979"];

/// `[fraud]`: ranges with a switch of their own, and the alarm for new ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fraud {
    /// Numbers that begin like this are called only for tenants with `premium = true`. An entry with `+` also stands
    /// for the same number behind `00`; any other is compared as it is written. Default: satellites, international
    /// networks and international premium rate.
    pub premium_prefixes: Vec<String>,
    /// `OFFHOOK__FRAUD__ALARM_DIGITS`: the first call of a tenant to numbers that begin with other digits than all
    /// before is told in the log and as an event; so many digits count, 0 (off) to 4. Default 3.
    pub alarm_digits: u8,
}

impl Default for Fraud {
    fn default() -> Self {
        Fraud { premium_prefixes: PREMIUM.map(str::to_owned).to_vec(), alarm_digits: 3 }
    }
}

impl Fraud {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for prefix in &self.premium_prefixes {
            let digits = prefix.strip_prefix('+').unwrap_or(prefix);
            let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if !good || prefix.len() > 32 {
                return Err((
                    "fraud.premium_prefixes".into(),
                    format!("`{prefix}` is not 1 to 32 digits, with or without a leading +"),
                ));
            }
        }
        if self.alarm_digits > 4 {
            return Err(("fraud.alarm_digits".into(), "must be 0 to 4".into()));
        }
        Ok(())
    }

    /// Whether `number` is in a range that needs its own switch.
    pub fn is_premium(&self, number: &str) -> bool {
        let international = |text: &str| {
            let rest = text.strip_prefix('+').or_else(|| text.strip_prefix("00"))?;
            Some(rest.to_owned())
        };
        let abroad = international(number);
        self.premium_prefixes.iter().any(|prefix| match (international(prefix), &abroad) {
            (Some(prefix), Some(abroad)) => abroad.starts_with(&prefix),
            (Some(_), None) => false,
            (None, _) => number.starts_with(prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_premium_in_each_way_of_writing_it() {
        let fraud = Fraud { premium_prefixes: vec!["+979".into(), "0900".into()], alarm_digits: 3 };
        for (number, premium) in [
            ("+97912345", true),
            ("0097912345", true),
            ("97912345", false),
            ("09001234", true),
            ("+09001234", false),
            ("+9781", false),
            ("8613800000000", false),
        ] {
            assert_eq!(fraud.is_premium(number), premium, "{number}");
        }
        assert!(Fraud::default().is_premium("+88213300000"), "a satellite telephone");
        assert!(!Fraud::default().is_premium("88884432"), "a number of the simulated carrier");
    }
}
