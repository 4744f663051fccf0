//! Commands in containers over WebSocket (contract `pods.md` 8.6–8.10): channel 0 is standard input,
//! 1 output, 2 errors, 3 the final status, 4 terminal sizes; in v5, 255 closes a channel.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use stead_net::Network;
use stead_runtime::{ExecHandle, ExecSpec, ExecStdio, Runtime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_util::task::AbortOnDropHandle;

use super::query::Query;
use super::{Body, newest, text};
use crate::agent::Inner;
use crate::worker::Worker;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
const CHUNK_BYTES: usize = 32 << 10;
/// Frames between the process and a slow client; then the process waits.
const FRAMES_MAX: usize = 16;
/// Output of left-over children is waited for so long after the command has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// The subprotocols spoken, best first.
const PROTOCOLS: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];

#[derive(Clone, Copy)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

/// Answers an upgrade request with a running command.
pub(super) async fn answer<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let tty = query.flag("tty");
    let streams = Streams {
        stdin: query.flag("stdin") || query.flag("input"),
        stdout: query.flag("stdout") || query.flag("output"),
        stderr: (query.flag("stderr") || query.flag("error")) && !tty,
        tty,
    };
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let Some((id, _, true)) = newest(worker, container) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("container not found ({container:?})"));
    };
    let Some((protocol, accept)) = handshake(request.headers()) else {
        return text(StatusCode::BAD_REQUEST, "only WebSocket upgrades are supported for exec");
    };
    let spec = ExecSpec { args: query.all("command"), tty };
    let (ours, theirs) = match plumbing(streams) {
        Ok(ends) => ends,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot make pipes: {error}")),
    };
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        let upgraded = match hyper::upgrade::on(request).await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "exec upgrade failed");
                return;
            }
        };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let started = inner.runtime.exec(&id, spec, theirs).await.map_err(|error| error.to_string());
        if let Err(error) = converse(socket, ours, started, streams, protocol).await {
            tracing::debug!(%error, "exec conversation ended early");
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Full::new(Bytes::new()).boxed());
    response.unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The subprotocol to speak and the accept key, if the client asks for a WebSocket.
fn handshake(headers: &HeaderMap) -> Option<(&'static str, String)> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let protocol = PROTOCOLS.into_iter().find(|protocol| offered.contains(protocol))?;
    Some((protocol, derive_accept_key(key.as_bytes())))
}

/// The agent's ends of the process's standard streams.
struct Ours {
    stdin: Option<Sender>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    terminal: Option<OwnedFd>,
}

fn plumbing(streams: Streams) -> std::io::Result<(Ours, ExecStdio)> {
    if streams.tty {
        let pty = nix::pty::openpty(None, None)?;
        let ours = Ours {
            stdin: streams.stdin.then(|| Sender::from_owned_fd_unchecked(pty.master.try_clone()?)).transpose()?,
            stdout: Some(Receiver::from_owned_fd_unchecked(pty.master.try_clone()?)?),
            stderr: None,
            terminal: Some(pty.master),
        };
        return Ok((ours, ExecStdio { stdin: Some(pty.slave), stdout: None, stderr: None }));
    }
    let mut ours = Ours { stdin: None, stdout: None, stderr: None, terminal: None };
    let mut theirs = ExecStdio::default();
    if streams.stdin {
        let (reader, writer) = std::io::pipe()?;
        ours.stdin = Some(Sender::from_owned_fd(writer.into())?);
        theirs.stdin = Some(reader.into());
    }
    if streams.stdout {
        let (reader, writer) = std::io::pipe()?;
        ours.stdout = Some(Receiver::from_owned_fd(reader.into())?);
        theirs.stdout = Some(writer.into());
    }
    if streams.stderr {
        let (reader, writer) = std::io::pipe()?;
        ours.stderr = Some(Receiver::from_owned_fd(reader.into())?);
        theirs.stderr = Some(writer.into());
    }
    Ok((ours, theirs))
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}

/// The final status: of v4 and later a Status object, before that a text when something went wrong.
fn final_status(protocol: &str, outcome: &Result<i32, String>) -> Option<String> {
    let old = protocol == "channel.k8s.io";
    let status = match outcome {
        Ok(0) if old => return None,
        Ok(0) => serde_json::json!({"metadata": {}, "status": "Success"}),
        Ok(code) if old => return Some(format!("command terminated with exit code {code}")),
        Ok(code) => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) if old => return Some(error.clone()),
        Err(error) => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: error executing command in container: {error}"),
        }),
    };
    Some(status.to_string())
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;
type SocketError = tokio_tungstenite::tungstenite::Error;

async fn converse(
    socket: Socket,
    ours: Ours,
    started: Result<ExecHandle, String>,
    streams: Streams,
    protocol: &'static str,
) -> Result<(), SocketError> {
    let (mut sink, source) = socket.split();
    let (output, mut frames) = mpsc::channel::<Message>(FRAMES_MAX);
    let first = if streams.stdout || streams.tty {
        STDOUT
    } else if streams.stderr {
        STDERR
    } else {
        ERROR
    };
    sink.send(frame(first, &[])).await?;
    let handle = match started {
        Ok(handle) => handle,
        Err(error) => return finish(sink, final_status(protocol, &Err(error))).await,
    };
    let Ours { stdin, stdout, stderr, terminal } = ours;
    let copies = [(STDOUT, stdout), (STDERR, stderr)];
    let copies: Vec<_> = copies
        .into_iter()
        .filter_map(|(channel, reader)| {
            Some(AbortOnDropHandle::new(tokio::spawn(copy(channel, reader?, output.clone()))))
        })
        .collect();
    drop(output);
    let process = async move {
        let code = handle.exit.await.map_err(|_| "the runtime lost sight of the command".to_owned());
        let drained = futures::future::join_all(copies);
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::debug!("children of a command keep its output open");
        }
        code
    };
    tokio::pin!(process);
    // Beside the rest: a command that does not read its input yet may have to be rid of output first.
    let client = listen(source, stdin, terminal);
    tokio::pin!(client);
    loop {
        tokio::select! {
            biased;
            Some(message) = frames.recv() => sink.send(message).await?,
            outcome = &mut process => {
                while let Ok(message) = frames.try_recv() {
                    sink.send(message).await?;
                }
                return finish(sink, final_status(protocol, &outcome)).await;
            }
            ended = &mut client => return ended,
        }
    }
}

/// Takes in what the client sends until it has gone. Pings are answered by the socket itself.
async fn listen(
    mut source: futures::stream::SplitStream<Socket>,
    mut stdin: Option<Sender>,
    terminal: Option<OwnedFd>,
) -> Result<(), SocketError> {
    loop {
        match source.next().await {
            Some(Ok(Message::Binary(data))) => take(&data, &mut stdin, terminal.as_ref()).await,
            Some(Ok(Message::Close(_))) | None => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
        }
    }
}

async fn finish(
    mut sink: futures::stream::SplitSink<Socket, Message>,
    status: Option<String>,
) -> Result<(), SocketError> {
    if let Some(status) = status {
        sink.send(frame(ERROR, status.as_bytes())).await?;
    }
    // Without a code kubectl takes the end for a failure.
    sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await?;
    sink.close().await
}

/// Takes in one frame of the client.
async fn take(data: &[u8], stdin: &mut Option<Sender>, terminal: Option<&OwnedFd>) {
    match data {
        [STDIN, bytes @ ..] => {
            if let Some(writer) = stdin
                && writer.write_all(bytes).await.is_err()
            {
                // The process has closed its end; what else is sent is of no use.
                *stdin = None;
            }
        }
        [RESIZE, json @ ..] => {
            if let Some(terminal) = terminal {
                resize(terminal, json);
            }
        }
        [CLOSE, STDIN] => *stdin = None,
        _ => {}
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

fn resize(terminal: &OwnedFd, json: &[u8]) {
    let Ok(size) = serde_json::from_slice::<Size>(json) else { return };
    let size = rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    if let Err(error) = rustix::termios::tcsetwinsize(terminal, size) {
        tracing::debug!(%error, "cannot resize a terminal");
    }
}

async fn copy(channel: u8, mut reader: Receiver, output: mpsc::Sender<Message>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        // A terminal answers with an error when its last user has gone: that is its end.
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if output.send(frame(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}
