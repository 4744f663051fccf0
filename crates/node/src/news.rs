//! What the planner finds worth telling, as events; each piece of news once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use stead_client::{EventType, reference_to};
use stead_plan::pod::{News, long_name};

use crate::about::container_reference;
use crate::agent::Inner;
use crate::worker::Worker;

/// Tells what was not told before. News that is no longer found is forgotten: it may come again.
pub(crate) fn tell<R, N>(inner: &Inner<R, N>, worker: &Worker, pod: &Arc<Pod>, news: Vec<News>) {
    let mut state = worker.state();
    for new in news.iter().filter(|new| !state.told.contains(new)) {
        match new {
            News::BackOff { container, .. } => {
                let text = format!("Back-off restarting failed container {container} in pod {}", long_name(pod));
                inner.recorder.event(&container_reference(pod, container), EventType::Warning, "BackOff", text);
            }
            News::DeadlineExceeded => {
                let text = "Pod was active on the node longer than the specified deadline";
                inner.recorder.event(&reference_to(pod.as_ref()), EventType::Normal, "DeadlineExceeded", text);
            }
        }
    }
    state.told = news;
}
