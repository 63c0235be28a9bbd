//! All integration tests in one binary, so that Burn is linked once.

mod domain;
mod durability;
mod engine;
mod headless;
mod layers;
mod learning;
mod project;
mod readme;
mod rooms;
mod shaders;
mod window;
mod worker;
