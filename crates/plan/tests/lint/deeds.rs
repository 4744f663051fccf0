//! Deeds without a reason, one kind of action after the other.

use super::*;

#[test]
fn what_is_not_known_exactly_is_not_touched() {
    for blur in [(|pod| pod.target.uid = Uid::default()) as fn(&mut PodView), |pod| {
        pod.target.resource_version = ResourceVersion::default()
    }] {
        let laws = blurred(&shrinking(), |view, plan| {
            blur(seen(view, 2));
            *deletion(plan) = delete(view, 2, Removal::Condemned);
        });
        assert!(laws.contains(&Law::Exact), "{laws:?}");
    }
}

#[test]
fn pods_are_taken_and_let_go_when_that_is_due_and_not_otherwise() {
    let mut orphaned = World::running(2);
    orphaned.orphan("web-1");
    let without_it = without(&orphaned, |action| matches!(action, Action::AdoptPod(_) | Action::ConfirmSet));
    assert!(without_it.contains(&Law::Adoption), "{without_it:?}");
    let mut misfit = World::running(2);
    misfit.pods.get_mut("web-1").expect("there").metadata.labels.get_or_insert_default().remove("app");
    assert!(without(&misfit, |action| matches!(action, Action::ReleasePod(_))).contains(&Law::Adoption));
    let released = also(&World::running(2), |view| Action::ReleasePod(view.pods[1].target.clone()));
    assert!(released.contains(&Law::Adoption), "{released:?}");
    let relabelled = |world: &World, ordinal: i32| {
        also(world, |view| Action::RelabelPod { target: view.pods[1].target.clone(), ordinal: Ordinal(ordinal) })
    };
    assert!(relabelled(&World::running(2), 1).contains(&Law::Reason), "it carries its identity");
    let mut bare = World::running(2);
    let labels = bare.pods.get_mut("web-1").expect("there").metadata.labels.get_or_insert_default();
    labels.remove("statefulset.kubernetes.io/pod-name");
    let laws = broken(&bare, |_, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::RelabelPod { ordinal, .. } = action {
                *ordinal = Ordinal(0);
            }
        }
    });
    assert_eq!(laws, [Law::Reason], "that is not its ordinal");
}

#[test]
fn a_reason_holds_only_for_the_pods_it_is_about() {
    let reasonless =
        |world: &World, pod: usize, why: Removal| also(world, |view| delete(view, pod, why)).contains(&Law::Reason);
    let mut starting = World::new(web(1));
    starting.settle();
    assert!(reasonless(&starting, 0, Removal::Broken), "it is where it should be");
    let mut condemned = updating();
    condemned.run();
    condemned.image("c");
    condemned.scale(1);
    condemned.sync();
    condemned.phase("web-1", "Failed");
    assert!(reasonless(&condemned, 1, Removal::Ended), "it is to go for another reason");
    assert!(reasonless(&condemned, 1, Removal::Outdated));
    let mut reset = World::running(3);
    reset.annotate("stead.dev/reset", "2=1");
    reset.scale(2);
    assert!(reasonless(&reset, 2, Removal::Reset));
    let mut gone = updating();
    gone.sync();
    assert!(reasonless(&gone, 2, Removal::Outdated), "it is going already");
    let laws = broken(&updating(), |_, plan| {
        let Action::DeletePod { ordinal, .. } = deletion(plan) else { return };
        *ordinal = Ordinal(1);
    });
    assert!(laws.contains(&Law::Reason), "{laws:?}");
    let mut partitioned = World::running(2);
    partitioned.partition(1);
    partitioned.image("broken");
    partitioned.run_but(&["web-1"]);
    assert!(reasonless(&partitioned, 0, Removal::Broken));
    assert!(reasonless(&partitioned, 1, Removal::Broken), "it is at the new revision, where it should be");
}

#[test]
fn of_two_unwell_replicas_the_upper_stays() {
    let mut world = World::running(3);
    world.wait_s(60);
    world.scale(1);
    world.unready("web-1");
    let goes = |view: &View, plan: &mut Plan| {
        plan.batches = vec![vec![delete(view, 2, Removal::Condemned)]];
    };
    assert_eq!(broken(&world, goes), [], "it is well, the lower one is not");
    world.unready("web-2");
    assert!(broken(&world, goes).contains(&Law::FromAbove));
}

#[test]
fn a_wait_has_to_be_so() {
    let untrue = |world: &World, on: &str, rule: Rule| {
        let laws = broken(world, |_, plan| {
            plan.waits = vec![Wait { on: on.to_owned(), rule, since: None, detail: None }];
        });
        laws.contains(&Law::Truth)
    };
    let world = World::running(2);
    for rule in [
        Rule::Terminating,
        Rule::NotReady,
        Rule::NotYetAvailable,
        Rule::Replacing,
        Rule::Creating,
        Rule::ScaleDownUnhealthy,
        Rule::NameTaken,
        Rule::StorageDiffers,
        Rule::Resetting,
        Rule::Preparing,
        Rule::ImageMissing,
        Rule::HookFailed,
    ] {
        assert!(untrue(&world, "web-0", rule), "{rule:?}");
    }
    for rule in [Rule::ClaimTerminating, Rule::ClaimStale, Rule::ClaimGrowing, Rule::VolumeLost] {
        assert!(untrue(&world, "data-web-0", rule), "{rule:?}");
    }
    let mut shrinking = shrinking();
    shrinking.sync();
    assert!(untrue(&shrinking, "web-2", Rule::ScaleDownUnhealthy), "it is going");
    assert!(untrue(&shrinking, "web-0", Rule::ScaleDownUnhealthy), "it stays");
    assert!(untrue(&World::preparing(web(1)), "web-0", Rule::Preparing), "nothing was asked");
}

#[test]
fn it_is_looked_again_in_the_future() {
    let world = World::running(1);
    let now = world.now;
    assert_eq!(broken(&world, |_, plan| plan.wake_at = Some(now)), [Law::Wake]);
}

#[test]
fn only_what_never_stood_or_is_down_at_what_was_taken_back_is_broken() {
    // Replica 2 has come at b, and c is what it should be at.
    let moved_on = |broken: &[&str]| {
        let mut world = updating();
        world.run_but(broken);
        world.wait_s(60);
        world.image("c");
        world
    };
    let taken_as_broken = |world: &World, pod: usize| {
        !self::broken(world, |view, plan| delete_only(view, plan, pod, Removal::Broken)).contains(&Law::Reason)
    };
    let never_stood = moved_on(&["web-2"]);
    assert!(taken_as_broken(&never_stood, 2));
    let mut ended = moved_on(&["web-2"]);
    ended.phase("web-2", "Failed");
    assert!(!taken_as_broken(&ended, 2), "it has ended");
    let mut stood = moved_on(&["web-1"]);
    assert!(!taken_as_broken(&stood, 2), "it is up");
    stood.unready("web-2");
    assert!(!taken_as_broken(&stood, 2), "it stood");
    let taken_back =
        stood.pods["web-2"].metadata.labels.clone().unwrap_or_default()["controller-revision-hash"].clone();
    stood.annotate("stead.dev/rolled-back-from", &taken_back);
    assert!(taken_as_broken(&stood, 2), "at what was taken back");
    stood.ready("web-2");
    assert!(!taken_as_broken(&stood, 2), "and is up");
    let mut condemned = moved_on(&["web-2"]);
    condemned.scale(2);
    assert!(!taken_as_broken(&condemned, 2), "it goes for another reason");
}

#[test]
fn what_is_to_be_left_where_it_is_is_not_broken() {
    let raised = |hold: bool| {
        let mut world = World::running(2);
        if hold {
            world.annotate("stead.dev/partition-raise", "hold");
        }
        world.partition(1);
        world.image("b");
        world.run_but(&["web-1"]);
        world.partition(2);
        broken(&world, |view, plan| delete_only(view, plan, 1, Removal::Broken)).contains(&Law::Reason)
    };
    assert!(raised(true) && !raised(false));
}
