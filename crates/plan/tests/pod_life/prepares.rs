//! Making ready for a pod's replacement on the pod's node: the images, the hook, the answer.

use stead_api::preparation::{Answer, Outcome, PREPARED, Request};
use stead_plan::pod::{Part, Preparing};

use super::*;

const PREPARE: &str = stead_api::preparation::PREPARE;

/// A pod that is asked to make ready for `web-b`.
fn asked(prefetch: &str, hook: bool) -> Pod {
    let mut pod = pod(json!({}), json!({"phase": "Running"}));
    pod.metadata.generation = Some(2);
    let mut request = json!({
        "id": "7", "askedAt": "1970-01-01T00:01:00Z", "revision": "web-b", "prefetch": prefetch,
        "images": [{"image": "j"}], "pullSecrets": [],
    });
    if hook {
        request["hook"] = json!({"exec": {"command": ["hand-over"]}});
    }
    pod.metadata.annotations = Some([(PREPARE.to_owned(), request.to_string())].into());
    assert!(Request::of(&pod.metadata).is_some(), "it can be read: {request}");
    pod
}

fn failure(retry_at: i64) -> Failure {
    Failure { reason: "Failed".to_owned(), message: "no luck".to_owned(), retry_at: at(retry_at) }
}

/// An agent that is that far; the pod is Ready, or one of its containers is down.
fn at_work(images: Part, hook: Part, ready: bool) -> Observed {
    let b = if ready { running("b", 0) } else { exited("b", 0, 1) };
    let mut seen = set_up(vec![running("a", 0), b]);
    seen.backoffs.insert("b".to_owned(), Backoff { restarts: 5 });
    seen.preparing = Some(Preparing { id: "7".to_owned(), images, hook });
    seen
}

/// What is done about the request, what is answered, and until when it waits.
fn told(pod: &Pod, seen: &Observed) -> (Vec<&'static str>, Option<(Outcome, String)>, Option<Timestamp>) {
    let plan = plan(pod, seen, at(105));
    let conditions = plan.status.and_then(|status| status.conditions).unwrap_or_default();
    let answer = Answer::among(&conditions).map(|answer| (answer.outcome, answer.message));
    (plan.actions.iter().map(Action::name).filter(|name| *name != "start").collect(), answer, plan.wake_at)
}

fn says(outcome: Outcome, message: &str) -> Option<(Outcome, String)> {
    Some((outcome, format!("web-b: {message}")))
}

#[test]
fn images_come_first_then_the_hook_then_the_answer() {
    let pod = asked("IfPossible", true);
    let told = |images, hook| told(&pod, &at_work(images, hook, true));
    assert_eq!(told(Part::Open, Part::Open), (vec!["fetch-images"], None, None));
    assert_eq!(told(Part::Running { before: None }, Part::Open), (vec![], None, None));
    assert_eq!(told(Part::Done, Part::Open), (vec!["prepare-hook"], None, None));
    assert_eq!(told(Part::Done, Part::Running { before: None }), (vec![], None, None));
    assert_eq!(told(Part::Done, Part::Done), (vec![], says(Outcome::Done, "its node is ready"), None));
}

#[test]
fn an_image_that_cannot_be_had_is_told_and_matters_only_where_it_is_required() {
    let failed = |retry_at| at_work(Part::Failed(failure(retry_at)), Part::Open, true);
    let required = asked("Required", false);
    let no_image = says(Outcome::NoImage, "no luck");
    assert_eq!(told(&required, &failed(110)), (vec![], no_image.clone(), Some(at(110))));
    assert_eq!(told(&required, &failed(105)), (vec!["fetch-images"], no_image.clone(), None));
    let again = at_work(Part::Running { before: Some(failure(110)) }, Part::Open, true);
    assert_eq!(told(&required, &again), (vec![], no_image, None), "a new try does not take it back");
    let anyway = told(&asked("IfPossible", false), &failed(110));
    assert_eq!(anyway, (vec![], says(Outcome::Done, "no luck"), None));
}

#[test]
fn a_hook_runs_while_the_pod_is_ready_and_is_tried_again() {
    let pod = asked("IfPossible", true);
    let hook = |hook, ready| told(&pod, &at_work(Part::Done, hook, ready));
    let (actions, answer, _) = hook(Part::Open, false);
    assert_eq!((actions, answer), (vec![], says(Outcome::HookWaits, "the hook waits for the pod to be Ready")));
    let failed = says(Outcome::HookFailed, "no luck");
    assert_eq!(hook(Part::Failed(failure(110)), true), (vec![], failed.clone(), Some(at(110))));
    assert_eq!(hook(Part::Failed(failure(105)), true), (vec!["prepare-hook"], failed.clone(), None));
    let (actions, answer, _) = hook(Part::Failed(failure(105)), false);
    assert_eq!((actions, answer), (vec![], failed), "a pod that is not Ready is not asked again");
    let (actions, answer, _) = hook(Part::Running { before: None }, false);
    assert_eq!((actions, answer), (vec![], None), "what runs goes on");
}

#[test]
fn what_was_answered_stays_and_counts_for_its_request_only() {
    let pod = asked("IfPossible", false);
    let done = plan(&pod, &at_work(Part::Done, Part::Open, true), at(105)).status;
    let since = |status: &Option<k8s_openapi::api::core::v1::PodStatus>| {
        let conditions = status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let answer = conditions.into_iter().find(|condition| condition.type_ == PREPARED).expect("an answer");
        (answer.last_transition_time.map(|time| time.0), answer.observed_generation)
    };
    assert_eq!(since(&done), (Some(at(105)), Some(2)));
    // The agent was started anew and knows nothing of it.
    let answered = Pod { status: done.clone(), ..pod.clone() };
    let idle = set_up(vec![running("a", 0), running("b", 0)]);
    let again = plan(&answered, &idle, at(200));
    assert_eq!((again.actions.as_slice(), since(&again.status)), (&[][..], since(&done)));
    // Another request, which the agent has not begun: what it did for the last one does not count.
    let mut other = answered.clone();
    let text = other.metadata.annotations.get_or_insert_default()[PREPARE].replace("\"7\"", "\"8\"");
    other.metadata.annotations.get_or_insert_default().insert(PREPARE.to_owned(), text);
    assert_eq!(told(&other, &at_work(Part::Done, Part::Open, true)), (vec!["fetch-images"], None, None));
    // The request is taken away: so are the work and the answer.
    let mut unasked = answered;
    unasked.metadata.annotations = None;
    assert_eq!(told(&unasked, &at_work(Part::Open, Part::Open, true)), (vec!["stop-preparing"], None, None));
    assert_eq!(told(&unasked, &idle), (vec![], None, None));
}

#[test]
fn what_was_said_stays_until_the_hook_is_through() {
    let pod = asked("IfPossible", true);
    let waits = plan(&pod, &at_work(Part::Done, Part::Open, false), at(105)).status;
    let shown = Pod { status: waits, ..pod };
    let (actions, answer, _) = told(&shown, &at_work(Part::Done, Part::Running { before: None }, true));
    assert_eq!((actions, answer), (vec![], says(Outcome::HookWaits, "the hook waits for the pod to be Ready")));
}

#[test]
fn a_failed_hook_that_succeeds_turns_the_answer() {
    let pod = asked("IfPossible", true);
    let failed = plan(&pod, &at_work(Part::Done, Part::Failed(failure(110)), true), at(105)).status;
    let shown = Pod { status: failed, ..pod };
    let turned = plan(&shown, &at_work(Part::Done, Part::Done, true), at(150)).status.expect("a status");
    let answers: Vec<_> = turned.conditions.iter().flatten().filter(|condition| condition.type_ == PREPARED).collect();
    assert_eq!(answers.len(), 1, "in the place of the old one");
    assert_eq!(
        (answers[0].status.as_str(), answers[0].last_transition_time.as_ref().map(|time| time.0)),
        ("True", Some(at(150)))
    );
}
