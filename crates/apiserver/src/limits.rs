//! Every bound the API server keeps, with what happens when it is reached. No behaviour lives here.

use std::time::Duration;

/// Largest request body; above it the answer is 413.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Longest a client may take to send its body; afterwards the answer is 504.
pub const BODY_READ_MAX: Duration = Duration::from_secs(30);
/// Watches open at once in the process; above it the answer is 429.
pub const WATCHES_MAX: usize = 16_384;
/// Changes under way at once in the process; further ones wait for a place.
pub const CHANGES_MAX: usize = 1_024;
/// TLS connections open at once; further ones wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Longest a TLS handshake may take; afterwards the connection is dropped.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A connection that has had no complete request open for so long is closed.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(90);
/// Time between questions to the other end of a connection whether it is still there.
pub const PING_PERIOD: Duration = Duration::from_secs(30);
/// Longest the other end may take to say that it is; afterwards the connection is closed.
pub const PING_ANSWER_MAX: Duration = Duration::from_secs(20);
/// Questions of the kernel's in a row that may go unanswered; then the connection is closed.
pub const PROBES_MAX: u32 = 3;
/// Requests open at once on one HTTP/2 connection; a client may not begin more.
pub const STREAMS_MAX: u32 = 250;
/// How long nothing is accepted once descriptors or memory have run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long open requests may go on after shutdown was asked for; then they are cut off.
pub const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Bytes gathered into one frame of a list or a watch before it is handed to the connection.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Attempts to win a race between writers before a write that named no revision answers 409.
pub const WRITE_ATTEMPTS_MAX: usize = 32;
/// Objects of one collection delete under way at the same time.
pub const COLLECTION_DELETES_MAX: usize = 32;
/// Attempts to find a free generated name before the answer is 409.
pub const GENERATE_NAME_ATTEMPTS_MAX: usize = 8;
/// Entries read from the store at once while a filtered list looks for `limit` matches.
pub const SCAN_PAGE_ENTRIES: usize = 1_000;
/// Time between bookmarks of a watch that allows them.
pub const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// Time to the first bookmark of a watch that allows them.
pub const BOOKMARK_FIRST: Duration = Duration::from_secs(5);
/// Longest a watch lives when the client names no `timeoutSeconds`: this plus up to as much again.
pub const WATCH_LIFE_MIN: Duration = Duration::from_secs(1_800);
/// Longest a watch lives, whatever its client asks for.
pub const WATCH_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Characters of all `Warning:` texts of one answer together; above it each text is cut.
pub const WARNING_CHARS_MAX: usize = 4_096;
/// Characters of one `Warning:` text once they have to be cut.
pub const WARNING_CHARS_EACH_MAX: usize = 256;
/// Longest a node may take to accept a connection and answer the head of a proxied request.
pub const NODE_ANSWER_MAX: Duration = Duration::from_secs(30);
