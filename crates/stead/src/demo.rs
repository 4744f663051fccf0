//! `stead demo`: a cluster of its own that shows what a StatefulSet keeps.

/// Runs the demo.
pub(crate) fn run(_once: bool) -> anyhow::Result<()> {
    anyhow::bail!("the demo is not built yet")
}
