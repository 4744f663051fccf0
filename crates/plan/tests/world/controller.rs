//! The controller: it asks for plans and takes turns with the nodes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use stead_plan::statefulset::explain::explain;
use stead_plan::statefulset::{self, Observed, Plan, View, lint};

use super::World;
use super::invariants::{check_action, check_counts};

/// Plans in a row that a story may need before it must have come to rest.
const PLANS_MAX: usize = 200;

impl World {
    /// One plan, carried out in full.
    pub(crate) fn sync(&mut self) -> Plan {
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "planning twice gives the same");
        let before = (self.pods.clone(), self.claims.clone());
        for action in plan.actions() {
            check_action(self, &before.0, action);
            self.apply(action);
        }
        for note in &plan.notes {
            self.event(note);
        }
        if plan.status_changed {
            self.set.status = Some(plan.status.clone());
        }
        check_counts(&plan.status);
        plan
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

    /// Syncs until nothing is left to do without the world changing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..PLANS_MAX {
            if self.sync().is_empty() {
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
            if !self.node_but(broken) && self.plan().is_empty() {
                return;
            }
        }
        panic!("no rest after {PLANS_MAX} turns");
    }
}
