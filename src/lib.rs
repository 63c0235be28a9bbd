//! Qualm: segment medical images with a network that says where it is unsure.
//!
//! One crate, seven rooms; an arrow points at what a room may use. `tests/suite/rooms.rs` reads every `use` and fails on
//! an arrow that is not in this table.
//!
//! | room | what lives there | may use | must not know |
//! | --- | --- | --- | --- |
//! | [`domain`] | masks, brushes, edits and undo, uncertainty scores, the query, metrics, settings | small pure crates | disk, threads, Burn, wgpu, egui |
//! | [`project`] | the project folder: SQLite, image decoding, label files | `domain` | Burn, egui |
//! | [`engine`] | Burn: devices, U-Net, dropout passes, losses, augmentation, training, checkpoints | `domain` | egui, the project's disk layout |
//! | [`worker`] | the threads and their vocabulary: requests, jobs, events, progress | `domain`, `engine`, `project` | egui |

pub mod domain;
pub mod engine;
pub mod project;
pub mod worker;
