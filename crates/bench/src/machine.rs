//! What the machine says about processes: memory and processor time; and medians.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// Processes of one cluster that are not its containers: the server and the supervisor.
pub(crate) struct Helpers {
    pids: Vec<u32>,
}

impl Helpers {
    /// Finds them by the data directory on their command lines.
    pub(crate) fn of(data_dir: &Path) -> anyhow::Result<Self> {
        let dir = data_dir.to_str().context("the data directory's path is not text")?;
        let entries = fs::read_dir("/proc").context("cannot read /proc")?.filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| {
            // A process that has ended in the meantime is not ours.
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(dir)
        };
        let pids: Vec<u32> = pids.filter(is_ours).collect();
        anyhow::ensure!(!pids.is_empty(), "no process names {dir} on its command line");
        Ok(Self { pids })
    }

    /// The server alone.
    pub(crate) fn server_of(data_dir: &Path) -> anyhow::Result<Self> {
        let mut all = Self::of(data_dir)?;
        let is_server = |pid: &u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.split(|byte| *byte == 0).nth(1) == Some(b"up")
        };
        all.pids.retain(is_server);
        anyhow::ensure!(all.pids.len() == 1, "{} processes look like the server", all.pids.len());
        Ok(all)
    }

    /// Resident memory of all of them, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        let kib: anyhow::Result<Vec<f64>> = self.pids.iter().map(|pid| resident_kib(*pid)).collect();
        Ok(kib?.iter().sum::<f64>() / 1024.0)
    }

    /// Processor time of all their threads so far, in nanoseconds.
    pub(crate) fn processor_ns(&self) -> anyhow::Result<f64> {
        let mut total = 0.0;
        for pid in &self.pids {
            let threads =
                fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} has ended"))?;
            for thread in threads.filter_map(Result::ok) {
                let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                let on_cpu = times.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
                total += on_cpu.unwrap_or(0.0);
            }
        }
        Ok(total)
    }

    /// Processor time over a while of doing nothing, in percent of one core.
    pub(crate) fn processor_percent_over(&self, while_: Duration) -> anyhow::Result<f64> {
        let before = self.processor_ns()?;
        let started = std::time::Instant::now();
        rest(while_);
        let after = self.processor_ns()?;
        Ok((after - before).max(0.0) / started.elapsed().as_nanos() as f64 * 100.0)
    }
}

fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.with_context(|| format!("process {pid} has no resident memory"))
}

/// Lets time pass: what is measured then is a cluster at rest.
#[expect(clippy::disallowed_methods, reason = "the measurement is of time in which nothing happens")]
pub(crate) fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// The value that this share of the others does not exceed; `0.5` is the median.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The median.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(quantile(&values, 0.99), 5.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_process_is_found_by_its_command_line_and_has_memory() {
        let own = std::env::current_exe().expect("a path");
        let helpers = Helpers::of(&own).expect("this process names its own path");
        assert!(helpers.resident_mib().expect("this process lives") > 0.1);
    }
}
