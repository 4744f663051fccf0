//! How far a pull has come, for people: one event that is brought up to date now and then, only for pulls
//! that take their time.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use stead_client::Recorder;
use stead_image::Progress;

/// How long a pull may take before it is worth an event, and how long until the next.
const FIRST: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    bytes: u64,
    bytes_total: u64,
    layers_ready: usize,
    layers: usize,
}

/// Takes in what a pull reports.
pub(super) struct Meter {
    reading: Mutex<Reading>,
}

impl Meter {
    /// A pull that has not reported yet.
    pub(super) fn new() -> Self {
        Self { reading: Mutex::default() }
    }

    /// Takes in one report. Called often.
    pub(super) fn note(&self, progress: Progress) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Resolved { layers, layers_present, bytes_total } => {
                *reading = Reading { bytes: 0, bytes_total, layers_ready: layers_present, layers };
            }
            Progress::Fetched { bytes, bytes_total } => (reading.bytes, reading.bytes_total) = (bytes, bytes_total),
            Progress::LayerReady { layers_ready, layers } => {
                (reading.layers_ready, reading.layers) = (layers_ready, layers);
            }
        }
    }

    /// Tells where the pull stands, again and again, as long as it is waited for.
    pub(super) async fn tell(&self, recorder: &Recorder, about: &ObjectReference, image: &str) -> Infallible {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST, EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let reading = *self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            recorder.progress(about, "Pulling", text(image, &reading));
        }
    }
}

fn text(image: &str, reading: &Reading) -> String {
    let Reading { bytes, bytes_total, layers_ready, layers } = *reading;
    if layers == 0 {
        return format!("Pulling image {image:?}: waiting for the registry");
    }
    let percent = bytes.saturating_mul(100).checked_div(bytes_total).unwrap_or(100).min(100);
    let (come, all) = (bytes / MIB, bytes_total.div_ceil(MIB));
    format!("Pulling image {image:?}: {percent} % ({come} of {all} MiB), {layers_ready} of {layers} layers unpacked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_told_in_percent_bytes_and_layers() {
        let meter = Meter::new();
        let told = || text("qdrant/qdrant:latest", &meter.reading.lock().expect("no panic"));
        assert_eq!(told(), r#"Pulling image "qdrant/qdrant:latest": waiting for the registry"#);
        meter.note(Progress::Resolved { layers: 7, layers_present: 1, bytes_total: 200 * MIB });
        meter.note(Progress::Fetched { bytes: 90 * MIB, bytes_total: 200 * MIB });
        meter.note(Progress::LayerReady { layers_ready: 2, layers: 7 });
        assert_eq!(told(), r#"Pulling image "qdrant/qdrant:latest": 45 % (90 of 200 MiB), 2 of 7 layers unpacked"#);
    }
}
