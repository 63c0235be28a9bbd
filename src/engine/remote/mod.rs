//! Servers: devices of other machines, on which Burn's remote backend runs tensor operations. Images, labels and models stay
//! here; only tensors travel.
//!
//! Invariants: nothing is sent to a server before it has shown that it is the one remembered (by its key), has taken the
//! token, runs the same version, and has passed the self-check; nothing is sent unencrypted to another machine unless that was
//! allowed by name; no wait for a server is endless.

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
pub use client::{device, explain, release, try_out};

/// Whether this build can use servers and be one.
pub const IS_BUILT_IN: bool = cfg!(feature = "remote");
