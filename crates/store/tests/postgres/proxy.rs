//! Stands between an offhook and its database, and cuts where a network would: what was sent before
//! the cut arrives, what comes back does not.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::unix;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// How a commit is said: the text of the statement, or the name under which it was prepared.
const COMMIT: &[u8] = b"COMMIT\0";

pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    socket: PathBuf,
    plan: Mutex<Plan>,
    /// Changes where all connections are to be cut.
    cut_all: watch::Sender<u64>,
    cuts: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Pass,
    /// Nobody gets through, and nobody new.
    Refuse,
    /// The reply to this commit is cut off, counted from 1; those before it pass.
    CutReply {
        commit: u32,
    },
}

impl Proxy {
    pub async fn start(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            socket,
            plan: Mutex::new(Plan::Pass),
            cut_all: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Proxy { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the commit number `commit` from now on through and cuts the connection in place of its
    /// reply. Says so through [`Proxy::cut`].
    pub fn cut_reply_to_commit(&self, commit: u32) {
        *self.state.plan.lock().expect("no test panics in here") = Plan::CutReply { commit };
    }

    /// Resolves when that has been done, `count` times since the start.
    pub async fn cut(&self, count: u64) {
        let mut cuts = self.state.cuts.subscribe();
        cuts.wait_for(|done| *done >= count).await.expect("the proxy is held");
    }

    /// As a cable that is pulled.
    pub fn refuse(&self) {
        *self.state.plan.lock().expect("no test panics in here") = Plan::Refuse;
        self.state.cut_all.send_modify(|count| *count += 1);
    }

    pub fn pass(&self) {
        *self.state.plan.lock().expect("no test panics in here") = Plan::Pass;
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let plan = *state.plan.lock().expect("no test panics in here");
        if plan == Plan::Refuse {
            continue;
        }
        tokio::spawn(carry(client, Arc::clone(&state)));
    }
}

async fn carry(client: TcpStream, state: Arc<State>) {
    let mut cut_all = state.cut_all.subscribe();
    let Ok(server) = UnixStream::connect(&state.socket).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Once a commit of the plan is on its way, its reply is withheld.
    let (withhold, withheld) = watch::channel(false);
    tokio::select! {
        () = forth(from_client, to_server, &state, &withhold) => {}
        () = back(from_server, to_client, &state, withheld) => {}
        _ = cut_all.changed() => {}
    }
}

async fn forth(
    mut from: OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    state: &State,
    withhold: &watch::Sender<bool>,
) {
    let mut bytes = vec![0; 64 << 10];
    // sqlx prepares `COMMIT` once per connection and names it by a number from then on.
    let mut name: Option<Vec<u8>> = None;
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let sent = &bytes[..length];
        if is_commit(sent, &mut name) && is_the_one(&mut state.plan.lock().expect("no panic")) {
            let _ = withhold.send(true);
        }
        if to.write_all(sent).await.is_err() {
            return;
        }
    }
}

/// Whether a packet executes a commit. Statements of a session come one at a time, so that one
/// packet is one statement.
fn is_commit(sent: &[u8], name: &mut Option<Vec<u8>>) -> bool {
    let find = |wanted: &[u8]| sent.windows(wanted.len()).position(|window| window == wanted);
    if let (Some(b'P'), Some(at)) = (sent.first(), find(COMMIT)) {
        // Parse: type, length, name, NUL, text, NUL.
        *name = Some(sent[5..at].to_vec());
    }
    let Some(name) = name else { return false };
    // Bind: type, length, portal, NUL, statement, NUL. The name ends with its NUL already.
    sent.first() == Some(&b'B') && sent.get(6..6 + name.len()) == Some(name)
}

fn is_the_one(plan: &mut Plan) -> bool {
    match *plan {
        Plan::CutReply { commit: 1 } => {
            *plan = Plan::Pass;
            true
        }
        Plan::CutReply { commit } => {
            *plan = Plan::CutReply { commit: commit - 1 };
            false
        }
        Plan::Pass | Plan::Refuse => false,
    }
}

async fn back(
    mut from: unix::OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    withheld: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if *withheld.borrow() {
            state.cuts.send_modify(|count| *count += 1);
            return;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
