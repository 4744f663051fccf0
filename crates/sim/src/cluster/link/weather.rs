//! What can go wrong on the way between a client and the server.

use crate::cluster::lies::Lie;

/// How a link treats its client. Chances are per thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Longest way of a request, and of its answer.
    pub(crate) delay_ms_max: u64,
    /// Requests that never arrive.
    pub(crate) lost: u64,
    /// Answers that never arrive; the request took effect.
    pub(crate) unanswered: u64,
    /// Longest delay of a chunk of a watch.
    pub(crate) watch_delay_ms_max: u64,
    /// Chunks of watches that stall for up to [`STALL_S_MAX`].
    pub(crate) stalled: u64,
    /// Chunks that are lost together with their watch.
    pub(crate) cut: u64,
    /// Watches answered with 410 although nothing has expired.
    pub(crate) expired: u64,
    /// Nothing gets through.
    pub(crate) partitioned: bool,
    /// What the server does wrong. Planted, to see whether anybody notices.
    pub(crate) lie: Option<Lie>,
}

/// Longest stall of a watch.
pub(crate) const STALL_S_MAX: u64 = 15;

impl Weather {
    /// Nothing goes wrong.
    pub(crate) const FAIR: Self = Self {
        delay_ms_max: 2,
        lost: 0,
        unanswered: 0,
        watch_delay_ms_max: 2,
        stalled: 0,
        cut: 0,
        expired: 0,
        partitioned: false,
        lie: None,
    };

    /// Everything goes wrong now and then.
    pub(crate) const ROUGH: Self = Self {
        delay_ms_max: 40,
        lost: 20,
        unanswered: 20,
        watch_delay_ms_max: 300,
        stalled: 10,
        cut: 10,
        expired: 200,
        partitioned: false,
        lie: None,
    };
}
