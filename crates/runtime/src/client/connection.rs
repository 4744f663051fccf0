//! One connection to a supervisor: calls matched with answers, and what it tells unasked.
//!
//! One task has the socket. A caller only queues its frame and waits for the answer, so one that is dropped
//! on the way leaves no frame half sent.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::frame::{Incoming, Outgoing, asynchronous};
use crate::protocol::{Answer, Call, Message, Request, VERSION};
use crate::types::{ContainerInfo, RuntimeError};

/// Frames that wait to be sent; further callers wait.
const FRAMES_MAX: usize = 64;

/// A connection; closed for good once the supervisor is gone.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) supervisor_pid: i32,
    shared: Arc<Shared>,
}

/// What calls and the task that has the socket share.
#[derive(Debug)]
struct Shared {
    frames: mpsc::Sender<Outgoing>,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
    closed: watch::Sender<bool>,
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting {
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    execs: HashMap<u64, oneshot::Sender<i32>>,
    over: bool,
}

impl Connection {
    /// Greets the supervisor and begins to read. Containers' exits go to `exits`.
    pub(super) async fn open(
        socket: UnixStream,
        exits: broadcast::Sender<ContainerInfo>,
    ) -> Result<Arc<Self>, RuntimeError> {
        let (frames, queued) = mpsc::channel(FRAMES_MAX);
        let shared = Arc::new(Shared {
            frames,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(serve(Arc::clone(&shared), socket, queued, exits));
        match shared.call(Request::Hello { version: VERSION }, Vec::new()).await? {
            Answer::Hello { version: VERSION, pid } => Ok(Arc::new(Self { supervisor_pid: pid, shared })),
            other => Err(RuntimeError::Unreachable(format!("it speaks another protocol than {VERSION}: {other:?}"))),
        }
    }

    /// Calls and waits for the answer.
    pub(super) async fn call(&self, request: Request, fds: Vec<OwnedFd>) -> Result<Answer, RuntimeError> {
        self.shared.call(request, fds).await
    }

    /// Starts an exec; its number and where its exit code comes.
    pub(super) async fn exec(
        &self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<(u64, oneshot::Receiver<i32>), RuntimeError> {
        let number = self.shared.number();
        let (sender, ended) = oneshot::channel();
        self.shared.waiting().execs.insert(number, sender);
        let answer = self.shared.call_numbered(number, request, fds).await;
        if answer.is_err() {
            self.shared.waiting().execs.remove(&number);
        }
        answer.map(|_| (number, ended))
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Waits until the connection is closed.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closed = self.shared.closed.subscribe();
        async move {
            // An error means that the connection itself is gone.
            closed.wait_for(|closed| *closed).await.ok();
        }
    }
}

impl Drop for Connection {
    /// Ends the task that has the socket.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, request: Request, fds: Vec<OwnedFd>) -> Result<Answer, RuntimeError> {
        self.call_numbered(self.number(), request, fds).await
    }

    async fn call_numbered(&self, number: u64, request: Request, fds: Vec<OwnedFd>) -> Result<Answer, RuntimeError> {
        let lost = || RuntimeError::Unreachable("the connection was lost".into());
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.over {
                return Err(lost());
            }
            waiting.answers.insert(number, sender);
        }
        let frame = Outgoing::new(&Call { number, request }, fds).map_err(|e| RuntimeError::Other(e.to_string()))?;
        self.frames.send(frame).await.map_err(|_| lost())?;
        match answer.await {
            Ok(Answer::Failed(e)) => Err(e),
            Ok(answer) => Ok(answer),
            Err(_) => Err(lost()),
        }
    }

    fn close(&self) {
        let mut waiting = self.waiting();
        *waiting = Waiting { over: true, ..Waiting::default() };
        drop(waiting);
        self.closed.send_replace(true);
    }
}

/// Moves frames both ways until the supervisor or the client is gone.
async fn serve(
    shared: Arc<Shared>,
    socket: UnixStream,
    queued: mpsc::Receiver<Outgoing>,
    exits: broadcast::Sender<ContainerInfo>,
) {
    let mut closed = shared.closed.subscribe();
    let result: io::Result<()> = tokio::select! {
        result = read_messages(&shared, &socket, &exits) => result,
        result = write_frames(&socket, queued) => result,
        _ = closed.wait_for(|closed| *closed) => Ok(()),
    };
    if let Err(e) = result {
        tracing::warn!(%e, "connection to the supervisor failed");
    }
    shared.close();
}

async fn write_frames(socket: &UnixStream, mut queued: mpsc::Receiver<Outgoing>) -> io::Result<()> {
    while let Some(frame) = queued.recv().await {
        asynchronous::send(socket, frame).await?;
    }
    Ok(())
}

async fn read_messages(
    shared: &Shared,
    socket: &UnixStream,
    exits: &broadcast::Sender<ContainerInfo>,
) -> io::Result<()> {
    let mut incoming = Incoming::default();
    while let Some(frame) = asynchronous::receive(socket, &mut incoming).await? {
        match frame.decode()? {
            Message::Answer { number, answer } => {
                if let Some(sender) = shared.waiting().answers.remove(&number) {
                    // A caller that went away needs no answer.
                    sender.send(answer).ok();
                }
            }
            Message::Exited(container) => {
                // Nobody listening is fine.
                exits.send(*container).ok();
            }
            Message::ExecExited { exec, code } => {
                if let Some(sender) = shared.waiting().execs.remove(&exec) {
                    sender.send(code).ok();
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    /// Far more than a socket takes at once.
    const LONG: usize = 8 << 20;

    /// The supervisor's end of a connection, read call by call.
    struct Supervisor {
        socket: UnixStream,
        incoming: Incoming,
    }

    impl Supervisor {
        async fn next(&mut self) -> Call {
            let frame = asynchronous::receive(&self.socket, &mut self.incoming).await.unwrap().unwrap();
            frame.decode().unwrap()
        }

        async fn answer(&self, number: u64, answer: Answer) {
            let frame = Outgoing::new(&Message::Answer { number, answer }, Vec::new()).unwrap();
            asynchronous::send(&self.socket, frame).await.unwrap();
        }
    }

    async fn connect() -> (Arc<Connection>, Supervisor) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut supervisor = Supervisor { socket: theirs, incoming: Incoming::default() };
        let greeting = async {
            let number = supervisor.next().await.number;
            supervisor.answer(number, Answer::Hello { version: VERSION, pid: 1 }).await;
        };
        let (connection, ()) = tokio::join!(Connection::open(ours, broadcast::Sender::new(1)), greeting);
        (connection.unwrap(), supervisor)
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_half_way_does_not_spoil_the_next() {
        let (connection, mut supervisor) = connect().await;
        let mut spec = crate::testing::container_spec("c");
        spec.args = vec!["x".repeat(LONG)];
        {
            let mut dropped = pin!(connection.call(Request::StartContainer(Box::new(spec.clone())), Vec::new()));
            assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            // The socket is full by now, whoever fills it.
            tokio::task::yield_now().await;
            assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let serve = async {
            let first = supervisor.next().await;
            assert!(matches!(first.request, Request::StartContainer(sent) if *sent == spec), "a whole frame or none");
            let second = supervisor.next().await;
            assert!(matches!(second.request, Request::List));
            supervisor.answer(first.number, Answer::Done).await;
            supervisor.answer(second.number, Answer::Inventory(Default::default())).await;
        };
        // Of a spoilt stream the supervisor would wait for the rest of the first frame for ever.
        let both = async { tokio::join!(connection.call(Request::List, Vec::new()), serve) };
        let (answer, ()) = tokio::time::timeout(PATIENCE, both).await.expect("answered");
        assert!(matches!(answer, Ok(Answer::Inventory(_))), "{answer:?}");
    }
}
