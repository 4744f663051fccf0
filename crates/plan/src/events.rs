//! How long events are kept, and which go first when there are too many. Kubernetes keeps an event for
//! an hour from its last write (contract `defaults-validation.md`, Event) and bounds their number not at all.
//!
//! Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// How long an event is kept after it last happened.
pub const LIFETIME: Duration = Duration::from_secs(3_600);
/// Events kept; more are brought down to nine tenths of this.
pub const EVENTS_MAX: usize = 10_000;

/// How long the event is still to be kept; zero when its time is over. It counts from when the event last
/// happened or was made; what it says of the future counts for nothing.
pub fn time_left(event: &Event, lifetime: Duration, now: Timestamp) -> Duration {
    let created = event.metadata.creation_timestamp.as_ref().map_or(now, |created| created.0.min(now));
    let seconds = [&event.first_timestamp, &event.last_timestamp].into_iter().flatten().map(|Time(at)| *at);
    let observed = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let micros = event.event_time.iter().chain(observed).map(|at| at.0);
    let last = seconds.chain(micros).filter(|at| *at <= now).fold(created, Ord::max);
    let age = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    lifetime.saturating_sub(age)
}

/// The events to go when there are more than `count_max`: those written longest ago, down to nine tenths.
pub fn surplus<'a>(events: impl IntoIterator<Item = &'a ObjectMeta>, count_max: usize) -> Vec<&'a ObjectMeta> {
    let mut events: Vec<&ObjectMeta> = events.into_iter().collect();
    if events.len() <= count_max {
        return Vec::new();
    }
    let revision = |meta: &ObjectMeta| meta.resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
    events.sort_by_key(|meta| revision(meta));
    events.truncate(events.len() - count_max * 9 / 10);
    events
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second of this age")
    }

    #[test]
    fn an_event_is_kept_for_its_lifetime_from_when_it_last_happened() {
        let lifetime = Duration::from_secs(100);
        let mut event = Event::default();
        event.metadata.creation_timestamp = Some(Time(at(1_000)));
        let left = |event: &Event, now| time_left(event, lifetime, at(now)).as_secs();
        assert_eq!(
            [left(&event, 1_000), left(&event, 1_060), left(&event, 1_100), left(&event, 9_999)],
            [100, 40, 0, 0]
        );
        event.last_timestamp = Some(Time(at(1_050)));
        assert_eq!(left(&event, 1_060), 90);
        event.event_time = Some(MicroTime(at(1_055)));
        assert_eq!(left(&event, 1_060), 95);
        // A client's wrong clock neither shortens nor lengthens it.
        event.first_timestamp = Some(Time(at(3)));
        event.last_timestamp = Some(Time(at(99_999)));
        assert_eq!((left(&event, 1_060), left(&event, 1_155)), (95, 0));
        assert_eq!(left(&event, 900), 100, "the clock stepped back to before it was made");
    }

    #[test]
    fn of_too_many_events_those_written_longest_ago_go() {
        let metas: Vec<ObjectMeta> = [9, 100, 20, 11, 8, 30, 7, 12, 13, 10, 40]
            .map(|revision: u64| ObjectMeta { resource_version: Some(revision.to_string()), ..ObjectMeta::default() })
            .into();
        assert_eq!(surplus(&metas, 11), Vec::<&ObjectMeta>::new());
        let gone: Vec<_> =
            surplus(&metas, 10).into_iter().filter_map(|meta| meta.resource_version.as_deref()).collect();
        assert_eq!(gone, ["7", "8"]);
    }
}
