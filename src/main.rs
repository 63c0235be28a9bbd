//! Qualm.
fn main() {}
