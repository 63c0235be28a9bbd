//! The engine thread: one job at a time, previews between its batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, bounded, select};

use crate::domain::query::Proposal;
use crate::domain::remedy::Failure;
use crate::domain::round::Report;
use crate::domain::settings::{Settings, Start};
use crate::domain::study::ImageId;
use crate::engine::device::DeviceChoice;
use crate::engine::{EngineError, panic_text};
use crate::project::Exported;
use crate::worker::context::{FromJob, JobContext};
use crate::worker::export::{self, ExportJob};
use crate::worker::failure::failure;
use crate::worker::images::Problem;
use crate::worker::predict::{self, PredictPlan, Predicted};
use crate::worker::previews::{PreviewSender, previews};
use crate::worker::propose::ProposePlan;
use crate::worker::round::{self, RoundPlan};
use crate::worker::scoring::{self, ScorePlan, Scoring};
use crate::worker::{EventSender, JobId, Phase, Signals};

/// Requests to the engine.
pub enum EngineRequest {
    /// Find a device and report it.
    Device(DeviceChoice),
    /// Run a long job.
    Run(JobId, DeviceChoice, Box<Work>),
}

/// The kinds of long jobs, with all their inputs. They are sent in a box.
#[allow(clippy::large_enum_variant)]
pub enum Work {
    /// The speed of training under these settings, before the round that starts from these weights is planned.
    Measure(Settings, Option<Start>),
    /// A round.
    Round(RoundPlan),
    /// A scoring of the pool.
    Score(ScorePlan),
    /// A proposal without a network.
    Propose(ProposePlan),
    /// An export of predictions.
    Export(ExportJob),
    /// A folder to predict.
    Predict(PredictPlan),
}

/// How a job ended.
pub enum Ended {
    /// The training speed of the device, in pixels of the network's input per second; the round is still to be planned.
    Measured(Option<f64>, DeviceChoice, Option<Start>),
    /// A round, whose scoring is still to be recorded.
    Round(Box<Report>, Scoring),
    /// A scoring to be recorded, with the newest round's report.
    Scored(Box<Report>, Scoring),
    /// Images proposed without a network, and those that could not be read.
    Proposed(Vec<Proposal<ImageId>>, Vec<Problem>),
    /// An export, written.
    Exported(Exported),
    /// A folder's predictions, written.
    Predicted(Vec<Predicted>, Vec<String>),
    /// Cancelled.
    Cancelled,
    /// Failed, and why.
    Failed(Failure),
}

/// The channels into the engine.
pub struct Engine {
    /// The queue of jobs.
    pub jobs: Sender<EngineRequest>,
    /// Previews, served between batches.
    pub previews: PreviewSender,
    is_gone: Arc<AtomicBool>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A thread that hangs and comes back is not to go on with its job.
        self.is_gone.store(true, Ordering::Relaxed);
    }
}

/// Starts the engine thread, which ends when [`Engine`] is dropped. `give` receives the output of a running job, `end`
/// how each job ended.
pub fn start(
    give: impl Fn(FromJob) + Send + 'static,
    end: impl Fn(JobId, Ended) + Send + 'static,
    events: EventSender,
    signals: Arc<Signals>,
) -> Engine {
    let (jobs, inbox) = bounded(16);
    let (previews, wanted) = previews();
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = is_gone.clone();
    let run = move || {
        let woken = wanted.woken.clone();
        let mut context = JobContext::new(wanted, Box::new(give), events, signals, gone);
        loop {
            select! {
                recv(inbox) -> job => match job {
                    Ok(EngineRequest::Device(choice)) => context.find_device(choice),
                    Ok(EngineRequest::Run(id, choice, work)) => {
                        tracing::info!(id, device = %choice, "job begins");
                        context.begin_job(id, choice);
                        // A panic in a backend ends the job, not the program; models that it may have corrupted are
                        // dropped.
                        let ended = catch_unwind(AssertUnwindSafe(|| run(&mut context, *work)));
                        let ended = match ended {
                            Ok(Ok(ended)) => ended,
                            Ok(Err(EngineError::Cancelled)) => Ended::Cancelled,
                            // Cancelling ends the connecting to a server.
                            Ok(Err(EngineError::Refused(_))) if context.check_cancelled().is_err() => Ended::Cancelled,
                            Ok(Err(EngineError::Device(reason))) => Ended::Failed(context.after_failure(&reason).into()),
                            Ok(Err(error)) => Ended::Failed(failure(&error.into())),
                            Err(panic) => Ended::Failed(context.after_failure(&panic_text(&*panic)).into()),
                        };
                        tracing::info!(id, "job ends");
                        context.end_job();
                        end(id, ended);
                    }
                    Err(_) => return,
                },
                recv(woken) -> woken => match woken {
                    Ok(()) => context.serve_previews(),
                    Err(_) => return,
                },
            }
        }
    };
    std::thread::Builder::new().name("qualm-engine".to_owned()).spawn(run).expect("a thread can be started");
    Engine { jobs, previews, is_gone }
}

fn run(context: &mut JobContext, work: Work) -> Result<Ended, EngineError> {
    context.begin(Phase::Device, 0);
    match work {
        Work::Measure(settings, start) => {
            let speed = match context.pixels_per_s(&settings) {
                // The round copes with a device of little memory; its input is as small as on one of unknown speed.
                Err(EngineError::OutOfMemory(_)) => None,
                speed => Some(speed?),
            };
            Ok(Ended::Measured(speed, context.choice(), start))
        }
        Work::Round(plan) => round::run(context, plan).map(|(report, scoring)| Ended::Round(Box::new(report), scoring)),
        Work::Score(ScorePlan { mut report, folder, standing, settings, pool }) => {
            let scoring = context
                .model(&folder)
                .and_then(|model| scoring::score(context, &model, &pool, &settings, standing, report.round));
            scoring.map(|scoring| {
                scoring.write_into(&pool, &mut report);
                Ended::Scored(Box::new(report), scoring)
            })
        }
        Work::Propose(plan) => plan.run(context).map(|(proposals, problems)| Ended::Proposed(proposals, problems)),
        Work::Export(job) => export::run(context, job).map(Ended::Exported),
        Work::Predict(plan) => predict::run(context, plan).map(|(made, problems)| Ended::Predicted(made, problems)),
    }
}
