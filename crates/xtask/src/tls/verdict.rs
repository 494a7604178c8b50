//! What testssl.sh found, judged.

use serde::Deserialize;
use serde_json::{Value, json};

/// One line of its flat JSON.
#[derive(Debug, Clone, Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// What is wrong with a listener.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    protocols: Vec<String>,
    faults: Vec<String>,
}

const NEVER: [&str; 4] = ["SSLv2", "SSLv3", "TLS1", "TLS1_1"];
const ALWAYS: [&str; 2] = ["TLS1_2", "TLS1_3"];
/// Suites without authentication or encryption, export and weak ones.
const WEAK: [&str; 5] = [
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_LOW",
    "cipherlist_3DES_IDEA",
];
/// Suites that are old, as testssl 3.0 and 3.2 call them.
const OLD: [&str; 2] = ["cipherlist_AVERAGE", "cipherlist_OBSOLETED"];

impl Verdict {
    /// `Err` where the file says nothing of what has to be judged: a scan that did not get through is none.
    pub fn of(text: &str) -> Result<Verdict, String> {
        let findings: Vec<Finding> = serde_json::from_str(text)
            .map_err(|fault| format!("testssl's file is not as expected: {fault}"))?;
        let about = |id: &str| {
            let one = findings.iter().find(|finding| finding.id == id);
            one.ok_or_else(|| format!("testssl says nothing of {id}"))
        };
        let mut faults = Vec::new();
        let old = OLD.into_iter().find(|id| about(id).is_ok()).unwrap_or(OLD[0]);
        for id in NEVER.into_iter().chain(WEAK).chain([old]) {
            let one = about(id)?;
            if !one.finding.starts_with("not offered") {
                faults.push(format!("{id}: {}", one.finding));
            }
        }
        let mut protocols = Vec::new();
        for id in ALWAYS {
            let one = about(id)?;
            match one.finding.starts_with("offered") {
                true => protocols.push(id.to_owned()),
                false => faults.push(format!("{id}: {}", one.finding)),
            }
        }
        let bad = |one: &&Finding| matches!(one.severity.as_str(), "MEDIUM" | "HIGH" | "CRITICAL");
        for Finding { id, severity, finding } in findings.iter().filter(bad) {
            if !NEVER.into_iter().chain(WEAK).chain(OLD).any(|judged| judged == id) {
                faults.push(format!("{id}: {severity}: {finding}"));
            }
        }
        Ok(Verdict { protocols, faults })
    }

    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    pub fn to_json(&self) -> Value {
        json!({ "protocols": self.protocols, "faults": self.faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As testssl 3.0 writes it, with `change` in place of what it says of one id.
    fn scanned(change: Option<(&str, &str, &str)>) -> String {
        let never =
            NEVER.into_iter().chain(WEAK).chain([OLD[0]]).map(|id| (id, "OK", "not offered"));
        let always = ALWAYS.into_iter().map(|id| (id, "OK", "offered with final"));
        let more = [("heartbleed", "OK", "not vulnerable, no heartbeat extension")];
        let all = never.chain(always).chain(more).map(|(id, severity, finding)| match change {
            Some((of, severity, finding)) if of == id => (id, severity, finding),
            Some(_) | None => (id, severity, finding),
        });
        let rows: Vec<Value> = all
            .map(|(id, severity, finding)| {
                json!({"id": id, "ip": "127.0.0.1/127.0.0.1", "port": "443", "severity": severity, "finding": finding})
            })
            .collect();
        Value::from(rows).to_string()
    }

    #[test]
    fn what_is_old_weak_or_missing_is_a_fault() {
        let good = Verdict::of(&scanned(None)).expect("it is whole");
        assert!(good.is_sound() && good.protocols == ALWAYS);
        for (id, severity, finding) in [
            ("TLS1", "LOW", "offered (deprecated)"),
            ("SSLv3", "HIGH", "offered"),
            ("TLS1_2", "MEDIUM", "not offered"),
            ("cipherlist_AVERAGE", "LOW", "offered"),
            ("heartbleed", "CRITICAL", "VULNERABLE"),
        ] {
            let verdict = Verdict::of(&scanned(Some((id, severity, finding)))).expect("whole");
            assert!(verdict.faults.iter().any(|fault| fault.contains(id)), "{verdict:?}");
            assert!(!verdict.is_sound());
        }
    }

    #[test]
    fn a_scan_that_did_not_get_through_is_no_verdict() {
        let failed =
            r#"[{"id":"scanProblem","ip":"","port":"1","severity":"FATAL","finding":"refused"}]"#;
        assert!(Verdict::of(failed).is_err_and(|fault| fault.contains("SSLv2")));
        assert!(Verdict::of("").is_err());
    }
}
