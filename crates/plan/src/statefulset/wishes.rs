//! What people ask of one set beyond Kubernetes: its annotations under `stead.dev/`, read once and
//! whole. The API refuses a value that cannot be read; one that is stored all the same is ignored as if
//! the annotation were absent, and said so ([`Wishes::problems`]).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use stead_api::annotations::{self, boolean, hook, label, ordinal, ordinals, prefetch, resets, seconds, word};
pub use stead_api::annotations::{
    AUTO_ROLLBACK, IMAGE_PREFETCH, MAX_UNAVAILABLE, PARTITION_RAISE, PAUSED, PAUSED_REPLICAS, PREPARE_HOOK,
    PROGRESS_DEADLINE, RESERVE_ORDINALS, RESET, RESET_GENERATION, RESETTING, ROLLED_BACK, ROLLED_OUT, UPDATE_LAST,
    write_resets,
};
use stead_api::preparation::{Hook, Prefetch};

use super::ordinals::{Ordinal, OrdinalSet};
use super::revisions::RevisionName;

/// Revisions that were taken back and are remembered, the last ones.
const ROLLED_BACK_MAX: usize = 10;

/// The annotations of a set, read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wishes {
    /// [`PARTITION_RAISE`]
    pub hold_on_raise: bool,
    /// [`MAX_UNAVAILABLE`]
    pub upstream_budget: bool,
    /// [`PAUSED`]
    pub paused: bool,
    /// [`PAUSED_REPLICAS`]
    pub paused_replicas: BTreeMap<RevisionName, OrdinalSet>,
    /// [`PROGRESS_DEADLINE`]
    pub deadline_s: Option<i32>,
    /// [`AUTO_ROLLBACK`]
    pub auto_rollback: bool,
    /// [`ROLLED_BACK`]
    pub rolled_back: Vec<RevisionName>,
    /// [`ROLLED_OUT`], the revision and the partition.
    pub rolled_out: Option<(RevisionName, i32)>,
    /// [`RESET`], the generation asked for by ordinal.
    pub resets: BTreeMap<Ordinal, String>,
    /// [`RESETTING`]
    pub resetting: Option<Ordinal>,
    /// [`UPDATE_LAST`], key and value.
    pub update_last: Option<(String, String)>,
    /// [`IMAGE_PREFETCH`]
    pub prefetch: Prefetch,
    /// [`PREPARE_HOOK`]
    pub hook: Option<Hook>,
    /// What could not be read.
    pub problems: Vec<String>,
}

impl Wishes {
    /// Whether something is to be said or done about rollouts that do not come up.
    pub fn watches_rollouts(&self) -> bool {
        self.deadline_s.is_some() || self.auto_rollback
    }
}

/// Reads the annotations of a set; the reserved ordinals come apart because they belong to its range.
pub(super) fn read(meta: &ObjectMeta) -> (Wishes, OrdinalSet) {
    let mut reader = Reader { meta, problems: Vec::new() };
    let reserved = reader.value(RESERVE_ORDINALS, ordinals).unwrap_or_default();
    let mut wishes = Wishes {
        hold_on_raise: reader.value(PARTITION_RAISE, |text| word(text, "hold")).is_some(),
        upstream_budget: reader.value(MAX_UNAVAILABLE, |text| word(text, "upstream")).is_some(),
        paused: reader.value(PAUSED, boolean).unwrap_or(false),
        paused_replicas: reader.value(PAUSED_REPLICAS, paused_replicas).unwrap_or_default(),
        deadline_s: reader.value(PROGRESS_DEADLINE, seconds),
        auto_rollback: reader.value(AUTO_ROLLBACK, boolean).unwrap_or(false),
        rolled_back: reader.value(ROLLED_BACK, |text| Ok(rolled_back(text))).unwrap_or_default(),
        rolled_out: reader.value(ROLLED_OUT, rolled_out),
        resets: reader.value(RESET, resets).unwrap_or_default(),
        resetting: reader.value(RESETTING, ordinal),
        update_last: reader.value(UPDATE_LAST, label),
        prefetch: reader.value(IMAGE_PREFETCH, prefetch).unwrap_or_default(),
        hook: reader.value(PREPARE_HOOK, hook),
        problems: Vec::new(),
    };
    wishes.problems = reader.problems;
    (wishes, reserved)
}

struct Reader<'a> {
    meta: &'a ObjectMeta,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn value<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.meta.annotations.as_ref()?.get(key)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(format!("{key}: {text:?} is ignored: {why}"));
                None
            }
        }
    }
}

/// [`PAUSED_REPLICAS`] as it is written; none when there is nothing to remember.
pub(super) fn write_paused_replicas(replicas: &BTreeMap<RevisionName, OrdinalSet>) -> Option<String> {
    let parts: Vec<_> = replicas.iter().map(|(revision, ordinals)| format!("{revision}={ordinals}")).collect();
    Some(parts.join(";")).filter(|text| !text.is_empty())
}

fn rolled_back(text: &str) -> Vec<RevisionName> {
    text.split(',').filter(|name| !name.is_empty()).map(|name| RevisionName(name.to_owned())).collect()
}

/// [`ROLLED_BACK`] as it is written once `from` is taken back, too.
pub(super) fn write_rolled_back(before: &[RevisionName], from: &RevisionName) -> String {
    let mut names: Vec<&str> = before.iter().filter(|name| *name != from).map(|name| name.0.as_str()).collect();
    names.push(&from.0);
    names.split_off(names.len().saturating_sub(ROLLED_BACK_MAX)).join(",")
}

fn rolled_out(text: &str) -> Result<(RevisionName, i32), String> {
    annotations::rolled_out(text).map(|(revision, partition)| (RevisionName(revision), partition))
}

fn paused_replicas(text: &str) -> Result<BTreeMap<RevisionName, OrdinalSet>, String> {
    let replicas = annotations::paused_replicas(text)?;
    Ok(replicas.into_iter().map(|(revision, ordinals)| (RevisionName(revision), ordinals)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(pairs: &[(&str, &str)]) -> (Wishes, OrdinalSet) {
        let annotations = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        read(&ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() })
    }

    #[test]
    fn everything_that_can_be_asked_is_read() {
        let (wishes, reserved) = annotated(&[
            (RESERVE_ORDINALS, "1,3-4"),
            (PAUSED, "true"),
            (PAUSED_REPLICAS, "web-b=2;web-c=0-1"),
            (PROGRESS_DEADLINE, "600"),
            (AUTO_ROLLBACK, "true"),
            (RESET, "1=1, 3=x"),
            (UPDATE_LAST, "role=leader"),
            (MAX_UNAVAILABLE, "upstream"),
            (IMAGE_PREFETCH, "required"),
            (PREPARE_HOOK, r#"{"exec":{"command":["demote"]}}"#),
        ]);
        assert_eq!(wishes.problems, Vec::<String>::new());
        assert_eq!(reserved.to_string(), "1,3-4");
        assert!(wishes.paused && wishes.auto_rollback && wishes.upstream_budget && !wishes.hold_on_raise);
        assert_eq!(wishes.deadline_s, Some(600));
        let hook = wishes.hook.expect("read");
        assert_eq!((wishes.prefetch, hook.timeout_seconds), (Prefetch::Required, 30));
        assert_eq!(write_resets(&wishes.resets), "1=1,3=x");
        assert_eq!(wishes.update_last, Some(("role".to_owned(), "leader".to_owned())));
        assert_eq!(write_paused_replicas(&wishes.paused_replicas).as_deref(), Some("web-b=2;web-c=0-1"));
    }

    #[test]
    fn what_cannot_be_read_is_ignored_whole_and_named() {
        for (key, value, problem) in [
            (RESERVE_ORDINALS, "1,x", "'x' is neither an ordinal nor a range of ordinals"),
            (PAUSED, "yes", "must be 'true' or 'false'"),
            (PROGRESS_DEADLINE, "-1", "must be a positive number of seconds"),
            (RESET, "1=1,2", "'2' must be 'ordinal=generation'"),
            (RESET, "1=1,1=2", "'1=2' must be 'ordinal=generation'"),
            (UPDATE_LAST, "leader", "must be 'key=value'"),
            (PARTITION_RAISE, "keep", "must be 'hold'"),
        ] {
            let (wishes, reserved) = annotated(&[(key, value)]);
            assert_eq!(wishes.problems, [format!("{key}: {value:?} is ignored: {problem}")]);
            assert_eq!((Wishes { problems: Vec::new(), ..wishes }, reserved), Default::default());
        }
    }
}
