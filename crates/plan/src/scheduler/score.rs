//! Which of the feasible nodes is best (contract 8.12).

use k8s_openapi::api::core::v1::Pod;
use stead_api::amount::Amount;

use super::cluster::NodeState;
use super::requests::{self, Resources};
use super::{filters, node_selector};

const SCORE_MAX: i64 = 100;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;

/// The position of the best node, none if there is none; `tie` picks among equals.
pub(super) fn best<'a>(pod: &Pod, nodes: impl Iterator<Item = &'a NodeState>, tie: usize) -> Option<usize> {
    let nodes: Vec<&NodeState> = nodes.collect();
    if nodes.len() <= 1 {
        return nodes.first().map(|_| 0);
    }
    let asked = requests::scored_requests(pod);
    let taints = normalised(nodes.iter().map(|state| filters::soft_taints(pod, state)), true);
    let affinity = normalised(nodes.iter().map(|state| node_selector::preference(pod, &state.node)), false);
    let scores: Vec<i64> = nodes
        .iter()
        .zip(taints.iter().zip(&affinity))
        .map(|(state, (taints, affinity))| {
            let used = usage(state, &asked);
            // Room and evenness weigh once.
            WEIGHT_TAINTS * taints + WEIGHT_AFFINITY * affinity + least_allocated(used) + balance(used)
        })
        .collect();
    let best = scores.iter().max()?;
    let equals: Vec<usize> = (0..scores.len()).filter(|index| scores[*index] == *best).collect();
    Some(equals[tie % equals.len()])
}

/// Scales raw values to 0..=100; `reversed` makes the smallest the best.
fn normalised(raw: impl Iterator<Item = i64>, reversed: bool) -> Vec<i64> {
    let raw: Vec<i64> = raw.collect();
    let largest = raw.iter().copied().max().unwrap_or(0);
    let scale = |value: i64| if largest == 0 { 0 } else { value * SCORE_MAX / largest };
    raw.into_iter().map(|value| if reversed { SCORE_MAX - scale(value) } else { scale(value) }).collect()
}

/// The share of CPU and memory in use with the pod there, in per mille, at most 1000.
fn usage(state: &NodeState, asked: &Resources) -> [i64; 2] {
    ["cpu", "memory"].map(|name| {
        let allocatable = state.allocatable.get(name);
        let used = state.load.scored.get(name).plus(asked.get(name));
        if allocatable == Amount::ZERO { 1000 } else { per_mille(used, allocatable) }
    })
}

fn per_mille(part: Amount, whole: Amount) -> i64 {
    let (part, whole) = (i128::from(part.milli()), i128::from(whole.milli().max(1)));
    i64::try_from((part * 1000 / whole).clamp(0, 1000)).unwrap_or(1000)
}

fn least_allocated(used: [i64; 2]) -> i64 {
    used.iter().map(|share| (1000 - share) * SCORE_MAX / 1000).sum::<i64>() / 2
}

/// Nodes whose CPU and memory fill up evenly are better; the deviation of two shares is half their
/// difference.
fn balance(used: [i64; 2]) -> i64 {
    (1000 - (used[0] - used[1]).abs() / 2) * SCORE_MAX / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_scored_by_room_and_evenness() {
        for (used, room, even) in [
            ([0, 0], 100, 100),
            ([1000, 1000], 0, 100),
            ([500, 250], 62, 87),
            ([250, 500], 62, 87),
            ([1000, 0], 50, 50),
            ([600, 200], 60, 80),
        ] {
            assert_eq!((least_allocated(used), balance(used)), (room, even), "{used:?}");
        }
        let amount = |text: &str| Amount::parse(text).unwrap_or_default();
        assert_eq!(per_mille(amount("500m"), amount("2")), 250);
        assert_eq!(per_mille(amount("3"), amount("2")), 1000);
    }

    #[test]
    fn raw_values_are_scaled_to_a_hundred() {
        assert_eq!(normalised([1, 2, 4].into_iter(), false), [25, 50, 100]);
        assert_eq!(normalised([1, 2, 4].into_iter(), true), [75, 50, 0]);
        assert_eq!(normalised([0, 0].into_iter(), true), [100, 100]);
    }
}
