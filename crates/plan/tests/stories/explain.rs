//! What `stead explain` prints, from the same function that decides.

use expect_test::expect;

use crate::check;
use crate::world::{World, web};

#[test]
fn a_rollout_that_is_stuck_is_explained() {
    let mut world = World::running(3);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.wait_s(60);
    check(
        &world.explain(),
        expect![[r#"
            revision a, going to broken
              0: available, a; data-web-0
              1: available, a; data-web-1
              2: not ready for 62 s, and never was, broken; data-web-2
            next: nothing
            waits because:
              web-2 is not running and ready
            conditions:
              Progressing=True RollingOut: 0 of 3 replicas are at revision broken and available
              Available=True EnoughReplicas: 2 of 3 replicas are available
              Blocked=True PodNotReady: web-2 is not running and ready
            looks again when something changes
        "#]],
    );
}

#[test]
fn what_would_be_done_next_is_said_before_it_is_done() {
    let mut world = World::running(3);
    world.provision();
    world.settle();
    world.claim_size("2Gi");
    world.annotate("stead.dev/reset", "0=1");
    world.annotate("stead.dev/reserve-ordinals", "1");
    world.scale(2);
    check(
        &world.explain(),
        expect![[r#"
            revision a
            reserved ordinals 1
              0: available, a; data-web-0 (it is to grow to 2Gi)
              1: available, to go, a; data-web-1 (it is to grow to 2Gi)
              2: available, a; data-web-2 (it is to grow to 2Gi)
            next:
              delete pod web-0, because it was asked to be made anew
              let claim data-web-2 grow to 2Gi
            waits because:
              web-0 is being replaced
            conditions:
              Progressing=True RolloutComplete: 2 of 2 replicas are at revision a and available
              Available=True EnoughReplicas: 2 of 2 replicas are available
              Blocked=False NothingBlocks
              ClaimsMatch=False ClaimsGrowing: data-web-0: it is to grow to 2Gi; data-web-2: it is to grow to 2Gi
            looks again when something changes
        "#]],
    );
}

#[test]
fn a_set_at_rest_has_nothing_to_say() {
    check(
        &World::running(1).explain(),
        expect![[r#"
            revision a
              0: available, a; data-web-0
            next: nothing
            waits because: nothing is waited for
            conditions:
              Progressing=True RolloutComplete: 1 of 1 replicas are at revision a and available
              Available=True EnoughReplicas: 1 of 1 replicas are available
              Blocked=False NothingBlocks
            looks again when something changes
        "#]],
    );
}

#[test]
fn what_has_only_just_come_is_not_given_an_age() {
    let mut set = web(1);
    set.spec.get_or_insert_default().min_ready_seconds = Some(30);
    let mut world = World::new(set);
    let state = |world: &World| world.explain().lines().find(|line| line.contains(" 0: ")).map(str::to_owned);
    world.settle();
    assert_eq!(state(&world).as_deref(), Some("  0: not ready, and never was, a; data-web-0"));
    world.ready("web-0");
    assert_eq!(state(&world).as_deref(), Some("  0: ready, not yet available, a; data-web-0"));
    world.wait_s(5);
    assert_eq!(state(&world).as_deref(), Some("  0: ready for 5 s, not yet available, a; data-web-0"));
    world.wait_s(-10);
    assert_eq!(state(&world).as_deref(), Some("  0: ready, not yet available, a; data-web-0"), "a clock set back");
}
