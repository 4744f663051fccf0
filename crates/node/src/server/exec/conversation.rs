//! A command and its client, over a WebSocket: channel 0 is standard input, 1 output, 2 errors, 3 the
//! final status, 4 terminal sizes; in v5, 255 closes a channel. Input and output go on side by side, as
//! neither may wait for the other.

use std::os::fd::OwnedFd;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use stead_runtime::ExecHandle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::task::AbortOnDropHandle;

use super::plumbing::{Ours, Streams, resize};

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

type SocketError = tokio_tungstenite::tungstenite::Error;
type Sink<S> = SplitSink<WebSocketStream<S>, Message>;

/// What was agreed upon with the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversation {
    /// The subprotocol.
    pub(super) protocol: &'static str,
    pub(super) streams: Streams,
}

impl Conversation {
    /// Holds it until the command has ended or the client has gone; the command does not outlive it.
    /// `started` is the command, or why there is none.
    pub(super) async fn hold<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        socket: WebSocketStream<S>,
        started: Result<(Ours, ExecHandle), String>,
    ) -> Result<(), SocketError> {
        let (mut sink, source) = socket.split();
        sink.send(frame(self.first_channel(), &[])).await?;
        match started {
            Ok((Ours { stdin, stdout, stderr, terminal }, handle)) => {
                // Whichever ends first ends the other: a client that has gone takes its command along.
                tokio::select! {
                    ended = listen(source, stdin, terminal) => ended,
                    told = self.tell(sink, handle, stdout, stderr) => told,
                }
            }
            Err(error) => finish(sink, final_status(self.protocol, &Err(error))).await,
        }
    }

    /// Where the first, empty frame goes.
    fn first_channel(self) -> u8 {
        if self.streams.stdout || self.streams.tty {
            STDOUT
        } else if self.streams.stderr {
            STDERR
        } else {
            ERROR
        }
    }

    /// Sends what the command writes, and at last how it ended.
    async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut sink: Sink<S>,
        handle: ExecHandle,
        stdout: Option<Receiver>,
        stderr: Option<Receiver>,
    ) -> Result<(), SocketError> {
        let (output, mut frames) = mpsc::channel::<Message>(FRAMES_MAX);
        let copies: Vec<_> = [(STDOUT, stdout), (STDERR, stderr)]
            .into_iter()
            .filter_map(|(channel, reader)| Some((channel, reader?)))
            .map(|(channel, reader)| AbortOnDropHandle::new(tokio::spawn(copy(channel, reader, output.clone()))))
            .collect();
        drop(output);
        let process = async move {
            let code = handle.exit.await.map_err(|_| "the runtime lost sight of the command".to_owned());
            if tokio::time::timeout(DRAIN, futures::future::join_all(copies)).await.is_err() {
                tracing::debug!("children of a command keep its output open");
            }
            code
        };
        tokio::pin!(process);
        // In no order: children that write without end must not hide that the command has ended.
        let outcome = loop {
            tokio::select! {
                Some(message) = frames.recv() => sink.send(message).await?,
                outcome = &mut process => break outcome,
            }
        };
        while let Ok(message) = frames.try_recv() {
            sink.send(message).await?;
        }
        finish(sink, final_status(self.protocol, &outcome)).await
    }
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

/// Takes in what the client sends until it has gone. Pings are answered by the socket itself.
async fn listen<S: AsyncRead + AsyncWrite + Unpin>(
    mut source: SplitStream<WebSocketStream<S>>,
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

async fn finish<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: Sink<S>,
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

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::sync::oneshot;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::super::plumbing::plumbing;
    use super::*;

    /// Room on the way between agent and client: less than one frame of output.
    const ROOM_BYTES: usize = 8 << 10;

    /// A client, the command's ends of its streams, and what tells that the command has ended.
    async fn begin(
        streams: Streams,
    ) -> (WebSocketStream<DuplexStream>, stead_runtime::ExecStdio, oneshot::Sender<i32>, AbortOnDropHandle<()>) {
        let (ours, theirs) = plumbing(streams).expect("streams");
        let (near, far) = tokio::io::duplex(ROOM_BYTES);
        let (ended, exit) = oneshot::channel();
        let held = tokio::spawn(async move {
            let socket = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
            let conversation = Conversation { protocol: "v5.channel.k8s.io", streams };
            // A client that goes ends it with an error, or none.
            conversation.hold(socket, Ok((ours, ExecHandle { exit }))).await.ok();
        });
        let client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        (client, theirs, ended, AbortOnDropHandle::new(held))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn input_gets_through_while_output_has_no_end() {
        let (mut client, theirs, ended, _held) =
            begin(Streams { stdin: true, stdout: true, stderr: false, tty: false }).await;
        // A command that writes without end until it is told to stop.
        let (mut input, mut output) =
            (std::fs::File::from(theirs.stdin.expect("wanted")), std::fs::File::from(theirs.stdout.expect("wanted")));
        let stopped = tokio::task::spawn_blocking(move || {
            let writer =
                std::thread::spawn(move || while std::io::Write::write_all(&mut output, &[b'y'; 4096]).is_ok() {});
            let mut word = [0; 4];
            std::io::Read::read_exact(&mut input, &mut word).expect("told");
            (word, writer)
        });
        // The client does not even read before it has been heard.
        client.send(frame(STDIN, b"stop")).await.expect("sent");
        let (word, writer) = stopped.await.expect("no panic");
        assert_eq!(&word, b"stop");
        ended.send(0).expect("awaited");
        // Left-over children go on writing: the end is told all the same.
        let mut status = None;
        while let Some(Ok(message)) = client.next().await {
            if let Message::Binary(data) = message
                && data[0] == ERROR
            {
                status = Some(String::from_utf8_lossy(&data[1..]).into_owned());
            }
        }
        assert_eq!(status.as_deref(), Some(r#"{"metadata":{},"status":"Success"}"#));
        writer.join().expect("no panic");
    }
}
