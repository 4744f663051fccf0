//! At which revision each replica has to be at rest (I9), whatever led there: the partition, both ways; what was asked
//! to be held, paused or updated by hand; rollouts that came to their end or were taken back.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use stead_plan::ids::Uid;
use stead_plan::statefulset::ordinals::{Ordinal, pod_name};
use stead_plan::statefulset::revisions::template_of;
use stead_plan::statefulset::views::{Observed, Strategy};
use stead_plan::statefulset::{REVISION_LABEL, View as Asked};
use stead_plan::{pods, revisions};

use super::Problem;
use crate::cluster::observer::image;

/// A set and its revisions.
struct Set<'a> {
    asked: Asked,
    current: Option<&'a ControllerRevision>,
    newest: Option<&'a ControllerRevision>,
    history: Vec<&'a ControllerRevision>,
}

/// What is wrong with the revisions that the replicas of a set are at.
pub(super) fn problems(
    set: &StatefulSet,
    pods: &BTreeMap<String, Pod>,
    history: &[ControllerRevision],
) -> Vec<Problem> {
    let uid = Uid(set.metadata.uid.clone().unwrap_or_default());
    let history: Vec<_> = history.iter().filter(|revision| pods::is_controlled_by(&revision.metadata, &uid)).collect();
    let newest = history.iter().max_by_key(|revision| revision.revision).copied();
    let said = set.status.as_ref().and_then(|status| status.current_revision.as_ref());
    let current = history.iter().find(|revision| revision.metadata.name.as_ref() == said).copied().or(newest);
    let own = Set { asked: Asked::new(set, &Observed::default()), current, newest, history };
    let mut found: Vec<String> = own.template_problem(set).into_iter().collect();
    for ordinal in own.asked.set.range.ascending() {
        let name = pod_name(&own.asked.set.name, ordinal);
        let pod = pods.get(&name).filter(|pod| pods::is_controlled_by(&pod.metadata, &uid));
        found.extend(pod.and_then(|pod| own.replica_problem(ordinal, &name, pod)));
    }
    found.into_iter().map(|text| Problem { invariant: "I9", text }).collect()
}

impl Set<'_> {
    fn template_problem(&self, set: &StatefulSet) -> Option<String> {
        let wanted = &set.spec.as_ref()?.template;
        let written = self.newest.and_then(template_of);
        let same = written.is_some_and(|written| revisions::alike(&written, wanted));
        (!same).then(|| format!("the newest revision of {} is not its template", self.asked.set.name))
    }

    fn replica_problem(&self, ordinal: Ordinal, name: &str, pod: &Pod) -> Option<String> {
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL));
        let at = self.history.iter().find(|revision| revision.metadata.name.as_ref() == label).copied();
        let Some(at) = at else { return Some(format!("{name} is at {label:?}, which is no revision")) };
        if let Some(right) = self.demanded(ordinal).filter(|right| !self.is_right(ordinal, at, right)) {
            return Some(format!("{name} is at {}, not {}", called(at), called(right)));
        }
        let (runs, written) = (pod.spec.as_ref().and_then(image), template_of(at)?.spec);
        let written = written.as_ref().and_then(image);
        (runs != written).then(|| format!("{name} is said to be at {} and runs {runs:?}", called(at)))
    }

    /// The revision that a replica has to be at; none where any is right.
    fn demanded(&self, ordinal: Ordinal) -> Option<&ControllerRevision> {
        let asked = &self.asked.set;
        if asked.wishes.paused {
            let mut noted = asked.wishes.paused_replicas.iter().filter(|(_, ordinals)| ordinals.contains(ordinal));
            let noted = noted.next().map(|(revision, _)| revision.0.as_str());
            let noted = self.history.iter().find(|revision| revision.metadata.name.as_deref() == noted).copied();
            return noted.or(self.current);
        }
        match asked.strategy {
            Strategy::OnDelete => None,
            Strategy::Recreate => self.newest,
            Strategy::RollingUpdate { .. } if !self.is_held(ordinal) => self.newest,
            Strategy::RollingUpdate { .. } if asked.wishes.hold_on_raise => None,
            Strategy::RollingUpdate { .. } => self.current,
        }
    }

    /// Whether the partition keeps the replica out of the rollout.
    fn is_held(&self, ordinal: Ordinal) -> bool {
        let Strategy::RollingUpdate { partition, .. } = self.asked.set.strategy else { return false };
        ordinal < self.asked.set.range.partition_end(partition.unwrap_or(0))
    }

    /// Whether a replica that has to be at one revision may be at another. The partition moves nothing forward: what
    /// was there before the current revision, and was taken over, stays below it.
    fn is_right(&self, ordinal: Ordinal, at: &ControllerRevision, right: &ControllerRevision) -> bool {
        let made = |revision: &ControllerRevision| revision.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let older = at.revision < right.revision && made(at) <= made(right);
        at.metadata.name == right.metadata.name || (older && !self.asked.set.wishes.paused && self.is_held(ordinal))
    }
}

fn called(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use stead_plan::statefulset::wishes;

    use super::*;

    fn object<K: DeserializeOwned>(json: Value) -> K {
        serde_json::from_value(json).expect("an object")
    }

    fn owner() -> Value {
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}])
    }

    fn template(name: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "image": name}]}})
    }

    fn partition(count: i32) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": count}})
    }

    /// What is wrong with two replicas at these revisions, of a set that came from `web-a` by `web-b` to `web-c`.
    fn found(strategy: Value, annotations: Value, replicas: [&str; 2]) -> Vec<String> {
        let set = object(json!({
            "metadata": {"name": "web", "uid": "u", "annotations": annotations},
            "spec": {"replicas": 2, "selector": {}, "serviceName": "web", "template": template("web-c"), "updateStrategy": strategy},
            "status": {"replicas": 2, "currentRevision": "web-b"},
        }));
        let pod = |(ordinal, revision): (usize, &str)| {
            let mut pod = template(revision);
            let labels = json!({REVISION_LABEL: revision});
            pod["metadata"] = json!({"name": format!("web-{ordinal}"), "ownerReferences": owner(), "labels": labels});
            (format!("web-{ordinal}"), object(pod))
        };
        let pods = replicas.into_iter().enumerate().map(pod).collect();
        let revision = |(number, name): (usize, &str)| {
            let mut template = template(name);
            template["$patch"] = json!("replace");
            let meta = json!({"name": name, "ownerReferences": owner(), "creationTimestamp": format!("2026-01-01T00:00:0{number}Z")});
            object(json!({"metadata": meta, "revision": number, "data": {"spec": {"template": template}}}))
        };
        let history: Vec<ControllerRevision> =
            ["web-a", "web-b", "web-c"].into_iter().enumerate().map(revision).collect();
        problems(&set, &pods, &history).into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn a_partition_keeps_the_current_revision_below_it_and_the_newest_above() {
        let found = |replicas| found(partition(1), json!({}), replicas);
        assert_eq!(found(["web-b", "web-c"]), Vec::<String>::new());
        assert_eq!(found(["web-c", "web-c"]), ["web-0 is at web-c, not web-b"], "it works both ways");
        assert_eq!(found(["web-b", "web-b"]), ["web-1 is at web-b, not web-c"]);
        assert_eq!(found(["web-a", "web-c"]), Vec::<String>::new(), "taken over, and never moved forward");
    }

    #[test]
    fn replicas_stay_below_a_partition_where_that_is_asked_for() {
        let hold = json!({wishes::PARTITION_RAISE: "hold"});
        assert_eq!(found(partition(1), hold.clone(), ["web-c", "web-c"]), Vec::<String>::new());
        assert_eq!(found(partition(1), hold, ["web-c", "web-b"]), ["web-1 is at web-b, not web-c"]);
    }

    #[test]
    fn a_rollout_without_a_partition_reaches_all() {
        for strategy in [json!({"type": "RollingUpdate"}), json!({"type": "Recreate"})] {
            assert_eq!(found(strategy.clone(), json!({}), ["web-c", "web-c"]), Vec::<String>::new());
            assert_eq!(found(strategy, json!({}), ["web-b", "web-c"]), ["web-0 is at web-b, not web-c"]);
        }
        assert_eq!(found(json!({"type": "OnDelete"}), json!({}), ["web-b", "web-c"]), Vec::<String>::new());
    }

    #[test]
    fn a_paused_set_stays_at_what_it_was_and_has_noted() {
        let paused = |noted: Option<&str>| {
            let annotations = json!({wishes::PAUSED: "true", wishes::PAUSED_REPLICAS: noted});
            found(json!({"type": "RollingUpdate"}), annotations, ["web-b", "web-c"])
        };
        assert_eq!(paused(Some("web-c=1")), Vec::<String>::new());
        assert_eq!(paused(Some("web-a=0;web-c=1")), ["web-0 is at web-b, not web-a"]);
        assert_eq!(paused(Some("")), ["web-1 is at web-c, not web-b"]);
    }

    #[test]
    fn a_pod_runs_what_its_revision_says() {
        let set = object(json!({
            "metadata": {"name": "web", "uid": "u"},
            "spec": {"replicas": 1, "selector": {}, "serviceName": "web", "template": template("web-a")},
        }));
        let mut pod = template("web-b");
        pod["metadata"] = json!({"name": "web-0", "ownerReferences": owner(), "labels": {REVISION_LABEL: "web-a"}});
        let pods = BTreeMap::from([("web-0".to_owned(), object(pod))]);
        let data = json!({"spec": {"template": template("web-a")}});
        let revision =
            object(json!({"metadata": {"name": "web-a", "ownerReferences": owner()}, "revision": 1, "data": data}));
        let found = problems(&set, &pods, &[revision]);
        let texts: Vec<&str> = found.iter().map(|problem| &*problem.text).collect();
        assert_eq!(texts, [r#"web-0 is said to be at web-a and runs Some("web-b")"#]);
    }
}
