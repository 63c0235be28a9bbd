//! Qualm: segment medical images with a network that says where it is unsure.
//!
//! One crate, eight rooms; an arrow points at what a room may use. `tests/suite/rooms.rs` reads every `use` and fails on
//! an arrow that is not in this table.
//!
//! | room | what lives there | may use | must not know |
//! | --- | --- | --- | --- |
//! | [`domain`] | masks, brushes, edits and undo, uncertainty scores, the query, metrics, settings | small pure crates | disk, threads, Burn, wgpu, egui |
//! | [`raster`] | the one reader: what a file is, its samples, as the window shows them and as the network takes them | `domain` | SQL, Burn, egui |
//! | [`project`] | the project folder: SQLite, imports, identity of files, label files | `domain`, `raster` | Burn, egui |
//! | [`engine`] | Burn: devices, U-Net, dropout passes, losses, augmentation, training, checkpoints | `domain` | egui, the project's disk layout |
//! | [`worker`] | the threads and their vocabulary: requests, jobs, events, progress | `domain`, `engine`, `project`, `raster` | egui |
//! | [`app`] | the application without a window: state, commands, what each event does | `domain`, `worker` | egui, Burn, wgpu, SQL |
//! | [`ui`] | the window: shell, panels, canvas, theme | `app`, `domain`, `worker`'s messages, egui, wgpu | Burn, SQL |
//! | `main.rs`, `cli/`, `bench.rs`, `simulate/` | composition: the window, or one headless command | everything | |

pub mod app;
pub mod domain;
pub mod engine;
pub mod project;
pub mod raster;
pub mod ui;
pub mod worker;
