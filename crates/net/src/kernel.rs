//! The pod network on the kernel: one bridge per node, a veth pair per pod, and routes that keep private
//! addresses from leaking. Takes over what an earlier run left; takes all of it away in [`KernelNetwork::down`].

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sched::CloneFlags;

use crate::book::AddressBook;
use crate::netlink::{Mac, Made, Netlink, VethSpec};
use crate::services::ServiceRules;
use crate::{Cidr, NetError, Network, PodAddress, PodKey, firewall};

/// Metric of the `unreachable` routes: worse than any route a person or daemon would add.
const UNREACHABLE_METRIC: u32 = 4_000_000_000;

/// Longest name the kernel allows for a link.
const LINK_NAME_BYTES_MAX: usize = 15;

/// Longest text that is kept as a link's alias, for which the kernel has 255 bytes.
const OWNER_CHARS_MAX: usize = 63;

/// The link inside a pod.
const POD_LINK: &str = "eth0";

/// Prefix length of a pod's address: no neighbour is on its link, so what pods send each other is routed by the
/// node. Frames between two ports of a bridge pass by the node's packet rules (without br_netfilter, which may or
/// may not be loaded), and an answer that passes them by is not translated back to the Service's address.
const POD_PREFIX_LEN: u8 = 32;

/// MTU where none is configured: Ethernet's.
const MTU_DEFAULT: u32 = 1500;

/// What a node's pod network is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Addresses of all pods of the cluster.
    pub pod_cidr: Cidr,
    /// This node's part of `pod_cidr`; its first host is the bridge, the pods' gateway.
    pub node_cidr: Cidr,
    /// Addresses of all Services.
    pub service_cidr: Cidr,
    /// Address of cluster DNS, bound on the node itself.
    pub dns_ip: Ipv4Addr,
    /// Address of the `kubernetes` Service, bound on the node itself.
    pub api_ip: Ipv4Addr,
    /// Name of the bridge, at most 15 bytes.
    pub bridge: String,
    /// MTU of bridge and pod links, in bytes.
    pub mtu: u32,
    /// File of the address book.
    pub book: PathBuf,
    /// Pods reach the outside under the node's address; takes effect through [`crate::ServiceRules`].
    pub masquerade: bool,
}

impl NetworkConfig {
    /// The design's defaults for the first node: pods 10.244.0.0/16 of which this node has the first /24,
    /// Services 10.96.0.0/12, API at 10.96.0.1, DNS at 10.96.0.10, bridge `stead0`.
    pub fn for_first_node(net_dir: &Path) -> Self {
        let node = Cidr { base: Ipv4Addr::new(10, 244, 0, 0), prefix_len: 24 };
        Self {
            pod_cidr: Cidr { base: node.base, prefix_len: 16 },
            node_cidr: node,
            service_cidr: Cidr { base: Ipv4Addr::new(10, 96, 0, 0), prefix_len: 12 },
            dns_ip: Ipv4Addr::new(10, 96, 0, 10),
            api_ip: Ipv4Addr::new(10, 96, 0, 1),
            bridge: "stead0".to_owned(),
            mtu: MTU_DEFAULT,
            book: net_dir.join("addresses.json"),
            masquerade: true,
        }
    }

    /// Whether the parts fit together.
    ///
    /// # Errors
    /// Says which part does not.
    pub fn validate(&self) -> Result<(), NetError> {
        let refuse = |reason: String| Err(NetError::BadConfig(reason));
        if !self.pod_cidr.covers(&self.node_cidr) || self.node_cidr.prefix_len > 30 {
            return refuse(format!(
                "node network {} is not a part of pod network {} with room for pods",
                self.node_cidr, self.pod_cidr
            ));
        }
        if self.pod_cidr.covers(&self.service_cidr) || self.service_cidr.covers(&self.pod_cidr) {
            return refuse(format!("pod network {} and service network {} overlap", self.pod_cidr, self.service_cidr));
        }
        for ip in [self.dns_ip, self.api_ip] {
            if !self.service_cidr.contains(ip) {
                return refuse(format!("address {ip} is not in service network {}", self.service_cidr));
            }
        }
        if self.bridge.is_empty() || self.bridge.len() > LINK_NAME_BYTES_MAX || self.bridge.contains(['/', ' ']) {
            return refuse(format!("{:?} cannot be the name of a bridge", self.bridge));
        }
        Ok(())
    }

    /// The bridge's address, the gateway of this node's pods.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.node_cidr.base) + 1)
    }

    /// What the bridge says whose it is: the directory of the address book, or its end where it is very long.
    fn owner(&self) -> String {
        let text = self.book.parent().unwrap_or(Path::new("")).display().to_string();
        let excess = text.chars().count().saturating_sub(OWNER_CHARS_MAX);
        text.chars().skip(excess).collect()
    }

    fn sinks(&self) -> [Cidr; 2] {
        [self.pod_cidr, self.service_cidr]
    }
}

/// The pod network of this node, up.
pub struct KernelNetwork {
    config: NetworkConfig,
    bridge: u32,
    netlink: Netlink,
    book: Arc<AddressBook>,
}

impl KernelNetwork {
    /// Brings the network up in the calling thread's network namespace, or takes over what an earlier run
    /// on the same configuration left, pods included. Doing it again changes nothing.
    ///
    /// Forwarding is switched on and stays on after [`down`](Self::down): others may have come to rely on it.
    ///
    /// # Errors
    /// The configuration does not fit together, the kernel refuses, or the address book cannot be read.
    pub async fn up(config: NetworkConfig) -> Result<Self, NetError> {
        config.validate()?;
        let book = AddressBook::open(&config.book, config.node_cidr, config.gateway())?;
        let netlink = Netlink::open()?;
        if let Some(owner) = stranger(&netlink, &config).await? {
            return Err(NetError::Taken { bridge: config.bridge, owner });
        }
        // First the routes that keep private addresses in, then the bridge that makes them used.
        for cidr in config.sinks() {
            netlink.ensure_unreachable(cidr, UNREACHABLE_METRIC).await?;
        }
        let bridge =
            netlink.ensure_bridge(&config.bridge, mac_of(config.gateway()), config.mtu, &config.owner()).await?;
        let wanted = [(config.gateway(), config.node_cidr.prefix_len), (config.dns_ip, 32), (config.api_ip, 32)];
        for (ip, prefix_len) in netlink.addresses_of(bridge).await? {
            if !wanted.contains(&(ip, prefix_len)) {
                netlink.delete_address(bridge, ip, prefix_len).await?;
            }
        }
        for (ip, prefix_len) in wanted {
            netlink.ensure_address(bridge, ip, prefix_len).await?;
        }
        netlink.up("lo").await?;
        set_sysctls(&config.bridge)?;
        firewall::let_pods_through(&config).await?;
        Ok(Self { config, bridge, netlink, book: Arc::new(book) })
    }

    /// Takes away every link, address, route and rule that [`up`](Self::up) and attaching pods made in the calling
    /// thread's network namespace, and forgets the pods' addresses. What is not there is success, and what belongs to
    /// another cluster stays.
    ///
    /// # Errors
    /// The kernel refuses, or the address book cannot be rewritten.
    pub async fn down(config: &NetworkConfig) -> Result<(), NetError> {
        let netlink = Netlink::open()?;
        match stranger(&netlink, config).await? {
            Some(owner) => tracing::warn!(bridge = config.bridge, owner, "the pod network belongs to another cluster"),
            None => take_away(&netlink, config).await?,
        }
        if config.book.exists() {
            let book = AddressBook::open(&config.book, config.node_cidr, config.gateway())?;
            for (pod, _) in book.entries() {
                book.release(&pod);
            }
            book.save()?;
        }
        Ok(())
    }

    /// What the network was brought up with.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    fn address(&self, ip: Ipv4Addr) -> PodAddress {
        PodAddress { ip, gateway: self.config.gateway() }
    }

    async fn save_book(&self) -> Result<(), NetError> {
        let book = Arc::clone(&self.book);
        tokio::task::spawn_blocking(move || book.save()).await.map_err(|error| NetError::Book {
            path: self.config.book.display().to_string(),
            source: std::io::Error::other(error),
        })?
    }

    /// Makes the pair; one that is there already but whose pod end is elsewhere is made anew.
    async fn connect(&self, pod: &PodKey, netns: &File, pod_side: &Netlink, ip: Ipv4Addr) -> Result<(), NetError> {
        let host_name = host_link_name(pod);
        let spec = VethSpec {
            host_name: &host_name,
            pod_name: POD_LINK,
            pod_netns: netns.as_fd(),
            pod_mac: mac_of(ip),
            bridge: self.bridge,
            mtu: self.config.mtu,
        };
        if self.netlink.ensure_veth(&spec).await? == Made::Present && pod_side.index_of(POD_LINK).await?.is_none() {
            self.netlink.delete_link(&host_name).await?;
            self.netlink.ensure_veth(&spec).await?;
        }
        let port = self.netlink.index_of(&host_name).await?.ok_or_else(|| NetError::Netlink {
            action: format!("find link {host_name}"),
            reason: "it is gone again".to_owned(),
        })?;
        self.netlink.hairpin(port).await
    }
}

impl Network for KernelNetwork {
    async fn attach(&self, pod: &PodKey, netns: &Path) -> Result<PodAddress, NetError> {
        let ip = self.book.assign(pod)?;
        self.save_book().await?;
        let (netns, pod_side) = open_in(netns).await?;
        self.connect(pod, &netns, &pod_side, ip).await?;
        let link = pod_side.index_of(POD_LINK).await?.ok_or_else(|| NetError::Netlink {
            action: format!("find {POD_LINK} of pod {}", pod.0),
            reason: "no such link".to_owned(),
        })?;
        pod_side.up("lo").await?;
        pod_side.ensure_address(link, ip, POD_PREFIX_LEN).await?;
        pod_side.up(POD_LINK).await?;
        pod_side.ensure_default_route(link, self.config.gateway()).await?;
        Ok(self.address(ip))
    }

    async fn detach(&self, pod: &PodKey) -> Result<(), NetError> {
        self.netlink.delete_link(&host_link_name(pod)).await?;
        self.book.release(pod);
        self.save_book().await
    }

    fn addresses(&self) -> Vec<(PodKey, PodAddress)> {
        self.book.entries().into_iter().map(|(pod, ip)| (pod, self.address(ip))).collect()
    }
}

/// Whose the bridge is, if it is another cluster's.
async fn stranger(netlink: &Netlink, config: &NetworkConfig) -> Result<Option<String>, NetError> {
    Ok(netlink.alias_of(&config.bridge).await?.filter(|owner| *owner != config.owner()))
}

/// Takes every link, address, route and rule of the network away.
async fn take_away(netlink: &Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    ServiceRules::remove(config).await?;
    firewall::forget_pods(config).await?;
    netlink.delete_route_for_rules(config.service_cidr, config.gateway()).await?;
    if let Some(bridge) = netlink.index_of(&config.bridge).await? {
        netlink.delete_ports(bridge).await?;
        netlink.delete_link(&config.bridge).await?;
    }
    for cidr in config.sinks() {
        netlink.delete_unreachable(cidr, UNREACHABLE_METRIC).await?;
    }
    Ok(())
}

/// Opens a netlink socket inside a network namespace. A socket stays in the namespace it was made in, so only
/// its making needs a thread there: a short-lived one, because a thread's namespace must never change
/// under the runtime's other tasks.
async fn open_in(netns: &Path) -> Result<(File, Netlink), NetError> {
    let failed = |path: &Path, source| NetError::Namespace { path: path.display().to_string(), source };
    let runtime = tokio::runtime::Handle::current();
    let path = netns.to_owned();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("pod-netns".to_owned())
        .spawn(move || {
            let _context = runtime.enter();
            let opened = File::open(&path).map_err(|error| failed(&path, error)).and_then(|file| {
                nix::sched::setns(&file, CloneFlags::CLONE_NEWNET).map_err(|error| failed(&path, error.into()))?;
                Ok((file, Netlink::open()?))
            });
            // The receiver is gone only when the attach itself was given up.
            drop(sender.send(opened));
        })
        .map_err(|error| failed(netns, error))?;
    receiver.await.map_err(|_| failed(netns, std::io::Error::other("the thread in the namespace panicked")))?
}

/// Forwarding on; no redirects, because pods of one bridge are told to go through the node on purpose; replies
/// may come another way than requests; loopback addresses never routed. Redirects are sent where either `all` or
/// the link says so; other links have a setting of their own that says it still.
fn set_sysctls(bridge: &str) -> Result<(), NetError> {
    let ipv4 = Path::new("/proc/sys/net/ipv4");
    let conf = ipv4.join("conf").join(bridge);
    let wanted = [
        (ipv4.join("ip_forward"), "1"),
        (ipv4.join("conf/all/send_redirects"), "0"),
        (conf.join("send_redirects"), "0"),
        (conf.join("rp_filter"), "2"),
        (conf.join("route_localnet"), "0"),
    ];
    for (path, value) in wanted {
        let failed = |source| NetError::Sysctl { path: path.display().to_string(), source };
        // Read first: in a container /proc/sys is often read-only and already right.
        if fs::read_to_string(&path).map_err(failed)?.trim() != value {
            fs::write(&path, value).map_err(failed)?;
        }
    }
    Ok(())
}

/// The name of the host end of a pod's veth pair: always the same for the same pod UID.
fn host_link_name(pod: &PodKey) -> String {
    // FNV-1a: stable over versions of the compiler, which std's hashers are not.
    let hash = pod
        .0
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("veth{:011x}", hash >> 20)
}

/// A locally administered hardware address that goes with an IP address, so that a neighbour's cached answer for an
/// address that has moved to another pod is still right.
fn mac_of(ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x5d, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_link_names_fit_and_differ() {
        let names: std::collections::HashSet<String> =
            (0..1000).map(|n| host_link_name(&PodKey(format!("pod-{n}")))).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.len() == LINK_NAME_BYTES_MAX));
    }

    #[test]
    fn configurations_that_do_not_fit_are_refused() {
        let good = NetworkConfig::for_first_node(Path::new("/nowhere"));
        assert!(good.validate().is_ok());
        let overlap = NetworkConfig { service_cidr: "10.0.0.0/8".parse().expect("a network"), ..good.clone() };
        assert!(overlap.validate().expect_err("refused").to_string().contains("overlap"));
        let outside = NetworkConfig { dns_ip: Ipv4Addr::new(10, 1, 0, 10), ..good.clone() };
        assert!(outside.validate().expect_err("refused").to_string().contains("10.1.0.10"));
        let long = NetworkConfig { bridge: "a-name-of-17-byte".to_owned(), ..good };
        assert!(long.validate().is_err());
    }
}
