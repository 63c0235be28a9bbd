//! What the program is about, as values and pure functions: no disk, no threads, no network, no window.

pub mod alignment;
pub mod brush;
pub mod cleanup;
pub mod clicks;
pub mod clusters;
pub mod edit;
pub mod fingerprint;
pub mod mask;
pub mod mask_values;
pub mod metrics;
pub mod noise;
pub mod outline;
pub mod picture;
pub mod prediction;
pub mod query;
pub mod regions;
pub mod round;
pub mod scores;
pub mod settings;
pub mod slices;
pub mod split;
pub mod study;
pub mod text;
pub mod tiles;
pub mod uncertainty;
pub mod value_range;
