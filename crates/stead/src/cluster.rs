//! One cluster in this process: everything started in order, joined, and stopped again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use stead_apiserver::pki::{Pki, ServerNames, write_private};
use stead_apiserver::{ApiServer, Config, Identity, NodeDialer, NodeStream};
use stead_client::kube;
use stead_controllers::storage::LocalVolumeDirs;
use stead_controllers::{Context, Controllers, Settings, bootstrap};
use stead_dns::{Dns, DnsConfig};
use stead_image::{ImageStore, RegistryConfig};
use stead_net::{Cidr, KernelNetwork, NetworkConfig, ServiceRules};
use stead_node::{Agent, AgentConfig, AgentParts, NodeCaches, ServiceProxy};
use stead_runtime::SupervisorRuntime;
use stead_store::{Embedded, Limits};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::data_dir::{ClusterRecord, DataDir};
use crate::options::UpOptions;

/// Domain of the cluster.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Port of the API at its Service address.
const API_SERVICE_PORT: u16 = 443;
/// Port of the API at the node's own address in the pod network.
const API_PORT: u16 = 6443;
const DNS_PORT: u16 = 53;
/// The agent's pods per node unless told otherwise.
const PODS_MAX: u32 = 110;
/// Prefix of one node's part of the pod network.
const NODE_PREFIX: u8 = 24;
/// Bytes in flight between the API server and the agent, each way.
const STREAM_BYTES: usize = 64 << 10;

/// What a cluster is told.
pub(crate) struct ClusterOptions {
    pub(crate) service_cidr: Cidr,
    pub(crate) pod_cidr: Cidr,
    pub(crate) registry: RegistryConfig,
    pub(crate) node_name: String,
    pub(crate) isolated: bool,
}

impl ClusterOptions {
    /// Reads the flags of `up`.
    pub(crate) fn from_flags(flags: &UpOptions) -> anyhow::Result<Self> {
        let registry = match &flags.registry_config {
            Some(file) => {
                RegistryConfig::load(file).with_context(|| format!("--registry-config {}", file.display()))?
            }
            None => RegistryConfig::default(),
        };
        Ok(Self {
            service_cidr: flags.service_cidr.parse().context("--service-cidr")?,
            pod_cidr: flags.pod_cidr.parse().context("--pod-cidr")?,
            registry,
            node_name: flags.node_name.clone().unwrap_or_else(host_name),
            isolated: flags.isolated,
        })
    }

    /// What `down` must know of a cluster with these options in `data`.
    pub(crate) fn record(&self, data: &DataDir) -> ClusterRecord {
        ClusterRecord {
            service_cidr: self.service_cidr.to_string(),
            pod_cidr: self.pod_cidr.to_string(),
            bridge: "stead0".to_owned(),
            cgroup_root: format!("stead/{:08x}", fingerprint(&data.path)),
            isolated: self.isolated,
            standing: true,
        }
    }

    /// The defaults, for a cluster whose pod network has no way out.
    pub(crate) fn isolated(node_name: &str) -> Self {
        let defaults = NetworkConfig::for_first_node(Path::new("."));
        Self {
            service_cidr: defaults.service_cidr,
            pod_cidr: defaults.pod_cidr,
            registry: RegistryConfig::default(),
            node_name: node_name.to_owned(),
            isolated: true,
        }
    }
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    if name.is_empty() { "node".to_owned() } else { name }
}

/// The network settings that belong to a data directory.
pub(crate) fn network_config(data: &DataDir, record: &ClusterRecord) -> anyhow::Result<NetworkConfig> {
    let pod_cidr: Cidr = record.pod_cidr.parse()?;
    let service_cidr: Cidr = record.service_cidr.parse()?;
    let prefix = NODE_PREFIX.max(pod_cidr.prefix_len);
    let nth = |n| service_cidr.nth(n).with_context(|| format!("service range {service_cidr} is too small"));
    Ok(NetworkConfig {
        node_cidr: pod_cidr.subnet(prefix, 0).with_context(|| format!("pod range {pod_cidr} is too small"))?,
        api_ip: nth(1)?,
        dns_ip: nth(10)?,
        pod_cidr,
        service_cidr,
        bridge: record.bridge.clone(),
        ..NetworkConfig::for_first_node(&data.join("net"))
    })
}

/// A running cluster.
pub(crate) struct Cluster {
    client: kube::Client,
    kubeconfig: PathBuf,
    shutdown: CancellationToken,
    controllers: Controllers,
    dns: Dns,
    proxy: JoinSet<()>,
    serving: JoinSet<io::Result<()>>,
    store: Arc<Embedded>,
    agent: LocalAgent,
}

impl Cluster {
    /// Starts everything; kubectl can be used when it returns.
    pub(crate) async fn start(data: &DataDir, listener: TcpListener, options: ClusterOptions) -> anyhow::Result<Self> {
        let record = options.record(data);
        data.write_record(&record)?;
        let network_config = network_config(data, &record)?;
        let shutdown = CancellationToken::new();
        let store = Arc::new(Embedded::open(&data.join("store"), Limits::default())?);
        let dialer = Arc::new(LocalDialer::default());
        let server_config =
            Config { service_cidr: (options.service_cidr.base, options.service_cidr.prefix_len), ..Config::default() };
        let api = ApiServer::new(server_config, Arc::clone(&store), Arc::clone(&dialer) as Arc<dyn NodeDialer>);
        let service = api.local_service(Identity::component("system:stead"));
        let client = kube::Client::new(service, "default");
        let context = Context::start(client.clone());
        let listen = listener.local_addr()?;
        let names =
            ServerNames { listen: Some(listen.ip()), service: network_config.api_ip, node: options.node_name.clone() };
        let pki = Pki::open(&data.join("pki"), &names, Timestamp::now())?;
        let tls = pki.server_config()?;
        let network = KernelNetwork::up(network_config.clone()).await.context("cannot bring the pod network up")?;
        let mut listeners = vec![listener];
        // Pods reach the API at its Service address, which is bound on the node, and at the gateway.
        for ip in [network_config.api_ip, network_config.gateway()] {
            let inner = SocketAddr::from((ip, if ip == network_config.api_ip { API_SERVICE_PORT } else { API_PORT }));
            if listen.ip().is_unspecified() && listen.port() == inner.port() && !options.isolated {
                continue;
            }
            let inner = TcpListener::bind(inner).with_context(|| format!("cannot serve the API at {inner}"))?;
            inner.set_nonblocking(true)?;
            listeners.push(inner);
        }
        let mut serving = JoinSet::new();
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serving.spawn(Arc::clone(&api).serve(listener, Arc::clone(&tls), shutdown.clone()));
        }
        let bootstrap = bootstrap::Settings {
            api_cluster_ip: network_config.api_ip,
            api_address: network_config.gateway().into(),
            api_port: API_PORT,
            dns_cluster_ip: network_config.dns_ip,
        };
        bootstrap::ensure(&client, &bootstrap).await.context("cannot create the first objects")?;
        let volume_dirs = LocalVolumeDirs::new(options.node_name.clone(), data.join("volumes"));
        let settings = Settings { bootstrap, ca_pem: pki.ca_pem().to_owned(), volume_dirs: Arc::new(volume_dirs) };
        let controllers = Controllers::start(&context, settings, &shutdown);
        let dns = start_dns(&context, network_config.dns_ip, &shutdown)?;
        let proxy = ServiceProxy {
            node_name: options.node_name.clone(),
            client: client.clone(),
            services: context.caches.services.clone(),
            slices: context.caches.endpoint_slices.clone(),
            rules: ServiceRules::open(network_config.clone()),
        };
        let mut proxying = JoinSet::new();
        proxying.spawn(proxy.run(shutdown.clone()));
        let agent = start_agent(data, &options, &record, &network_config, network, client.clone(), &context, &shutdown);
        let agent = agent.await.context("cannot start the node agent")?;
        dialer.set(agent.clone());
        let kubeconfig = data.join("kubeconfig");
        write_private(&kubeconfig, &pki.kubeconfig(&format!("https://{}", reachable(listen))))?;
        Ok(Self { client, kubeconfig, shutdown, controllers, dns, proxy: proxying, serving, store, agent })
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with all rights.
    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Returns, with the reason, once a part that the others cannot do without has ended by itself.
    /// Whoever started the cluster then stops it: half a cluster is worse than none.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            reason = self.store.failed() => anyhow::anyhow!("the store no longer accepts writes: {reason}"),
            () = self.controllers.failed() => anyhow::anyhow!("a controller ended by itself"),
            part = self.agent.failed() => anyhow::anyhow!("the node agent failed at {part}"),
            Some(ended) = self.proxy.join_next() => match ended {
                Err(error) => anyhow::Error::from(error).context("the Service proxy ended"),
                Ok(()) => anyhow::anyhow!("the Service proxy ended by itself"),
            },
            Some(served) = self.serving.join_next() => match served {
                Ok(Err(error)) => anyhow::Error::from(error).context("the API listener ended"),
                Err(error) => anyhow::Error::from(error).context("the API listener ended"),
                Ok(Ok(())) => anyhow::anyhow!("the API listener ended by itself"),
            },
        }
    }

    /// Stops everything but the pods.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.controllers.ended().await;
        self.dns.stopped().await;
        while let Some(ended) = self.proxy.join_next().await {
            ended.context("the Service proxy ended badly")?;
        }
        while let Some(served) = self.serving.join_next().await {
            served?.context("the API listener ended badly")?;
        }
        Ok(())
    }
}

#[expect(clippy::too_many_arguments, reason = "wiring, called once")]
async fn start_agent(
    data: &DataDir,
    options: &ClusterOptions,
    record: &ClusterRecord,
    addresses: &NetworkConfig,
    network: KernelNetwork,
    client: kube::Client,
    context: &Context,
    shutdown: &CancellationToken,
) -> anyhow::Result<LocalAgent> {
    let runtime = SupervisorRuntime::connect_or_start(&data.join("runtime")).await?;
    let images = Arc::new(ImageStore::open(&data.join("images"), options.registry.clone())?);
    let config = AgentConfig {
        node_name: options.node_name.clone(),
        data_dir: data.path.clone(),
        node_ip: outward_ip().unwrap_or_else(|| addresses.gateway()),
        cluster_dns: addresses.dns_ip,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        cgroup_root: record.cgroup_root.clone(),
        pods_max: PODS_MAX,
    };
    let caches = NodeCaches {
        pods: context.caches.pods.clone(),
        claims: context.caches.claims.clone(),
        volumes: context.caches.volumes.clone(),
        services: context.caches.services.clone(),
        nodes: context.caches.nodes.clone(),
    };
    let parts = AgentParts { config, client, caches, runtime, network, images };
    Ok(Agent::start(parts, shutdown.clone()).await?)
}

fn start_dns(context: &Context, ip: Ipv4Addr, shutdown: &CancellationToken) -> anyhow::Result<Dns> {
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let config = DnsConfig {
        domain: CLUSTER_DOMAIN.to_owned(),
        listen: vec![SocketAddr::from((ip, DNS_PORT))],
        upstreams: stead_dns::upstreams(&resolv_conf),
        services: context.caches.services.clone(),
        slices: context.caches.endpoint_slices.clone(),
        namespaces: context.caches.namespaces.clone(),
    };
    Dns::start(config, shutdown.clone()).context("cannot serve DNS")
}

/// The address this machine would use towards others. Nothing is sent to find out.
fn outward_ip() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Connecting a UDP socket only picks a route. 192.0.2.0/24 is reserved for documents.
    socket.connect(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), DNS_PORT)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// A wildcard listener is reached over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())) } else { listen }
}

/// FNV-1a of a path: tells the cgroups of two clusters on one machine apart.
fn fingerprint(path: &Path) -> u32 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

type LocalAgent = Agent<SupervisorRuntime, KernelNetwork>;

/// Reaches the agent in this process.
#[derive(Default)]
struct LocalDialer {
    agent: OnceLock<LocalAgent>,
}

impl LocalDialer {
    fn set(&self, agent: LocalAgent) {
        if self.agent.set(agent).is_err() {
            tracing::error!("the agent was started twice");
        }
    }
}

impl NodeDialer for LocalDialer {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn NodeStream>>> {
        let agent = self.agent.get().filter(|agent| agent.config().node_name == node).cloned();
        let node = node.to_owned();
        Box::pin(async move {
            let agent =
                agent.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, format!("node {node} is not here")))?;
            let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
            tokio::spawn(async move { agent.serve_stream(theirs).await });
            Ok(Box::new(ours) as Box<dyn NodeStream>)
        })
    }
}
