//! Reading container logs: entries of the CRI format, tailed, filtered, followed.

mod following;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use stead_net::Network;
use stead_runtime::Runtime;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use super::query::Query;
use super::{Body, newest, text};
use crate::agent::Inner;
use crate::config::AgentConfig;
use crate::worker::Worker;
use following::Following;

/// Frames between the reader and a slow client; then the reader waits.
const FRAMES_MAX: usize = 16;
const CHUNK_BYTES: usize = 64 << 10;

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
struct Wanted {
    follow: bool,
    timestamps: bool,
    tail_lines: Option<usize>,
    limit_bytes: Option<usize>,
    since: Option<Timestamp>,
}

/// Answers a request for the log of one container.
pub(super) fn answer<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &str,
    query: &str,
) -> Response<Body> {
    let query = Query::parse(query);
    let wanted = match wanted(&query) {
        Ok(wanted) => wanted,
        Err(problem) => return text(StatusCode::UNPROCESSABLE_ENTITY, problem),
    };
    let name = &worker.key.name;
    let attempt = match (newest(worker, container), query.flag("previous")) {
        (Some((_, attempt, _)), false) => attempt,
        (Some((_, attempt, _)), true) if attempt > 0 => attempt - 1,
        (_, true) => {
            let problem = format!("previous terminated container {container:?} in pod {name:?} not found");
            return text(StatusCode::BAD_REQUEST, problem);
        }
        (None, false) => {
            let pod = worker.pod();
            let statuses = pod.status.iter().flat_map(|status| {
                status.container_statuses.iter().chain(status.init_container_statuses.iter()).flatten()
            });
            let waiting = statuses.into_iter().find(|status| status.name == container);
            let reason = waiting.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
            let ended = worker.state().torn_down;
            match last_log(inner, worker, container).filter(|_| ended) {
                Some(attempt) => attempt,
                None => {
                    let problem = format!("container {container:?} in pod {name:?} is waiting to start");
                    let reason = match reason.as_deref() {
                        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
                        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
                        Some(reason) => format!(": {reason}"),
                        None => " - no logs yet".to_owned(),
                    };
                    return text(StatusCode::BAD_REQUEST, problem + &reason);
                }
            }
        }
    };
    let dir = inner.config.log_dir(&worker.key.namespace, name, &worker.uid);
    let path = AgentConfig::log_file(&dir, container, attempt);
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let (worker, container) = (Arc::clone(worker), container.to_owned());
    let changes = worker.changes();
    tokio::spawn(async move {
        let running = || newest(&worker, &container).is_some_and(|(_, newest, running)| running && newest == attempt);
        if let Err(error) = send(&path, &wanted, running, changes, frames).await {
            tracing::debug!(path = %path.display(), %error, "cannot read a log");
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut response = Response::new(StreamBody::new(stream).boxed());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

/// The attempt of the newest log file on disk, for pods whose containers are gone already.
fn last_log<R, N>(inner: &Inner<R, N>, worker: &Worker, container: &str) -> Option<u32> {
    let dir = inner.config.log_dir(&worker.key.namespace, &worker.key.name, &worker.uid).join(container);
    let names = std::fs::read_dir(dir).ok()?.filter_map(Result::ok);
    names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok()).max()
}

fn wanted(query: &Query) -> Result<Wanted, String> {
    let number = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| format!("{name} is not a number")),
    };
    let since_seconds = number("sinceSeconds")?.map(|seconds| {
        let now = Timestamp::now();
        now.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(now)
    });
    let since_time = match query.get("sinceTime") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| "sinceTime is not a time".to_owned())?),
    };
    let size = |value: Option<i64>| value.and_then(|value| usize::try_from(value).ok());
    Ok(Wanted {
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        tail_lines: size(number("tailLines")?),
        limit_bytes: size(number("limitBytes")?),
        since: since_seconds.or(since_time),
    })
}

/// Renders complete lines of the file; remembers whether the last piece ended its line.
struct Renderer<'a> {
    wanted: &'a Wanted,
    within_line: bool,
    left: usize,
}

impl Renderer<'_> {
    fn render(&mut self, line: &str, out: &mut BytesMut) {
        let mut parts = line.splitn(4, ' ');
        let (Some(time), Some(_stream), Some(tag)) = (parts.next(), parts.next(), parts.next()) else { return };
        let content = parts.next().unwrap_or_default();
        let stamp: Option<Timestamp> = time.parse().ok();
        if let (Some(since), Some(stamp)) = (self.wanted.since, stamp)
            && stamp < since
        {
            return;
        }
        let mut piece = String::new();
        if self.wanted.timestamps && !self.within_line {
            let stamp = stamp.map(|stamp| stamp.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string());
            piece.push_str(stamp.as_deref().unwrap_or(time));
            piece.push(' ');
        }
        piece.push_str(content);
        self.within_line = tag == "P";
        if !self.within_line {
            piece.push('\n');
        }
        let bytes = &piece.as_bytes()[..piece.len().min(self.left)];
        self.left -= bytes.len();
        out.extend_from_slice(bytes);
    }
}

async fn send(
    path: &Path,
    wanted: &Wanted,
    running: impl Fn() -> bool,
    mut changes: watch::Receiver<()>,
    frames: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
) -> std::io::Result<()> {
    // Before the first look, so that nothing is missed after it.
    let mut following = wanted.follow.then(|| Following::of(path));
    let mut file = open(path).await?;
    let mut renderer = Renderer { wanted, within_line: false, left: wanted.limit_bytes.unwrap_or(usize::MAX) };
    let mut pending = Vec::new();
    let mut skip_to_tail = wanted.tail_lines;
    let mut last_look = false;
    loop {
        let read = file.read_buf(&mut pending).await?;
        if read > 0 && (skip_to_tail.is_some() || pending.len() < CHUNK_BYTES && !wanted.follow) {
            // The tail is only known at the end.
            continue;
        }
        if read == 0
            && let Some(lines) = skip_to_tail.take()
        {
            keep_tail(&mut pending, lines);
        }
        let complete = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut out = BytesMut::new();
        for line in String::from_utf8_lossy(&pending[..complete]).lines() {
            renderer.render(line, &mut out);
        }
        pending.drain(..complete);
        if !out.is_empty() && frames.send(Ok(Frame::data(out.freeze()))).await.is_err() {
            return Ok(());
        }
        if renderer.left == 0 || (read == 0 && (!wanted.follow || last_look)) {
            return Ok(());
        }
        if let Some(following) = following.as_mut().filter(|_| read == 0) {
            // One more look after the end, so that the last lines are not missed.
            last_look = !running();
            if !last_look {
                tokio::select! {
                    () = frames.closed() => return Ok(()),
                    changed = following.changed() => changed?,
                    () = changed(&mut changes) => {}
                }
                if rotated(&file, path).await {
                    // What was written before the file was put aside comes first.
                    let next = open(path).await?;
                    file.read_to_end(&mut pending).await?;
                    file = next;
                }
            }
        }
    }
}

/// Waits for a change of the pod's state.
async fn changed(changes: &mut watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        // Nobody is left who could tell.
        std::future::pending::<()>().await;
    }
}

async fn open(path: &Path) -> std::io::Result<tokio::fs::File> {
    tokio::fs::File::open(PathBuf::from(path)).await
}

/// Whether the file at `path` is another one by now.
async fn rotated(file: &tokio::fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata().await, tokio::fs::metadata(path).await) {
        (Ok(open), Ok(there)) => open.ino() != there.ino(),
        _ => false,
    }
}

/// Drops all but the last `lines` physical lines.
fn keep_tail(pending: &mut Vec<u8>, lines: usize) {
    let complete = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let ends: Vec<usize> =
        pending[..complete].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    if ends.len() > lines {
        let start = if lines == 0 { complete } else { ends[ends.len() - lines - 1] };
        pending.drain(..start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(log: &str, wanted: Wanted) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, log).expect("written");
        let (frames, mut receiver) = mpsc::channel(FRAMES_MAX);
        let (_state, changes) = watch::channel(());
        send(&path, &wanted, || false, changes, frames).await.expect("readable");
        let mut out = String::new();
        while let Some(Ok(frame)) = receiver.recv().await {
            out.push_str(&String::from_utf8_lossy(&frame.into_data().expect("data")));
        }
        out
    }

    const LOG: &str = "2026-01-01T00:00:01.5Z stdout F one\n\
        2026-01-01T00:00:02.000000001Z stdout P tw\n\
        2026-01-01T00:00:02.1Z stdout F o\n\
        2026-01-01T00:00:03Z stderr F three\n";

    #[tokio::test]
    async fn partial_lines_are_joined_and_both_streams_shown() {
        assert_eq!(read(LOG, Wanted::default()).await, "one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn tail_counts_entries_and_limit_cuts_in_the_line() {
        assert_eq!(read(LOG, Wanted { tail_lines: Some(2), ..Wanted::default() }).await, "o\nthree\n");
        assert_eq!(read(LOG, Wanted { tail_lines: Some(0), ..Wanted::default() }).await, "");
        assert_eq!(read(LOG, Wanted { limit_bytes: Some(6), ..Wanted::default() }).await, "one\ntw");
    }

    #[tokio::test]
    async fn timestamps_have_nine_digits_and_since_filters() {
        let since = "2026-01-01T00:00:02.05Z".parse().ok();
        let shown = read(LOG, Wanted { timestamps: true, since, ..Wanted::default() }).await;
        assert_eq!(shown, "2026-01-01T00:00:02.100000000Z o\n2026-01-01T00:00:03.000000000Z three\n");
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_over_a_rotation_and_ends_with_its_container() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("0.log");
        let line = |text: &str| format!("2026-01-01T00:00:01Z stdout F {text}\n");
        std::fs::write(&path, line("one")).expect("written");
        let (state, changes) = watch::channel(());
        let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (frames, mut receiver) = mpsc::channel(FRAMES_MAX);
        let (log, over) = (path.clone(), Arc::clone(&ended));
        let following = tokio::spawn(async move {
            let running = || !over.load(std::sync::atomic::Ordering::SeqCst);
            send(&log, &Wanted { follow: true, ..Wanted::default() }, running, changes, frames).await
        });
        let mut told = async || {
            let frame = receiver.recv().await.map(|Ok(frame)| frame.into_data().expect("data"));
            frame.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        assert_eq!(told().await.as_deref(), Some("one\n"));
        let mut old = std::fs::File::options().append(true).open(&path).expect("open");
        std::fs::rename(&path, dir.path().join("0.log.20260101-000002")).expect("put aside");
        std::io::Write::write_all(&mut old, line("two").as_bytes()).expect("written");
        std::fs::write(&path, line("three")).expect("written");
        let mut rest = String::new();
        while !rest.contains("three") {
            rest += &told().await.expect("more");
        }
        assert_eq!(rest, "two\nthree\n");
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        state.send_replace(());
        assert_eq!(told().await, None);
        following.await.expect("no panic").expect("readable");
    }
}
