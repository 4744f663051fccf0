//! The agent with containers and a network that only exist in memory, against a real API server on a real
//! store. After every step of every story no identity runs twice and no claim has two users of one name.

mod hooks;
mod images;
mod lives;
mod logs;
mod losses;
mod panics;
mod preparing;
mod probes;
mod process;
mod references;
mod runtime;
mod users;
mod world;
