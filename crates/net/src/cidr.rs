//! Arithmetic on IPv4 networks. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::{Cidr, NetError};

impl Cidr {
    /// Number of addresses, network and broadcast address included.
    pub fn size(&self) -> u64 {
        1 << (32 - u32::from(self.prefix_len))
    }

    /// Whether the address belongs to the network.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        u32::from(ip) & self.mask() == u32::from(self.base)
    }

    /// Whether every address of `other` belongs to this network.
    pub fn covers(&self, other: &Cidr) -> bool {
        other.prefix_len >= self.prefix_len && self.contains(other.base)
    }

    /// The address `n` places after the network address; none beyond the end.
    pub fn nth(&self, n: u64) -> Option<Ipv4Addr> {
        let offset = u32::try_from(n).ok().filter(|_| n < self.size())?;
        Some(Ipv4Addr::from(u32::from(self.base) + offset))
    }

    /// How many places after the network address `ip` lies; none outside the network.
    pub fn offset_of(&self, ip: Ipv4Addr) -> Option<u64> {
        self.contains(ip).then(|| u64::from(u32::from(ip) - u32::from(self.base)))
    }

    /// The addresses that hosts may have, ascending: all but the network and the broadcast address, which
    /// networks of one or two addresses do not have.
    pub fn hosts(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let this = *self;
        let range = if self.prefix_len >= 31 { 0..self.size() } else { 1..self.size() - 1 };
        range.filter_map(move |n| this.nth(n))
    }

    /// The `index`-th network of the given prefix length inside this one; none where it does not fit.
    pub fn subnet(&self, prefix_len: u8, index: u64) -> Option<Cidr> {
        if prefix_len < self.prefix_len || prefix_len > 32 {
            return None;
        }
        let base = self.nth(index.checked_mul(1 << (32 - u32::from(prefix_len)))?)?;
        Some(Cidr { base, prefix_len })
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_len)
    }
}

impl FromStr for Cidr {
    type Err = NetError;

    /// Host bits that are set are cleared, as `ip route` and Kubernetes do: `10.1.2.3/16` is `10.1.0.0/16`.
    fn from_str(text: &str) -> Result<Self, NetError> {
        let bad = || NetError::BadCidr(text.to_owned());
        let (ip, prefix_len) = text.split_once('/').ok_or_else(bad)?;
        let ip: Ipv4Addr = ip.parse().map_err(|_| bad())?;
        let digits = !prefix_len.is_empty() && prefix_len.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_len: u8 = prefix_len.parse().ok().filter(|len| digits && *len <= 32).ok_or_else(bad)?;
        let network = Cidr { base: ip, prefix_len };
        Ok(Cidr { base: Ipv4Addr::from(u32::from(ip) & network.mask()), prefix_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a network")
    }

    #[test]
    fn parsing_keeps_the_network_and_refuses_the_rest() {
        assert_eq!(cidr("10.244.0.7/16").to_string(), "10.244.0.0/16");
        assert_eq!(cidr("0.0.0.0/0").size(), 1 << 32);
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "fd00::/8", "10.0.0.0/"] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_leave_out_network_and_broadcast() {
        let hosts: Vec<String> = cidr("10.0.0.0/29").hosts().map(|ip| ip.to_string()).collect();
        assert_eq!(hosts, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(cidr("10.0.0.9/32").hosts().count(), 1);
        assert_eq!(cidr("10.0.0.8/31").hosts().count(), 2);
    }

    #[test]
    fn subnets_and_offsets() {
        let pods = cidr("10.244.0.0/16");
        assert_eq!(pods.subnet(24, 3), Some(cidr("10.244.3.0/24")));
        assert_eq!(pods.subnet(24, 256), None);
        assert!(pods.covers(&cidr("10.244.255.0/24")) && !pods.covers(&cidr("10.245.0.0/24")));
        assert_eq!(pods.offset_of(Ipv4Addr::new(10, 244, 1, 2)), Some(258));
        assert_eq!(pods.nth(1 << 16), None);
    }
}
