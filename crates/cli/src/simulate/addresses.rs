//! Addresses for simulated nodes and pods: each is given to one at a time. Nobody answers at them.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Addresses of one range, in order; those given back are used again last.
#[derive(Clone, Debug)]
pub struct Addresses {
    next: u32,
    last: u32,
    /// By whom an address is held: the UID of a pod.
    held: HashMap<String, Ipv4Addr>,
    returned: VecDeque<Ipv4Addr>,
}

/// Not a range of IPv4 addresses with room for some.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a range of private IPv4 addresses like 10.244.128.0/17")]
pub struct AddressesError(String);

impl FromStr for Addresses {
    type Err = AddressesError;

    fn from_str(text: &str) -> Result<Self, AddressesError> {
        let refused = || AddressesError(text.to_owned());
        let (base, length) = text.split_once('/').ok_or_else(refused)?;
        let base: Ipv4Addr = base.parse().map_err(|_| refused())?;
        let length: u32 = length.parse().map_err(|_| refused())?;
        if !base.is_private() || !(8..=30).contains(&length) {
            return Err(refused());
        }
        let hosts = u32::MAX >> length;
        let first = u32::from(base) & !hosts;
        Ok(Self { next: first + 1, last: first + hosts - 1, held: HashMap::new(), returned: VecDeque::new() })
    }
}

impl Addresses {
    /// An address for good; none when all are taken.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        if self.next > self.last {
            return self.returned.pop_front();
        }
        self.next += 1;
        Some(Ipv4Addr::from(self.next - 1))
    }

    /// The address of the pod with this UID, the same whenever it is asked for.
    pub(super) fn of(&mut self, uid: &str) -> Option<Ipv4Addr> {
        if let Some(held) = self.held.get(uid) {
            return Some(*held);
        }
        let taken = self.take()?;
        self.held.insert(uid.to_owned(), taken);
        Some(taken)
    }

    /// How many pods hold one.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The pod needs its address no more.
    pub(super) fn give_back(&mut self, uid: &str) {
        self.returned.extend(self.held.remove(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_holder_at_a_time_and_comes_back() {
        let mut addresses: Addresses = "10.1.0.0/30".parse().expect("a range");
        let first = addresses.of("a").expect("room");
        assert_eq!(first, Ipv4Addr::new(10, 1, 0, 1));
        assert_eq!(addresses.of("a"), Some(first));
        assert_eq!(addresses.of("b"), Some(Ipv4Addr::new(10, 1, 0, 2)));
        assert_eq!(addresses.of("c"), None, "the last address of a range is for all of it");
        addresses.give_back("a");
        assert_eq!(addresses.of("c"), Some(first));
    }

    #[test]
    fn what_is_not_a_private_range_is_refused() {
        for text in ["10.0.0.0", "8.8.8.0/24", "10.0.0.0/31", "10.0.0.0/7", "a/8", "10.0.0.0/x"] {
            assert_eq!(text.parse::<Addresses>().map(drop), Err(AddressesError(text.to_owned())));
        }
    }
}
