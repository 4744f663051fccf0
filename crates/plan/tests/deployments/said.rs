//! What a Deployment says of itself: counts and conditions, and when they are worth a write.

use k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSetCondition};

use super::*;

/// `Progressing=True NewReplicaSetCreated since 0 s, as of 10 s: Created …`, one line per condition.
fn said(world: &World) -> String {
    let begin = Timestamp::from_second(1_000_000).expect("a plain number of seconds");
    let seconds = |time: Option<Time>| time.map_or(-1, |time| time.0.duration_since(begin).as_secs());
    let conditions = world.deployment.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    let lines = conditions.into_iter().map(|condition| {
        let mut message = condition.message.unwrap_or_default();
        for (name, set) in &world.sets {
            message = message.replace(name, &image_of(set));
        }
        let (since, as_of) = (seconds(condition.last_transition_time), seconds(condition.last_update_time));
        let reason = condition.reason.unwrap_or_default();
        format!("{}={} {reason} since {since} s, as of {as_of} s: {message}", condition.type_, condition.status)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What it says of how it gets on, as in [`said`].
fn progress(world: &World) -> String {
    said(world).lines().find(|line| line.starts_with("Progressing")).expect("it is said").to_owned()
}

fn wait_s(world: &mut World, seconds: i64) {
    world.now = world.now.checked_add(SignedDuration::from_secs(seconds)).expect("stories are short");
}

#[test]
fn every_step_of_a_rollout_is_told_with_its_time() {
    let mut world = World::new(2);
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Progressing=True NewReplicaSetCreated since 0 s, as of 0 s: Created new replica set "a"
        Available=False MinimumReplicasUnavailable since 0 s, as of 0 s: Deployment does not have minimum availability."#]],
    );
    for up in [1, 2] {
        wait_s(&mut world, 10);
        world.pods(|_| up);
        world.sync();
    }
    check(
        &said(&world),
        expect![[r#"
        Progressing=True NewReplicaSetAvailable since 0 s, as of 21 s: ReplicaSet "a" has successfully progressed.
        Available=True MinimumReplicasAvailable since 21 s, as of 21 s: Deployment has minimum availability."#]],
    );
    wait_s(&mut world, 10);
    world.image("b");
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Available=True MinimumReplicasAvailable since 21 s, as of 21 s: Deployment has minimum availability.
        Progressing=True NewReplicaSetCreated since 0 s, as of 31 s: Created new replica set "b""#]],
    );
    wait_s(&mut world, 10);
    world.pods(|_| 2);
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Available=True MinimumReplicasAvailable since 21 s, as of 21 s: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated since 0 s, as of 42 s: ReplicaSet "b" is progressing."#]],
    );
    wait_s(&mut world, 10);
    world.run();
    check(
        &said(&world),
        expect![[r#"
        Available=True MinimumReplicasAvailable since 21 s, as of 21 s: Deployment has minimum availability.
        Progressing=True NewReplicaSetAvailable since 0 s, as of 52 s: ReplicaSet "b" has successfully progressed."#]],
    );
    let complete = progress(&world);
    wait_s(&mut world, 10);
    // Replicas that are lost later and come back one by one are no matter of the rollout.
    for up in [0, 1, 2] {
        world.pods(|_| up);
        world.sync();
        assert_eq!(progress(&world), complete);
    }
}

#[test]
fn replicas_that_become_ready_or_available_are_progress_each() {
    let mut world = World::new(3);
    world.edit(|spec| spec.min_ready_seconds = Some(60));
    world.sync();
    let mut up = |ready: i32, available: i32| {
        wait_s(&mut world, 10);
        world.pods(|_| available);
        for set in world.sets.values_mut() {
            set.status.get_or_insert_default().ready_replicas = Some(ready);
        }
        world.sync();
        progress(&world)
    };
    let pods = up(0, 0);
    let ready = up(1, 0);
    let available = up(1, 1);
    let nothing = up(1, 1);
    check(
        &[pods, ready, available, nothing].join("\n"),
        expect![[r#"
        Progressing=True ReplicaSetUpdated since 0 s, as of 11 s: ReplicaSet "a" is progressing.
        Progressing=True ReplicaSetUpdated since 0 s, as of 21 s: ReplicaSet "a" is progressing.
        Progressing=True ReplicaSetUpdated since 0 s, as of 31 s: ReplicaSet "a" is progressing.
        Progressing=True ReplicaSetUpdated since 0 s, as of 31 s: ReplicaSet "a" is progressing."#]],
    );
}

#[test]
fn a_deployment_of_none_is_complete_at_once() {
    let mut world = World::new(0);
    world.run();
    check(
        &said(&world),
        expect![[r#"
        Progressing=True NewReplicaSetAvailable since 0 s, as of 0 s: ReplicaSet "a" has successfully progressed.
        Available=True MinimumReplicasAvailable since 0 s, as of 0 s: Deployment has minimum availability."#]],
    );
}

#[test]
fn a_new_set_that_was_there_before_anything_was_said_is_found() {
    let mut world = World::new(2);
    world.sync();
    world.deployment.status = None;
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Progressing=True FoundNewReplicaSet since 1 s, as of 1 s: Found new replica set "a"
        Available=False MinimumReplicasUnavailable since 1 s, as of 1 s: Deployment does not have minimum availability."#]],
    );
}

#[test]
fn pausing_is_told_and_going_on_too() {
    let mut world = World::running(1);
    world.edit(|spec| spec.paused = Some(true));
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Available=True MinimumReplicasAvailable since 1 s, as of 1 s: Deployment has minimum availability.
        Progressing=Unknown DeploymentPaused since 1 s, as of 1 s: Deployment is paused"#]],
    );
    world.edit(|spec| spec.paused = Some(false));
    world.image("b");
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Available=True MinimumReplicasAvailable since 1 s, as of 1 s: Deployment has minimum availability.
        Progressing=True NewReplicaSetCreated since 1 s, as of 1 s: Created new replica set "b""#]],
    );
    // In the middle of a rollout nothing else may be there to tell.
    world.edit(|spec| spec.paused = Some(true));
    world.sync();
    wait_s(&mut world, 10);
    world.edit(|spec| spec.paused = Some(false));
    world.sync();
    check(
        said(&world).lines().last().unwrap_or_default(),
        expect!["Progressing=Unknown DeploymentResumed since 2 s, as of 12 s: Deployment is resumed"],
    );
}

#[test]
fn a_rollout_that_is_stuck_stays_so_when_it_is_paused() {
    let mut world = World::running(2);
    world.image("broken");
    let broken = |image: &str| if image == "broken" { 0 } else { i32::MAX };
    world.run_with(broken);
    world.now = world.plan().wake_at.expect("it looks again");
    world.sync();
    let stuck = said(&world);
    assert!(stuck.contains("ProgressDeadlineExceeded"), "{stuck}");
    wait_s(&mut world, 10);
    for paused in [true, false] {
        world.edit(|spec| spec.paused = Some(paused));
        world.sync();
        assert_eq!(said(&world), stuck);
    }
}

#[test]
fn without_a_deadline_nothing_is_said_of_progress() {
    let mut world = World::running(1);
    world.edit(|spec| spec.progress_deadline_seconds = Some(i32::MAX));
    world.image("b");
    world.run();
    check(
        &said(&world),
        expect!["Available=True MinimumReplicasAvailable since 1 s, as of 1 s: Deployment has minimum availability."],
    );
}

#[test]
fn a_rollout_is_stuck_a_second_after_its_deadline_and_not_before() {
    let mut world = World::running(2);
    world.image("broken");
    let broken = |image: &str| if image == "broken" { 0 } else { i32::MAX };
    world.run_with(broken);
    let wake_at = world.plan().wake_at.expect("it looks again");
    world.now = wake_at;
    wait_s(&mut world, -1);
    world.sync();
    assert!(!said(&world).contains("ProgressDeadlineExceeded"), "{}", said(&world));
    assert_eq!(world.plan().wake_at, Some(wake_at));
    world.now = wake_at;
    world.sync();
    check(
        &said(&world),
        expect![[r#"
        Available=True MinimumReplicasAvailable since 1 s, as of 1 s: Deployment has minimum availability.
        Progressing=False ProgressDeadlineExceeded since 603 s, as of 603 s: ReplicaSet "broken" has timed out progressing."#]],
    );
    assert_eq!(world.plan().wake_at, None);
}

#[test]
fn pods_that_a_set_cannot_make_are_told_until_it_can() {
    let mut world = World::running(1);
    let name = world.sets.keys().next().expect("one set").clone();
    let failure = ReplicaSetCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: Some("FailedCreate".to_owned()),
        message: Some("quota exceeded".to_owned()),
        last_transition_time: None,
    };
    let other = ReplicaSetCondition { type_: "Other".to_owned(), message: Some("well".to_owned()), ..failure.clone() };
    let set = |world: &mut World, conditions| {
        let set = world.sets.get_mut(&name).expect("it stays");
        set.status.get_or_insert_default().conditions = conditions;
        world.sync();
    };
    set(&mut world, Some(vec![other, failure]));
    check(
        said(&world).lines().last().unwrap_or_default(),
        expect!["ReplicaFailure=True FailedCreate since 1 s, as of 1 s: quota exceeded"],
    );
    set(&mut world, None);
    assert!(!said(&world).contains("ReplicaFailure"), "{}", said(&world));
}

#[test]
fn the_status_counts_old_and_new_and_what_is_missing() {
    let mut world = World::running(4);
    world.image("b");
    world.sync();
    world.pods(|image| if image == "b" { 0 } else { 3 });
    for (number, set) in world.sets.values_mut().enumerate() {
        set.status.get_or_insert_default().terminating_replicas = Some(1 + i32::try_from(number).unwrap_or(0));
    }
    let status = DeploymentStatus { conditions: None, ..world.plan().status };
    check(
        &serde_json::to_string_pretty(&status).expect("it can be written"),
        expect![[r#"
        {
          "availableReplicas": 3,
          "observedGeneration": 2,
          "readyReplicas": 3,
          "replicas": 5,
          "terminatingReplicas": 3,
          "unavailableReplicas": 1,
          "updatedReplicas": 1
        }"#]],
    );
    let unknown = world.sets.values_mut().next().expect("two sets");
    unknown.status.get_or_insert_default().terminating_replicas = None;
    assert_eq!(world.plan().status.terminating_replicas, None, "one that does not say leaves it open");
    unknown_is_left_out(&mut world);
}

/// A set that nobody has looked at yet does not count.
fn unknown_is_left_out(world: &mut World) {
    world.sets.values_mut().next().expect("two sets").status = None;
    assert!(world.plan().status.terminating_replicas.is_some());
}

#[test]
fn each_count_is_worth_a_write_and_zero_is_as_good_as_nothing() {
    let world = World::running(2);
    let changed = |change: fn(&mut DeploymentStatus)| {
        let mut deployment = world.deployment.clone();
        change(deployment.status.get_or_insert_default());
        let other = World { deployment, sets: world.sets.clone(), told: Vec::new(), now: world.now, serial: 0 };
        let plan = other.plan();
        assert_eq!(plan.is_empty(), !plan.status_changed, "there is nothing else to do");
        plan.status_changed
    };
    assert!(!changed(|_| {}));
    for change in [
        (|status| status.replicas = Some(7)) as fn(&mut DeploymentStatus),
        |status| status.updated_replicas = Some(7),
        |status| status.ready_replicas = Some(7),
        |status| status.available_replicas = Some(7),
        |status| status.unavailable_replicas = Some(7),
        |status| status.terminating_replicas = Some(7),
        |status| status.observed_generation = Some(0),
        |status| status.conditions = None,
    ] {
        assert!(changed(change));
    }
    assert!(!changed(|status| status.unavailable_replicas = Some(0)));
    let mut empty = World::new(0);
    empty.run();
    for zero in [
        (|status| status.replicas = Some(0)) as fn(&mut DeploymentStatus),
        |status| status.updated_replicas = Some(0),
        |status| status.ready_replicas = Some(0),
        |status| status.available_replicas = Some(0),
    ] {
        zero(empty.deployment.status.get_or_insert_default());
        assert!(!empty.plan().status_changed);
    }
}

#[test]
fn a_deployment_that_selects_everything_is_refused_and_left_as_it_is() {
    let mut world = World::running(2);
    world.edit(|spec| spec.selector = LabelSelector::default());
    let plan = world.plan();
    assert!(plan.is_empty());
    assert_eq!(Some(&plan.status), world.deployment.status.as_ref());
    let notes: Vec<_> = plan.notes.iter().map(|note| (note.warning, note.reason)).collect();
    assert_eq!(notes, [(true, "SelectingAll")]);
}
