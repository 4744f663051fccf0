//! Randomness as a function of the seed. [`Dice`] are what the simulator itself rolls; below it, the hash
//! maps of the standard library and the order of tokio's `select!` draw from `getrandom`, which this file
//! takes over in the thread that runs a simulation. No product code is changed for that.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libc::{c_uint, c_void, size_t, ssize_t};

thread_local! {
    /// The state of the generator that answers `getrandom` in this thread; none is the kernel.
    static KERNEL: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on `getrandom` gives, in this thread, what follows from `seed`.
///
/// Whatever else a process draws only once (tokio numbers its runtimes, tables are built when first used)
/// counts too, so only the first simulation of a process is reproducible.
pub(crate) fn seed_this_thread(seed: u64) {
    KERNEL.with(|state| state.set(Some(seed)));
    // Named here so that the linker keeps it.
    let _kept = std::hint::black_box(getrandom as *const ());
}

/// Stands in for the C library's function of that name.
///
/// # Safety
/// As the original: `buffer` must be valid for writes of `length` bytes.
#[expect(unsafe_code, reason = "the name by which the standard library asks for randomness")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    let Some(mut state) = KERNEL.with(Cell::get) else {
        // SAFETY: the caller's promise about `buffer` and `length` is passed on unchanged.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return ssize_t::try_from(got).unwrap_or(-1);
    };
    // SAFETY: the caller promises `length` writable bytes at `buffer`.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&step(&mut state).to_le_bytes()[..chunk.len()]);
    }
    KERNEL.with(|kernel| kernel.set(Some(state)));
    ssize_t::try_from(length).unwrap_or(ssize_t::MAX)
}

/// SplitMix64.
fn step(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A stream of random numbers of its own for one part of the simulation. Clones share the stream.
#[derive(Clone, Debug)]
pub struct Dice(Arc<AtomicU64>);

impl Dice {
    /// The stream of `part` under `seed`.
    pub fn new(seed: u64, part: &str) -> Self {
        let start = part.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)));
        Self(Arc::new(AtomicU64::new(start)))
    }

    /// Sixty-four random bits.
    pub fn bits(&self) -> u64 {
        let mut state = self.0.load(Ordering::Relaxed);
        let bits = step(&mut state);
        self.0.store(state, Ordering::Relaxed);
        bits
    }

    /// A number below `end`, which is not 0.
    pub fn below(&self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }

    /// An index of a list of `length`.
    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True so many times in a thousand.
    pub fn permille(&self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// A duration of `from` up to `to` milliseconds.
    pub fn ms(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to.saturating_sub(from) + 1))
    }

    /// One of several.
    pub fn pick<'a, T>(&self, among: &'a [T]) -> Option<&'a T> {
        (!among.is_empty()).then(|| &among[self.index(among.len())])
    }
}
