//! A PostgreSQL server of the test's own, as Debian brings it: in a temporary directory, behind a
//! socket in there, with fsync on. It ends and its files go when the test process ends, however that
//! does.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server takes this long to start on a machine that is busy with everything else.
const PATIENCE: Duration = Duration::from_secs(60);

/// initdb and PostgreSQL refuse to run as root; Debian's package makes this user. The server's superuser has its name.
const USER: &str = "postgres";
/// As an operator makes it: it owns its databases, and row-level security binds it.
const ROLE: &str = "offhook";

/// Reads its standard input until whoever holds the other end is gone, killed or not.
const KEEPER: &str = r#"
trap '' HUP INT TERM
read -r _
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
rm -rf "$2"
"#;

/// A running server, until it is dropped.
pub struct Cluster {
    programs: PathBuf,
    directory: PathBuf,
    databases: AtomicU32,
    /// Closing its input is what ends the server.
    keeper: Child,
}

impl Cluster {
    pub fn start() -> Cluster {
        let cluster = Cluster::empty();
        let mut make = run_as_user(cluster.programs.join("initdb"));
        make.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", USER]);
        succeeds(make.arg("-D").arg(cluster.directory.join("data")));
        cluster.set("fsync = on\nmax_connections = 300\nshared_buffers = 32MB\n");
        cluster.run();
        cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN"));
        cluster
    }

    /// A copy of this server that takes part in each of its commits from now on, and may take its place.
    pub fn standby(&self) -> Cluster {
        let standby = Cluster::empty();
        let mut copy = run_as_user(self.programs.join("pg_basebackup"));
        copy.args(["-U", USER, "-X", "stream", "-c", "fast", "--no-sync", "-R", "-h"]);
        succeeds(copy.arg(&self.directory).arg("-D").arg(standby.directory.join("data")));
        standby.set("");
        standby.run();
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let begun = Instant::now();
        while self.sql("postgres", synchronous) != "1" {
            assert!(begun.elapsed() < PATIENCE, "the standby does not follow");
        }
        standby
    }

    /// The standby is the primary from now on.
    pub fn promote(&self) {
        succeeds(self.pg_ctl().args(["-w", "-t", "60", "promote"]));
    }

    /// Without a word to anybody who is connected, or to its standby.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let pid = pid.expect("it runs").lines().next().unwrap_or_default().to_owned();
        succeeds(run_as_user("kill").args(["-9", &pid]));
    }

    /// A directory and who cleans it up.
    fn empty() -> Cluster {
        let programs = programs();
        let directory = directory();
        let keeper = run_as_user("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&programs, &directory])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        Cluster { programs, directory, databases: AtomicU32::new(0), keeper }
    }

    fn set(&self, settings: &str) {
        let here = self.directory.display();
        let settings =
            format!("listen_addresses = ''\nunix_socket_directories = '{here}'\n{settings}");
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.directory.join("data/postgresql.conf"))
            .expect("it has been made");
        file.write_all(settings.as_bytes()).expect("it can be written");
    }

    /// Where a proxy finds it.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(".s.PGSQL.5432")
    }

    /// The name of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {ROLE}"));
        name
    }

    /// How an offhook is told of a database.
    pub fn url(&self, database: &str) -> String {
        self.url_of(ROLE, database)
    }

    /// The same for the superuser, whom nothing binds.
    pub fn url_of_superuser(&self, database: &str) -> String {
        self.url_of(USER, database)
    }

    fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@localhost/{database}?host={}", self.directory.display())
    }

    /// How it is told of one that may be here or there.
    pub fn url_or(&self, other: &Cluster, database: &str) -> String {
        let (here, there) = (self.directory.display(), other.directory.display());
        format!("postgres://{ROLE}@localhost/{database}?host={here},{there}")
    }

    /// What psql says to the superuser's statement, without headings.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let said = self.psql(&self.url_of_superuser(database), statement).output();
        let said = said.expect("psql runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("psql speaks UTF-8").trim().to_owned()
    }

    /// To be run: it stops at the first statement that fails.
    pub fn psql(&self, url: &str, statements: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements]).arg(url);
        psql
    }

    /// As a power cut: no session is told, nothing is flushed.
    pub fn stop_at_once(&self) {
        let mut stop = self.pg_ctl();
        let output = stop.args(["-m", "immediate", "stop"]).output().expect("pg_ctl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it, on the same files.
    pub fn run(&self) {
        let log = self.directory.join("log");
        let started = Instant::now();
        loop {
            let mut start = self.pg_ctl();
            start.args(["-w", "-t", "60", "start", "-l"]).arg(&log);
            // What it starts lives on and must not hold our pipes.
            let status = start.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if status.expect("pg_ctl runs").success() {
                return;
            }
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "PostgreSQL does not start:\n{said}");
        }
    }

    fn pg_ctl(&self) -> Command {
        let mut command = run_as_user(self.programs.join("pg_ctl"));
        command.arg("-D").arg(self.directory.join("data"));
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// How an offhook is told of a database behind a proxy.
pub fn url_through(address: SocketAddr, database: &str) -> String {
    format!("postgres://{ROLE}@{address}/{database}")
}

/// Debian keeps them off the PATH, by version; the newest is taken.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(_, path)| path.join("bin/initdb").is_file())
        .collect();
    versions.sort();
    let newest = versions.pop().map(|(_, path)| path.join("bin"));
    newest.expect(
        "PostgreSQL is not installed: `cargo xtask test` does it, or apt-get install postgresql",
    )
}

/// Empty, and the server user's own.
fn directory() -> PathBuf {
    let made = run_as_user("mktemp")
        .args(["-d", "/tmp/offhook-postgres-XXXXXX"])
        .output()
        .expect("mktemp runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).expect("a path").trim())
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn run_as_user(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        let ids = [&format!("--reuid={USER}"), &format!("--regid={USER}")];
        command.args(ids).arg("--clear-groups").arg(program);
        command
    } else {
        Command::new(program)
    };
    // Where the user may not look, its programs complain.
    command.current_dir("/").env_remove("PGPASSWORD");
    command
}

fn is_root() -> bool {
    let owner = std::fs::metadata("/proc/self").map(|entry| {
        use std::os::unix::fs::MetadataExt as _;
        entry.uid()
    });
    owner.is_ok_and(|uid| uid == 0)
}
