//! The digits that an app dials: the tenant's access code and a UVID that nobody can guess.

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::access::SealError;

/// Clients may hold it in a number of 64 bits, so it has no more digits than fit (decisions.md, "Two legs").
pub const DIGITS: usize = 18;

/// Draws a code: each of its digits behind the access code is equally likely.
pub fn draw(access_code: &str) -> Result<String, SealError> {
    let digits = DIGITS.saturating_sub(access_code.len());
    let below = 10_u64.pow(digits as u32);
    // Numbers above the last whole multiple would make some codes likelier than others.
    let fair = u64::MAX - u64::MAX % below;
    loop {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandom)?;
        let drawn = u64::from_ne_bytes(bytes);
        if drawn < fair {
            return Ok(format!("{access_code}{:0digits$}", drawn % below));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_have_eighteen_digits_and_differ() {
        for access_code in ["1", "17908", "2222201", "12345678"] {
            let drawn: BTreeSet<String> = (0..1_000).map(|_| draw(access_code).unwrap()).collect();
            assert_eq!(drawn.len(), 1_000, "{access_code}");
            for code in drawn {
                assert!(code.len() == DIGITS && code.starts_with(access_code), "{code}");
                assert!(code.bytes().all(|b| b.is_ascii_digit()) && code.parse::<u64>().is_ok());
            }
        }
    }

    #[test]
    fn every_digit_comes_at_every_place() {
        let mut seen = [[false; 10]; 10];
        for _ in 0..2_000 {
            let code = draw("12345678").unwrap();
            for (place, digit) in code[8..].bytes().enumerate() {
                seen[place][usize::from(digit - b'0')] = true;
            }
        }
        assert!(seen.iter().flatten().all(|seen| *seen), "{seen:?}");
    }
}
