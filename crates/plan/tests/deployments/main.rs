//! Deployments in a tiny world where ReplicaSets do at once what they are told, or as much of it as a
//! story allows.

mod budget;
mod family;
mod said;

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, ReplicaSetStatus, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_plan::deployment::{self, Action, Observed, Plan};

fn check(told: &str, expected: Expect) {
    expected.assert_eq(told);
}

struct World {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    told: Vec<String>,
    now: Timestamp,
    serial: u32,
}

impl World {
    fn new(replicas: i32) -> Self {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let template = PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                containers: vec![Container { image: Some("a".to_owned()), ..Container::default() }],
                ..PodSpec::default()
            }),
        };
        let deployment = Deployment {
            metadata: ObjectMeta {
                name: Some("web".to_owned()),
                uid: Some("deployment".to_owned()),
                generation: Some(1),
                ..ObjectMeta::default()
            },
            spec: Some(DeploymentSpec {
                replicas: Some(replicas),
                selector: LabelSelector { match_labels: Some(labels), ..LabelSelector::default() },
                template,
                progress_deadline_seconds: Some(600),
                ..DeploymentSpec::default()
            }),
            status: None,
        };
        let now = Timestamp::from_second(1_000_000).expect("a plain number of seconds");
        Self { deployment, sets: BTreeMap::new(), told: Vec::new(), now, serial: 0 }
    }

    fn running(replicas: i32) -> Self {
        let mut world = Self::new(replicas);
        world.run();
        world.tell();
        world
    }

    fn edit(&mut self, change: impl FnOnce(&mut DeploymentSpec)) {
        change(self.deployment.spec.get_or_insert_default());
        *self.deployment.metadata.generation.get_or_insert(0) += 1;
    }

    fn image(&mut self, image: &str) {
        self.edit(|spec| {
            spec.template.spec.get_or_insert_default().containers[0].image = Some(image.to_owned());
        });
    }

    fn recreate(&mut self) {
        self.edit(|spec| {
            spec.strategy = Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None });
        });
    }

    fn budget(&mut self, surge: i32, unavailable: i32) {
        self.edit(|spec| {
            spec.strategy = Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(surge)),
                    max_unavailable: Some(IntOrString::Int(unavailable)),
                }),
            });
        });
    }

    fn plan(&self) -> Plan {
        let sets: Vec<_> = self.sets.values().cloned().map(Arc::new).collect();
        deployment::plan(&self.deployment, &Observed { sets: &sets, pods: &[] }, self.now)
    }

    fn sync(&mut self) -> Plan {
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "planning twice gives the same");
        for action in plan.actions() {
            self.apply(action);
        }
        if plan.status_changed {
            self.deployment.status = Some(plan.status.clone());
            if let Some(revision) = &plan.revision {
                let annotations = self.deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(deployment::REVISION.to_owned(), revision.clone());
            }
        }
        plan
    }

    fn apply(&mut self, action: &Action) {
        if let Some(note) = deployment::succeeded(action) {
            let mut message = note.message;
            for (name, set) in &self.sets {
                message = message.replace(name, &image_of(set));
            }
            if let Action::CreateSet(set) = action {
                message = message.replace(&name_of(set), &image_of(set));
            }
            self.told.push(message);
        }
        match action {
            Action::CreateSet(set) => {
                self.serial += 1;
                let mut set = ReplicaSet::clone(set);
                set.metadata.uid = Some(format!("set-{}", self.serial));
                set.metadata.creation_timestamp = Some(Time(self.now));
                set.metadata.generation = Some(1);
                self.now = self.now.checked_add(SignedDuration::from_secs(1)).expect("stories are short");
                assert!(self.sets.insert(name_of(&set), set).is_none(), "the set exists");
            }
            Action::UpdateSet { set, .. } => {
                let mut set = ReplicaSet::clone(set);
                *set.metadata.generation.get_or_insert(0) += 1;
                self.sets.insert(name_of(&set), set);
            }
            Action::DeleteSet(target) => {
                let set = self.sets.remove(&target.name).expect("the set decided on exists");
                self.told.push(format!("deleted {}", image_of(&set)));
            }
            Action::AdoptSet(_) | Action::ReleaseSet(_) | Action::ConfirmDeployment => {}
        }
    }

    /// Sets make and remove pods; of each image only so many become available.
    fn pods(&mut self, available_of: impl Fn(&str) -> i32) -> bool {
        let mut changed = false;
        for set in self.sets.values_mut() {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            let up = Some(wanted.min(available_of(&image_of(set))));
            let status = ReplicaSetStatus {
                replicas: wanted,
                ready_replicas: up,
                available_replicas: up,
                observed_generation: set.metadata.generation,
                terminating_replicas: Some(0),
                ..ReplicaSetStatus::default()
            };
            changed |= set.status.as_ref() != Some(&status);
            set.status = Some(status);
        }
        changed
    }

    fn run(&mut self) {
        self.run_with(|_| i32::MAX);
    }

    fn run_with(&mut self, available_of: impl Fn(&str) -> i32) {
        for _ in 0..100 {
            let idle = self.sync().is_empty();
            if !self.pods(&available_of) && idle {
                return;
            }
        }
        panic!("never at rest: {:#?}", self.plan());
    }

    fn tell(&mut self) -> String {
        std::mem::take(&mut self.told).join("\n")
    }

    /// `a=3 b=1`, the sets with any pods wanted.
    fn sizes(&self) -> String {
        let size = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let mut sizes: Vec<_> = self
            .sets
            .values()
            .filter(|set| size(set) > 0)
            .map(|set| format!("{}={}", image_of(set), size(set)))
            .collect();
        sizes.sort();
        sizes.join(" ")
    }

    /// The conditions as `Type=Status Reason`.
    fn conditions(&self) -> String {
        let status = self.deployment.status.clone().unwrap_or_default();
        let line = |c: k8s_openapi::api::apps::v1::DeploymentCondition| {
            format!("{}={} {}", c.type_, c.status, c.reason.unwrap_or_default())
        };
        let mut lines: Vec<_> = status.conditions.unwrap_or_default().into_iter().map(line).collect();
        lines.sort();
        lines.join("\n")
    }

    fn annotation(&self, image: &str, key: &str) -> Option<String> {
        let set = self.sets.values().find(|set| image_of(set) == image)?;
        set.metadata.annotations.as_ref()?.get(key).cloned()
    }
}

fn name_of(set: &ReplicaSet) -> String {
    set.metadata.name.clone().unwrap_or_default()
}

fn image_of(set: &ReplicaSet) -> String {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let container = template.and_then(|template| template.spec.as_ref()?.containers.first());
    container.and_then(|container| container.image.clone()).unwrap_or_default()
}

#[test]
fn a_new_deployment_makes_one_set_at_full_size() {
    let mut world = World::new(3);
    world.run();
    check(&world.tell(), expect!["Scaled up replica set a from 0 to 3"]);
    check(
        &world.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable"#]],
    );
    let set = world.sets.values().next().expect("one set");
    let hash = name_of(set).strip_prefix("web-").map(str::to_owned).expect("named after the deployment");
    assert!(hash.chars().all(|letter| "456789bcdf".contains(letter)), "{hash}");
    let spec = set.spec.clone().unwrap_or_default();
    let labelled = |labels: Option<BTreeMap<String, String>>| {
        labels.and_then(|labels| labels.get(deployment::HASH_LABEL).cloned()) == Some(hash.clone())
    };
    assert!(labelled(spec.selector.match_labels), "the set selects by the hash");
    assert!(labelled(spec.template.and_then(|template| template.metadata?.labels)), "its pods carry it");
    assert_eq!(world.annotation("a", "deployment.kubernetes.io/desired-replicas").as_deref(), Some("3"));
    assert_eq!(world.annotation("a", "deployment.kubernetes.io/max-replicas").as_deref(), Some("4"));
}

#[test]
fn a_rolling_update_moves_within_surge_and_unavailability() {
    let mut world = World::running(4);
    world.image("b");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        Scaled up replica set b from 0 to 1
        Scaled down replica set a from 4 to 2
        Scaled up replica set b from 1 to 3
        Scaled down replica set a from 2 to 0
        Scaled up replica set b from 3 to 4"#]],
    );
    assert_eq!(world.sizes(), "b=4");
    check(
        &world.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable"#]],
    );
}

#[test]
fn without_surge_the_old_go_first() {
    let mut world = World::running(3);
    world.budget(0, 1);
    world.image("b");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        Scaled down replica set a from 3 to 2
        Scaled up replica set b from 0 to 1
        Scaled down replica set a from 2 to 1
        Scaled up replica set b from 1 to 2
        Scaled down replica set a from 1 to 0
        Scaled up replica set b from 2 to 3"#]],
    );
}

#[test]
fn a_broken_update_stops_within_the_budget_and_can_be_taken_back() {
    let mut world = World::running(4);
    world.image("broken");
    world.run_with(|image| if image == "broken" { 0 } else { i32::MAX });
    assert_eq!(world.sizes(), "a=3 broken=2");
    let deadline = world.plan().wake_at.expect("it knows when to look again");
    world.now = deadline;
    world.run_with(|image| if image == "broken" { 0 } else { i32::MAX });
    check(
        &world.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=False ProgressDeadlineExceeded"#]],
    );
    world.image("a");
    world.run();
    assert_eq!(world.sizes(), "a=4");
    assert_eq!(world.annotation("a", deployment::REVISION).as_deref(), Some("3"));
    assert_eq!(world.annotation("a", "deployment.kubernetes.io/revision-history").as_deref(), Some("1"));
    assert_eq!(
        world
            .deployment
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(deployment::REVISION))
            .map(String::as_str),
        Some("3")
    );
    check(
        &world.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable"#]],
    );
}

#[test]
fn recreate_removes_everything_first() {
    let mut world = World::new(3);
    world.recreate();
    world.run();
    world.tell();
    world.image("b");
    world.sync();
    assert_eq!(world.sizes(), "", "nothing new before the old are gone");
    world.sync();
    assert_eq!(world.sizes(), "");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        Scaled down replica set a from 3 to 0
        Scaled up replica set b from 0 to 3"#]],
    );
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_proportions() {
    let mut world = World::new(10);
    world.budget(3, 2);
    world.run();
    world.image("b");
    world.run_with(|image| if image == "b" { 0 } else { i32::MAX });
    assert_eq!(world.sizes(), "a=8 b=5");
    world.edit(|spec| spec.replicas = Some(15));
    world.sync();
    assert_eq!(world.sizes(), "a=11 b=7");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::running(2);
    world.edit(|spec| spec.paused = Some(true));
    world.image("b");
    world.edit(|spec| spec.replicas = Some(3));
    world.run();
    assert_eq!(world.sizes(), "a=3");
    check(
        &world.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=Unknown DeploymentPaused"#]],
    );
    world.edit(|spec| spec.paused = Some(false));
    world.run();
    assert_eq!(world.sizes(), "b=3");
}

#[test]
fn history_beyond_the_limit_goes_once_a_rollout_is_complete() {
    let mut world = World::running(1);
    world.edit(|spec| spec.revision_history_limit = Some(1));
    for image in ["b", "c", "d"] {
        world.image(image);
        world.run();
    }
    let mut left: Vec<_> = world.sets.values().map(image_of).collect();
    left.sort();
    assert_eq!(left, ["c", "d"]);
}

#[test]
fn scaled_to_zero_is_complete_and_at_rest() {
    let mut world = World::running(2);
    world.edit(|spec| spec.replicas = Some(0));
    world.run();
    assert_eq!(world.sizes(), "");
    assert!(world.plan().is_empty());
}

#[test]
fn a_name_that_is_taken_is_avoided() {
    let mut world = World::running(1);
    world.image("b");
    let plan = world.plan();
    let name = plan.actions().find_map(|action| match action {
        Action::CreateSet(set) => set.metadata.name.clone(),
        _ => None,
    });
    let name = name.expect("a new set");
    let stranger = ReplicaSet {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        ..ReplicaSet::default()
    };
    world.sets.insert(name, stranger);
    world.sync();
    assert_eq!(world.deployment.status.clone().unwrap_or_default().collision_count, Some(1));
    assert_eq!(world.sets.len(), 3);
}

#[test]
fn the_api_error_of_a_set_that_cannot_be_made_is_shown() {
    let mut world = World::new(1);
    let mut status = world.plan().status;
    let note = deployment::creation_failed(&mut status, "web-5d4f", "quota exceeded", world.now);
    assert_eq!(note.message, "Failed to create new replica set \"web-5d4f\": quota exceeded");
    world.deployment.status = Some(status);
    check(
        &world.conditions(),
        expect![[r#"
        Available=False MinimumReplicasUnavailable
        Progressing=False ReplicaSetCreateError"#]],
    );
}
