//! Services on this node: follows Services and EndpointSlices, asks `plan::proxy` where connections lead,
//! and puts that in force as a whole. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use stead_client::{Cache, EventType, Recorder};
use stead_net::{Availability, Backends, NodePort, Protocol, Rules, ServicePort};
use stead_plan::proxy::{self, Observed, Row};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Two renewals of the rules are at least so far apart, and as far as the first one took: however many Services
/// there are, half of the time is left. What changes in between becomes one renewal.
const RENEWAL_GAP: Duration = Duration::from_millis(50);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The component that events come from.
const COMPONENT: &str = "kube-proxy";
/// Reason of the event on a node that cannot have Service rules.
const UNAVAILABLE: &str = "ServicesUnavailable";

/// What keeps the Service rules of a node.
pub struct ServiceProxy<R> {
    /// Name of the Node object.
    pub node_name: String,
    /// The API, for events.
    pub client: Client,
    /// All Services.
    pub services: Cache<Service>,
    /// All EndpointSlices.
    pub slices: Cache<EndpointSlice>,
    /// Where rules go.
    pub rules: R,
}

impl<R: Rules> ServiceProxy<R> {
    /// Keeps the rules in step with the API until `shutdown`; they stay in force then. Where the node cannot have
    /// any, the log and an event on the node say so.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { node_name, client, services, slices, rules } = self;
        let complete = async { tokio::join!(services.synced(), slices.synced()) };
        // Until all is known the rules of an earlier run hold.
        if shutdown.run_until_cancelled(complete).await.is_none() {
            return;
        }
        let changed = Arc::new(Notify::new());
        let wake = Arc::clone(&changed);
        services.on_change(move |_| wake.notify_one());
        let wake = Arc::clone(&changed);
        slices.on_change(move |_| wake.notify_one());
        let recorder = Recorder::new(client, COMPONENT, &node_name);
        let unavailable = |reason: &str| {
            tracing::warn!("{reason}");
            recorder.event(&node_reference(&node_name), EventType::Warning, UNAVAILABLE, reason);
        };
        let ports = || {
            let observed = Observed { services: &services.list(), slices: &slices.list(), node: &node_name };
            proxy::plan(&observed).into_iter().map(service_port).collect()
        };
        keep_in_force(&rules, &changed, ports, unavailable, &shutdown).await;
    }
}

/// Puts `ports` in force now and after every change. A failure is tried again, later each time.
async fn keep_in_force<R: Rules>(
    rules: &R,
    changed: &Notify,
    ports: impl Fn() -> Vec<ServicePort>,
    unavailable: impl Fn(&str),
    shutdown: &CancellationToken,
) {
    let mut retry = RETRY_FIRST;
    let mut told = false;
    loop {
        let started = Instant::now();
        let wait = match rules.apply(&ports()).await {
            Ok(availability) => {
                retry = RETRY_FIRST;
                match availability {
                    Availability::Applied => told = false,
                    Availability::Unavailable { reason } if !told => {
                        unavailable(&reason);
                        told = true;
                    }
                    Availability::Unavailable { .. } => {}
                }
                RENEWAL_GAP.max(started.elapsed())
            }
            Err(error) => {
                tracing::warn!(%error, "Service rules are not up to date, trying again");
                changed.notify_one();
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        let next = async {
            sleep(wait).await;
            changed.notified().await;
        };
        if shutdown.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}

/// A node as the subject of events, in the way node components name it: its name is its UID.
fn node_reference(name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

fn service_port(row: Row) -> ServicePort {
    ServicePort {
        label: row.label,
        cluster_ip: row.cluster_ip,
        protocol: match row.protocol {
            proxy::Protocol::Tcp => Protocol::Tcp,
            proxy::Protocol::Udp => Protocol::Udp,
            proxy::Protocol::Sctp => Protocol::Sctp,
        },
        port: row.port,
        affinity_s: row.affinity_s,
        backends: backends(row.backends),
        node_port: row.node_port.map(|node_port| NodePort {
            port: node_port.port,
            from_here: backends(node_port.from_here),
            from_outside: backends(node_port.from_outside),
        }),
    }
}

fn backends(planned: proxy::Backends) -> Backends {
    match planned {
        proxy::Backends::Endpoints(endpoints) => Backends::Endpoints(endpoints),
        proxy::Backends::Refused => Backends::Refused,
        proxy::Backends::Dropped => Backends::Dropped,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Mutex;

    use stead_net::NetError;

    use super::*;

    /// Notes when rules were applied, and answers what it is told to, then that they are in force.
    struct FakeRules {
        answers: Mutex<Vec<Result<Availability, NetError>>>,
        applied: Mutex<Vec<(Duration, usize)>>,
        started: Instant,
    }

    impl FakeRules {
        fn answering(answers: Vec<Result<Availability, NetError>>) -> Self {
            let answers = Mutex::new(answers.into_iter().rev().collect());
            Self { answers, applied: Mutex::default(), started: Instant::now() }
        }

        /// When rules were applied, in milliseconds, and for how many ports.
        fn applied(&self) -> Vec<(u128, usize)> {
            let applied = self.applied.lock().expect("no panic holds the lock");
            applied.iter().map(|(at, ports)| (at.as_millis(), *ports)).collect()
        }
    }

    impl Rules for FakeRules {
        async fn apply(&self, ports: &[ServicePort]) -> Result<Availability, NetError> {
            self.applied.lock().expect("no panic holds the lock").push((self.started.elapsed(), ports.len()));
            let answer = self.answers.lock().expect("no panic holds the lock").pop();
            answer.unwrap_or(Ok(Availability::Applied))
        }
    }

    fn port() -> ServicePort {
        service_port(Row {
            label: "ns/web".to_owned(),
            cluster_ip: [10, 96, 1, 1].into(),
            protocol: proxy::Protocol::Tcp,
            port: 80,
            affinity_s: None,
            backends: proxy::Backends::Refused,
            node_port: None,
        })
    }

    fn unavailable() -> Result<Availability, NetError> {
        Ok(Availability::Unavailable { reason: "no nft".to_owned() })
    }

    fn failed() -> Result<Availability, NetError> {
        Err(NetError::Rules { reason: "busy".to_owned() })
    }

    /// Runs against `rules` while `story` goes on; gives what was said about rules that cannot be.
    async fn run(rules: &FakeRules, ports: &Cell<usize>, story: impl AsyncFnOnce(&Notify)) -> Vec<String> {
        let (changed, shutdown) = (Notify::new(), CancellationToken::new());
        let said = RefCell::new(Vec::new());
        let story = async {
            story(&changed).await;
            shutdown.cancel();
        };
        let ports = || vec![port(); ports.get()];
        let tell = |reason: &str| said.borrow_mut().push(reason.to_owned());
        tokio::join!(keep_in_force(rules, &changed, ports, tell, &shutdown), story);
        said.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_becomes_one_renewal() {
        let (rules, ports) = (FakeRules::answering(vec![]), Cell::new(0));
        let said = run(&rules, &ports, async |changed| {
            sleep(Duration::from_secs(1)).await;
            for _ in 0..5 {
                ports.set(ports.get() + 1);
                changed.notify_one();
                sleep(Duration::from_millis(8)).await;
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
        assert_eq!(rules.applied(), [(0, 0), (1000, 1), (1050, 5)], "at once, and once for the rest");
        assert_eq!(said, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_tried_again_later_each_time_and_without_a_change() {
        let (rules, ports) = (FakeRules::answering(vec![failed(), failed(), failed()]), Cell::new(1));
        run(&rules, &ports, async |_| sleep(Duration::from_secs(60)).await).await;
        let times: Vec<u128> = rules.applied().iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 100, 300, 700]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_without_rules_says_so_once() {
        let (rules, ports) = (FakeRules::answering(vec![unavailable(), unavailable()]), Cell::new(1));
        let said = run(&rules, &ports, async |changed| {
            for _ in 0..3 {
                sleep(Duration::from_secs(1)).await;
                changed.notify_one();
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
        assert_eq!(said, ["no nft"]);
        assert_eq!(rules.applied().len(), 4, "and looks again with every change");
    }
}
