//! Time and randomness as inputs, so that a simulator can run whole servers from one seed.
//!
//! Nothing else in this crate reads a clock for object contents or makes identifiers up.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

/// Where the server takes time and randomness from.
pub trait World: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Sixty-four bits nobody outside the process can guess.
    fn random(&self) -> u64;
}

/// The machine's clock, and SipHash keyed by the operating system.
pub struct SystemWorld {
    keys: RandomState,
    count: AtomicU64,
}

impl SystemWorld {
    /// Draws fresh keys.
    pub fn new() -> Self {
        Self { keys: RandomState::new(), count: AtomicU64::new(0) }
    }
}

impl Default for SystemWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl World for SystemWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // The clock goes in as well: how the keys are drawn is the standard library's matter.
        self.keys.hash_one((count, Timestamp::now().as_nanosecond()))
    }
}

/// A random (version 4) UUID as `metadata.uid` holds it.
pub(crate) fn new_uid(world: &dyn World) -> String {
    let high = world.random() & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = world.random() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// The name `generateName` asks for: the first 58 bytes of the base and five characters that cannot
/// spell words (contract `defaults-validation.md`, 1.4).
pub(crate) fn generated_name(world: &dyn World, base: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const BASE_BYTES_MAX: usize = 58;
    let mut end = base.len().min(BASE_BYTES_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    let mut bits = world.random();
    for _ in 0..5 {
        let index = (bits % ALPHABET.len() as u64) as usize;
        name.push(char::from(ALPHABET[index]));
        bits /= ALPHABET.len() as u64;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_shape_clients_expect_and_differ() {
        let world = SystemWorld::new();
        let (one, two) = (new_uid(&world), new_uid(&world));
        assert_ne!(one, two);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(one.split('-').nth(2).is_some_and(|part| part.starts_with('4')));
        assert!(one.split('-').nth(3).is_some_and(|part| part.starts_with(['8', '9', 'a', 'b'])));
    }

    #[test]
    fn a_generated_name_never_exceeds_a_label() {
        let world = SystemWorld::new();
        assert_eq!(generated_name(&world, &"x".repeat(80)).len(), 63);
        assert!(generated_name(&world, "web-").starts_with("web-"));
    }
}
