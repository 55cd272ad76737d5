//! What keys, values and closures must be to be used in a topology.

/// Anything that owns its content and may move between threads. Nothing needs to implement it.
pub trait Data: Send + Sync + 'static {}

impl<T: Send + Sync + 'static> Data for T {}
