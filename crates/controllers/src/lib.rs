//! Loops that observe, plan and execute. They decide nothing.
