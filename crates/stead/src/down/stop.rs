//! Stopping every container with no agent running: each is asked to end the way its image wants, and
//! killed when the time is over that its pod asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use stead_node::StopOrder;
use stead_runtime::{ContainerId, ContainerInfo, ContainerState, Inventory, Runtime};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

const SIGKILL: i32 = 9;
/// A wait that is longer than this is told, and then again as often.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// Containers that a line names.
const NAMES_MAX: usize = 3;

/// A container that was asked to end.
struct Stopping {
    /// `pod/container`.
    name: String,
    /// When it is killed.
    deadline: Instant,
}

/// Stops what runs and waits until it has ended. `exits` must be older than `inventory`.
pub(super) async fn stop_containers(
    runtime: &impl Runtime,
    mut exits: Receiver<ContainerInfo>,
    inventory: &Inventory,
    grace_max: Option<Duration>,
) -> anyhow::Result<()> {
    let mut left = ask(runtime, inventory, grace_max).await?;
    let started = Instant::now();
    let mut told_at = started + TOLD_EVERY;
    while let Some(first) = left.values().map(|stopping| stopping.deadline).min() {
        tokio::select! {
            exit = exits.recv() => match exit {
                Ok(container) => drop(left.remove(&container.spec.id)),
                Err(RecvError::Lagged(_)) => {
                    let inventory = runtime.list().await?;
                    let running: Vec<_> = running(&inventory).map(|container| &container.spec.id).collect();
                    left.retain(|id, _| running.contains(&id));
                }
                // Whatever is left is killed when it is removed.
                Err(RecvError::Closed) => return Ok(()),
            },
            () = tokio::time::sleep_until(told_at) => {
                eprintln!("{}", line(&left, Instant::now()));
                told_at += TOLD_EVERY;
            }
            () = tokio::time::sleep_until(first) => kill_overdue(runtime, &mut left).await?,
        }
    }
    Ok(())
}

fn running(inventory: &Inventory) -> impl Iterator<Item = &ContainerInfo> {
    inventory.containers.iter().filter(|container| matches!(container.state, ContainerState::Running { .. }))
}

/// Asks every container that runs to end.
async fn ask(
    runtime: &impl Runtime,
    inventory: &Inventory,
    grace_max: Option<Duration>,
) -> anyhow::Result<BTreeMap<ContainerId, Stopping>> {
    let mut asked = BTreeMap::new();
    for container in running(inventory) {
        let spec = &container.spec;
        let order = StopOrder::of(container);
        runtime.kill_container(&spec.id, order.signal).await?;
        let pod = inventory.sandboxes.iter().find(|sandbox| sandbox.spec.id == spec.sandbox);
        let pod = pod.map_or(spec.sandbox.0.as_str(), |sandbox| sandbox.spec.name.as_str());
        let grace = grace_max.map_or(order.grace, |most| order.grace.min(most));
        let stopping = Stopping { name: format!("{pod}/{}", spec.name), deadline: Instant::now() + grace };
        asked.insert(spec.id.clone(), stopping);
    }
    Ok(asked)
}

/// Kills whose time is over. Their ends are not waited for here: removing them does that.
async fn kill_overdue(runtime: &impl Runtime, left: &mut BTreeMap<ContainerId, Stopping>) -> anyhow::Result<()> {
    let now = Instant::now();
    let (overdue, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(left).into_iter().partition(|(_, stopping)| stopping.deadline <= now);
    *left = others;
    for (id, stopping) in overdue {
        eprintln!("stead: {} did not end in its time and is killed", stopping.name);
        runtime.kill_container(&id, SIGKILL).await?;
    }
    Ok(())
}

/// What a person reads who waits.
fn line(left: &BTreeMap<ContainerId, Stopping>, now: Instant) -> String {
    let mut names: Vec<&str> = left.values().map(|stopping| stopping.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let longest = left.values().map(|stopping| stopping.deadline.saturating_duration_since(now)).max();
    let seconds = longest.unwrap_or_default().as_secs_f64().ceil();
    format!("stead: waiting for {}{more} to end, {seconds} s at most", names.join(", "))
}

#[cfg(test)]
mod tests {
    use stead_runtime::{ContainerSpec, FakeRuntime, Resources, RootFs, SandboxId, SandboxSpec, Seccomp, User};

    use super::*;

    /// Containers that do not end when asked to, of pods that give them so many seconds.
    async fn stubborn(graces_s: [u64; 2]) -> (FakeRuntime, Inventory) {
        let fake = FakeRuntime::default();
        let id = SandboxId("uid".to_owned());
        let sandbox = SandboxSpec {
            id: id.clone(),
            namespace: "default".to_owned(),
            name: "db-0".to_owned(),
            hostname: "db-0".to_owned(),
            host_network: false,
            sysctls: BTreeMap::new(),
            cgroup: "pod".to_owned(),
            resources: Resources::default(),
        };
        fake.create_sandbox(sandbox).await.expect("a fake makes anything");
        for grace_s in graces_s {
            let order = StopOrder { signal: 15, grace: Duration::from_secs(grace_s) };
            let name = format!("c{grace_s}");
            fake.ignore_signals(&name);
            let spec = ContainerSpec {
                id: ContainerId(name.clone()),
                sandbox: id.clone(),
                name,
                attempt: 0,
                image: String::new(),
                image_id: String::new(),
                rootfs: RootFs { layers: Vec::new(), readonly: false },
                args: Vec::new(),
                env: Vec::new(),
                cwd: "/".into(),
                user: User::default(),
                resources: Resources::default(),
                oom_score_adj: 0,
                privileged: false,
                capabilities_add: Vec::new(),
                capabilities_drop: Vec::new(),
                no_new_privileges: false,
                seccomp: Seccomp::default(),
                host_pid: false,
                tty: false,
                stdin: false,
                mounts: Vec::new(),
                log_path: "/0.log".into(),
                annotations: order.to_annotations().into(),
            };
            fake.start_container(spec, None).await.expect("a fake starts anything");
        }
        let inventory = fake.list().await.expect("a fake answers");
        (fake, inventory)
    }

    async fn took_s(graces_s: [u64; 2], grace_max_s: Option<u64>) -> u64 {
        let (fake, inventory) = stubborn(graces_s).await;
        let started = Instant::now();
        let most = grace_max_s.map(Duration::from_secs);
        stop_containers(&fake, fake.exits(), &inventory, most).await.expect("stopped");
        assert!(running(&fake.list().await.expect("a fake answers")).next().is_none());
        started.elapsed().as_secs()
    }

    #[test]
    fn a_person_who_waits_is_told_for_what_and_how_long() {
        let now = Instant::now();
        let stopping = |name: &str, seconds| {
            let deadline = now + Duration::from_secs(seconds);
            (ContainerId(name.to_owned()), Stopping { name: name.to_owned(), deadline })
        };
        let left = BTreeMap::from([stopping("db-0/db", 30), stopping("db-1/db", 4)]);
        assert_eq!(line(&left, now), "stead: waiting for db-0/db, db-1/db to end, 30 s at most");
        let left = (0..5).map(|n| stopping(&format!("db-{n}/db"), 7)).collect();
        assert_eq!(line(&left, now), "stead: waiting for db-0/db, db-1/db, db-2/db and 2 more to end, 7 s at most");
    }

    #[tokio::test(start_paused = true)]
    async fn each_container_gets_the_time_its_pod_asks_for() {
        assert_eq!(took_s([3, 9], None).await, 9);
        assert_eq!(took_s([3, 5], None).await, 5);
        assert_eq!(took_s([3, 9], Some(1)).await, 1, "not longer than the person wants to wait");
    }
}
