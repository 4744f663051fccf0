//! The few rtnetlink requests that the pod network is made of, each safe to repeat. Decides nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinHandle;

use crate::{Cidr, NetError};

/// Marks the routes this crate makes (`proto 83` in `ip route`), so that they are known again later.
const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(83);

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// One rtnetlink socket, of the network namespace the opening thread was in.
pub(crate) struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What a new veth pair is to be.
pub(crate) struct VethSpec<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) pod_name: &'a str,
    pub(crate) pod_netns: BorrowedFd<'a>,
    pub(crate) pod_mac: Mac,
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
}

/// Whether something was made or had been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    New,
    Present,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace; needs a tokio runtime around it.
    pub(crate) fn open() -> Result<Self, NetError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| failed("open a netlink socket", error))?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Index of the link with this name; none where there is no such link.
    pub(crate) async fn index_of(&self, name: &str) -> Result<Option<u32>, NetError> {
        Ok(self.link(name).await?.map(|link| link.header.index))
    }

    /// What a link says whose it is; nothing where it does not say, or is not there.
    pub(crate) async fn alias_of(&self, name: &str) -> Result<Option<String>, NetError> {
        let link = self.link(name).await?;
        Ok(link.into_iter().flat_map(|link| link.attributes).find_map(|attribute| match attribute {
            LinkAttribute::IfAlias(alias) => Some(alias),
            _ => None,
        }))
    }

    async fn link(&self, name: &str) -> Result<Option<LinkMessage>, NetError> {
        match self.handle.link().get().match_name(name).execute().try_next().await {
            Ok(link) => Ok(link),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(format!("look for link {name}"), error)),
        }
    }

    /// Makes a bridge with a fixed hardware address, so that it does not change as ports come and go; up, and
    /// saying whose it is.
    pub(crate) async fn ensure_bridge(&self, name: &str, mac: Mac, mtu: u32, alias: &str) -> Result<u32, NetError> {
        let action = || format!("make bridge {name}");
        match self.handle.link().add(LinkBridge::new(name).address(mac.to_vec()).build()).execute().await {
            Ok(()) => {}
            Err(error) if errno(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(failed(action(), error)),
        }
        let wanted = LinkUnspec::new_with_name(name).address(mac.to_vec()).mtu(mtu).alias(alias).up().build();
        self.set(name, wanted).await?;
        self.index_of(name).await?.ok_or_else(|| failed(action(), "it is gone again"))
    }

    /// Makes a veth pair: one end on the bridge here, the other in the pod's namespace, in one request.
    pub(crate) async fn ensure_veth(&self, spec: &VethSpec<'_>) -> Result<Made, NetError> {
        let peer = LinkUnspec::new_with_name(spec.pod_name)
            .address(spec.pod_mac.to_vec())
            .mtu(spec.mtu)
            .setns_by_fd(spec.pod_netns.as_raw_fd())
            .build();
        let request = LinkVeth::new(spec.host_name, spec.pod_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(spec.bridge)
            .mtu(spec.mtu)
            .up()
            .build();
        match self.handle.link().add(request).execute().await {
            Ok(()) => Ok(Made::New),
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(Made::Present),
            Err(error) => Err(failed(format!("make veth pair {}", spec.host_name), error)),
        }
    }

    /// Lets a bridge port send a frame back out of the port it came from, for pods that call themselves through a Service.
    /// Ports are not isolated from each other: where the kernel's bridge filter is on (`br_netfilter`, which others on the
    /// machine may load at any time), it passes what a Service's rule readdressed on directly from port to port.
    pub(crate) async fn hairpin(&self, port: u32) -> Result<(), NetError> {
        let request = LinkBridgePort::new(port).hairpin(true).build();
        self.handle.link().set_port(request).execute().await.map_err(|error| failed("set hairpin mode", error))
    }

    /// Brings a link up.
    pub(crate) async fn up(&self, name: &str) -> Result<(), NetError> {
        self.set(name, LinkUnspec::new_with_name(name).up().build()).await
    }

    async fn set(&self, name: &str, request: LinkMessage) -> Result<(), NetError> {
        self.handle.link().set(request).execute().await.map_err(|error| failed(format!("set link {name}"), error))
    }

    /// Removes a link; one that is not there is success.
    pub(crate) async fn delete_link(&self, name: &str) -> Result<(), NetError> {
        let Some(index) = self.index_of(name).await? else {
            return Ok(());
        };
        self.delete_index(index).await
    }

    async fn delete_index(&self, index: u32) -> Result<(), NetError> {
        match self.handle.link().del(index).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(()),
            Err(error) => Err(failed(format!("delete link {index}"), error)),
        }
    }

    /// Removes every link that is a port of this bridge.
    pub(crate) async fn delete_ports(&self, bridge: u32) -> Result<(), NetError> {
        let links: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(|error| failed("list links", error))?;
        for link in links.iter().filter(|link| link.attributes.contains(&LinkAttribute::Controller(bridge))) {
            self.delete_index(link.header.index).await?;
        }
        Ok(())
    }

    /// Gives a link an address.
    pub(crate) async fn ensure_address(&self, link: u32, ip: Ipv4Addr, prefix_len: u8) -> Result<(), NetError> {
        let request = self.handle.address().add(link, IpAddr::V4(ip), prefix_len).replace();
        request.execute().await.map_err(|error| failed(format!("add address {ip}/{prefix_len}"), error))
    }

    /// Sends everything through `gateway`, which is on the link whatever the link's addresses say.
    pub(crate) async fn ensure_default_route(&self, link: u32, gateway: Ipv4Addr) -> Result<(), NetError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(gateway, 32)
            .output_interface(link)
            .scope(RouteScope::Link)
            .build();
        let request = self.handle.route().add(route).replace();
        request.execute().await.map_err(|error| failed(format!("add route to {gateway}"), error))?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(link).build();
        let request = self.handle.route().add(route).replace();
        request.execute().await.map_err(|error| failed(format!("add default route via {gateway}"), error))
    }

    /// Routes a network nowhere in particular, with `source` as the node's own address, so that packets live long
    /// enough for packet rules to give them another destination. Not to the bridge: what pods send would go
    /// out where it came in, and each packet be answered with a redirect.
    pub(crate) async fn ensure_route_for_rules(&self, cidr: Cidr, source: Ipv4Addr) -> Result<(), NetError> {
        let Some(loopback) = self.index_of("lo").await? else {
            return Err(failed(format!("add route for {cidr}"), "there is no loopback link"));
        };
        let request = self.handle.route().add(route_for_rules(cidr, loopback, source)).replace();
        request.execute().await.map_err(|error| failed(format!("add route for {cidr}"), error))
    }

    /// Takes the route of [`ensure_route_for_rules`](Self::ensure_route_for_rules) away; one that is not there is
    /// success.
    pub(crate) async fn delete_route_for_rules(&self, cidr: Cidr, source: Ipv4Addr) -> Result<(), NetError> {
        let Some(loopback) = self.index_of("lo").await? else {
            return Ok(());
        };
        match self.handle.route().del(route_for_rules(cidr, loopback, source)).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(libc::ESRCH) => Ok(()),
            Err(error) => Err(failed(format!("delete route for {cidr}"), error)),
        }
    }

    /// Answers `unreachable` for a network wherever no better route exists.
    pub(crate) async fn ensure_unreachable(&self, cidr: Cidr, metric: u32) -> Result<(), NetError> {
        let request = self.handle.route().add(unreachable(cidr, metric)).replace();
        request.execute().await.map_err(|error| failed(format!("add unreachable route for {cidr}"), error))
    }

    /// Takes the route of [`ensure_unreachable`](Self::ensure_unreachable) away; one that is not there is success.
    pub(crate) async fn delete_unreachable(&self, cidr: Cidr, metric: u32) -> Result<(), NetError> {
        match self.handle.route().del(unreachable(cidr, metric)).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(libc::ESRCH) => Ok(()),
            Err(error) => Err(failed(format!("delete unreachable route for {cidr}"), error)),
        }
    }

    /// The IPv4 addresses of a link.
    pub(crate) async fn addresses_of(&self, link: u32) -> Result<Vec<(Ipv4Addr, u8)>, NetError> {
        use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
        let request = self.handle.address().get().set_link_index_filter(link);
        let messages: Vec<AddressMessage> =
            request.execute().try_collect().await.map_err(|error| failed("list addresses", error))?;
        let address = |message: &AddressMessage| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(ip)) => Some((*ip, message.header.prefix_len)),
                _ => None,
            })
        };
        Ok(messages.iter().filter_map(address).collect())
    }

    /// Takes an address from a link; one that is not there is success.
    pub(crate) async fn delete_address(&self, link: u32, ip: Ipv4Addr, prefix_len: u8) -> Result<(), NetError> {
        let message = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(ip, prefix_len).build();
        match self.handle.address().del(message).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(libc::EADDRNOTAVAIL) => Ok(()),
            Err(error) => Err(failed(format!("delete address {ip}/{prefix_len}"), error)),
        }
    }
}

fn route_for_rules(cidr: Cidr, loopback: u32, source: Ipv4Addr) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(cidr.base, cidr.prefix_len)
        .output_interface(loopback)
        .pref_source(source)
        .scope(RouteScope::Link)
        .protocol(ROUTE_PROTOCOL)
        .build()
}

fn unreachable(cidr: Cidr, metric: u32) -> RouteMessage {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(cidr.base, cidr.prefix_len)
        .kind(RouteType::Unreachable)
        .protocol(ROUTE_PROTOCOL)
        .build();
    route.attributes.push(RouteAttribute::Priority(metric));
    route
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| -code.get()),
        _ => None,
    }
}

fn failed(action: impl Into<String>, reason: impl std::fmt::Display) -> NetError {
    NetError::Netlink { action: action.into(), reason: reason.to_string() }
}
