//! People at work at random: a seeded script of what they ask for.

use kube::api::PropagationPolicy;
use serde_json::json;
use stead_plan::statefulset::wishes;

use super::{SETS, User, Wish};
use crate::cluster::entropy::Dice;
use crate::cluster::world::World;

/// Works at random until dropped.
pub(crate) async fn at_work(world: World) {
    let (user, dice) = (User::of(&world), world.dice("user"));
    let wishes = SETS.map(|set| Wish::random(set, &dice));
    for wish in &wishes {
        user.create(wish).await;
    }
    for version in 1_u64.. {
        let pause = if dice.permille(300) { dice.ms(0, 2_000) } else { dice.ms(2_000, 120_000) };
        tokio::time::sleep(pause).await;
        if let Some(wish) = dice.pick(&wishes) {
            one_thing(&user, wish, &dice, version).await;
        }
    }
}

async fn one_thing(user: &User, wish: &Wish, dice: &Dice, version: u64) {
    let set = wish.name;
    let ordinal = dice.below(4);
    let pod = format!("{set}-{ordinal}");
    match dice.below(134) {
        0..22 => user.scale(set, dice.below(5)).await,
        22..42 => user.set_image(set, &format!("app:v{version}")).await,
        42..50 => {
            let kind = dice.pick(&["bad", "mute", "absent"]).copied().unwrap_or("bad");
            user.set_image(set, &format!("app{version}:{kind}")).await;
        }
        50..58 => user.undo(set).await,
        58..66 => user.partition(set, dice.below(4)).await,
        66..78 => user.delete_pod(&pod, false).await,
        78..84 => user.delete_pod(&pod, true).await,
        84..90 if wish.claims => {
            user.delete_claim(&format!("data-{pod}")).await;
            user.delete_pod(&pod, false).await;
        }
        90..96 => {
            let policy = if dice.permille(300) { PropagationPolicy::Orphan } else { PropagationPolicy::Background };
            user.delete_set(set, policy).await;
            tokio::time::sleep(dice.ms(0, 20_000)).await;
            user.create(wish).await;
        }
        96..100 => {
            let node = format!("n{}", 1 + dice.below(3));
            user.cordon(&node, true).await;
            tokio::time::sleep(dice.ms(1_000, 60_000)).await;
            user.cordon(&node, false).await;
        }
        100..102 => user.delete_node(&format!("n{}", 1 + dice.below(3))).await,
        _ => something_more(user, wish, dice, version).await,
    }
}

/// What Kubernetes does not know.
async fn something_more(user: &User, wish: &Wish, dice: &Dice, version: u64) {
    let set = wish.name;
    match dice.below(50) {
        0..6 => {
            user.annotate(set, wishes::PAUSED, Some("true")).await;
            tokio::time::sleep(dice.ms(1_000, 60_000)).await;
            user.annotate(set, wishes::PAUSED, None).await;
        }
        6..12 => user.annotate(set, wishes::RESET, Some(&format!("{}=g{version}", dice.below(4)))).await,
        12..18 => {
            let reserved = dice.pick(&[None, Some("0"), Some("1"), Some("2"), Some("1,3")]).copied().flatten();
            user.annotate(set, wishes::RESERVE_ORDINALS, reserved).await;
        }
        18..21 => {
            let hold = dice.permille(500).then_some("hold");
            user.annotate(set, wishes::PARTITION_RAISE, hold).await;
        }
        21..25 if wish.claims => user.grow(set, 1 + version).await,
        25..29 => user.unavailable(set, 1 + dice.below(3)).await,
        29..33 => {
            let prefetch = dice.pick(&[None, Some("required"), Some("off")]).copied().flatten();
            user.annotate(set, wishes::IMAGE_PREFETCH, prefetch).await;
        }
        33..37 => {
            let hook =
                dice.permille(700).then(|| json!({"exec": {"command": ["retire", version.to_string()]}}).to_string());
            user.annotate(set, wishes::PREPARE_HOOK, hook.as_deref()).await;
        }
        37..41 => user.recreate(set).await,
        41..44 => user.on_delete(set).await,
        _ => {
            let deadline = dice.pick(&[None, Some("20"), Some("60"), Some("300")]).copied().flatten();
            user.annotate(set, wishes::PROGRESS_DEADLINE, deadline).await;
            let rolls_back = dice.permille(700).then_some("true");
            user.annotate(set, wishes::AUTO_ROLLBACK, rolls_back).await;
        }
    }
}
