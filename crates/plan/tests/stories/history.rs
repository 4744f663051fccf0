//! Which revisions are kept, and what is no new one.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use stead_plan::statefulset::Action;

use crate::on_delete;
use crate::world::{World, web};

#[test]
fn a_revision_that_a_replica_is_at_is_kept_whatever_the_limit() {
    let mut set = web(2);
    on_delete(set.spec.get_or_insert_default());
    set.spec.get_or_insert_default().revision_history_limit = Some(0);
    let mut world = World::up(set);
    world.image("b");
    world.delete_pod("web-1");
    world.run();
    world.image("c");
    world.run();
    assert_eq!(world.history(), "a:1 b:2 c:3");
}

#[test]
fn a_revision_written_before_a_field_had_its_default_is_no_other_template() {
    let mut world = World::before_a_default();
    world.run();
    assert_eq!((world.tell(), world.history()), ("\n".to_owned(), "a:1".to_owned()));
    let odd = of_the_largest_number(&world);
    world.revisions.insert("odd".to_owned(), odd);
    world.run();
    assert_eq!(world.history(), format!("a:1 ?:{}", i64::MAX), "that is the newest one still");
}

#[test]
fn revisions_of_others_and_those_that_go_count_for_nothing() {
    let mut world = World::running(1);
    let own = world.revisions.values().next().expect("there is one").clone();
    let named = |name: &str, number: i64| {
        let mut revision = ControllerRevision { revision: number, data: None, ..own.clone() };
        revision.metadata.name = Some(name.to_owned());
        revision.metadata.uid = Some(name.to_owned());
        revision
    };
    let mut owned = named("owned", 7);
    owned.metadata.owner_references.as_mut().expect("it is the set's")[0].uid = "other".to_owned();
    let mut unlike = named("unlike", 8);
    (unlike.metadata.owner_references, unlike.metadata.labels) = (None, None);
    let mut going = named("going", 9);
    going.metadata.deletion_timestamp = Some(Time(world.now));
    for revision in [owned, unlike, going] {
        world.revisions.insert(revision.metadata.name.clone().unwrap_or_default(), revision);
    }
    world.image("b");
    let plan = world.plan();
    let numbers: Vec<i64> = plan
        .actions()
        .filter_map(|action| match action {
            Action::CreateRevision { number, .. } => Some(*number),
            Action::AdoptRevision(_) | Action::DeleteRevision(_) => Some(0),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [2]);
}

#[test]
fn a_pod_that_could_not_be_adopted_yet_keeps_its_revision() {
    let mut set = web(1);
    on_delete(set.spec.get_or_insert_default());
    set.spec.get_or_insert_default().revision_history_limit = Some(0);
    let mut world = World::up(set);
    world.image("b");
    world.run();
    // The set was deleted without its pods and is made again; somebody else writes the pod all the time.
    world.orphan("web-0");
    for revision in world.revisions.values_mut() {
        revision.metadata.owner_references = None;
    }
    world.set.metadata.uid = Some("set-2".to_owned());
    world.set.status = None;
    world.refuses = |_, action| matches!(action, Action::AdoptPod(_));
    world.settle();
    world.refuses = |_, _| false;
    let plan = world.plan();
    assert!(!plan.actions().any(|action| matches!(action, Action::DeleteRevision(_))), "{:#?}", plan.batches);
    world.run();
    assert_eq!(world.history(), "a:1 b:2");
}

/// A revision that somebody has made by hand, after which there can be none.
fn of_the_largest_number(world: &World) -> ControllerRevision {
    let mut odd = world.revisions.values().next().expect("there is one").clone();
    odd.revision = i64::MAX;
    odd.data = None;
    odd.metadata.name = Some("odd".to_owned());
    odd.metadata.uid = Some("odd".to_owned());
    odd.metadata.owner_references = None;
    odd
}

#[test]
fn a_foreign_revision_of_the_largest_number_is_never_the_newest() {
    let mut world = World::running(1);
    let odd = of_the_largest_number(&world);
    world.revisions.insert("odd".to_owned(), odd);
    world.run();
    world.image("b");
    world.run();
    world.image("a");
    world.run();
    assert_eq!(world.history(), format!("b:2 a:3 ?:{}", i64::MAX));
    assert_eq!(world.set.status.as_ref().and_then(|status| status.updated_replicas), Some(1));
}
