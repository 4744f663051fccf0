//! What this machine can do at best: the same durable writes without a product around them. Each floor is
//! measured in the run it belongs to, on the file system of the data directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One write and one fdatasync after the other, per second.
pub(crate) fn bare_writes_per_s(dir: &Path, bytes: usize, time: Duration) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(dir).context("cannot make a file for the floor")?;
    let value = vec![b'x'; bytes];
    let started = Instant::now();
    let mut writes = 0_u32;
    while started.elapsed() < time {
        file.write_all(&value)?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(f64::from(writes) / started.elapsed().as_secs_f64())
}

/// Serves one connection until it closes: every request's body is appended to a file, synced and answered by the
/// thread that has read it, which is the shortest way there is. Gives the address to connect to.
pub(crate) fn single_write_server(dir: &Path, tls: Arc<ServerConfig>) -> anyhow::Result<String> {
    let mut file = tempfile::tempfile_in(dir).context("cannot make a file for the floor")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        let write = |body: Vec<u8>| Ok(file.write_all(&body).and_then(|()| file.sync_data())?);
        let served = listener.accept().context("nobody came").and_then(|(socket, _)| serve(socket, tls, write));
        if let Err(error) = served {
            eprintln!("bench: the floor's server lost its client: {error:#}");
        }
    });
    Ok(address)
}

/// One write that waits to be durable, and whom to tell.
type Waiting = (Vec<u8>, SyncSender<()>);

/// Serves `clients` connections, each until it closes: every request's body is appended to one file, and
/// answered once an fdatasync covers it; whatever waits shares one. Gives the address to connect to.
pub(crate) fn group_commit_server(dir: &Path, tls: Arc<ServerConfig>, clients: usize) -> anyhow::Result<String> {
    let file = tempfile::tempfile_in(dir).context("cannot make a file for the floor")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let address = listener.local_addr()?.to_string();
    let (queue, writes) = sync_channel(clients);
    thread::spawn(move || commit(file, &writes));
    thread::spawn(move || {
        for socket in listener.incoming().take(clients).filter_map(Result::ok) {
            let (queue, tls) = (queue.clone(), Arc::clone(&tls));
            thread::spawn(move || {
                let (done, durable) = sync_channel(1);
                let write = |body| Ok(queue.send((body, done.clone())).map(|()| durable.recv())??);
                // A client that has measured enough closes its connection: that ends this thread.
                if let Err(error) = serve(socket, tls, write) {
                    eprintln!("bench: the floor's server lost a client: {error:#}");
                }
            });
        }
    });
    Ok(address)
}

/// Makes everything that waits durable, together, until nobody can ask any more.
fn commit(mut file: File, writes: &Receiver<Waiting>) {
    while let Ok(first) = writes.recv() {
        let batch: Vec<Waiting> = std::iter::once(first).chain(writes.try_iter()).collect();
        let bytes: Vec<u8> = batch.iter().flat_map(|(bytes, _)| bytes).copied().collect();
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            eprintln!("bench: the floor's file cannot be written: {error}");
            return;
        }
        // Whoever does not listen any more has gone.
        batch.iter().filter_map(|(_, done)| done.send(()).err()).for_each(drop);
    }
}

/// Answers each request once `write` has made its body durable.
fn serve(
    socket: TcpStream,
    tls: Arc<ServerConfig>,
    mut write: impl FnMut(Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls)?, socket));
    while let Some(body) = request_body(&mut stream)? {
        write(body)?;
        let stream = stream.get_mut();
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")?;
        stream.flush()?;
    }
    Ok(())
}

/// The body of the next request; none when there is no next one.
fn request_body(stream: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        match stream.read_line(&mut line) {
            Ok(0) => return Ok(None),
            // A socket closed without a farewell between two requests.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_each_other_on_one_connection() {
        let mut stream =
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabPOST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nc".as_bytes();
        let mut next = || request_body(&mut stream).expect("well-formed");
        assert_eq!(next(), Some(b"ab".to_vec()));
        assert_eq!(next(), Some(b"c".to_vec()));
        assert_eq!(next(), None);
    }

    #[test]
    fn the_bare_loop_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(bare_writes_per_s(dir.path(), 16, Duration::from_millis(5)).expect("writes") > 0.0);
    }
}
