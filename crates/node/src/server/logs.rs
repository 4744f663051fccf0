//! Reading container logs (contract `pods.md`, section 7): which file is meant, and what of it is wanted.

mod entries;
mod following;
mod sending;

use std::io;
use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use stead_net::Network;
use stead_plan::pod::CONTAINER_ID_SCHEME;
use stead_runtime::Runtime;
use tokio::sync::mpsc;

use super::query::Query;
use super::{Body, newest, text};
use crate::agent::Inner;
use crate::config::AgentConfig;
use crate::worker::Worker;
use sending::Log;

/// Frames between the reader and a slow client; then the reader waits.
const FRAMES_MAX: usize = 16;

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
pub(super) async fn answer<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &str,
    query: &str,
) -> Response<Body> {
    let query = Query::parse(query);
    let wanted = match Wanted::of(&query) {
        Ok(wanted) => wanted,
        Err(problem) => return text(StatusCode::UNPROCESSABLE_ENTITY, problem),
    };
    let attempt = match attempt(inner, worker, container, query.flag("previous")) {
        Ok(attempt) => attempt,
        Err(problem) => return text(StatusCode::BAD_REQUEST, problem),
    };
    let dir = inner.config.log_dir(&worker.key.namespace, &worker.key.name, &worker.uid);
    let path = AgentConfig::log_file(&dir, container, attempt);
    let log = match Log::open(&path, wanted.follow).await {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return text(StatusCode::OK, removed(worker, container, attempt));
        }
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read the log: {error}")),
    };
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let (worker, container) = (Arc::clone(worker), container.to_owned());
    let changes = worker.changes();
    tokio::spawn(async move {
        let running = || newest(&worker, &container).is_some_and(|(_, newest, running)| running && newest == attempt);
        if let Err(error) = log.send(&wanted, running, changes, frames).await {
            tracing::debug!(path = %path.display(), %error, "cannot read a log");
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut response = Response::new(StreamBody::new(stream).boxed());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

/// Which incarnation's log is meant, or why there is none.
fn attempt<R: Runtime, N: Network>(
    inner: &Inner<R, N>,
    worker: &Worker,
    container: &str,
    previous: bool,
) -> Result<u32, String> {
    let name = &worker.key.name;
    match newest(worker, container) {
        Some((_, attempt, _)) if !previous => Ok(attempt),
        Some((_, attempt, _)) if attempt > 0 => Ok(attempt - 1),
        Some(_) => Err(format!("previous terminated container {container:?} in pod {name:?} not found")),
        None if previous => Err(format!("previous terminated container {container:?} in pod {name:?} not found")),
        None => {
            let ended = worker.state().torn_down;
            last_log(inner, worker, container).filter(|_| ended).ok_or_else(|| {
                format!("container {container:?} in pod {name:?} is waiting to start{}", waiting_for(worker, container))
            })
        }
    }
}

/// What a container that has never started waits for, as the end of a sentence.
fn waiting_for(worker: &Worker, container: &str) -> String {
    let pod = worker.pod();
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().chain(status.init_container_statuses.iter()).flatten());
    let waiting = statuses.into_iter().find(|status| status.name == container);
    let reason = waiting.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match reason.as_deref() {
        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
        Some(reason) => format!(": {reason}"),
        None => " - no logs yet".to_owned(),
    }
}

/// The attempt of the newest log file on disk, for pods whose containers are gone already.
fn last_log<R, N>(inner: &Inner<R, N>, worker: &Worker, container: &str) -> Option<u32> {
    let dir = inner.config.log_dir(&worker.key.namespace, &worker.key.name, &worker.uid).join(container);
    let names = std::fs::read_dir(dir).ok()?.filter_map(Result::ok);
    names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok()).max()
}

/// What is said instead of a log that was there once (contract `pods.md` 7.8).
fn removed(worker: &Worker, container: &str, attempt: u32) -> String {
    let state = worker.state();
    let known = state.containers.values().find(|known| known.spec.name == container && known.spec.attempt == attempt);
    let id = known.map_or_else(|| format!("{container}/{attempt}"), |known| known.spec.id.0.clone());
    format!("unable to retrieve container logs for {CONTAINER_ID_SCHEME}{id}")
}

impl Wanted {
    /// Reads the query; what is wrong with it otherwise.
    fn of(query: &Query) -> Result<Self, String> {
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
        Ok(Self {
            follow: query.flag("follow"),
            timestamps: query.flag("timestamps"),
            tail_lines: size(number("tailLines")?),
            limit_bytes: size(number("limitBytes")?),
            since: since_seconds.or(since_time),
        })
    }
}
