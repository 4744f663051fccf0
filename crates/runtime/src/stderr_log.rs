//! The supervisor's own log: events of level INFO and above as lines on standard error, which is its
//! log file. Enough for one process that rarely speaks, and no dependency.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Sends this process's events to standard error.
pub(crate) fn install() {
    if tracing::subscriber::set_global_default(Lines).is_err() {
        // Someone else's subscriber is as good.
    }
}

struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{:.3} {}", Timestamp::now(), event.metadata().level()));
        event.record(&mut line);
        line.0.push('\n');
        if io::stderr().write_all(line.0.as_bytes()).is_err() {
            // A log that cannot be written cannot say so.
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event's message and fields on one line.
pub(crate) struct Line(pub(crate) String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
}
