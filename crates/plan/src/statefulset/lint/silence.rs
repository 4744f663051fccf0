//! The laws of doing nothing: silence is explained, explanations are true, and what only time changes
//! is looked at again in time.

use stead_api::preparation::Outcome;

use super::facts::Facts;
use super::{Flaws, Law, preparing};
use crate::statefulset::actions::{Rule, Wait};
use crate::statefulset::ordinals::{Ordinal, ordinal_of};
use crate::statefulset::views::{ClaimOwner, ClaimView, PodView, Size};

pub(super) fn check(facts: &Facts<'_>, flaws: &mut Flaws) {
    if facts.plan.batches.is_empty() && facts.plan.waits.is_empty() && !facts.view.set.wishes.paused {
        for ordinal in facts.view.set.range.ascending().filter(|ordinal| !is_as_wanted(facts, *ordinal)) {
            flaws.add(Law::Silence, format!("{ordinal} is not as wanted, and nothing is said"));
        }
        for (ordinal, _) in facts.condemned() {
            flaws.add(Law::Silence, format!("{ordinal} is to go, and nothing is said"));
        }
    }
    for wait in facts.plan.waits.iter().filter(|wait| !is_true(facts, wait)) {
        flaws.add(Law::Truth, wait.to_string());
    }
    wake(facts, flaws);
}

fn is_as_wanted(facts: &Facts<'_>, ordinal: Ordinal) -> bool {
    facts.replica(ordinal).is_some_and(|pod| facts.is_available(pod) && !facts.is_outdated(ordinal, pod))
}

fn is_true(facts: &Facts<'_>, wait: &Wait) -> bool {
    let pod = facts.view.pods.iter().map(AsRef::as_ref).find(|pod: &&PodView| pod.target.name == wait.on);
    let ordinal = ordinal_of(&facts.view.set.name, &wait.on);
    let goes = |pod: &PodView| pod.terminating || facts.removal(pod).is_some();
    let claim = |is: &dyn Fn(&ClaimView) -> bool| facts.view.claims.named(&wait.on).is_some_and(is);
    match wait.rule {
        Rule::Terminating => pod.is_some_and(goes),
        Rule::NotReady => pod.is_none_or(|pod| !pod.running_ready() || !facts.is_mine(pod)),
        Rule::NotYetAvailable => {
            pod.is_some_and(|pod| pod.running_ready() && !pod.available(facts.view.set.min_ready_s, facts.now))
        }
        Rule::NotYetSteady => pod.is_some_and(PodView::running_ready),
        Rule::Replacing => pod.is_some_and(|pod| facts.removal(pod).is_some()),
        Rule::Creating => ordinal.is_some_and(|ordinal| facts.creates(ordinal)),
        Rule::ScaleDownUnhealthy => facts.condemned().any(|(_, pod)| pod.target.name == wait.on && !goes(pod)),
        Rule::ClaimTerminating => claim(&|claim| claim.terminating),
        Rule::ClaimStale => claim(&|claim| {
            claim.owners.iter().any(|(owner, _)| matches!(owner, ClaimOwner::Pod(_) | ClaimOwner::StaleSet))
        }),
        Rule::NameTaken => pod.is_some_and(|pod| !facts.is_mine(pod)),
        Rule::StorageDiffers => pod.is_some_and(|pod| !pod.storage_ok),
        Rule::Budget => pod.is_some_and(|pod| facts.is_mine(pod)),
        Rule::Resetting => ordinal.is_some_and(|ordinal| facts.view.set.wishes.resets.contains_key(&ordinal)),
        Rule::ClaimGrowing => claim(&|claim| claim.size == Size::Growing),
        Rule::VolumeLost => claim(&|claim| claim.lost),
        Rule::Preparing => pod.is_some_and(|pod| preparing::is_under_way(facts, pod)),
        Rule::ImageMissing => pod.is_some_and(|pod| preparing::outcome(pod) == Some(Outcome::NoImage)),
        Rule::HookFailed => pod.is_some_and(|pod| preparing::outcome(pod) == Some(Outcome::HookFailed)),
    }
}

fn wake(facts: &Facts<'_>, flaws: &mut Flaws) {
    let wake_at = facts.plan.wake_at;
    flaws.check(wake_at.is_none_or(|at| at > facts.now), Law::Wake, || "the time to wake is past".to_owned());
    let min_ready_s = facts.view.set.min_ready_s;
    for (ordinal, pod) in facts.mine() {
        let available_at = pod.available_at(min_ready_s).filter(|at| *at > facts.now);
        let in_time = available_at.is_none_or(|at| wake_at.is_some_and(|wake_at| wake_at <= at));
        flaws.check(in_time, Law::Wake, || format!("{ordinal} becomes available, and nobody looks"));
    }
    let by_time = |wait: &&Wait| matches!(wait.rule, Rule::NotYetAvailable | Rule::NotYetSteady);
    for wait in facts.plan.waits.iter().filter(by_time) {
        flaws.check(wake_at.is_some(), Law::Wake, || format!("{wait}, and nobody looks again"));
    }
}
