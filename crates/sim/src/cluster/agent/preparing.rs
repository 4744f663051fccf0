//! What the agent does because the planner of a set asks it to make ready for a pod's replacement
//! (`plan::pod` decides when): it gets the images, and runs the hook, which fails now and then.

use std::sync::Arc;

use jiff::SignedDuration;
use stead_api::preparation::Request;
use stead_plan::pod::{Failure, Part, Preparing};

use super::Inner;
use super::worker::Worker;

/// Wait before a part that failed is tried again.
const RETRY_S: i64 = 10;
/// Hooks that fail, per thousand.
const HOOKS_FAILING: u64 = 250;

/// Starts to get the images.
pub(super) fn fetch_images(inner: &Arc<Inner>, worker: &Arc<Worker>, request: Request) {
    worker.update(|state| {
        let former = state.preparing.take().filter(|preparing| preparing.id == request.id);
        let before = former.and_then(|preparing| failure_of(preparing.images));
        let images = Part::Running { before };
        state.preparing = Some(Preparing { id: request.id.clone(), images, hook: Part::Open });
    });
    let (inner, worker, tasks) = (Arc::clone(inner), Arc::clone(worker), inner.tasks.clone());
    tasks.spawn(async move {
        let mut missing = None;
        for wanted in &request.images {
            tokio::time::sleep(inner.machine.dice().ms(20, 3_000)).await;
            if wanted.image.ends_with(":absent") {
                missing = Some(format!("{} is not there", wanted.image));
            } else {
                inner.machine.keep_image(&wanted.image);
            }
        }
        finish(&inner, &worker, &request.id, missing, |preparing| &mut preparing.images);
    });
}

/// Starts to run the hook.
pub(super) fn run_hook(inner: &Arc<Inner>, worker: &Arc<Worker>, request: Request) {
    worker.update(|state| {
        if let Some(preparing) = state.preparing.as_mut().filter(|preparing| preparing.id == request.id) {
            let before = failure_of(std::mem::take(&mut preparing.hook));
            preparing.hook = Part::Running { before };
        }
    });
    let (inner, worker, tasks) = (Arc::clone(inner), Arc::clone(worker), inner.tasks.clone());
    tasks.spawn(async move {
        let dice = inner.machine.dice();
        tokio::time::sleep(dice.ms(5, 5_000)).await;
        let refusal = dice.permille(HOOKS_FAILING).then(|| "it said no".to_owned());
        finish(&inner, &worker, &request.id, refusal, |preparing| &mut preparing.hook);
    });
}

fn failure_of(part: Part) -> Option<Failure> {
    match part {
        Part::Failed(failure) => Some(failure),
        Part::Running { before } => before,
        Part::Open | Part::Done => None,
    }
}

/// Writes down how a part ended, if the request is still the same.
fn finish(
    inner: &Inner,
    worker: &Worker,
    id: &str,
    problem: Option<String>,
    part: impl FnOnce(&mut Preparing) -> &mut Part,
) {
    let retry_at = inner.machine.wall().now().saturating_add(SignedDuration::from_secs(RETRY_S));
    worker.update(|state| {
        let Some(preparing) = state.preparing.as_mut().filter(|preparing| preparing.id == id) else { return };
        *part(preparing) = match problem {
            None => Part::Done,
            Some(message) => Part::Failed(Failure {
                reason: "PrepareFailed".to_owned(),
                message,
                retry_at: retry_at.unwrap_or(jiff::Timestamp::MAX),
            }),
        };
    });
}
