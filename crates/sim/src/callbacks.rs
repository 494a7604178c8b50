//! A callback receiver: keeps every request that arrives and answers as told.

mod listener;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use crate::Moment;
pub(crate) use listener::Listener;
use listener::Peer;

/// Larger bodies are refused with 413.
const MAX_BODY: usize = 1 << 20;
/// Requests kept; later ones are answered and counted, no more.
const MAX_KEPT: usize = 500_000;
/// Answers that may be scripted ahead.
const MAX_SCRIPTED: usize = 100_000;

/// The header that names an event across its tries.
pub const EVENT_ID: &str = "webhook-id";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Callback {
    pub arrived_at: Moment,
    pub from: Option<SocketAddr>,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Callback {
    /// Value of `webhook-id`: the same for each try of one event.
    pub fn event_id(&self) -> Option<&str> {
        self.header(EVENT_ID)
    }

    /// A header's value, where there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, where it is JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A text field of a JSON body, for example `callSerialNo`.
    pub fn field(&self, name: &str) -> Option<String> {
        Some(self.json()?.get(name)?.as_str()?.to_owned())
    }
}

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// The same, some time later.
    After(Duration, Box<Answer>),
    /// Never: the connection stays open until the sender gives up.
    Hang,
    /// Connection reset (RST) without a byte of reply.
    Reset,
    /// The head of a 200 and half of its body, then the connection is closed.
    CutBody,
}

impl Answer {
    /// The documented answer: 200 and `{"retCode":"0","retMsg":"success"}`.
    pub fn accepted() -> Answer {
        let body = r#"{"retCode":"0","retMsg":"success"}"#.to_owned();
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Answer::Reply { status: 200, headers, body }
    }

    /// An empty reply; `code` is 200 to 599, else 500 is sent.
    pub fn status(code: u16) -> Answer {
        Answer::Reply { status: code, headers: Vec::new(), body: String::new() }
    }

    /// Adds a header to a reply, for example `Retry-After`. Other answers have none and stay as they are.
    pub fn with_header(self, name: &str, value: &str) -> Answer {
        match self {
            Answer::Reply { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Answer::Reply { status, headers, body }
            }
            Answer::After(wait, inner) => {
                Answer::After(wait, Box::new(inner.with_header(name, value)))
            }
            other @ (Answer::Hang | Answer::Reset | Answer::CutBody) => other,
        }
    }

    pub fn after(self, wait: Duration) -> Answer {
        Answer::After(wait, Box::new(self))
    }
}

/// What has arrived and what will be answered. Clones share it.
#[derive(Clone)]
pub struct Callbacks {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<Received>,
    /// Requests received so far: wakes those who wait.
    count: watch::Sender<u64>,
}

#[derive(Default)]
struct Received {
    kept: Vec<Arc<Callback>>,
    event_ids: BTreeSet<String>,
    without_id: u64,
    scripted: VecDeque<Answer>,
}

impl Default for Callbacks {
    fn default() -> Self {
        Callbacks::new()
    }
}

impl Callbacks {
    pub fn new() -> Callbacks {
        let shared = Shared { state: Mutex::default(), count: watch::Sender::new(0) };
        Callbacks { shared: Arc::new(shared) }
    }

    /// The routes that receive: any path, any method. [`Answer::Reset`] needs the listener of [`CallbackReceiver`];
    /// under another one it hangs.
    pub fn router(&self) -> Router {
        Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self.clone())
    }

    /// Appends answers, one for each request to come; then each gets [`Answer::accepted`] again. Answers past 100,000
    /// are not kept.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        let mut state = self.lock();
        let room = MAX_SCRIPTED - state.scripted.len();
        state.scripted.extend(answers.into_iter().take(room));
    }

    /// Everything that arrived, in its order.
    pub fn all(&self) -> Vec<Arc<Callback>> {
        self.lock().kept.clone()
    }

    /// Requests that arrived, tries of one event counted each.
    pub fn count(&self) -> u64 {
        *self.shared.count.borrow()
    }

    /// Different `webhook-id`s; a request without one counts by itself.
    pub fn distinct(&self) -> u64 {
        let state = self.lock();
        state.event_ids.len() as u64 + state.without_id
    }

    /// The first request that satisfies `predicate`, among those that came and those to come.
    pub async fn received(&self, predicate: impl Fn(&Callback) -> bool) -> Arc<Callback> {
        let mut next = 0;
        self.until(move |state| {
            // `clear` may have shortened the list meanwhile.
            let unseen = &state.kept[next.min(state.kept.len())..];
            let found = unseen.iter().find(|callback| predicate(callback)).cloned();
            next = state.kept.len();
            found
        })
        .await
    }

    /// Returns when `count` different events have arrived.
    pub async fn distinct_reached(&self, count: u64) {
        self.until(|state| {
            (state.event_ids.len() as u64 + state.without_id >= count).then_some(())
        })
        .await;
    }

    /// Forgets what arrived and what was scripted.
    pub fn clear(&self) {
        *self.lock() = Received::default();
        self.shared.count.send_replace(0);
    }

    async fn until<T>(&self, mut reached: impl FnMut(&Received) -> Option<T>) -> T {
        let mut count = self.shared.count.subscribe();
        loop {
            count.borrow_and_update();
            if let Some(found) = reached(&self.lock()) {
                return found;
            }
            count.changed().await.expect("self holds the sender");
        }
    }

    fn record(&self, callback: Callback) -> Answer {
        let mut state = self.lock();
        match callback.event_id().map(str::to_owned) {
            Some(id) if state.event_ids.len() < MAX_KEPT => {
                state.event_ids.insert(id);
            }
            Some(_) => {}
            None => state.without_id += 1,
        }
        if state.kept.len() < MAX_KEPT {
            state.kept.push(Arc::new(callback));
        }
        let answer = state.scripted.pop_front().unwrap_or_else(Answer::accepted);
        drop(state);
        self.shared.count.send_modify(|count| *count += 1);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        // A panic elsewhere leaves a list that is still true.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Callbacks`] with an HTTP listener of its own.
pub struct CallbackReceiver {
    callbacks: Callbacks,
    listener: Listener,
}

impl CallbackReceiver {
    /// Listens on `address`; port 0 takes a free one.
    pub async fn start(address: SocketAddr) -> std::io::Result<CallbackReceiver> {
        let callbacks = Callbacks::new();
        let listener = Listener::start(address, callbacks.router()).await?;
        Ok(CallbackReceiver { callbacks, listener })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// For `callBackUrl`.
    pub fn url(&self) -> String {
        format!("http://{}/callbacks", self.address())
    }

    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Closes the listener and every connection.
    pub async fn shut_down(self) {
        self.listener.shut_down().await;
    }
}

async fn receive(
    State(callbacks): State<Callbacks>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let peer = peer.map(|Extension(peer)| peer);
    let answer = callbacks.record(Callback {
        arrived_at: Moment::now(),
        from: peer.as_ref().map(Peer::address),
        path: uri.path().to_owned(),
        headers,
        body,
    });
    give(answer, peer).await
}

async fn give(mut answer: Answer, peer: Option<Peer>) -> Response {
    while let Answer::After(wait, inner) = answer {
        tokio::time::sleep(wait).await;
        answer = *inner;
    }
    match answer {
        Answer::Reply { status, headers, body } => reply(status, &headers, body),
        Answer::Reset => {
            if let Some(peer) = peer {
                peer.reset();
            }
            std::future::pending().await
        }
        Answer::CutBody => cut_body(),
        Answer::Hang | Answer::After(..) => std::future::pending().await,
    }
}

fn reply(status: u16, headers: &[(String, String)], body: String) -> Response {
    let mut builder =
        Response::builder().status(if (200..600).contains(&status) { status } else { 500 });
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(body)).unwrap_or_else(|error| {
        (axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("scripted answer: {error}"))
            .into_response()
    })
}

/// Half of a body whose full length was announced.
fn cut_body() -> Response {
    Response::builder()
        .header("content-length", 2 * listener::HALF.len())
        .body(Body::new(listener::HalfBody::default()))
        .expect("a number is a header value")
}
