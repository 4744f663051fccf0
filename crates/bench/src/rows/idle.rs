//! A cluster that nobody uses.

use std::time::Duration;

use stead_testkit::Cluster;

use crate::machine::{Helpers, median, rest};
use crate::report::Figure;

const RUNS: usize = 3;
/// How long after ready the measurement begins.
const SETTLE: Duration = Duration::from_secs(5);
/// How long processor time is added up; memory is read at the end.
const WINDOW: Duration = Duration::from_secs(10);

/// Resident memory and processor time of server and supervisor together.
pub(super) fn measure(stead: &str) -> anyhow::Result<Vec<Figure>> {
    let cluster = Cluster::start(stead);
    rest(SETTLE);
    let helpers = Helpers::of(&cluster.data_dir())?;
    let (mut percents, mut mibs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        percents.push(helpers.processor_percent_over(WINDOW)?);
        mibs.push(helpers.resident_mib()?);
    }
    Ok(vec![Figure::new("idle-memory", median(&mibs), RUNS), Figure::new("idle-cpu", median(&percents), RUNS)])
}
