//! How fast independent actions are begun: an API that refuses them is not asked a thousand times.

use std::future::Future;

use futures::future::join_all;

/// Actions in flight at the same time.
const STEP_MAX: usize = 500;

/// Independent actions in steps: first one, then twice as many with every step.
pub(crate) struct SlowStart<'a, A> {
    rest: &'a [A],
    size: usize,
}

impl<'a, A> SlowStart<'a, A> {
    /// The steps of these actions.
    pub(crate) fn of(actions: &'a [A]) -> Self {
        Self { rest: actions, size: 1 }
    }

    /// The next step is of one action again.
    pub(crate) fn start_over(&mut self) {
        self.size = 1;
    }

    /// The actions of no step so far.
    pub(crate) fn rest(&self) -> &'a [A] {
        self.rest
    }
}

impl<'a, A> Iterator for SlowStart<'a, A> {
    type Item = &'a [A];

    fn next(&mut self) -> Option<&'a [A]> {
        let (step, rest) = self.rest.split_at(self.size.min(self.rest.len()));
        self.rest = rest;
        self.size = (self.size * 2).min(STEP_MAX);
        (!step.is_empty()).then_some(step)
    }
}

/// Carries out independent `actions`. After a step in which one fails nothing further is started; the first
/// failure is returned.
pub(crate) async fn up_to_a_failure<'a, A, F, E>(actions: &'a [A], carry_out: impl Fn(&'a A) -> F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    for step in SlowStart::of(actions) {
        for outcome in join_all(step.iter().map(&carry_out)).await {
            outcome?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_slow_start_doubles_and_stops_at_the_first_failing_step() {
        let started = AtomicUsize::new(0);
        let actions: Vec<usize> = (0..20).collect();
        let outcome = up_to_a_failure(&actions, |action| {
            started.fetch_add(1, Ordering::Relaxed);
            let failed = *action == 4;
            async move { if failed { Err("no") } else { Ok(()) } }
        })
        .await;
        assert_eq!(outcome, Err("no"));
        assert_eq!(started.load(Ordering::Relaxed), 1 + 2 + 4, "the step that failed is the last");
    }
}
