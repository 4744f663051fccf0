//! The README's first command is a bare `cargo run`: it must mean the `stead` binary and nothing else,
//! however many programs the workspace has.

use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Finding;
use crate::steps::{cargo_program, root};

/// What `cargo run` finds among the packages it looks at.
pub(super) fn check() -> anyhow::Result<Option<Finding>> {
    let mut cargo = Command::new(cargo_program());
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root());
    let output = cargo.output().context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(judge(&serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?))
}

fn judge(metadata: &Value) -> Option<Finding> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let defaults = list(&metadata["workspace_default_members"]);
    let packages = list(&metadata["packages"]).into_iter().filter(|package| defaults.contains(&package["id"]));
    let targets = packages.flat_map(|package| list(&package["targets"]));
    let is_program = |target: &Value| list(&target["kind"]).contains(&Value::from("bin"));
    let programs: Vec<Value> = targets.filter(is_program).map(|target| target["name"].clone()).collect();
    (programs != ["stead"]).then(|| {
        let message = format!("`cargo run` must mean `stead` alone, not {}", Value::from(programs));
        Finding::of_file("Cargo.toml", message)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_second_program_among_the_default_members_is_found() {
        let package = |name: &str| json!({"id": name, "targets": [{"kind": ["lib"], "name": "x"}, {"kind": ["bin"], "name": name}]});
        let metadata = |defaults: Value| json!({"packages": [package("stead"), package("model")], "workspace_default_members": defaults});
        assert!(judge(&metadata(json!(["stead"]))).is_none());
        let finding = judge(&metadata(json!(["stead", "model"]))).expect("two programs are one too many");
        assert_eq!(finding.message, r#"`cargo run` must mean `stead` alone, not ["stead","model"]"#);
    }
}
