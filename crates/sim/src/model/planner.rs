//! Asks the product's planner, each question once, and holds every answer against the linter. A planted
//! fault stands between the two: in what the planner sees, or in what it says.

use std::collections::HashMap;
use std::rc::Rc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use stead_plan::ids::Target;
use stead_plan::statefulset::{self, Action, Observed, Plan, Undone, View, lint};

use super::faults::Fault;
use super::objects::{Objects, Renumbering, Set, Stamp, StatusId};
use super::state::{Act, Job, Place};
use super::wire::{self, Wire};

/// An answer of the planner in the model's terms.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    acts: Vec<(Place, Act)>,
    /// The status to write, if it is worth a write, and the one if anything fails.
    status: Option<StatusId>,
    found: Option<StatusId>,
    /// Whether the planner wants to be asked again later.
    pub(crate) wakes: bool,
    /// What it waits for, in words.
    pub(crate) waits: Vec<String>,
    /// What is wrong with it.
    pub(crate) wrong: Option<String>,
}

impl Answer {
    /// Whether there is nothing to write, or nothing that the API does not refuse.
    pub(crate) fn is_in_vain(&self, refused: impl Fn(&Act) -> bool) -> bool {
        let (mut undone, mut status) = (0, self.status);
        for (place, act) in &self.acts {
            if place.needs & undone == 0 && !refused(act) {
                return false;
            }
            undone |= place.bit;
            status = self.found;
        }
        status.is_none()
    }
}

/// The planner with its memory of answers and statuses.
pub(crate) struct Planner {
    wire: Wire,
    fault: Option<Fault>,
    linting: bool,
    answers: HashMap<Objects, Rc<Answer>>,
    statuses: Vec<StatefulSetStatus>,
    numbers: HashMap<String, StatusId>,
}

impl Planner {
    pub(crate) fn new(probed: bool, prepares: bool, fault: Option<Fault>, linting: bool) -> Self {
        Self {
            wire: Wire::new(probed, prepares),
            fault,
            linting,
            answers: HashMap::new(),
            statuses: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// How many different questions were asked.
    pub(crate) fn questions(&self) -> usize {
        self.answers.len()
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(crate) fn status(&self, set: &Set) -> Option<&StatefulSetStatus> {
        set.status.map(|StatusId(number)| &self.statuses[usize::from(number)])
    }

    pub(crate) fn status_of(&self, StatusId(number): StatusId) -> &StatefulSetStatus {
        &self.statuses[usize::from(number)]
    }

    /// Whether the status says that a rollout has begun or got on just now.
    pub(crate) fn is_young(&self, status: Option<StatusId>) -> bool {
        status.is_some_and(|status| wire::is_young(self.status_of(status)))
    }

    /// `status` when the deadline of a rollout has passed since.
    pub(crate) fn aged(&mut self, status: StatusId) -> StatusId {
        self.number(wire::aged(self.status_of(status)))
    }

    /// What to do about the set that `seen` shows. None without a set.
    pub(crate) fn ask(&mut self, seen: &Objects) -> Option<(Rc<Answer>, Renumbering)> {
        let mut question = *seen;
        let mut numbers = Renumbering::default();
        question.visit(&mut |stamp| numbers.renumber(stamp));
        if let Some(known) = self.answers.get(&question) {
            return Some((Rc::clone(known), numbers));
        }
        let answer = Rc::new(self.answer(&question)?);
        self.answers.insert(question, Rc::clone(&answer));
        Some((answer, numbers))
    }

    /// The answer to `seen`, ready to be carried out.
    pub(crate) fn job(&mut self, seen: &Objects) -> Option<(Rc<Answer>, Job)> {
        let (answer, numbers) = self.ask(seen)?;
        let set = seen.set.as_ref()?;
        let original = |stamp: &mut Stamp| {
            // A stamp that the question does not hold was made up, and matches nothing.
            *stamp = numbers.original(*stamp).unwrap_or(Stamp(u8::MAX));
        };
        let mut acts = answer.acts.clone();
        acts.iter_mut().for_each(|(_, act)| act.visit(&mut { original }));
        let job = Job::new(set, acts, answer.status, answer.found);
        Some((answer, job))
    }

    fn answer(&mut self, question: &Objects) -> Option<Answer> {
        let set = question.set.as_ref()?;
        let (view, honest, again) = self.plan(question)?;
        let mut wrong = (honest != again).then(|| "planning twice gives two plans".to_owned());
        let mut plan = honest.clone();
        let mut honest_count = true;
        if let Some(fault) = self.fault {
            let mut disguised = *question;
            (fault.sees)(&mut disguised);
            if disguised != *question {
                plan = self.plan(&disguised)?.1;
                honest_count = false;
                // Only what is done is to be wrong: a wrong count would give every fault away.
                (plan.status, plan.status_changed, plan.found) = (honest.status, honest.status_changed, honest.found);
            }
            (fault.says)(question, &view, &mut plan);
        }
        if self.linting {
            let mut flaws = lint::lint(&view, &plan, wire::now());
            // The count belongs to the honest plan, which may do something else.
            flaws.retain(|flaw| honest_count || flaw.law != lint::Law::Status);
            let flaws: Vec<_> = flaws.iter().map(ToString::to_string).collect();
            wrong = wrong.or((!flaws.is_empty()).then(|| format!("the linter says {}", flaws.join("; "))));
        }
        let mut acts = Vec::new();
        let gives_up = self.fault.is_some_and(|fault| fault.gives_up);
        for (place, action) in places(&plan, gives_up) {
            match self.wire.act(set, action) {
                Some(act) => acts.push((place, act)),
                None => wrong = wrong.or(Some(format!("nothing in the model is meant by {action:?}"))),
            }
        }
        let stored = StatefulSet { status: self.status(set).cloned(), ..StatefulSet::default() };
        let mut failure = Undone::default();
        failure.add(&Action::DeleteRevision(Target::default()));
        let found = statefulset::status_after(&stored, &plan, &failure).cloned();
        let found = found.map(|found| self.number(found));
        let status = plan.status_changed.then(|| self.number(plan.status));
        let waits = plan.waits.iter().map(ToString::to_string).collect();
        Some(Answer { acts, status, found, wakes: plan.wake_at.is_some(), waits, wrong })
    }

    /// The view of `objects` and what the product's planner says about it, asked twice.
    fn plan(&self, objects: &Objects) -> Option<(View, Plan, Plan)> {
        let status = self.status(objects.set.as_ref()?).cloned();
        let around = self.wire.observed(objects, status)?;
        let observed = Observed {
            pods: &around.pods,
            claims: &around.claims,
            revisions: &around.revisions,
            nodes: &around.nodes,
            classes: &around.classes,
            ..Observed::default()
        };
        let ask = || statefulset::plan(&around.set, &observed, wire::now());
        Some((View::new(&around.set, &observed), ask(), ask()))
    }

    fn number(&mut self, status: StatefulSetStatus) -> StatusId {
        let text = serde_json::to_string(&status).expect("invariant: API types always serialise");
        let next = StatusId(u16::try_from(self.statuses.len()).expect("invariant: few statuses differ"));
        let id = *self.numbers.entry(text).or_insert(next);
        if id == next {
            self.statuses.push(status);
        }
        id
    }
}

/// The actions of `plan`, each with its place and what it cannot do without: all before it, for one who gives up.
fn places(plan: &Plan, gives_up: bool) -> impl Iterator<Item = (Place, &Action)> {
    let all: Vec<&Action> = plan.actions().collect();
    let stops = move |earlier: &Action, action: &Action| {
        let mut undone = Undone::default();
        undone.add(earlier);
        gives_up || undone.stops(action)
    };
    let numbered = plan.batches.iter().enumerate().flat_map(|(batch, actions)| actions.iter().map(move |a| (batch, a)));
    numbered.enumerate().map(move |(index, (batch, action))| {
        let before = all[..index].iter().enumerate();
        let needs = before.filter(|(_, earlier)| stops(earlier, action)).fold(0, |bits, (n, _)| bits | 1 << n);
        let settles = !gives_up && stops(action, &Action::DeleteRevision(Target::default()));
        let batch = u8::try_from(batch).unwrap_or(u8::MAX);
        (Place { batch, bit: 1 << index, needs, settles }, action)
    })
}
