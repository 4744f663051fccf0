//! A replica of the demo: keeps what it is told in its volume and says it to whoever asks. Runs in a
//! container made from the `stead` binary.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use super::manifest::PORT;

const NOTES: &str = "/data/notes";
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Serves until SIGTERM.
pub fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let name = std::env::var("HOSTNAME").unwrap_or_default();
        println!("{name} keeps what it is told in {NOTES}, port {PORT}");
        loop {
            tokio::select! {
                _ = term.recv() => {
                    println!("{name} ends");
                    return Ok(());
                }
                accepted = listener.accept() => {
                    if let Err(error) = answer(accepted?.0).await {
                        println!("a request failed: {error}");
                    }
                }
            }
        }
    })
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let (is_post, body_at, length) = loop {
        if stream.read_buf(&mut request).await? == 0 || request.len() > REQUEST_BYTES_MAX {
            // A probe that only connects.
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.trim().parse::<usize>().ok());
        break (text.starts_with("POST"), end + 4, length.unwrap_or(0).min(REQUEST_BYTES_MAX));
    };
    while request.len() < body_at + length && stream.read_buf(&mut request).await? > 0 {}
    if is_post {
        keep(&request[body_at..]).await?;
    }
    let kept = if Path::new(NOTES).exists() { tokio::fs::read_to_string(NOTES).await? } else { String::new() };
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{kept}", kept.len());
    stream.write_all(answer.as_bytes()).await
}

/// Appends a note; it is on disk when this returns.
async fn keep(note: &[u8]) -> io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(NOTES).await?;
    file.write_all(note).await?;
    file.write_all(b"\n").await?;
    file.sync_all().await
}
