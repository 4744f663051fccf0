//! A process that has run out of file descriptors: new connections wait, and the server is there
//! again as soon as some are free. In a process of its own, because the limit is the process's.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stead_apiserver::pki::{Pki, ServerNames};
use stead_apiserver::{ApiServer, Config, NoNodes};
use stead_store::{Embedded, Limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const FILES_MAX: u64 = 64;
/// Entries of the log that are kept for whoever waits for them.
const ENTRIES_MAX: usize = 16;
/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the server's log goes: one write is one entry.
struct Entries(mpsc::Sender<String>);

impl io::Write for Entries {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        // One that finds no place is one of many alike.
        self.0.try_send(String::from_utf8_lossy(entry).into_owned()).ok();
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_listener_survives_having_no_file_descriptor_left() {
    let (entries, mut said) = mpsc::channel(ENTRIES_MAX);
    let log = tracing_subscriber::fmt().with_writer(move || Entries(entries.clone())).finish();
    let _told = tracing::subscriber::set_default(log);
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&directory.path().join("store"), Limits::default()).unwrap());
    let names = ServerNames { listen: None, service: Ipv4Addr::new(10, 96, 0, 1), node: "one".into() };
    let pki = Pki::open(&directory.path().join("pki"), &names, Timestamp::now()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = ApiServer::new(Config::default(), store, Arc::new(NoNodes));
    let serving = tokio::spawn(server.serve(listener, pki.server_config().unwrap(), shutdown.clone()));

    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES_MAX), maximum }).unwrap();
    // The client's end takes the last descriptor; the server has none for its own end.
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    hoard.pop();
    let waiting = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        let shortage = async { while !said.recv().await.unwrap().contains("no connection can be accepted") {} };
        tokio::time::timeout(PATIENCE, shortage).await.expect("it tries, and goes on trying");
    }
    assert!(!serving.is_finished(), "the listener gave up");

    drop(hoard);
    drop(waiting);
    let probe = TcpStream::connect(address).await.unwrap();
    probe.writable().await.unwrap();
    probe.try_write(b"no TLS").unwrap();
    let answered = tokio::time::timeout(PATIENCE, probe.readable()).await;
    assert!(answered.is_ok(), "nobody answers any more");
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}
