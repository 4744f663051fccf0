//! The batches of a plan, one after the other. What fails keeps back only what must not be done without
//! it ([`Undone`]).

use std::future::Future;

use futures::future::join_all;
use stead_plan::statefulset::{Action, Plan, Undone};

use crate::slow_start::SlowStart;

/// Failures in one batch after which the rest of it is left to the next plan: an API that refuses one
/// creation after the other is not asked a thousand times.
const FAILURES_MAX: usize = 8;

/// Carries out `plan` with `act`. Gives what was not done, and the first failure.
pub(super) async fn carry_out<'a, F, E>(plan: &'a Plan, act: impl Fn(&'a Action) -> F) -> (Undone, Result<(), E>)
where
    F: Future<Output = Result<(), E>>,
{
    let (mut undone, mut first) = (Undone::default(), Ok(()));
    for batch in &plan.batches {
        let outcome = batch_by_steps(batch, &mut undone, &act).await;
        first = first.and(outcome);
    }
    (undone, first)
}

/// Step by step, beginning over with small ones after a failure.
async fn batch_by_steps<'a, F, E>(
    batch: &'a [Action],
    undone: &mut Undone,
    act: &impl Fn(&'a Action) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let (mut steps, mut failures) = (SlowStart::of(batch), 0);
    let mut first = Ok(());
    while failures < FAILURES_MAX
        && let Some(now) = steps.next()
    {
        let (left_out, due): (Vec<_>, Vec<_>) = now.iter().partition(|action| undone.stops(action));
        left_out.into_iter().for_each(|action| undone.add(action));
        let outcomes = join_all(due.iter().map(|action| act(action))).await;
        let before = failures;
        for (action, outcome) in due.into_iter().zip(outcomes) {
            if outcome.is_err() {
                failures += 1;
                undone.add(action);
            }
            first = first.and(outcome);
        }
        if failures > before {
            steps.start_over();
        }
    }
    steps.rest().iter().for_each(|action| undone.add(action));
    first
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::ready;

    use super::*;
    use stead_plan::ids::Target;
    use stead_plan::statefulset::ordinals::Ordinal;
    use stead_plan::statefulset::revisions::RevisionName;

    fn claim(ordinal: i32) -> Action {
        let (name, template) = (format!("data-web-{ordinal}"), "data".to_owned());
        Action::CreateClaim { name, template, ordinal: Ordinal(ordinal) }
    }

    fn pod(ordinal: i32) -> Action {
        Action::CreatePod { ordinal: Ordinal(ordinal), revision: RevisionName("web-a".to_owned()) }
    }

    fn plan(batches: Vec<Vec<Action>>) -> Plan {
        Plan { batches, ..Plan::default() }
    }

    /// What is tried of `plan`, and what comes of it, when the API refuses `refused`.
    async fn tried(plan: &Plan, refused: &[Action]) -> (Vec<Action>, Result<(), String>) {
        let tried = RefCell::new(Vec::new());
        let act = |action: &Action| {
            tried.borrow_mut().push(action.clone());
            ready(if refused.contains(action) { Err(format!("{action:?}")) } else { Ok(()) })
        };
        let (undone, outcome) = carry_out(plan, act).await;
        assert_eq!(undone.is_nothing(), outcome.is_ok());
        (tried.into_inner(), outcome)
    }

    #[tokio::test]
    async fn a_claim_that_is_refused_keeps_only_its_own_pod_away() {
        let plan = plan(vec![vec![claim(5), claim(6)], vec![pod(0), pod(5), pod(6)]]);
        let (tried, outcome) = tried(&plan, &[claim(5)]).await;
        assert_eq!(tried, [claim(5), claim(6), pod(0), pod(6)]);
        assert!(outcome.is_err_and(|error| error.contains("data-web-5")), "the first failure is told");
    }

    #[tokio::test]
    async fn nothing_follows_when_it_is_not_certain_what_is_the_sets() {
        let adoption = Action::AdoptPod(Target::default());
        let plan = plan(vec![vec![Action::ConfirmSet], vec![adoption], vec![pod(0)]]);
        let (tried, _) = tried(&plan, &[Action::ConfirmSet]).await;
        assert_eq!(tried, [Action::ConfirmSet]);
    }

    #[tokio::test]
    async fn an_api_that_refuses_everything_is_asked_a_few_times() {
        let pods: Vec<Action> = (0..100).map(pod).collect();
        let plan = plan(vec![pods.clone(), vec![Action::DeleteRevision(Target::default())]]);
        let (tried, _) = tried(&plan, &pods).await;
        assert_eq!(tried.len(), FAILURES_MAX + 1, "and what does not depend on it is done");
    }

    #[tokio::test]
    async fn a_batch_starts_slowly_and_does_so_again_after_a_failure() {
        let plan = plan(vec![(0..12).map(pod).collect()]);
        let (started, together) = (Cell::new(0), RefCell::new(Vec::new()));
        let act = |action: &Action| {
            started.set(started.get() + 1);
            let (outcome, started, together) = (if *action == pod(4) { Err(()) } else { Ok(()) }, &started, &together);
            async move {
                // The first one to be polled finds how many came with it.
                together.borrow_mut().extend(Some(started.take()).filter(|count| *count > 0));
                outcome
            }
        };
        let (undone, outcome) = carry_out(&plan, act).await;
        assert_eq!(together.into_inner(), [1, 2, 4, 1, 2, 2]);
        assert!(outcome.is_err() && !undone.is_nothing());
    }
}
