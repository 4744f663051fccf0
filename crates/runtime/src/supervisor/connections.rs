//! Clients: accepting them, their calls, and what they are told.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};

use super::Supervisor;
use crate::frame::{Incoming, Outgoing, asynchronous};
use crate::protocol::{Answer, Call, Message, Request, VERSION};
use crate::types::RuntimeError;

/// Most messages waiting for a client to read them. One that lets them pile up is disconnected: it will
/// connect anew and ask for the whole.
const OUTBOX_MAX: usize = 4096;
/// How long no client is accepted after a shortage: trying at once would only burn the processor.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Where messages to one client go.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    overflow: Rc<Notify>,
}

impl Outbox {
    /// Queues a message; a client that is gone misses it, one that does not read is disconnected.
    pub(super) fn send(&self, message: &Message) {
        match Outgoing::new(message, Vec::new()) {
            Ok(frame) => {
                if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(frame) {
                    self.overflow.notify_one();
                }
            }
            Err(e) => {
                tracing::error!(%e, "failed to encode a message");
                self.overflow.notify_one();
            }
        }
    }
}

/// The clients that are told of exits.
#[derive(Debug, Default)]
pub(super) struct Clients(RefCell<Vec<Outbox>>);

impl Clients {
    /// Tells every client.
    pub(super) fn broadcast(&self, message: &Message) {
        self.0.borrow_mut().retain(|client| !client.queue.is_closed());
        self.0.borrow().iter().for_each(|client| client.send(message));
    }
}

impl Supervisor {
    /// Serves clients for ever.
    pub(super) async fn accept(self: &Rc<Self>, listener: UnixListener) -> io::Result<()> {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    tokio::task::spawn_local(Rc::clone(self).serve_client(socket));
                }
                // What remains are passing shortages, of descriptors for one.
                Err(e) => {
                    tracing::error!(%e, "failed to accept a client");
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }

    async fn serve_client(self: Rc<Self>, socket: UnixStream) {
        let (queue, mut queued) = mpsc::channel(OUTBOX_MAX);
        let outbox = Outbox { queue, overflow: Rc::default() };
        let write = async {
            while let Some(frame) = queued.recv().await {
                asynchronous::send(&socket, frame).await?;
            }
            Ok(())
        };
        let overflow = Rc::clone(&outbox.overflow);
        let ended: io::Result<()> = tokio::select! {
            result = self.read_calls(&socket, outbox) => result,
            result = write => result,
            () = overflow.notified() => Err(io::Error::other("client does not read")),
        };
        if let Err(e) = ended {
            tracing::warn!(%e, "client disconnected");
        }
    }

    async fn read_calls(self: &Rc<Self>, socket: &UnixStream, outbox: Outbox) -> io::Result<()> {
        let mut incoming = Incoming::default();
        while let Some(frame) = asynchronous::receive(socket, &mut incoming).await? {
            let call: Call = frame.decode()?;
            if matches!(call.request, Request::Hello { .. }) {
                self.clients.0.borrow_mut().push(outbox.clone());
            }
            // Calls take their time side by side; a client waits for what it depends on.
            tokio::task::spawn_local(Rc::clone(self).answer(call, frame.fds, outbox.clone()));
        }
        Ok(())
    }

    async fn answer(self: Rc<Self>, call: Call, fds: Vec<OwnedFd>, client: Outbox) {
        let number = call.number;
        let result = self.perform(call, fds, &client).await;
        // An exec has answered already, before its end could be told.
        if let Some(answer) = result.unwrap_or_else(|e| Some(Answer::Failed(e))) {
            client.send(&Message::Answer { number, answer });
        }
    }

    async fn perform(
        self: &Rc<Self>,
        call: Call,
        fds: Vec<OwnedFd>,
        client: &Outbox,
    ) -> Result<Option<Answer>, RuntimeError> {
        let done = |()| Some(Answer::Done);
        match call.request {
            Request::Hello { version: _ } => {
                Ok(Some(Answer::Hello { version: VERSION, pid: std::process::id() as i32 }))
            }
            Request::CreateSandbox(spec) => {
                self.create_sandbox(*spec).await.map(|s| Some(Answer::Sandbox(Box::new(s))))
            }
            Request::RemoveSandbox(id) => self.remove_sandbox(&id).await.map(done),
            Request::StartContainer(spec) => {
                let started = self.start_container(*spec).await;
                // What the client locked for it; from now on the list tells what is in use.
                drop(fds);
                started.map(|c| Some(Answer::Container(Box::new(c))))
            }
            Request::KillContainer { id, signal } => self.kill_container(&id, signal).map(done),
            Request::RemoveContainer(id) => self.remove_container(&id).await.map(done),
            Request::Exec { id, spec, stdio } => {
                self.exec(&id, spec, stdio, fds, call.number, client).await.map(|()| None)
            }
            Request::KillExec { exec } => self.kill_exec(exec, client).map(done),
            Request::List => Ok(Some(Answer::Inventory(self.table.borrow().inventory()))),
            Request::Shutdown => self.shut_down().map(done),
        }
    }

    fn shut_down(&self) -> Result<(), RuntimeError> {
        let inventory = self.table.borrow().inventory();
        let (containers, sandboxes) = (inventory.containers.len(), inventory.sandboxes.len());
        if containers + sandboxes > 0 {
            return Err(RuntimeError::Other(format!("{containers} containers and {sandboxes} sandboxes are left")));
        }
        self.shutdown.notify_one();
        Ok(())
    }
}

impl PartialEq for Outbox {
    /// Whether both are the same client's.
    fn eq(&self, other: &Self) -> bool {
        self.queue.same_channel(&other.queue)
    }
}
