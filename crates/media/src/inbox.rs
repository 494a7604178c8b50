//! The bounded queue into one media thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::command::Command;
use crate::poller::Waker;
use crate::prepare::Prepared;

/// What waits for a media thread.
pub(crate) enum Input {
    Command(Command),
    /// Clips that now have their packets.
    Prepared(Prepared),
}

/// Commands wait here until the thread's next millisecond.
pub(crate) struct Inbox {
    limit: usize,
    queue: Mutex<Queue>,
    waker: Arc<Waker>,
}

#[derive(Default)]
struct Queue {
    inputs: VecDeque<Input>,
    stop: bool,
}

/// The queue to the leg's media thread is full: try again, or shed load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media thread has too many commands waiting")]
pub struct Busy;

impl Inbox {
    /// `waker` wakes the thread that reads.
    pub(crate) fn new(limit: usize, waker: Arc<Waker>) -> Self {
        Inbox { limit, queue: Mutex::default(), waker }
    }

    /// `Close` frees resources, so it has room where other commands are refused already. What is refused is given back.
    pub(crate) fn command(&self, command: Command) -> Result<(), Box<Command>> {
        let limit = match command {
            Command::Close { .. } => self.limit * 2,
            Command::Offer { .. }
            | Command::Answer { .. }
            | Command::Remote { .. }
            | Command::Reoffered { .. }
            | Command::Rebind { .. }
            | Command::Play { .. }
            | Command::StopPlay { .. }
            | Command::Record { .. }
            | Command::StopRecording { .. }
            | Command::PauseRecording { .. }
            | Command::ResumeRecording { .. }
            | Command::SendDigits { .. }
            | Command::Listen { .. }
            | Command::Bridge { .. }
            | Command::Forward { .. }
            | Command::Unbridge { .. }
            | Command::Ringback { .. }
            | Command::Watch { .. } => self.limit,
        };
        let mut queue = self.lock();
        if queue.inputs.len() >= limit {
            return Err(Box::new(command));
        }
        queue.inputs.push_back(Input::Command(command));
        drop(queue);
        self.waker.wake();
        Ok(())
    }

    /// The answer to a request of the thread's own, which are bounded where they are made.
    pub(crate) fn prepared(&self, prepared: Prepared) {
        self.lock().inputs.push_back(Input::Prepared(prepared));
        self.waker.wake();
    }

    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.waker.wake();
    }

    /// Moves all that waits into `inputs` (empty before); false once the thread shall end.
    pub(crate) fn take(&self, inputs: &mut VecDeque<Input>) -> bool {
        let mut queue = self.lock();
        std::mem::swap(&mut queue.inputs, inputs);
        !queue.stop
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics while it holds the lock, so a poisoned queue is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::LegId;

    #[test]
    fn a_full_queue_refuses_all_but_the_end_of_legs_and_that_too_in_the_end() {
        let inbox = Inbox::new(3, Arc::new(Waker::new().unwrap()));
        let stop = || inbox.command(Command::StopPlay { leg: LegId(1) }).map_err(|_| Busy);
        let close = || inbox.command(Command::Close { leg: LegId(1) }).map_err(|_| Busy);
        assert_eq!([stop(), stop(), stop(), stop()], [Ok(()), Ok(()), Ok(()), Err(Busy)]);
        assert_eq!([close(), close(), close(), close()], [Ok(()), Ok(()), Ok(()), Err(Busy)]);
        let mut inputs = VecDeque::new();
        assert!(inbox.take(&mut inputs));
        assert_eq!(inputs.len(), 6);
        assert_eq!(stop(), Ok(()));
        inbox.stop();
        inputs.clear();
        assert!(!inbox.take(&mut inputs));
    }
}
