//! `cargo xtask tls` (S-17): testssl.sh, a foreign judge, scans a running server's HTTPS and SIP listeners.

mod verdict;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::debian;
use crate::steps::{Outcome, Steps};
use crate::workspace::{cargo, root, target};
use verdict::Verdict;

/// Scans both listeners; the last line on standard output is the result as JSON. True where neither takes anything below
/// TLS 1.2 nor a weak suite, and no known weakness was found.
pub fn run() -> bool {
    let mut steps = Steps::default();
    let ready = steps.step("programs", || match debian::install(&debian::missing_for_tls()) {
        Ok(()) => Outcome::Passed(String::new()),
        Err(fault) => Outcome::Failed(fault.to_string()),
    });
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "server", "--bin", "offhook"]);
    if ready && steps.command("build", build) {
        steps.step("scan", || match scan() {
            Ok(result) => {
                println!("{result}");
                match result["ok"] == true {
                    true => Outcome::Passed("no TLS below 1.2, no weak suite".to_owned()),
                    false => Outcome::Failed("the JSON line says what was found".to_owned()),
                }
            }
            Err(fault) => Outcome::Failed(fault),
        });
    }
    steps.finish()
}

fn scan() -> Result<Value, String> {
    let folder = root().join("target/tls");
    // What an earlier scan left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    certificate(&folder)?;
    let server = Server::start(&folder)?;
    let https = scan_listener(&folder, "https", &server.https)?;
    let sip_tls = scan_listener(&folder, "sip_tls", &server.sip_tls)?;
    let ok = https.is_sound() && sip_tls.is_sound();
    Ok(json!({ "https": https.to_json(), "sip_tls": sip_tls.to_json(), "ok": ok }))
}

/// A server that knows nobody, with a key of its own; killed when dropped.
struct Server {
    child: Child,
    https: String,
    sip_tls: String,
}

const CONFIGURATION: &str = r#"
[http]
bind = "127.0.0.1:0"
[https]
bind = "127.0.0.1:0"
certificate = "certificate.pem"
key = "key.pem"
[sip]
udp = "127.0.0.1:0"
tcp = "127.0.0.1:0"
tls = "127.0.0.1:0"
certificate = "certificate.pem"
key = "key.pem"
[media]
bind = "127.0.0.1"
"#;

impl Server {
    fn start(folder: &Path) -> Result<Server, String> {
        let write = std::fs::write(folder.join("offhook.toml"), CONFIGURATION);
        write.map_err(|fault| format!("offhook.toml: {fault}"))?;
        let program = target().join("debug/offhook");
        let mut command = Command::new(&program);
        command.args(["serve", "--announce"]).current_dir(folder).stdout(Stdio::piped());
        let child = command.spawn().map_err(|fault| format!("{}: {fault}", program.display()))?;
        let mut server = Server { child, https: String::new(), sip_tls: String::new() };
        let mut line = String::new();
        let stdout = server.child.stdout.take().ok_or("its output is not piped")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|fault| fault.to_string())?;
        let announced: Value = serde_json::from_str(&line)
            .map_err(|_| "the server does not start; what it said stands above".to_owned())?;
        let address = |name: &str| {
            let address = announced[name].as_str().map(str::to_owned);
            address.ok_or_else(|| format!("the server announces no {name}"))
        };
        (server.https, server.sip_tls) = (address("https")?, address("sip_tls")?);
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signed by itself: who vouches for it is not what is judged.
fn certificate(folder: &Path) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "30", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .stderr(Stdio::null());
    match openssl.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("openssl makes no certificate: {status}")),
        Err(fault) => Err(format!("openssl cannot be started: {fault}")),
    }
}

fn scan_listener(folder: &Path, name: &str, address: &str) -> Result<Verdict, String> {
    let file = folder.join(format!("{name}.json"));
    let mut testssl = Command::new("testssl");
    testssl
        .args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none"])
        // Protocols, suites by strength, forward secrecy, known weaknesses.
        .args(["--protocols", "--std", "--fs", "--vulnerable", "--jsonfile"])
        .arg(&file)
        .arg(address)
        .stdout(Stdio::from(std::io::stderr()));
    // Its status counts findings of every weight; what was found is in the file.
    testssl.status().map_err(|fault| format!("testssl cannot be started: {fault}"))?;
    let text = std::fs::read_to_string(&file)
        .map_err(|fault| format!("testssl wrote nothing about {name}: {fault}"))?;
    Verdict::of(&text).map_err(|fault| format!("{name}: {fault}"))
}
