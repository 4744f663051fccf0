//! `stead demo`: a StatefulSet that comes up in order, loses a replica and gets it back, told and
//! checked while it happens. The cluster it runs on is the caller's.

mod ask;
mod manifest;
mod replica;
mod view;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use stead_client::kube::{self, Api, api::DeleteParams, api::PostParams};
use stead_client::{Cache, ListScope};
use tokio::sync::watch;

pub use manifest::IMAGE;
pub use replica::run as run_replica;

use manifest::{NAME, REPLICAS, SERVICE};
use view::View;

/// Longest wait for one step of the story.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The API refused.
    #[error("the API server refused")]
    Api(#[from] kube::Error),
    /// Something did not happen in time.
    #[error("waited {} s in vain: {what}", STEP_MAX.as_secs())]
    Late {
        /// What was waited for.
        what: String,
    },
    /// A replica or the name server could not be asked.
    #[error("cannot ask {whom}")]
    Ask {
        /// Address or name.
        whom: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What was promised did not hold.
    #[error("{0}")]
    Broken(String),
}

/// Tells the story on a running cluster whose pod network this process is in.
pub async fn tell(client: kube::Client, dns: Ipv4Addr) -> Result<(), DemoError> {
    let pods = Cache::start(
        Api::<Pod>::namespaced(client.clone(), "default"),
        ListScope { labels: Some(format!("app={NAME}")), fields: None },
    );
    pods.synced().await;
    let story = Story { client, pods, dns };
    story.come_up().await?;
    story.write_notes().await?;
    story.lose_one().await
}

struct Story {
    client: kube::Client,
    pods: Cache<Pod>,
    dns: Ipv4Addr,
}

impl Story {
    async fn come_up(&self) -> Result<(), DemoError> {
        println!("\nA StatefulSet of {REPLICAS} replicas, a headless Service and a claim for each replica:\n");
        let started = Instant::now();
        let post = PostParams::default();
        Api::namespaced(self.client.clone(), "default").create(&post, &manifest::service()).await?;
        Api::namespaced(self.client.clone(), "default").create(&post, &manifest::stateful_set()).await?;
        let view = View::new(REPLICAS);
        self.show_until(view, "every replica is Ready", |pods| {
            pods.len() == usize::from(REPLICAS) && pods.iter().all(|pod| view::is_ready(pod))
        })
        .await?;
        println!("\n  all Ready after {} ms, strictly one after the other", started.elapsed().as_millis());
        Ok(())
    }

    async fn write_notes(&self) -> Result<(), DemoError> {
        println!("\nEach replica is told something to keep, by its own name:\n");
        for ordinal in 0..REPLICAS {
            let name = dns_name(ordinal);
            let ip = self.resolve(&name).await?;
            let note = format!("a secret of replica {ordinal}");
            ask::post(ip, &note).await.map_err(|source| DemoError::Ask { whom: name.clone(), source })?;
            println!("  {name} is {ip:<12} and keeps {note:?}");
        }
        Ok(())
    }

    async fn lose_one(&self) -> Result<(), DemoError> {
        let victim = format!("{NAME}-1");
        let name = dns_name(1);
        let before = self.resolve(&name).await?;
        let held = self.pods.get("default", &victim);
        let uid = held.as_ref().and_then(|pod| pod.metadata.uid.clone());
        println!("\nNow {victim} is killed. What comes back has its name, its claim and its data:\n");
        let started = Instant::now();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        api.delete(&victim, &DeleteParams::default()).await?;
        self.show_until(View::new(REPLICAS), "the replica is back", |pods| {
            let back = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(victim.as_str()));
            back.is_some_and(|pod| pod.metadata.uid != uid && view::is_ready(pod))
        })
        .await?;
        let after = self.resolve_until(&name, |ip| ip != before).await?;
        let kept = ask::get(after).await.map_err(|source| DemoError::Ask { whom: name.clone(), source })?;
        if !kept.contains("a secret of replica 1") {
            return Err(DemoError::Broken(format!("{victim} came back without its data: {kept:?}")));
        }
        println!("\n  back after {} ms: {name} was {before}, is {after}", started.elapsed().as_millis());
        println!("  and still keeps {:?}", kept.trim());
        Ok(())
    }

    async fn resolve(&self, name: &str) -> Result<Ipv4Addr, DemoError> {
        self.resolve_until(name, |_| true).await
    }

    /// Asks the cluster's name server until the answer pleases.
    async fn resolve_until(&self, name: &str, pleases: impl Fn(Ipv4Addr) -> bool) -> Result<Ipv4Addr, DemoError> {
        let deadline = tokio::time::Instant::now() + STEP_MAX;
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while tokio::time::Instant::now() < deadline {
            pause.tick().await;
            let answer = ask::resolve(self.dns, name).await;
            let answer = answer.map_err(|source| DemoError::Ask { whom: self.dns.to_string(), source })?;
            if let Some(ip) = answer.filter(|ip| pleases(*ip)) {
                return Ok(ip);
            }
        }
        Err(DemoError::Late { what: format!("an answer for {name}") })
    }

    /// Shows the replicas as they change until `done`.
    async fn show_until(
        &self,
        mut view: View,
        what: &str,
        done: impl Fn(&[std::sync::Arc<Pod>]) -> bool,
    ) -> Result<(), DemoError> {
        let changed = watch::Sender::new(0_u64);
        let mut seen = changed.subscribe();
        self.pods.on_change(move |_| changed.send_modify(|count| *count += 1));
        let shown = async {
            loop {
                seen.mark_unchanged();
                let pods = self.pods.list();
                view.show(&pods);
                if done(&pods) {
                    return;
                }
                // The sender lives in the cache's handler, as long as the cache.
                if seen.changed().await.is_err() {
                    return;
                }
            }
        };
        let late = |_| DemoError::Late { what: what.to_owned() };
        tokio::time::timeout(STEP_MAX, shown).await.map_err(late)
    }
}

fn dns_name(ordinal: u8) -> String {
    format!("{NAME}-{ordinal}.{SERVICE}.default.svc.cluster.local")
}

/// What a person may try next on the demo's cluster.
pub fn next_steps(kubeconfig: &str) -> String {
    format!(
        "\nThe cluster goes on until Ctrl-C. In another terminal:\n\n\
         \x20 export KUBECONFIG={kubeconfig}\n\
         \x20 kubectl get statefulsets,pods,pvc -o wide\n\
         \x20 kubectl scale statefulset {NAME} --replicas=2      # the highest ordinal goes, its claim stays\n\
         \x20 kubectl delete pod {NAME}-0                        # the same name comes back with the same data\n\
         \x20 kubectl logs {NAME}-1\n\
         \x20 kubectl explain statefulset.spec.updateStrategy\n"
    )
}
