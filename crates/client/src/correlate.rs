//! What becomes of an event before it is written: repeats raise a count, many alike become one, and an
//! object about which too much is told is told about less (contract `pods.md`, 9 "Limits").
//!
//! Pure: time comes in. Each memory is bounded and starts afresh when it is full, which costs a count or
//! lets a few more events through.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::Timestamp;

use crate::recorder::EventType;

/// Distinct keys each memory holds.
const REMEMBERED_MAX: usize = 4096;
/// Different messages of one reason about one object within [`SIMILAR_S`], from which on they become one event.
const SIMILAR_MAX: usize = 10;
const SIMILAR_S: i64 = 600;
/// Events about one object that may come at once, and how long until there is room for one more.
const BURST_MAX: i64 = 25;
const REFILL_S: i64 = 300;
const COMBINED: &str = "(combined from similar events): ";

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Occurrence {
    /// Whom it is about.
    pub(crate) subject: Subject,
    /// Which part of the object.
    pub(crate) field_path: String,
    pub(crate) type_: EventType,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Whether it tells how far something has come that goes on: then it is one event, however its message
    /// changes, and it is no reason to tell less about the object.
    pub(crate) goes_on: bool,
}

/// An object that events are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What to do about an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: too much is told about the object.
    Suppress,
    /// Write an event with this message, and [`Correlator::remember`] it under the slot.
    Write { message: String, slot: Slot },
    /// Raise the count of the event `name` to `count`, and give it this message.
    Repeat { name: String, count: i32, message: String, slot: Slot },
}

/// Occurrences that share an event: those that say the same, or all similar ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(Occurrence);

impl Slot {
    fn of_all_like(occurrence: &Occurrence) -> Self {
        Self(Occurrence { message: String::new(), ..occurrence.clone() })
    }
}

/// What was told lately.
#[derive(Debug, Default)]
pub(crate) struct Correlator {
    written: HashMap<Slot, (String, i32)>,
    similar: HashMap<Slot, Similar>,
    buckets: HashMap<Subject, Bucket>,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: i64,
    /// Up to when tokens have been added.
    filled: Timestamp,
}

impl Correlator {
    /// Decides about one occurrence.
    pub(crate) fn judge(&mut self, occurrence: &Occurrence, now: Timestamp) -> Verdict {
        let (message, slot) = match occurrence.goes_on {
            true => (occurrence.message.clone(), Slot::of_all_like(occurrence)),
            false => self.slot_of(occurrence, now),
        };
        if !occurrence.goes_on && !self.may_tell(&occurrence.subject, now) {
            return Verdict::Suppress;
        }
        match self.written.get_mut(&slot) {
            Some((name, count)) => {
                *count = count.saturating_add(1);
                Verdict::Repeat { name: name.clone(), count: *count, message, slot }
            }
            None => Verdict::Write { message, slot },
        }
    }

    /// The event `name` has been written for a slot.
    pub(crate) fn remember(&mut self, slot: Slot, name: String) {
        make_room(&mut self.written);
        self.written.insert(slot, (name, 1));
    }

    fn slot_of(&mut self, occurrence: &Occurrence, now: Timestamp) -> (String, Slot) {
        let alike = Slot::of_all_like(occurrence);
        make_room(&mut self.similar);
        let similar =
            self.similar.entry(alike.clone()).or_insert_with(|| Similar { messages: HashSet::new(), last: now });
        if now.duration_since(similar.last).as_secs() > SIMILAR_S {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(occurrence.message.clone());
        }
        let is_one_too_many = similar.messages.len() >= SIMILAR_MAX;
        match is_one_too_many {
            true => (format!("{COMBINED}{}", occurrence.message), alike),
            false => (occurrence.message.clone(), Slot(occurrence.clone())),
        }
    }

    fn may_tell(&mut self, subject: &Subject, now: Timestamp) -> bool {
        make_room(&mut self.buckets);
        let bucket = self.buckets.entry(subject.clone()).or_insert(Bucket { tokens: BURST_MAX, filled: now });
        let refills = now.duration_since(bucket.filled).as_secs().max(0) / REFILL_S;
        if refills > 0 {
            bucket.tokens = (bucket.tokens + refills).min(BURST_MAX);
            bucket.filled = now;
        }
        let may = bucket.tokens > 0;
        bucket.tokens -= i64::from(may);
        may
    }
}

fn make_room<K: Eq + Hash, V>(memory: &mut HashMap<K, V>) {
    if memory.len() >= REMEMBERED_MAX {
        memory.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second of this age")
    }

    fn said(name: &str, message: &str) -> Occurrence {
        let text = str::to_owned;
        Occurrence {
            subject: Subject { namespace: text("ns"), kind: text("Pod"), name: text(name), uid: text("u") },
            field_path: String::new(),
            type_: EventType::Warning,
            reason: text("Unhealthy"),
            message: text(message),
            goes_on: false,
        }
    }

    /// Judges, and plays the writer.
    fn tell(correlator: &mut Correlator, occurrence: &Occurrence, second: i64) -> String {
        match correlator.judge(occurrence, at(second)) {
            Verdict::Suppress => "suppressed".to_owned(),
            Verdict::Write { message, slot } => {
                correlator.remember(slot, format!("event-{second}"));
                format!("write {message}")
            }
            Verdict::Repeat { name, count, message, .. } => format!("{name} x{count} {message}"),
        }
    }

    #[test]
    fn what_is_said_again_is_counted() {
        let mut correlator = Correlator::default();
        assert_eq!(tell(&mut correlator, &said("p", "refused"), 1), "write refused");
        assert_eq!(tell(&mut correlator, &said("p", "refused"), 2), "event-1 x2 refused");
        assert_eq!(tell(&mut correlator, &said("q", "refused"), 3), "write refused");
        assert_eq!(tell(&mut correlator, &said("p", "refused"), 4), "event-1 x3 refused");
    }

    #[test]
    fn the_tenth_message_of_one_reason_begins_a_common_event() {
        let mut correlator = Correlator::default();
        for nth in 0..9 {
            assert_eq!(tell(&mut correlator, &said("p", &nth.to_string()), nth), format!("write {nth}"));
        }
        assert_eq!(tell(&mut correlator, &said("p", "9"), 9), format!("write {COMBINED}9"));
        assert_eq!(tell(&mut correlator, &said("p", "10"), 10), format!("event-9 x2 {COMBINED}10"));
        assert_eq!(tell(&mut correlator, &said("p", "11"), 11), format!("event-9 x3 {COMBINED}11"));
        // Ten minutes of silence later each speaks for itself again.
        assert_eq!(tell(&mut correlator, &said("p", "12"), 12 + SIMILAR_S), "write 12");
    }

    #[test]
    fn an_object_is_told_about_at_most_so_often_and_the_others_do_not_suffer() {
        let mut correlator = Correlator::default();
        let heard = (0..100).filter(|_| tell(&mut correlator, &said("p", "refused"), 0) != "suppressed").count();
        assert_eq!(heard, 25);
        assert_eq!(tell(&mut correlator, &said("q", "refused"), 0), "write refused");
        assert_eq!(tell(&mut correlator, &said("p", "refused"), REFILL_S - 1), "suppressed");
        assert_eq!(tell(&mut correlator, &said("p", "refused"), REFILL_S), "event-0 x26 refused");
        assert_eq!(tell(&mut correlator, &said("p", "refused"), REFILL_S), "suppressed");
    }

    #[test]
    fn what_goes_on_is_one_event_and_silences_nothing() {
        let mut correlator = Correlator::default();
        let pulled = |percent: i64| Occurrence { goes_on: true, ..said("p", &format!("{percent} %")) };
        assert_eq!(tell(&mut correlator, &pulled(0), 0), "write 0 %");
        for percent in 1..=100 {
            let count = percent + 1;
            assert_eq!(tell(&mut correlator, &pulled(percent), percent), format!("event-0 x{count} {percent} %"));
        }
        assert_eq!(tell(&mut correlator, &said("p", "refused"), 101), "write refused");
    }

    #[test]
    fn no_memory_grows_without_bound() {
        let mut correlator = Correlator::default();
        for nth in 0..3 * REMEMBERED_MAX {
            tell(&mut correlator, &said(&nth.to_string(), "refused"), 0);
        }
        let sizes = [correlator.written.len(), correlator.similar.len(), correlator.buckets.len()];
        assert!(sizes.iter().all(|size| *size <= REMEMBERED_MAX), "{sizes:?}");
    }
}
