//! Servers: devices of other machines, on which Burn's remote backend runs tensor operations. Files stay here; what travels are
//! tensors: images at the network's size, their labels in training, weights, and the results.
//!
//! Invariants: nothing of a project is sent to a server before it has accepted the token, runs the same version, and has passed
//! the self-check; over the encrypted transport, before it has also proved to be the one remembered, by its key. Nothing is sent
//! unencrypted to another machine unless that was allowed for this server. No wait for a server is endless.

mod about;
pub mod address;
#[cfg(feature = "remote")]
mod client;
#[cfg(not(feature = "remote"))]
#[path = "absent.rs"]
mod client;
#[cfg(feature = "remote")]
pub mod host;
pub mod servers;

pub use about::About;
pub use client::{device, explain, interrupt, release, try_out};

/// Whether this build can use servers and be one.
pub const IS_BUILT_IN: bool = cfg!(feature = "remote");
