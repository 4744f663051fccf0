//! The controller: it asks for plans and takes turns with the nodes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use stead_plan::statefulset::explain::explain;
use stead_plan::statefulset::{self, Action, Observed, Plan, Undone, View, lint};

use super::World;
use super::invariants::{check_action, check_counts};

/// Plans in a row that a story may need before it must have come to rest.
const PLANS_MAX: usize = 200;

impl World {
    /// One plan, carried out as far as the API lets it.
    pub(crate) fn sync(&mut self) -> Plan {
        self.carry_out().0
    }

    /// The same, with whether anything was written.
    fn carry_out(&mut self) -> (Plan, bool) {
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "planning twice gives the same");
        let (pods, mut undone) = (self.pods.clone(), Undone::default());
        let mut written = false;
        for action in plan.actions() {
            if undone.stops(action) || (self.refuses)(self, action) {
                undone.add(action);
                continue;
            }
            check_action(self, &pods, action);
            self.apply(action);
            written |= *action != Action::ConfirmSet;
        }
        for note in &plan.notes {
            self.event(note);
        }
        if let Some(status) = statefulset::status_after(&self.set, &plan, &undone).cloned() {
            check_counts(&status);
            self.set.status = Some(status);
            written = true;
        }
        (plan, written)
    }

    /// What is decided now; the linter must find nothing wrong with it.
    pub(crate) fn plan(&self) -> Plan {
        let (view, plan) = self.decide();
        let flaws = lint::lint(&view, &plan, self.now);
        assert!(flaws.is_empty(), "{flaws:#?} in {plan:#?}");
        plan
    }

    /// What is seen, and what is decided.
    pub(crate) fn decide(&self) -> (View, Plan) {
        self.ask(|set, observed, now| (View::new(set, observed), statefulset::plan(set, observed, now)))
    }

    pub(crate) fn explain(&self) -> String {
        let text = self.ask(|set, observed, now| explain(set, observed, now).to_string());
        self.revisions.keys().fold(text, |text, name| text.replace(name.as_str(), &self.letter(name)))
    }

    fn ask<T>(&self, question: impl FnOnce(&StatefulSet, &Observed<'_>, Timestamp) -> T) -> T {
        let pods: Vec<_> = self.pods.values().cloned().map(Arc::new).collect();
        let claims: Vec<_> = self.claims.values().cloned().map(Arc::new).collect();
        let revisions: Vec<_> = self.revisions.values().cloned().map(Arc::new).collect();
        let observed = Observed {
            pods: &pods,
            claims: &claims,
            revisions: &revisions,
            volumes: &self.volumes,
            nodes: &self.nodes,
            classes: &self.classes,
        };
        question(&self.set, &observed, self.now)
    }

    /// Syncs until nothing is left that can be done without the world changing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..PLANS_MAX {
            if !self.carry_out().1 {
                return;
            }
        }
        panic!("no rest after {PLANS_MAX} plans: {:#?}", self.plan().batches);
    }

    /// Controller and node take turns until both have nothing to do.
    pub(crate) fn run(&mut self) {
        self.run_but(&[]);
    }

    /// As [`World::run`], with some pods that never become Ready.
    pub(crate) fn run_but(&mut self, broken: &[&str]) {
        for _ in 0..PLANS_MAX {
            self.settle();
            // A turn takes time, and time alone may give the controller something to do.
            if !self.node_but(broken) && !self.carry_out().1 {
                return;
            }
        }
        panic!("no rest after {PLANS_MAX} turns");
    }
}
