//! Reads a resolv.conf for the servers to forward to. Pure.

use std::net::{IpAddr, SocketAddr};

const DNS_PORT: u16 = 53;
/// Resolvers look at so many servers and no more.
const SERVERS_MAX: usize = 3;

/// The name servers in the text of a resolv.conf, in order. What is not understood is passed over.
pub fn upstreams(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            address.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, DNS_PORT))
        })
        .take(SERVERS_MAX)
        .collect()
}

/// `upstreams` without those that would come back to us at `own`.
pub(crate) fn without_loops(upstreams: Vec<SocketAddr>, own: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_own = |upstream: &SocketAddr| {
        own.iter().any(|own| {
            let everywhere = own.ip().is_unspecified() && upstream.ip().is_loopback();
            own.port() == upstream.port() && (everywhere || own.ip() == upstream.ip())
        })
    };
    upstreams.into_iter().filter(|upstream| !is_own(upstream)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_among_everything_else() {
        let text = "# comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
                    nameserver 2001:db8::1 \nnameserver\n options ndots:5\nnameserver 192.0.2.2\nnameserver 192.0.2.3";
        let shown: Vec<_> = upstreams(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(shown, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
    }

    #[test]
    fn we_are_not_our_own_upstream() {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let own = [parse("10.96.0.10:53"), parse("0.0.0.0:5353")];
        let given = ["10.96.0.10:53", "192.0.2.1:53", "127.0.0.1:5353", "127.0.0.53:53"].map(parse);
        let kept = without_loops(given.to_vec(), &own);
        assert_eq!(kept, [parse("192.0.2.1:53"), parse("127.0.0.53:53")]);
    }
}
