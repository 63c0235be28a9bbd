//! All integration tests in one binary, so that Burn is linked once.

mod domain;
mod engine;
mod project;
mod rooms;
mod shaders;
mod window;
