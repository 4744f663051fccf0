//! IP addresses and ranges in fields: strict parsing and the rules for endpoint addresses
//! (contract 1.5 and 6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names::Messages;
use super::path::Path;
use crate::errors::{FieldError, FieldErrors};

/// An IP address in a field that has always existed: no leading zeros, no mapped addresses.
pub(super) fn address(value: &str) -> Messages {
    match value.parse::<IpAddr>() {
        Ok(ip) if is_mapped(ip) => vec!["must not be an IPv4-mapped IPv6 address".to_owned()],
        Ok(_) => Vec::new(),
        Err(_) if without_leading_zeros(value).parse::<Ipv4Addr>().is_ok() => {
            vec!["must not have leading 0s".to_owned()]
        }
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

/// A range such as `10.9.8.0/24`.
pub(super) fn range(value: &str) -> Messages {
    let invalid = || vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    let Some((address, length)) = value.split_once('/') else { return invalid() };
    let zeros = length.len() > 1 && length.starts_with('0');
    let Ok(bits) = length.parse::<u8>() else { return invalid() };
    let ip = match address.parse::<IpAddr>() {
        Ok(ip) if !zeros => ip,
        Ok(_) => return vec!["must not have leading 0s in IP or prefix length".to_owned()],
        Err(_) if without_leading_zeros(address).parse::<Ipv4Addr>().is_ok() => {
            return vec!["must not have leading 0s in IP or prefix length".to_owned()];
        }
        Err(_) => return invalid(),
    };
    if bits > if ip.is_ipv4() { 32 } else { 128 } {
        return invalid();
    }
    if is_mapped(ip) {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    let beyond = match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_shl(bits.into()).unwrap_or(0) != 0,
        IpAddr::V6(ip) => ip.to_bits().checked_shl(bits.into()).unwrap_or(0) != 0,
    };
    if beyond { vec!["must not have bits set beyond the prefix length".to_owned()] } else { Vec::new() }
}

/// Addresses that no endpoint may have.
pub(super) fn endpoint_address(errors: &mut FieldErrors, path: &Path, value: &str) {
    let Ok(ip) = value.parse::<IpAddr>() else { return };
    let mut refuse = |text: &str| errors.push(FieldError::invalid(path, value, text));
    if ip.is_unspecified() {
        refuse(&format!("may not be unspecified ({value})"));
    }
    if ip.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if is_link_local(ip) {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if is_link_local_multicast(ip) {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// The family of a valid address, `IPv4` or `IPv6`.
pub(super) fn family(value: &str) -> Option<&'static str> {
    value.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" })
}

/// Whether two of the addresses or ranges are of one family.
pub(super) fn share_a_family<'a>(values: impl IntoIterator<Item = &'a str>) -> bool {
    let families: Vec<_> =
        values.into_iter().filter_map(|value| family(value.split('/').next().unwrap_or(value))).collect();
    ["IPv4", "IPv6"].iter().any(|one| families.iter().filter(|family| *family == one).count() > 1)
}

/// A warning about an address whose text is not the usual one.
pub(super) fn address_warning(path: &Path, value: &str) -> Option<String> {
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() && ip.to_string() != value => Some(format!(
            "{}: IPv6 address {value:?} should be in RFC 5952 canonical format ({:?})",
            path.as_str(),
            ip.to_string()
        )),
        Ok(IpAddr::V6(ip)) => ip.to_ipv4_mapped().map(|ip| non_standard(path, value, ip)),
        Ok(IpAddr::V4(_)) => None,
        Err(_) => without_leading_zeros(value).parse().ok().map(|ip| non_standard(path, value, ip)),
    }
}

fn non_standard(path: &Path, value: &str, canonical: Ipv4Addr) -> String {
    format!("{}: non-standard IP address {value:?} is invalid: use {:?}", path.as_str(), canonical.to_string())
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => is_ff02(ip),
    }
}

fn is_ff02(ip: Ipv6Addr) -> bool {
    ip.octets()[0] == 0xff && ip.octets()[1] & 0x0f == 0x02
}

fn without_leading_zeros(value: &str) -> String {
    let trim = |octet: &str| match octet.trim_start_matches('0') {
        "" if !octet.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    value.split('.').map(trim).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_strictly() {
        for (value, message) in [
            ("10.0.0.1", ""),
            ("2001:db8::1", ""),
            ("010.0.0.1", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("10.0.0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ] {
            assert_eq!(address(value).join(""), message, "{value}");
        }
    }

    #[test]
    fn ranges_name_a_network() {
        for (value, message) in [
            ("10.0.0.0/24", ""),
            ("0.0.0.0/0", ""),
            ("2001:db8::/64", ""),
            ("10.0.0.1/24", "must not have bits set beyond the prefix length"),
            ("10.0.0.0/024", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.0/33", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.0.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        ] {
            assert_eq!(range(value).join(""), message, "{value}");
        }
    }

    #[test]
    fn endpoints_are_reachable_addresses() {
        for (value, bad) in
            [("10.0.0.1", false), ("0.0.0.0", true), ("127.0.0.1", true), ("169.254.1.1", true), ("ff02::1", true)]
        {
            let mut errors = FieldErrors::default();
            endpoint_address(&mut errors, &Path::new("ip"), value);
            assert_eq!(!errors.is_empty(), bad, "{value}");
        }
    }
}
