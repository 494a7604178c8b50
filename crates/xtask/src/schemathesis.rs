//! `cargo xtask schemathesis`: requests that a foreign program makes up from `/v1/openapi.json`, sent to a server of its
//! own. No answer may be 500 or above, and each must be as the document says.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::steps::{Outcome, Steps};
use crate::workspace::{self, cargo};

/// Pinned: another version makes up other requests.
const PACKAGE: &str = "schemathesis==4.32.5";
/// What an answer is held to. Whether odd data *should* have been refused is ours to say, not a schema's.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,ignored_auth";
/// Cases that a run of the tests makes, and the least that counts as a run.
pub const FEW: u32 = 500;
const KEY: &str = "90000000000000000000000000000024";
const SECRET: &str = "a-secret-of-the-fuzzed-tenant";

/// As a command of its own; true where nothing failed.
pub fn run(cases: u32) -> bool {
    let mut steps = Steps::default();
    steps.step("schemathesis", || attempt(cases));
    steps.finish()
}

/// One run of at least `cases` cases. Not run where PyPI cannot be reached, which the summary shows.
pub fn attempt(cases: u32) -> Outcome {
    let program = match installed() {
        Ok(program) => program,
        Err(why) => return Outcome::NotRun(why),
    };
    match shelled(&program, cases) {
        Ok(outcome) => outcome,
        Err(fault) => Outcome::Failed(fault),
    }
}

/// The program, fetched into a private environment where it is not there yet.
fn installed() -> Result<PathBuf, String> {
    let folder = workspace::root().join("target/pypi");
    let program = folder.join("bin/schemathesis");
    if program.is_file() {
        return Ok(program);
    }
    let quiet = |command: &mut Command| {
        let status = command.stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !quiet(Command::new("python3").args(["-m", "venv"]).arg(&folder)) {
        return Err("python3 with venv is missing (Debian's python3-venv)".to_owned());
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--retries", "1", PACKAGE]);
    if quiet(&mut pip) && program.is_file() {
        Ok(program)
    } else {
        Err(format!("PyPI gave no {PACKAGE}: no request was made up"))
    }
}

fn shelled(program: &Path, cases: u32) -> Result<Outcome, String> {
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "server", "--bin", "offhook"]);
    if !build.status().is_ok_and(|status| status.success()) {
        return Err("the server does not build".to_owned());
    }
    let server = Server::start()?;
    let token = server.token()?;
    let document = server.exchange("GET", "/v1/openapi.json", "")?;
    let operations = document["paths"].as_object().map_or(0, |paths| {
        paths.values().filter_map(Value::as_object).map(serde_json::Map::len).sum()
    });
    let each = each(cases, operations);
    let mut command = Command::new(program);
    command.arg("run").arg(format!("http://{}/v1/openapi.json", server.http));
    command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    command.args(["--checks", CHECKS, "--no-color", "--seed", "1", "--continue-on-failure"]);
    command.args(["--max-examples", &each.to_string(), "--request-timeout", "40"]);
    command.args(["--generation-database", "none", "--warnings", "off", "--workers", "2"]);
    command.current_dir(&server.folder).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|fault| format!("{}: {fault}", program.display()))?;
    let output = BufReader::new(child.stdout.take().expect("it is piped, two lines above"));
    let mut made = 0;
    for line in output.lines().map_while(Result::ok) {
        eprintln!("{line}");
        made = made.max(cases_of(&line).unwrap_or(0));
    }
    let status = child.wait().map_err(|fault| fault.to_string())?;
    let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
    if log.contains("panicked") {
        return Err(format!("the server panicked; see {}", server.folder.join("log").display()));
    }
    Ok(match (status.success(), made) {
        (true, made) if made >= cases => Outcome::Passed(format!("{made} cases")),
        (true, made) => Outcome::Failed(format!("only {made} of {cases} cases were made")),
        (false, made) => Outcome::Failed(format!("{made} cases; what is wrong stands above")),
    })
}

/// The most examples of one operation. Half as many again as would do: an operation without parameters has only a few, so
/// that 690 of each of 29 operations made 16,371.
fn each(cases: u32, operations: usize) -> u32 {
    let wanted = u64::from(cases) * 3 / 2;
    u32::try_from(wanted.div_ceil(operations.max(1) as u64)).unwrap_or(u32::MAX)
}

/// The number in `  1234 generated, …` of the summary.
fn cases_of(line: &str) -> Option<u32> {
    let mut words = line.split_whitespace();
    let number = words.next()?.replace(',', "").parse().ok()?;
    words.next()?.starts_with("generated").then_some(number)
}

/// A server with a tenant and the simulated carrier; killed when dropped.
struct Server {
    child: Child,
    http: String,
    folder: PathBuf,
}

impl Server {
    fn start() -> Result<Server, String> {
        let folder = workspace::root().join("target/schemathesis");
        let fault = |fault: std::io::Error| format!("{}: {fault}", folder.display());
        // There is none before the first run.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(fault)?;
        let config = format!(
            "[http]\nbind = \"127.0.0.1:0\"\nlongest_wait_s = 1\n[[trunk]]\nname = \"sim\"\nkind = \"sim\"\n[[tenant]]\nid = 1\nname = \"fuzzed\"\n\
             app_key = \"{KEY}\"\napp_secret = \"{SECRET}\"\naccess_codes = [\"2222201\"]\n\
             routes = [{{ prefix = \"\", trunk = \"sim\" }}]\n"
        );
        fs::write(folder.join("offhook.toml"), config).map_err(fault)?;
        let log = fs::File::create(folder.join("log")).map_err(fault)?;
        let mut child = Command::new(workspace::target().join("debug/offhook"))
            .args(["serve", "--announce"])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(fault)?;
        let stdout = child.stdout.take().expect("it is piped, a few lines above");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(fault)?;
        let announced: Value = serde_json::from_str(&line).unwrap_or_default();
        match announced["http"].as_str() {
            Some(http) => Ok(Server { child, http: http.to_owned(), folder: folder.clone() }),
            None => {
                // It may have ended by itself.
                let _ = child.kill();
                Err(format!("the server does not start; see {}", folder.join("log").display()))
            }
        }
    }

    fn token(&self) -> Result<String, String> {
        let body = json!({ "app_key": KEY, "app_secret": SECRET }).to_string();
        let reply = self.exchange("POST", "/apigovernance/api/oauth/tokenByAkSk", &body)?;
        reply["AccessToken"].as_str().map(str::to_owned).ok_or(format!("no token: {reply}"))
    }

    /// A request whose reply is JSON.
    fn exchange(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let fault = |fault: std::io::Error| format!("{method} {path}: {fault}");
        let mut stream = TcpStream::connect(&self.http).map_err(fault)?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(fault)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(fault)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).map_err(fault)?;
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|fault| format!("{method} {path}: {fault}: {reply}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_make_up_for_those_that_have_few_examples() {
        assert_eq!(each(20_000, 29), 1_035);
        assert_eq!(each(FEW, 29), 26);
        assert_eq!(each(1, 0), 1);
        assert_eq!(each(u32::MAX, 1), u32::MAX);
    }

    #[test]
    fn the_count_is_read_from_the_summary() {
        assert_eq!(cases_of("  5,211 generated, 5,211 passed"), Some(5_211));
        assert_eq!(cases_of("  612 generated"), Some(612));
        assert_eq!(cases_of("Test cases:"), None);
    }
}
