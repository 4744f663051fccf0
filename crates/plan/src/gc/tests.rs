//! Tables of what is planned for which state.
