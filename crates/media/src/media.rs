//! The handle: starts the threads, routes commands to them.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::command::Command;
use crate::config::Config;
use crate::event::EventSink;
use crate::inbox::{Busy, Inbox};
use crate::limits::{self, Capacity};
use crate::placement::Placement;
use crate::poller::{Poller, Waker};
use crate::prepare::Preparer;
use crate::recorder::Recorder;
use crate::ringback;
use crate::worker::{Setup, Worker};

/// A handle to the media threads. Cloning shares them; with the last handle they end, and every leg with
/// them; dropping it waits until that is done and recordings are on disk.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

struct Inner {
    inboxes: Vec<Arc<Inbox>>,
    placement: Arc<Placement>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    capacity: Capacity,
}

/// Why the media threads cannot start: the configuration or the machine is at fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("media.threads must be at least 1")]
    NoThreads,
    #[error("bound to {0}, which no far side can send to: set media.public_address")]
    NoPublicAddress(IpAddr),
    #[error("the public address is of the other IP version than the bound one")]
    AddressFamily,
    #[error(
        "the port range {0}-{1} holds no pair of an even port and the odd one above for each thread"
    )]
    PortRange(u16, u16),
    #[error("sockets cannot be bound to {address}: {source}")]
    Bind { address: IpAddr, source: io::Error },
    #[error("a thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// Starts the media threads. Every event goes to `sink`, on the thread that it happened on: hand it over and return.
pub fn start(config: Config, sink: EventSink) -> Result<Media, StartError> {
    check(&config)?;
    let capacity = limits::capacity(&config);
    let preparer = Preparer::start()?;
    let (recorder, recorder_thread) = Recorder::start()?;
    let sink: Arc<dyn Fn(crate::Event) + Send + Sync> = Arc::from(sink);
    let placement = Arc::new(Placement::new(config.threads));
    // Made here, and not by the first leg that needs it: that would hold up its thread.
    ringback::clip();
    let mut inboxes = Vec::with_capacity(config.threads);
    let mut threads = Vec::with_capacity(config.threads);
    for index in 0..config.threads {
        let waker = Arc::new(Waker::new()?);
        let inbox = Arc::new(Inbox::new(config.queue, Arc::clone(&waker)));
        let worker = Worker::new(Setup {
            config: config.clone(),
            index,
            capacity: capacity.legs / config.threads,
            inbox: Arc::clone(&inbox),
            poller: Poller::new(waker)?,
            placement: Arc::clone(&placement),
            sink: Arc::clone(&sink),
            preparer: preparer.clone(),
            recorder: recorder.clone(),
        });
        let thread =
            thread::Builder::new().name(format!("media-{index}")).spawn(move || worker.run())?;
        inboxes.push(inbox);
        threads.push(thread);
    }
    // Last, since it ends after the others: by then every recording is handed over.
    threads.push(recorder_thread);
    let threads = Mutex::new(threads);
    Ok(Media { inner: Arc::new(Inner { inboxes, placement, threads, capacity }) })
}

impl Media {
    /// Queues a command for the leg's thread; commands of one leg are done in their order.
    pub fn command(&self, command: Command) -> Result<(), Busy> {
        self.try_command(command).map_err(|_| Busy)
    }

    /// As [`Media::command`]; gives back what there is no room for, to be tried again.
    pub fn try_command(&self, command: Command) -> Result<(), Box<Command>> {
        let leg = command.leg();
        let (thread, is_new) = self.inner.placement.place(&command);
        let queued = self.inner.inboxes[thread].command(command);
        if queued.is_err() && is_new {
            self.inner.placement.forget(leg);
        }
        queued
    }

    /// How many legs ports and descriptors allow at a time. One more `Offer` fails with
    /// [`crate::MediaFault::NoPort`].
    pub fn capacity(&self) -> Capacity {
        self.inner.capacity
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for inbox in &self.inboxes {
            inbox.stop();
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // The last handle may be dropped inside a sink, on one of these threads: then they end by themselves.
        if threads.iter().any(|thread| thread.thread().id() == thread::current().id()) {
            return;
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a media thread had panicked");
            }
        }
    }
}

fn check(config: &Config) -> Result<(), StartError> {
    if config.threads == 0 {
        return Err(StartError::NoThreads);
    }
    match config.public_address {
        None if config.bind.is_unspecified() => {
            return Err(StartError::NoPublicAddress(config.bind));
        }
        Some(public) if public.is_ipv4() != config.bind.is_ipv4() => {
            return Err(StartError::AddressFamily);
        }
        Some(_) | None => {}
    }
    if let Some(range) = &config.port_range
        && limits::pairs(range) < config.threads
    {
        return Err(StartError::PortRange(*range.start(), *range.end()));
    }
    std::net::UdpSocket::bind((config.bind, 0))
        .map_err(|source| StartError::Bind { address: config.bind, source })?;
    Ok(())
}
