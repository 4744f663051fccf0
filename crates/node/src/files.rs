//! The files the agent manages in every container: `/etc/hosts` and `/etc/resolv.conf`, and the
//! names that go with them (contract `pods.md`, section 5). Pure texts.

use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const HOSTNAME_BYTES_MAX: usize = 63;
const KERNEL_HOSTNAME_BYTES_MAX: usize = 64;

/// The pod's host name: its own, or its name, cut to 63 characters.
pub fn hostname(pod: &Pod) -> String {
    let own = pod.spec.as_ref().and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let mut name = own.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(HOSTNAME_BYTES_MAX);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The host name that the pod's processes see: its name in full where it asks for that (rule 2).
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> Result<String, String> {
    let name = hostname(pod);
    let in_full = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or(false);
    let Some(domain) = domain(pod, cluster_domain).filter(|_| in_full) else { return Ok(name) };
    let full = format!("{name}.{domain}");
    if full.len() <= KERNEL_HOSTNAME_BYTES_MAX {
        return Ok(full);
    }
    Err(format!(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long \
         ({KERNEL_HOSTNAME_BYTES_MAX} characters is the max, {} characters requested)",
        full.len()
    ))
}

/// `<subdomain>.<namespace>.svc.<cluster domain>` for pods with a subdomain.
pub fn domain(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|text| !text.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{subdomain}.{namespace}.svc.{cluster_domain}"))
}

/// `/etc/hosts` of a pod; `host_file` is the node's, used with host networking.
pub fn hosts(pod: &Pod, pod_ip: &str, cluster_domain: &str, host_file: Option<&str>) -> String {
    let mut text = match host_file {
        Some(file) => format!("# Kubernetes-managed hosts file (host network).\n{file}"),
        None => {
            let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
                ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n\
                fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
                .to_owned();
            let name = hostname(pod);
            text += &match domain(pod, cluster_domain) {
                Some(domain) => format!("{pod_ip}\t{name}.{domain}\t{name}\n"),
                None => format!("{pod_ip}\t{name}\n"),
            };
            text
        }
    };
    let aliases: Vec<_> = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()).collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
            text += &format!("{}\t{names}\n", alias.ip);
        }
    }
    text
}

/// What a resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, `name` or `name:value`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a resolv.conf; unknown lines are left out.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next().unwrap_or_default();
            let values = words.map(str::to_owned);
            match keyword {
                "nameserver" => resolver.nameservers.extend(values.take(1)),
                "search" => resolver.searches = values.filter(|domain| domain != ".").collect(),
                "options" => resolver.options = values.collect(),
                _ => {}
            }
        }
        resolver
    }
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for server in &self.nameservers {
            writeln!(text, "nameserver {server}")?;
        }
        if !self.searches.is_empty() {
            writeln!(text, "search {}", self.searches.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(text, "options {}", self.options.join(" "))?;
        }
        f.write_str(&text)
    }
}

/// The resolver of a pod by its DNS policy; `host` is the node's (rule 3).
pub fn resolver(pod: &Pod, cluster_dns: &str, cluster_domain: &str, host: &Resolver) -> Resolver {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut resolver = match policy {
        "None" => Resolver::default(),
        "ClusterFirstWithHostNet" => cluster_first(pod, cluster_dns, cluster_domain, host),
        "ClusterFirst" if !host_network => cluster_first(pod, cluster_dns, cluster_domain, host),
        _ => host.clone(),
    };
    if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        extend(&mut resolver.nameservers, config.nameservers.iter().flatten().cloned());
        extend(&mut resolver.searches, config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            let text = option.value.as_ref().map_or_else(|| name.to_owned(), |value| format!("{name}:{value}"));
            resolver.options.retain(|known| known.split(':').next() != Some(name));
            resolver.options.push(text);
        }
    }
    resolver.nameservers.truncate(NAMESERVERS_MAX);
    resolver.searches.truncate(SEARCHES_MAX);
    resolver
}

fn cluster_first(pod: &Pod, cluster_dns: &str, cluster_domain: &str, host: &Resolver) -> Resolver {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut searches =
        vec![format!("{namespace}.svc.{cluster_domain}"), format!("svc.{cluster_domain}"), cluster_domain.to_owned()];
    extend(&mut searches, host.searches.iter().cloned());
    Resolver { nameservers: vec![cluster_dns.to_owned()], searches, options: vec!["ndots:5".to_owned()] }
}

fn extend(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn pod() -> Pod {
        Pod {
            metadata: ObjectMeta {
                name: Some("qdrant-0".into()),
                namespace: Some("default".into()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                hostname: Some("qdrant-0".into()),
                subdomain: Some("qdrant-service".into()),
                ..PodSpec::default()
            }),
            ..Pod::default()
        }
    }

    #[test]
    fn hosts_names_the_pod_in_full_and_in_short() {
        let text = hosts(&pod(), "10.244.0.5", "cluster.local", None);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.ends_with("10.244.0.5\tqdrant-0.qdrant-service.default.svc.cluster.local\tqdrant-0\n"), "{text}");
    }

    #[test]
    fn a_pod_may_see_its_name_in_full_if_it_fits() {
        assert_eq!(kernel_hostname(&pod(), "cluster.local").as_deref(), Ok("qdrant-0"));
        let mut pod = pod();
        pod.spec.get_or_insert_default().set_hostname_as_fqdn = Some(true);
        let full = "qdrant-0.qdrant-service.default.svc.cluster.local";
        assert_eq!(kernel_hostname(&pod, "cluster.local").as_deref(), Ok(full));
        let refused = kernel_hostname(&pod, "a-cluster-domain-that-is-rather-long.example").expect_err("too long");
        assert!(refused.ends_with("is too long (64 characters is the max, 80 characters requested)"), "{refused}");
    }

    #[test]
    fn cluster_first_searches_the_namespace_first_and_adds_the_hosts_domains() {
        let host = Resolver::parse("nameserver 192.0.2.1\nsearch example.org\noptions timeout:1\n");
        let text = resolver(&pod(), "10.96.0.10", "cluster.local", &host).to_string();
        let expected = "nameserver 10.96.0.10\n\
            search default.svc.cluster.local svc.cluster.local cluster.local example.org\noptions ndots:5\n";
        assert_eq!(text, expected);
    }
}
