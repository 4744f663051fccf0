//! The supervisor: one small process per data directory that is the parent of every container.
//!
//! It owns their output, reaps them, writes down how they ended before it tells anyone, and goes on when
//! the server is killed or upgraded. It has one thread and never waits in a system call except for the
//! disk; whatever enters namespaces or mounts is a worker's job. It decides nothing: it does what a
//! client asks and reports what happens. Restarting the server never restarts it; killed, its successor
//! adopts what runs.

mod adopt;
mod connections;
mod containers;
mod exits;
mod process;
mod pump;
mod readiness;
mod records;
mod sandboxes;
mod signals;
mod table;
mod workers;

use std::cell::RefCell;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::cgroup::Cgroups;
use crate::layout::{Layout, SOCKET, short_path};
use connections::Clients;
use table::Table;
use workers::Workers;

/// The `supervisor --dir DIR` verb. Called by a client it leaves a detached, sealed copy of itself
/// running and ends; that copy calls it again and serves until it is shut down. To be called before
/// anything starts a thread.
pub fn main(dir: &Path) -> ExitCode {
    let result = match process::is_sealed() {
        Ok(true) => serve(dir),
        Ok(false) => process::detach_and_seal(dir),
        Err(e) => Err(e),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("supervisor: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Everything the supervisor holds.
#[derive(Debug)]
struct Supervisor {
    layout: Layout,
    /// This run of the machine.
    boot: String,
    cgroups: Cgroups,
    workers: Workers,
    table: RefCell<Table>,
    clients: Clients,
    /// Told when a client asked for the end.
    shutdown: Notify,
}

fn serve(dir: &Path) -> io::Result<()> {
    crate::stderr_log::install();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let Some(_lock) = process::lock(dir)? else {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another supervisor has this directory"));
    };
    let layout = Layout { root: dir.to_path_buf() };
    fs::create_dir_all(layout.containers())?;
    fs::create_dir_all(layout.sandboxes())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let supervisor = Rc::new(Supervisor {
        boot: records::boot_id()?,
        cgroups: Cgroups::detect().map_err(io::Error::other)?,
        workers: runtime.block_on(Workers::take_over(dir))?,
        table: RefCell::default(),
        clients: Clients::default(),
        shutdown: Notify::new(),
        layout,
    });
    LocalSet::new().block_on(&runtime, supervisor.run(dir))
}

impl Supervisor {
    async fn run(self: Rc<Self>, dir: &Path) -> io::Result<()> {
        let reaper = exits::Reaper::new()?;
        tokio::task::spawn_local(reaper.run(Rc::clone(&self)));
        self.adopt().await;
        let listener = bind(dir)?;
        process::announce_and_redirect(dir)?;
        tracing::info!(pid = std::process::id(), "serving");
        tokio::select! {
            result = self.accept(listener) => result,
            () = self.shutdown.notified() => Ok(()),
        }?;
        fs::remove_file(dir.join(SOCKET))?;
        tracing::info!("shut down");
        Ok(())
    }
}

/// Listens on the socket, for the owner only. A socket a killed supervisor left is replaced.
fn bind(dir: &Path) -> io::Result<UnixListener> {
    let directory = File::open(dir)?;
    let path = short_path(&directory, SOCKET);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
