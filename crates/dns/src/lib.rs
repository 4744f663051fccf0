//! Cluster names: the zone as a pure function of a snapshot, and the server.
