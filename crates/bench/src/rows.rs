//! The rows: their names, units, targets and peers, and the scenarios that measure them.

mod idle;
mod pods;
mod sets;
mod startup;
mod writes;

use crate::report::Figure;

/// One row of the benchmark.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What Kubernetes 1.36.2 needed for the same on a machine with 2 cores and 24 GiB: the better end of
    /// what was measured, for the whole of it where this row is about the whole.
    pub(crate) peer: Option<f64>,
    pub(crate) target: Target,
    scenario: Scenario,
}

/// What a row aims at.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
    /// None; the row is there to be compared.
    None,
    /// At least this share of the floor.
    ShareOfFloor(f64),
    /// Per second, with each taking at most so many milliseconds longer than at the floor.
    MsAboveFloor(f64),
}

/// A target in numbers of this machine.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// The target in the row's unit; none when it follows from a floor that was not measured.
    pub(crate) fn bound(self, floor: Option<f64>) -> Option<Bound> {
        match self {
            Self::AtMost(most) => Some(Bound::AtMost(most)),
            Self::AtLeast(least) => Some(Bound::AtLeast(least)),
            Self::None => None,
            Self::ShareOfFloor(share) => floor.map(|floor| Bound::AtLeast(floor * share)),
            Self::MsAboveFloor(ms) => floor.map(|floor| Bound::AtLeast(1e3 / (1e3 / floor + ms))),
        }
    }
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// Things that are run together and give one or more rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    EmptyStart,
    FullStart,
    Idle,
    OrderedSet,
    SinglePods,
    Writes,
    /// An ordered set of so many replicas on simulated nodes: it comes up, is updated, and goes.
    Ordered(u32),
    /// A parallel one comes up.
    Parallel(u32),
    Size,
}

impl Scenario {
    pub(crate) const ALL: [Self; 13] = [
        Self::Size,
        Self::EmptyStart,
        Self::Idle,
        Self::OrderedSet,
        Self::SinglePods,
        Self::Writes,
        Self::Ordered(100),
        Self::Parallel(100),
        Self::Parallel(1000),
        Self::Ordered(1000),
        Self::FullStart,
        Self::Parallel(5000),
        Self::Ordered(5000),
    ];

    /// Whether it is only run when one of its rows is named: it takes minutes.
    pub(crate) fn only_when_named(self) -> bool {
        matches!(self, Self::Ordered(5000) | Self::Parallel(5000))
    }

    /// The rows it measures.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static str> {
        ROWS.iter().filter(move |row| row.scenario == self).map(|row| row.name)
    }

    /// Runs it with the binary at `stead`. Everything it started is gone afterwards.
    pub(crate) fn measure(self, stead: &str) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::EmptyStart => startup::empty(stead),
            Self::FullStart => startup::full(stead),
            Self::Idle => idle::measure(stead),
            Self::OrderedSet => pods::ordered_set(stead),
            Self::SinglePods => pods::one_after_another(stead),
            Self::Writes => writes::measure(stead),
            Self::Ordered(replicas) => sets::ordered(stead, replicas),
            Self::Parallel(replicas) => sets::parallel(stead, replicas),
            Self::Size => size(stead),
        }
    }
}

/// Every row, in the order of the documents.
pub(crate) const ROWS: [Row; 24] = [
    Row {
        name: "exec-to-ready-empty",
        unit: "ms",
        peer: Some(3900.0),
        target: Target::AtMost(150.0),
        scenario: Scenario::EmptyStart,
    },
    Row {
        name: "exec-to-ready-100k",
        unit: "ms",
        peer: None,
        target: Target::AtMost(1000.0),
        scenario: Scenario::FullStart,
    },
    Row {
        name: "idle-memory",
        unit: "MiB",
        // Control plane and node agent: 735 MB.
        peer: Some(701.0),
        target: Target::AtMost(40.0),
        scenario: Scenario::Idle,
    },
    Row { name: "idle-cpu", unit: "% of a core", peer: None, target: Target::AtMost(0.3), scenario: Scenario::Idle },
    Row {
        name: "sts-three-ready",
        unit: "ms",
        peer: Some(2400.0),
        target: Target::AtMost(300.0),
        scenario: Scenario::OrderedSet,
    },
    Row {
        name: "pod-create-to-running-p50",
        unit: "ms",
        peer: None,
        target: Target::AtMost(40.0),
        scenario: Scenario::SinglePods,
    },
    Row {
        name: "pod-create-to-running-p99",
        unit: "ms",
        peer: None,
        target: Target::AtMost(150.0),
        scenario: Scenario::SinglePods,
    },
    Row {
        name: "memory-per-pod",
        unit: "MiB",
        // 12 MB.
        peer: Some(11.4),
        target: Target::AtMost(0.5),
        scenario: Scenario::SinglePods,
    },
    Row {
        name: "durable-writes-1",
        unit: "writes/s",
        peer: None,
        target: Target::MsAboveFloor(0.15),
        scenario: Scenario::Writes,
    },
    Row {
        name: "durable-writes-64",
        unit: "writes/s",
        peer: None,
        target: Target::ShareOfFloor(0.5),
        scenario: Scenario::Writes,
    },
    sts("sts-ordered-100", Scenario::Ordered(100), Some(21.5), ORDERED),
    sts("sts-rolling-100", Scenario::Ordered(100), Some(14.7), Target::None),
    sts("sts-down-100", Scenario::Ordered(100), None, Target::None),
    sts("sts-ordered-1000", Scenario::Ordered(1000), None, ORDERED),
    sts("sts-rolling-1000", Scenario::Ordered(1000), None, Target::None),
    sts("sts-down-1000", Scenario::Ordered(1000), None, Target::None),
    sts("sts-ordered-5000", Scenario::Ordered(5000), None, ORDERED),
    sts("sts-rolling-5000", Scenario::Ordered(5000), None, Target::None),
    sts("sts-down-5000", Scenario::Ordered(5000), None, Target::None),
    sts("sts-parallel-100", Scenario::Parallel(100), None, Target::None),
    // 500 replicas, there.
    sts("sts-parallel-1000", Scenario::Parallel(1000), Some(77.5), Target::AtLeast(1000.0)),
    sts("sts-parallel-5000", Scenario::Parallel(5000), None, Target::None),
    Row {
        name: "sts-cpu-per-pod",
        unit: "CPU ms/pod",
        peer: None,
        target: Target::None,
        scenario: Scenario::Parallel(1000),
    },
    Row { name: "binary-size", unit: "MB", peer: None, target: Target::AtMost(30.0), scenario: Scenario::Size },
];

/// 5 ms per replica.
const ORDERED: Target = Target::AtLeast(200.0);

/// A row about a StatefulSet with a claim for each replica on simulated nodes, whose pods are Ready at once.
/// The peer's figures are those with its clients' limits lifted, which are the better ones.
const fn sts(name: &'static str, scenario: Scenario, peer: Option<f64>, target: Target) -> Row {
    Row { name, unit: "pods/s", peer, target, scenario }
}

/// The row of that name.
pub(crate) fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("invariant: figures are made for rows of the list")
}

/// Bytes of the binary, as it is delivered.
fn size(stead: &str) -> anyhow::Result<Vec<Figure>> {
    let bytes = std::fs::metadata(stead)?.len();
    Ok(vec![Figure::new("binary-size", bytes as f64 / 1e6, 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_row_and_no_name_is_used_twice() {
        assert!(Scenario::ALL.iter().all(|scenario| scenario.rows().count() > 0));
        assert!(ROWS.iter().all(|row| Scenario::ALL.contains(&row.scenario)));
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn a_target_above_the_floor_is_in_time_per_write() {
        // 0.5 ms each at the floor, so 0.65 ms each at the target.
        let bound = Target::MsAboveFloor(0.15).bound(Some(2000.0)).expect("there is a floor");
        assert!(bound.holds(1539.0) && !bound.holds(1538.0));
        assert!(Target::ShareOfFloor(0.5).bound(None).is_none());
    }
}
