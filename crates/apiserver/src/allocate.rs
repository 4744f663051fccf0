//! Cluster IPs and node ports of Services (contract `controllers.md` 4B). The book is kept in memory
//! and filled from the store before the first allocation: every Service is written by this process,
//! so nothing else can take an address. Sharing a range between servers needs IPAddress objects.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use stead_api::registry::kind_of;
use stead_api::{FieldError, FieldErrors, Object};
use stead_store::Store;
use tokio::sync::OnceCell;

use crate::server::ApiServer;
use crate::status::StatusError;
use crate::world::World;

/// Random tries before the whole range is searched in order.
const RANDOM_TRIES: usize = 64;

/// What is taken.
pub(crate) struct ServiceBook {
    network: u32,
    prefix_length: u8,
    ports: RangeInclusive<u16>,
    taken: OnceCell<Mutex<Taken>>,
}

#[derive(Clone, Default, Debug, PartialEq, Eq)]
struct Taken {
    ips: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// Addresses and ports set aside for one write; given back when it is dropped without [`keep`](Self::keep).
pub(crate) struct Allocation<'a> {
    book: Option<&'a Mutex<Taken>>,
    /// Set aside for this write.
    new: Taken,
    /// No longer used once the write is durable.
    unused: Taken,
    dry_run: bool,
}

impl Allocation<'_> {
    fn none() -> Self {
        Self { book: None, new: Taken::default(), unused: Taken::default(), dry_run: false }
    }

    /// The write is durable: what it took stays taken, what it gave up is free. Nothing stays taken
    /// by a dry run.
    pub(crate) fn keep(mut self) {
        if !self.dry_run {
            self.new = std::mem::take(&mut self.unused);
        }
    }
}

impl Drop for Allocation<'_> {
    fn drop(&mut self) {
        if let Some(book) = self.book {
            lock(book).release(&self.new);
        }
    }
}

impl Taken {
    fn of(spec: &ServiceSpec) -> Self {
        let ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter_map(|ip| ip.parse().ok());
        let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port).chain(spec.health_check_node_port);
        Self {
            ips: ips.collect(),
            ports: ports.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect(),
        }
    }

    fn release(&mut self, other: &Self) {
        self.ips.retain(|ip| !other.ips.contains(ip));
        self.ports.retain(|port| !other.ports.contains(port));
    }

    fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.release(other);
        rest
    }
}

// A panic while the book is locked leaves it usable: each change is one insertion or removal.
fn lock(book: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServiceBook {
    /// An empty book over a service range and a range of node ports.
    pub(crate) fn new((address, prefix_length): (Ipv4Addr, u8), ports: RangeInclusive<u16>) -> Self {
        let prefix_length = prefix_length.min(30);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0);
        Self { network: u32::from(address) & mask, prefix_length, ports, taken: OnceCell::new() }
    }

    fn size(&self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.prefix_length)).unwrap_or(u32::MAX)
    }

    /// Whether an address may be given to a Service: in range, neither network nor broadcast.
    fn usable(&self, ip: Ipv4Addr) -> bool {
        u32::from(ip).checked_sub(self.network).is_some_and(|offset| offset > 0 && offset < self.size() - 1)
    }

    /// A free address: at random above the band kept for explicit choices, in the band when all else
    /// is taken.
    fn free_ip(&self, taken: &Taken, world: &dyn World) -> Option<Ipv4Addr> {
        let last = self.size() - 2;
        let band = (self.size() / 16).clamp(16, 256).min(last);
        let at = |offset: u32| Ipv4Addr::from(self.network + offset);
        let is_free = |ip: &Ipv4Addr| !taken.ips.contains(ip);
        random(u64::from(band), u64::from(last), world, |offset| Some(at(u32::try_from(offset).ok()?)).filter(is_free))
            .or_else(|| (band..=last).map(at).find(is_free))
            .or_else(|| (1..band).map(at).find(is_free))
    }

    fn free_port(&self, taken: &Taken, world: &dyn World) -> Option<u16> {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let size = last.saturating_sub(first).saturating_add(1);
        let band = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
        let is_free = |port: &u16| !taken.ports.contains(port);
        let above = first + band..=last;
        random(u64::from(first + band), u64::from(last), world, |port| u16::try_from(port).ok().filter(is_free))
            .or_else(|| above.clone().find(is_free))
            .or_else(|| (first..first + band).find(is_free))
    }
}

/// A value between `low` and `high` that `pick` likes, tried at random a bounded number of times.
fn random<T: Hash>(low: u64, high: u64, world: &dyn World, pick: impl Fn(u64) -> Option<T>) -> Option<T> {
    let span = high.checked_sub(low)? + 1;
    (0..RANDOM_TRIES).find_map(|_| pick(low + world.random() % span))
}

impl<S: Store> ApiServer<S> {
    async fn taken(&self) -> Result<&Mutex<Taken>, StatusError> {
        self.services
            .taken
            .get_or_try_init(|| async {
                let mut taken = Taken::default();
                for service in self.list_typed::<Service>().await? {
                    let own = service.spec.as_ref().map(Taken::of).unwrap_or_default();
                    taken.ips.extend(own.ips);
                    taken.ports.extend(own.ports);
                }
                Ok(Mutex::new(taken))
            })
            .await
    }

    /// Sets addresses and ports aside for a new Service and writes them into it; other kinds pass.
    pub(crate) async fn allocate_for_create(
        &self,
        object: &mut Object,
        dry_run: bool,
    ) -> Result<Allocation<'_>, StatusError> {
        self.allocate(object, &Taken::default(), dry_run).await
    }

    /// Sets aside what a changed Service needs beyond what it has.
    pub(crate) async fn allocate_for_update(
        &self,
        object: &mut Object,
        old: &Object,
        dry_run: bool,
    ) -> Result<Allocation<'_>, StatusError> {
        let Some(old) = old.get::<Service>() else { return Ok(Allocation::none()) };
        let own = old.spec.as_ref().map(Taken::of).unwrap_or_default();
        self.allocate(object, &own, dry_run).await
    }

    async fn allocate(&self, object: &mut Object, own: &Taken, dry_run: bool) -> Result<Allocation<'_>, StatusError> {
        let Some(service) = object.get_mut::<Service>() else { return Ok(Allocation::none()) };
        let name = service.metadata.name.clone().unwrap_or_default();
        let book = self.taken().await?;
        let mut taken = lock(book);
        let mut attempt = Attempt {
            book: &self.services,
            world: self.world.as_ref(),
            own,
            new: Taken::default(),
            errors: FieldErrors::default(),
        };
        let spec = service.spec.get_or_insert_default();
        let found = attempt.addresses(spec, &name, &taken).and_then(|()| attempt.node_ports(spec, &name, &taken));
        found?;
        if !attempt.errors.is_empty() {
            return Err(StatusError::invalid(kind_of::<Service>(), &name, &attempt.errors));
        }
        let new = attempt.new;
        taken.ips.extend(&new.ips);
        taken.ports.extend(&new.ports);
        Ok(Allocation { book: Some(book), new, unused: own.without(&Taken::of(spec)), dry_run })
    }

    /// Frees what a removed Service held.
    pub(crate) fn forget_allocations(&self, service: &Service) {
        if let (Some(spec), Some(book)) = (&service.spec, self.services.taken.get()) {
            lock(book).release(&Taken::of(spec));
        }
    }
}

/// One attempt at giving a Service what it needs.
struct Attempt<'a> {
    book: &'a ServiceBook,
    world: &'a dyn World,
    /// What the Service already holds.
    own: &'a Taken,
    new: Taken,
    errors: FieldErrors,
}

impl Attempt<'_> {
    fn addresses(&mut self, spec: &mut ServiceSpec, name: &str, taken: &Taken) -> Result<(), StatusError> {
        if spec.type_.as_deref() == Some("ExternalName") {
            return Ok(());
        }
        self.families(spec);
        let asked = spec.cluster_ip.clone().unwrap_or_default();
        let has_list = spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty());
        if asked.is_empty() && has_list {
            return Ok(()); // Contradictory: validation says so.
        }
        if asked == "None" {
            spec.cluster_ips.get_or_insert_with(|| vec![asked]);
            return Ok(());
        }
        let ip = match asked.is_empty() {
            true => self.book.free_ip(taken, self.world).ok_or_else(|| {
                StatusError::internal(format!("failed to allocate a serviceIP for Service {name:?}: range is full"))
            })?,
            false => match asked.parse::<Ipv4Addr>() {
                Ok(ip) => ip,
                Err(_) => return Ok(()), // Not an address: validation says so.
            },
        };
        if !has_list {
            spec.cluster_ips = Some(vec![ip.to_string()]);
        }
        spec.cluster_ip = Some(ip.to_string());
        if self.own.ips.contains(&ip) {
            return Ok(());
        }
        if !self.book.usable(ip) {
            let range = format!("{}/{}", Ipv4Addr::from(self.book.network), self.book.prefix_length);
            self.refuse_ip(
                ip,
                &format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}"),
            );
        } else if taken.ips.contains(&ip) {
            self.refuse_ip(ip, "provided IP is already allocated");
        } else {
            self.new.ips.insert(ip);
        }
        Ok(())
    }

    fn refuse_ip(&mut self, ip: Ipv4Addr, text: &str) {
        let detail = format!("failed to allocate IP {ip}: {text}");
        self.errors.push(FieldError::invalid("spec.clusterIPs", [ip.to_string()], detail));
    }

    /// This cluster has one address family. Headless Services without a selector still name both.
    fn families(&mut self, spec: &mut ServiceSpec) {
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
        let both = headless && !selects;
        let policy = spec
            .ip_family_policy
            .get_or_insert_with(|| if both { "RequireDualStack" } else { "SingleStack" }.to_owned());
        if policy == "RequireDualStack" && !both {
            let detail = "this cluster is not configured for dual-stack services";
            self.errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy.clone(), detail));
        }
        let requires_both = policy == "RequireDualStack";
        let families = spec.ip_families.get_or_insert_default();
        if families.is_empty() {
            families.push("IPv4".to_owned());
        }
        if both && requires_both && families.len() == 1 {
            let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
            families.push(other.to_owned());
        }
        if !both {
            for (index, family) in families.iter().enumerate().filter(|(_, family)| *family == "IPv6") {
                let field = format!("spec.ipFamilies[{index}]");
                self.errors.push(FieldError::invalid(field, family, "not configured on this cluster"));
            }
        }
    }

    fn node_ports(&mut self, spec: &mut ServiceSpec, name: &str, taken: &Taken) -> Result<(), StatusError> {
        let wants = match spec.type_.as_deref() {
            Some("NodePort") => true,
            Some("LoadBalancer") => spec.allocate_load_balancer_node_ports != Some(false),
            _ => return Ok(()),
        };
        // Equal port numbers under different protocols share one node port.
        let mut shared: Vec<(i32, i32)> = Vec::new();
        for (index, port) in spec.ports.iter_mut().flatten().enumerate() {
            let partner = shared.iter().find(|(number, _)| *number == port.port).map(|(_, node_port)| *node_port);
            match (port.node_port.unwrap_or(0), partner) {
                (0, Some(partner)) => port.node_port = Some(partner),
                (0, None) if wants => port.node_port = Some(self.any_port(name, taken)?.into()),
                (0, None) => {}
                (asked, partner) if partner == Some(asked) => {}
                (asked, _) => self.this_port(index, asked, taken),
            }
            shared.extend(port.node_port.map(|node_port| (port.port, node_port)));
        }
        let local = spec.external_traffic_policy.as_deref() == Some("Local");
        if spec.type_.as_deref() == Some("LoadBalancer") && local && spec.health_check_node_port.unwrap_or(0) == 0 {
            spec.health_check_node_port = Some(self.any_port(name, taken)?.into());
        }
        Ok(())
    }

    fn any_port(&mut self, name: &str, taken: &Taken) -> Result<u16, StatusError> {
        let mut all = taken.clone();
        all.ports.extend(&self.new.ports);
        let port = self.book.free_port(&all, self.world).ok_or_else(|| {
            StatusError::internal(format!("failed to allocate a nodePort for Service {name:?}: range is full"))
        })?;
        self.new.ports.insert(port);
        Ok(port)
    }

    fn this_port(&mut self, index: usize, asked: i32, taken: &Taken) {
        let detail = match u16::try_from(asked).ok().filter(|port| self.book.ports.contains(port)) {
            None => {
                let (first, last) = (self.book.ports.start(), self.book.ports.end());
                format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
            }
            Some(port) if self.own.ports.contains(&port) => return,
            Some(port) if taken.ports.contains(&port) || !self.new.ports.insert(port) => {
                "provided port is already allocated".to_owned()
            }
            Some(_) => return,
        };
        self.errors.push(FieldError::invalid(format!("spec.ports[{index}].nodePort"), asked, detail));
    }
}
