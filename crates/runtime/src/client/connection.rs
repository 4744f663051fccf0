//! One connection to a supervisor: calls matched with answers, and what it tells unasked.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::{broadcast, oneshot, watch};

use crate::frame::{Incoming, Outgoing, asynchronous};
use crate::protocol::{Answer, Call, Message, Request, VERSION};
use crate::types::{ContainerInfo, RuntimeError};

/// A connection; closed for good once the supervisor is gone.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) supervisor_pid: i32,
    shared: Arc<Shared>,
}

/// What calls and the reading task share.
#[derive(Debug)]
struct Shared {
    socket: UnixStream,
    /// One frame at a time.
    writing: tokio::sync::Mutex<()>,
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
        let shared = Arc::new(Shared {
            socket,
            writing: tokio::sync::Mutex::default(),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(read(Arc::clone(&shared), exits));
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
    /// Ends the reading task, which holds the socket too.
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
        {
            let _writing = self.writing.lock().await;
            let mut closed = self.closed.subscribe();
            let sent = tokio::select! {
                sent = asynchronous::send(&self.socket, frame) => sent.is_ok(),
                _ = closed.wait_for(|closed| *closed) => false,
            };
            if !sent {
                // The reading task may not have seen the end yet; the next call must not come here again.
                self.close();
                return Err(lost());
            }
        }
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

/// Reads until the supervisor or the client is gone.
async fn read(shared: Arc<Shared>, exits: broadcast::Sender<ContainerInfo>) {
    let mut closed = shared.closed.subscribe();
    let result: io::Result<()> = tokio::select! {
        result = read_messages(&shared, &exits) => result,
        _ = closed.wait_for(|closed| *closed) => Ok(()),
    };
    if let Err(e) = result {
        tracing::warn!(%e, "connection to the supervisor failed");
    }
    shared.close();
}

async fn read_messages(shared: &Shared, exits: &broadcast::Sender<ContainerInfo>) -> io::Result<()> {
    let mut incoming = Incoming::default();
    while let Some(frame) = asynchronous::receive(&shared.socket, &mut incoming).await? {
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
