//! The signature of a callback that was asked for by the interface while a shared key is configured.
//!
//! `P` is every parameter but `timestamp`, `nonce` and `signature`, sorted by name and joined as `k=v` with commas, with
//! the spaces removed; an empty value is `k=`, null is `k=null`. `S` is `secret_timestamp_nonce_P`. The signature is the
//! Base64 of HMAC-SHA256(key = secret, S), or of plain SHA-256(S) where the tenant's receiver computes that.
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

/// How the digest is computed; the documentation leaves it open, so it is the tenant's setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    #[default]
    HmacSha256,
    Sha256,
}

/// Parameters that carry the signature itself and are therefore not signed.
const UNSIGNED: [&str; 3] = ["timestamp", "nonce", "signature"];

/// Signs a callback body. `timestamp` and `nonce` are the texts that stand in the body; both are new at every try.
/// `parameters` are the body's fields in any order; `None` is JSON null.
pub fn sign(
    algorithm: Algorithm,
    secret: &str,
    timestamp: &str,
    nonce: &str,
    parameters: &[(&str, Option<&str>)],
) -> String {
    let signed = format!("{secret}_{timestamp}_{nonce}_{}", canonical(parameters));
    match algorithm {
        Algorithm::HmacSha256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()))
        }
        Algorithm::Sha256 => {
            BASE64_STANDARD.encode(digest::digest(&digest::SHA256, signed.as_bytes()))
        }
    }
}

fn canonical(parameters: &[(&str, Option<&str>)]) -> String {
    let mut signed: Vec<_> =
        parameters.iter().filter(|(name, _)| !UNSIGNED.contains(name)).collect();
    signed.sort_by_key(|(name, _)| *name);
    let joined: Vec<String> =
        signed.iter().map(|(name, value)| format!("{name}={}", value.unwrap_or("null"))).collect();
    joined.join(",").replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values by Python, not by this code:
    //   p = ",".join(f"{k}={'null' if v is None else v}" for k, v in sorted(params)).replace(" ", "")
    //   s = f"{secret}_{timestamp}_{nonce}_{p}".encode()
    //   base64.b64encode(hmac.new(secret.encode(), s, hashlib.sha256).digest())
    //   base64.b64encode(hashlib.sha256(s).digest())
    const RELEASE: [(&str, Option<&str>); 14] = [
        ("alertingTime", Some("2022/02/22,10:04:29:004")),
        ("callSerialNo", Some("1197765398201387012")),
        ("called", Some("88880067")),
        ("callerPresent", Some("960003")),
        ("createCallTime", Some("2022/02/22,10:04:28:823")),
        ("locationId", Some("0")),
        ("nonce", Some("-1482421808053124529")),
        ("recordfile", Some("Y:/2/mobileAgent/20220222/1645524268-824.wav")),
        ("releaseReason", Some("0")),
        ("releaseTime", Some("2022/02/22,10:04:36:318")),
        ("signature", Some("not part of what is signed")),
        ("talkDuration", Some("0")),
        ("talkingTime", Some("2022/02/22,10:04:30:418")),
        ("timestamp", Some("1645524163326")),
    ];

    fn release(algorithm: Algorithm, parameters: &[(&str, Option<&str>)]) -> String {
        sign(algorithm, "s3cr3t", "1645524163326", "-1482421808053124529", parameters)
    }

    #[test]
    fn the_documented_release_callback() {
        assert_eq!(
            release(Algorithm::HmacSha256, &RELEASE),
            "N8Kd3mBnphDlOCDWC+VK5HoFBn/d/EYU6LJ3wNnsBpc="
        );
        assert_eq!(
            release(Algorithm::Sha256, &RELEASE),
            "HhU+14Ph9xdVGcQA5vJtx8uvwm7k3xk0Jd1pg0LxL+c="
        );
    }

    #[test]
    fn the_order_of_the_body_does_not_matter_and_every_value_does() {
        let mut reversed = RELEASE;
        reversed.reverse();
        assert_eq!(
            release(Algorithm::default(), &reversed),
            release(Algorithm::HmacSha256, &RELEASE)
        );
        let mut forged = RELEASE;
        forged[8].1 = Some("1");
        assert_ne!(
            release(Algorithm::HmacSha256, &forged),
            release(Algorithm::HmacSha256, &RELEASE)
        );
    }

    #[test]
    fn null_empty_spaces_and_other_scripts() {
        let parameters = [
            ("d", None),
            ("a", Some("x y")),
            ("c", Some("")),
            ("B", Some("é 中")),
            ("nonce", Some("9")),
        ];
        assert_eq!(canonical(&parameters), "B=é中,a=xy,c=,d=null");
        let hmac = sign(Algorithm::HmacSha256, "key", "1", "2", &parameters);
        assert_eq!(hmac, "j0yWkk56MuE7y+wtu7W3Q1F78BGv29W982lgkakHe10=");
        let plain = sign(Algorithm::Sha256, "key", "1", "2", &parameters);
        assert_eq!(plain, "m1wkrgMRn4XTCBKDvslTEu1G7rUyB7ttEDmLfG/YNBA=");
    }

    #[test]
    fn no_parameters_at_all() {
        let hmac = sign(Algorithm::HmacSha256, "key", "1", "2", &[]);
        assert_eq!(hmac, "bWDRUwtrn4TOSSOIcMvbhlFtfT3mtIy4VCPEjSlXlrk=");
        let plain = sign(Algorithm::Sha256, "key", "1", "2", &[]);
        assert_eq!(plain, "dTC6bk+uxaHlCg15dV9R8pe1puUcBnPyLFL6+lGqnHM=");
    }
}
