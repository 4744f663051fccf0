//! What people ask of a StatefulSet beyond Kubernetes: the annotations under `stead.dev/`, how their
//! values are read, and what is wrong with those that cannot be. Kubernetes accepts a manifest that
//! carries them and ignores them.

use std::collections::BTreeMap;

use crate::ordinals::{Ordinal, OrdinalSet};
use crate::preparation::{Hook, Prefetch};

/// `hold` leaves updated pods alone when the partition is raised above them.
pub const PARTITION_RAISE: &str = "stead.dev/partition-raise";
/// `upstream` counts every pod that is down against `maxUnavailable`, as Kubernetes 1.35 did.
pub const MAX_UNAVAILABLE: &str = "stead.dev/max-unavailable";
/// `true` stops rolling; lost replicas are still made again, at the revision they had.
pub const PAUSED: &str = "stead.dev/paused";
/// Ordinals no replica may hold, like `1,3-4`; `replicas` counts what remains.
pub const RESERVE_ORDINALS: &str = "stead.dev/reserve-ordinals";
/// Seconds without progress after which a rollout has failed.
pub const PROGRESS_DEADLINE: &str = "stead.dev/progress-deadline-seconds";
/// `true` puts the former template back when a rollout has failed.
pub const AUTO_ROLLBACK: &str = "stead.dev/auto-rollback";
/// Replicas to be made anew with their claims, each once per generation: `1=1,3=2`.
pub const RESET: &str = "stead.dev/reset";
/// `key=value`: pods with this label are updated last.
pub const UPDATE_LAST: &str = "stead.dev/update-order-label";
/// `required` keeps a replica running until its node has the new images; `off` does not get them first.
pub const IMAGE_PREFETCH: &str = "stead.dev/image-prefetch";
/// What runs in each replica before an update replaces it, in JSON: a lifecycle handler.
pub const PREPARE_HOOK: &str = "stead.dev/prepare-hook";

/// On the pods and claims of a replica that was reset: the generation they were made for.
pub const RESET_GENERATION: &str = "stead.dev/reset-generation";
/// Written by the controller while a set is paused: which replicas are not at the current revision,
/// `REVISION=ORDINALS` separated by semicolons.
pub const PAUSED_REPLICAS: &str = "stead.dev/paused-replicas";
/// Written by the controller with a rollback: the revisions that were taken back, separated by commas, the
/// last one last. They are not taken back a second time.
pub const ROLLED_BACK: &str = "stead.dev/rolled-back-from";

/// Written by the controller of an ordered set while a replica that is down is made anew before those above it
/// that were to be first: its ordinal.
pub const RESETTING: &str = "stead.dev/resetting";
/// Written by the controller where failed rollouts are taken back: the last revision whose rollout came to its
/// end, `REVISION`, or `REVISION=PARTITION` where the partition held replicas back.
pub const ROLLED_OUT: &str = "stead.dev/rolled-out";

/// What is wrong with `value` as that of the annotation `key`; nothing where the key means nothing here.
pub fn problem(key: &str, value: &str) -> Option<String> {
    match key {
        PARTITION_RAISE => word(value, "hold").err(),
        MAX_UNAVAILABLE => word(value, "upstream").err(),
        PAUSED | AUTO_ROLLBACK => boolean(value).err(),
        RESERVE_ORDINALS => ordinals(value).err(),
        PROGRESS_DEADLINE => seconds(value).err(),
        RESET => resets(value).err(),
        UPDATE_LAST => label(value).err(),
        IMAGE_PREFETCH => prefetch(value).err(),
        PREPARE_HOOK => hook(value).err(),
        PAUSED_REPLICAS => paused_replicas(value).err(),
        ROLLED_OUT => rolled_out(value).err(),
        RESETTING => ordinal(value).err(),
        _ => None,
    }
}

/// The one word that means something.
pub fn word(text: &str, wanted: &str) -> Result<(), String> {
    if text == wanted { Ok(()) } else { Err(format!("must be '{wanted}'")) }
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be 'true' or 'false'".to_owned())
}

/// A positive number of seconds.
pub fn seconds(text: &str) -> Result<i32, String> {
    text.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(|| "must be a positive number of seconds".to_owned())
}

/// A list like `1,3-4`.
pub fn ordinals(text: &str) -> Result<OrdinalSet, String> {
    OrdinalSet::parse(text).map_err(|part| format!("'{part}' is neither an ordinal nor a range of ordinals"))
}

/// `key=value`.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("must be 'key=value'".to_owned()),
    }
}

/// `required` or `off`.
pub fn prefetch(text: &str) -> Result<Prefetch, String> {
    match text {
        "required" => Ok(Prefetch::Required),
        "off" => Ok(Prefetch::Off),
        _ => Err("must be 'required' or 'off'".to_owned()),
    }
}

/// A lifecycle handler with `exec` or `httpGet`, and perhaps `container` and `timeoutSeconds`.
pub fn hook(text: &str) -> Result<Hook, String> {
    let hook: Hook = serde_json::from_str(text).map_err(|error| format!("must be a lifecycle handler: {error}"))?;
    if hook.exec.is_some() == hook.http_get.is_some() {
        return Err("must have either 'exec' or 'httpGet'".to_owned());
    }
    if hook.exec.as_ref().is_some_and(|exec| exec.command.iter().flatten().next().is_none()) {
        return Err("'exec' must have a command".to_owned());
    }
    if hook.timeout_seconds == 0 {
        return Err("'timeoutSeconds' must be positive".to_owned());
    }
    Ok(hook)
}

/// [`RESET`], the generation asked for by ordinal.
pub fn resets(text: &str) -> Result<BTreeMap<Ordinal, String>, String> {
    let mut resets = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
        let wrong = || format!("'{part}' must be 'ordinal=generation'");
        let (ordinal, generation) = part.split_once('=').ok_or_else(wrong)?;
        let ordinal = Ordinal::parse(ordinal).ok_or_else(wrong)?;
        if generation.is_empty() || resets.insert(ordinal, generation.to_owned()).is_some() {
            return Err(wrong());
        }
    }
    Ok(resets)
}

/// [`RESET`] as it is written.
pub fn write_resets(resets: &BTreeMap<Ordinal, String>) -> String {
    resets.iter().map(|(ordinal, generation)| format!("{ordinal}={generation}")).collect::<Vec<_>>().join(",")
}

/// [`PAUSED_REPLICAS`], the ordinals by the name of their revision.
pub fn paused_replicas(text: &str) -> Result<BTreeMap<String, OrdinalSet>, String> {
    let one = |part: &str| {
        let (revision, replicas) =
            part.split_once('=').ok_or_else(|| format!("'{part}' must be 'revision=ordinals'"))?;
        Ok((revision.to_owned(), ordinals(replicas)?))
    };
    text.split(';').map(one).collect()
}

/// An ordinal.
pub fn ordinal(text: &str) -> Result<Ordinal, String> {
    Ordinal::parse(text).ok_or_else(|| "must be an ordinal".to_owned())
}

/// [`ROLLED_OUT`], the name of the revision and the partition.
pub fn rolled_out(text: &str) -> Result<(String, i32), String> {
    let Some((revision, partition)) = text.split_once('=') else { return Ok((text.to_owned(), 0)) };
    let partition = partition.parse().ok().filter(|partition| *partition > 0);
    partition.map(|partition| (revision.to_owned(), partition)).ok_or_else(|| "must be 'revision=partition'".to_owned())
}

/// [`ROLLED_OUT`] as it is written.
pub fn write_rolled_out(revision: &str, partition: i32) -> String {
    if partition > 0 { format!("{revision}={partition}") } else { revision.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        for (key, value, wrong) in [
            (RESERVE_ORDINALS, "1,x", "'x' is neither an ordinal nor a range of ordinals"),
            (PAUSED, "yes", "must be 'true' or 'false'"),
            (AUTO_ROLLBACK, "", "must be 'true' or 'false'"),
            (PROGRESS_DEADLINE, "-1", "must be a positive number of seconds"),
            (RESET, "1=1,2", "'2' must be 'ordinal=generation'"),
            (RESET, "1=1,1=2", "'1=2' must be 'ordinal=generation'"),
            (RESET, "01=1", "'01=1' must be 'ordinal=generation'"),
            (UPDATE_LAST, "leader", "must be 'key=value'"),
            (PARTITION_RAISE, "keep", "must be 'hold'"),
            (MAX_UNAVAILABLE, "no", "must be 'upstream'"),
            (IMAGE_PREFETCH, "on", "must be 'required' or 'off'"),
            (PREPARE_HOOK, "{}", "must have either 'exec' or 'httpGet'"),
            (PREPARE_HOOK, r#"{"exec":{}}"#, "'exec' must have a command"),
            (PREPARE_HOOK, r#"{"exec":{"command":["x"]},"timeoutSeconds":0}"#, "'timeoutSeconds' must be positive"),
            (PAUSED_REPLICAS, "web-b", "'web-b' must be 'revision=ordinals'"),
            (ROLLED_OUT, "web-b=x", "must be 'revision=partition'"),
            (RESETTING, "x", "must be an ordinal"),
        ] {
            assert_eq!(problem(key, value).as_deref(), Some(wrong), "{key}: {value}");
        }
        for text in ["sh", r#"{"exec":{"command":["x"]},"tcpSocket":{"port":1}}"#, r#"{"httpGet":{"port":{}}}"#] {
            assert!(hook(text).is_err_and(|wrong| wrong.starts_with("must be a lifecycle handler: ")), "{text}");
        }
        for (key, value) in [
            (RESERVE_ORDINALS, ""),
            (RESET, "1=1, 3=x"),
            (ROLLED_BACK, "anything"),
            (ROLLED_OUT, "web-b"),
            (ROLLED_OUT, "web-b=2"),
            (IMAGE_PREFETCH, "off"),
            (PREPARE_HOOK, r#"{"httpGet":{"port":8080,"path":"/demote"},"container":"db","timeoutSeconds":5}"#),
            ("other", "x"),
        ] {
            assert_eq!(problem(key, value), None, "{key}: {value}");
        }
    }
}
