//! Getting the image of a container's next start, beside the worker, and telling how it goes.

pub(crate) mod credentials;
mod progress;

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{Container, ObjectReference};
use stead_client::EventType;
use stead_image::{Credential, Image, ImageName, PullError};
use stead_net::Network;
use stead_plan::pod::{Failure, ImageState};
use stead_runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;

use crate::about::{container_reference, declaration};
use crate::agent::Inner;
use crate::panics::caught;
use crate::retry;
use crate::worker::{Step, Worker};

/// Starts to get an image.
pub(crate) fn pull<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &str,
    image: &str,
) -> Step {
    let mut state = worker.state();
    let before = match state.images.remove(container) {
        Some(ImageState::Failed(failure)) => Some(failure),
        Some(ImageState::Pulling { before }) => before,
        Some(ImageState::Present | ImageState::Pulled) | None => None,
    };
    state.images.insert(container.to_owned(), ImageState::Pulling { before });
    let pod = Arc::clone(&state.pod);
    let about = container_reference(&pod, container);
    if let Some((reason, event, text)) = refusal(declaration(&pod, container), image) {
        inner.recorder.event(&about, EventType::Warning, event, text.clone());
        drop(state);
        failed(worker, container, reason, text);
        return Step::Again;
    }
    let (inner, puller, named) = (Arc::clone(inner), Arc::clone(worker), state.named.clone());
    let (name, image) = (container.to_owned(), image.to_owned());
    let task = tokio::spawn(async move {
        let pulled = caught("a pull", async {
            let credentials = credentials::of(&inner, &pod, &named, &[]);
            pull_now(&inner, &puller, &about, &name, &image, &credentials).await;
        });
        if let Err(panicked) = pulled.await {
            failed(&puller, &name, "ErrImagePull", panicked.to_string());
        }
    });
    state.pulls.insert(container.to_owned(), AbortOnDropHandle::new(task));
    Step::Wait
}

/// Why an image is not even asked for: waiting reason, event reason and text.
fn refusal(container: Option<&Container>, image: &str) -> Option<(&'static str, &'static str, String)> {
    if let Err(error) = image.parse::<ImageName>() {
        let text = format!("Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: {error}");
        return Some(("InvalidImageName", "InspectFailed", text));
    }
    let never = container.is_some_and(|container| container.image_pull_policy.as_deref() == Some("Never"));
    never.then(|| {
        let text = format!("Container image {image:?} is not present with pull policy of Never");
        ("ErrImageNeverPull", "ErrImageNeverPull", text)
    })
}

/// Gets an image, and tells how it goes.
pub(crate) async fn fetch<R, N>(
    inner: &Inner<R, N>,
    about: &ObjectReference,
    image: &str,
    credentials: &[Credential],
) -> Result<Arc<Image>, PullError> {
    inner.recorder.event(about, EventType::Normal, "Pulling", format!("Pulling image {image:?}"));
    let started = Instant::now();
    let meter = progress::Meter::new();
    let pull = inner.images.pull(image, credentials, |progress| meter.note(progress));
    let told = meter.tell(&inner.recorder, about, image);
    let outcome = tokio::select! {
        outcome = pull => outcome,
        never = told => match never {},
    };
    match &outcome {
        Ok(pulled) => {
            let took = started.elapsed();
            let text = format!(
                "Successfully pulled image {image:?} in {took:.3?} ({took:.3?} including waiting). Image size: {} bytes.",
                pulled.size_bytes
            );
            inner.recorder.event(about, EventType::Normal, "Pulled", text);
        }
        Err(error) => {
            let text = format!("Failed to pull image {image:?}: {error}");
            inner.recorder.event(about, EventType::Warning, "Failed", text);
        }
    }
    outcome
}

async fn pull_now<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    about: &ObjectReference,
    container: &str,
    image: &str,
    credentials: &[Credential],
) {
    match fetch(inner, about, image, credentials).await {
        Ok(pulled) => {
            worker.update(|state| {
                state.resolved.insert(container.to_owned(), pulled);
                state.pull_failures.remove(container);
                state.images.insert(container.to_owned(), ImageState::Pulled);
            });
        }
        Err(error) => {
            let warn = |text: String| inner.recorder.event(about, EventType::Warning, "Failed", text);
            let (reason, message) = reason(worker, container, image, &error);
            warn(format!("Error: {reason}"));
            if reason == "ImagePullBackOff" {
                inner.recorder.event(about, EventType::Normal, "BackOff", format!("Back-off pulling image {image:?}"));
            }
            failed(worker, container, reason, message);
        }
    }
}

fn reason(worker: &Worker, container: &str, image: &str, error: &PullError) -> (&'static str, String) {
    let again = worker.state().pull_failures.get(container).copied().unwrap_or(0) > 0;
    if again {
        ("ImagePullBackOff", format!("Back-off pulling image {image:?}: ErrImagePull: {error}"))
    } else {
        ("ErrImagePull", error.to_string())
    }
}

fn failed(worker: &Worker, container: &str, reason: &str, message: String) {
    worker.update(|state| {
        let failures = state.pull_failures.entry(container.to_owned()).or_insert(0);
        let failure = Failure { reason: reason.to_owned(), message, retry_at: retry::pull_at(*failures) };
        *failures += 1;
        state.images.insert(container.to_owned(), ImageState::Failed(failure));
    });
}
