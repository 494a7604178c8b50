//! A server under strace (Debian's `strace`): what it does in which order, and faults of the disk on demand.

use std::path::PathBuf;

use super::Launch;

/// What strace wrote, in the directory of the server.
const OUTPUT: &str = "strace.txt";

/// From its first system call on; `words` choose what is traced or spoilt.
pub fn from_the_start(words: &[&str]) -> Launch {
    let own = ["strace", "-f", "-qq", "-o", OUTPUT];
    Launch {
        under: own.iter().chain(words).map(|&word| word.to_owned()).collect(),
        ..Launch::default()
    }
}

/// Not before [`Server::spoil`](super::Server::spoil). The shell becomes strace, the parent of the server, which may trace it
/// on every Debian.
pub fn on_demand() -> Launch {
    let script = format!(
        r#""$@" & server=$!; read -r fault || exit; exec strace -f -o {OUTPUT} -p $server $fault"#
    );
    Launch { under: ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec(), ..Launch::default() }
}

impl super::Server {
    /// From when this returns, what the words of strace say goes wrong does.
    pub async fn spoil(&mut self, words: &str) {
        use std::io::Write as _;
        let shell = self.stdin.as_mut().expect("it was launched by `on_demand`");
        writeln!(shell, "{words}").expect("the shell reads");
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let (http, url) = (http.expect("a client"), format!("http://{}/healthz", self.http));
        let attached = async {
            while !self.log().contains(" attached") {
                // Each try takes a moment, and writes nothing.
                http.get(&url).send().await.expect("a reply");
            }
        };
        tokio::time::timeout(super::PATIENCE, attached).await.expect("strace attaches");
    }

    /// The lines of system calls so far.
    pub fn traced(&self) -> Vec<String> {
        let text = std::fs::read(self.directory().join(OUTPUT)).expect("strace writes a file");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// How the server ended, as strace saw it.
    pub fn traced_exit(&self) -> String {
        let lines = self.traced();
        let last = lines.iter().rev().find_map(|line| line.split_once("+++ "));
        last.expect("strace saw it end").1.trim_end_matches(" +++").to_owned()
    }

    pub fn log_of_writes(&self) -> PathBuf {
        self.data().join("offhook.db-wal")
    }
}
