//! Qualm: segment medical images with a network that says where it is unsure.
//!
//! # Rooms
//!
//! One crate in eight rooms. A room uses only the rooms in its row; `tests/suite/rooms.rs` reads every `use` and fails on any
//! other.
//!
//! | room | what it holds | may use | must not know |
//! | --- | --- | --- | --- |
//! | [`domain`] | masks, brushes, clicks, edits and undo, scores, the query, metrics, settings, and the [study](domain::study) with its rules | small pure crates | disk, threads, Burn, wgpu, egui |
//! | [`raster`] | the one reader of image files: what a file is, its samples, as the window shows them and as the network takes them; the writers of labels and volumes | `domain` | SQL, Burn, egui |
//! | [`project`] | the project folder: database, imports, exports, identity of files, label files | `domain`, `raster` | Burn, egui |
//! | [`engine`] | Burn: devices, networks, dropout passes, losses, augmentation, training, checkpoints | `domain` | egui, the project's layout on disk |
//! | [`worker`] | the threads and the messages between them | `domain`, `engine`, `project`, `raster` | egui |
//! | [`app`] | the application without a window: state, commands, what each event does | `domain`, `worker` | egui, Burn, wgpu, SQL |
//! | [`ui`] | the window: panels, canvas, sheets, theme | `app`, `domain`, `worker`'s messages | Burn, SQL |
//! | `main.rs`, `cli/`, `bench.rs`, `report/`, `simulate/` | composition: the window, or one command | everything | |
//!
//! # Threads
//!
//! The **window** draws and never waits. The **disk** thread owns the project and the order of writes. The **engine** thread owns
//! the device and every tensor. Requests go to the disk thread over a bounded channel, jobs from there to the engine, and events
//! come back over one channel. Where only the latest value counts (progress, previews), it lies in a slot.
//!
//! # Three walks
//!
//! **A stroke.** [`ui`] turns pointer events into image positions and calls [`app::App::press`], `drag` and `release`. The
//! [editor](app::editor) paints its copy of the mask at once, and gives an [`Edit`](domain::edit::Edit) when the pointer goes up. The
//! window sends it as a [`Write`](worker::Write); the disk thread commits it to the journal before anything later. Label files follow
//! after a moment of quiet.
//!
//! **A round.** *Train round* is a [`Command`](app::command::Command) that becomes a [`JobKind::Round`](worker::JobKind). The disk thread
//! gathers a plan (who is trained on, who is measured on, which images are scored), so that the engine never asks the database. The
//! engine reads the samples, [trains](engine::train), has the round recorded, scores the pool and returns what the
//! [query](domain::query) chose. `simulate` runs these same rounds with the true masks as the annotator.
//!
//! **A map.** The engine runs T dropout passes and [reduces them](engine::passes) to mean, variance, entropy and mutual information;
//! the [prediction](domain::prediction) is quantised, stored in the project's cache under the model's identity, and drawn by
//! `shaders/canvas.wgsl`.
//!
//! # Glossary
//!
//! | word | meaning |
//! | --- | --- |
//! | image | one picture, or one slice of a stack; labelled, scored and predicted by itself |
//! | stack | the slices of a volume, the pages of a file, a DICOM series |
//! | label | the class of each pixel according to a person; 255 is unlabelled |
//! | mask | the class of each pixel, whoever made it; a file of masks is imported as labels |
//! | accept | to declare an image's label finished |
//! | pool | the images without a label |
//! | query | choosing which images of the pool to propose |
//! | proposal | an image that the query proposes for labelling |
//! | policy | how the query chooses |
//! | tile | a part of an image at full resolution: what the network sees at once, or what a query asks to be labelled |
//! | pseudo-label | the network's own mask of an image, used in training as if it were a label |
//! | review | a person's decision on a pseudo-label |
//! | group | images that must be on the same side: a patient, a volume, a slide |
//! | side | training or validation |
//! | round | training, validation, scoring and query, once |
//! | active round | the round whose model predicts |
//! | pass | one run of the network with dropout |
//! | predictive variance | variance of the probability over the passes, summed over the classes |
//! | score | one number for the uncertainty of an image |
//! | calibration | how well stated probabilities match the share that is right (ECE) |
//! | corrective Dice | Dice between a prediction and the label corrected from it |
//! | server | a program on another machine that lends its device; the [client](engine::remote) sends it tensors only |
//! | study | all images with their states, classes, rounds and settings |
//! | project | a study on disk |

pub mod app;
pub mod domain;
pub mod engine;
pub mod project;
pub mod raster;
pub mod ui;
pub mod worker;
