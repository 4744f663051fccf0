//! What the status shows, and what it leaves alone: U22, U24.

use k8s_openapi::api::apps::v1::StatefulSetCondition;
use stead_plan::statefulset::conditions::onto;

use crate::world::World;

#[test]
fn u22_labels_of_the_set_change_nothing() {
    let mut world = World::running(2);
    world.set.metadata.labels.get_or_insert_default().insert("tier".to_owned(), "db".to_owned());
    assert!(world.plan().is_empty());
}

#[test]
fn u24_conditions_of_others_survive_every_write() {
    let mut world = World::running(2);
    let condition =
        StatefulSetCondition { type_: "Mine".to_owned(), status: "True".to_owned(), ..StatefulSetCondition::default() };
    let status = world.set.status.get_or_insert_default();
    status.conditions.get_or_insert_default().insert(0, condition.clone());
    assert!(world.plan().is_empty(), "a stranger's condition is no reason to write");
    world.scale(3);
    world.run();
    let conditions = world.set.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    assert_eq!(conditions[0], condition);
    let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Mine", "Progressing", "Available", "Blocked"]);
    // Somebody replaces the whole list: what is his stays, what is ours returns.
    world.set.status.get_or_insert_default().conditions = Some(vec![condition.clone()]);
    world.run();
    let conditions = world.set.status.unwrap_or_default().conditions.unwrap_or_default();
    assert_eq!((conditions.len(), &conditions[0]), (4, &condition));
}

#[test]
fn u24_conditions_that_came_while_it_was_planned_survive_the_write() {
    let condition = |type_: &str, status: &str| StatefulSetCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        ..StatefulSetCondition::default()
    };
    let mut world = World::running(1);
    let planned = world.set.status.clone().unwrap_or_default();
    let status = world.set.status.get_or_insert_default();
    status.conditions = Some(vec![condition("Theirs", "True"), condition("Available", "False")]);
    let written = onto(world.set.status.as_ref(), &planned).conditions.unwrap_or_default();
    let shown: Vec<_> = written.iter().map(|condition| format!("{}={}", condition.type_, condition.status)).collect();
    assert_eq!(shown, ["Theirs=True", "Available=True", "Progressing=True", "Blocked=False"]);
}
