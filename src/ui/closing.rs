//! Closing the window without losing a running job, and the *About* sheet.

use egui::{Align2, Context, RichText, ViewportCommand, Window};

use crate::app::App;
use crate::app::command::Command;
use crate::ui::confirm;
use crate::ui::theme::{self, STEP};
use crate::worker::Phase;

/// The state of closing the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// No.
    #[default]
    No,
    /// As soon as possible.
    Wanted,
    /// The user is being asked what should happen to the running job.
    Asking,
    /// Once the running job has ended; a training ends with the best weights so far.
    AfterJob,
    /// Now.
    Now,
}

/// Called once per frame: delays closing the window until the running job has ended or the user has answered.
pub fn update(ctx: &Context, app: &mut App, closing: &mut Closing) {
    let is_running = app.job.is_some();
    if app.is_computing() && (*closing == Closing::Wanted || ctx.input(|i| i.viewport().close_requested())) {
        // Wait for an edit that is still being computed.
        ctx.send_viewport_cmd(ViewportCommand::CancelClose);
        *closing = Closing::Wanted;
        ctx.request_repaint_after(std::time::Duration::from_millis(50));
        return;
    }
    if ctx.input(|i| i.viewport().close_requested()) && *closing != Closing::Now {
        if is_running {
            ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            *closing = if *closing == Closing::AfterJob { Closing::AfterJob } else { Closing::Asking };
        }
        return;
    }
    match *closing {
        Closing::Wanted if is_running => *closing = Closing::Asking,
        Closing::Asking if !is_running => *closing = Closing::No,
        // The error must stay readable.
        Closing::AfterJob if !is_running && app.has_job_failed => *closing = Closing::No,
        Closing::AfterJob if is_running => {
            let phase = app.progress.as_ref().map(|progress| progress.phase);
            let is_cancelling = app.job.is_some_and(|job| job.cancelling);
            // The round is already recorded; its scoring resumes where it stopped when it is next started.
            if phase == Some(Phase::Scoring) && !is_cancelling {
                app.cancel_job();
            }
        }
        Closing::Wanted | Closing::AfterJob => {
            *closing = Closing::Now;
            ctx.send_viewport_cmd(ViewportCommand::Close);
        }
        Closing::No | Closing::Asking | Closing::Now => {}
    }
}

/// Asks what should happen to the running job.
pub fn show(ctx: &Context, app: &mut App, closing: &mut Closing) {
    let text = match *closing {
        Closing::Asking => "A job is running. What should happen to it?",
        Closing::AfterJob => "The window closes as soon as the job has ended; a finished round is saved.",
        Closing::No | Closing::Wanted | Closing::Now => return,
    };
    let is_training = app.obstacle(Command::Finish).is_none();
    let sheet = Window::new("Close the window").resizable(false).collapsible(false);
    sheet.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        // Wide enough for all buttons.
        ui.set_width(66.0 * STEP);
        ui.label(text);
        confirm::button_row(ui, |ui| {
            if *closing == Closing::AfterJob {
                ui.spinner();
            } else if is_training {
                let finish = ui.button("Finish training, then close");
                if finish.on_hover_text("Keeps the best weights so far; run Score pool after reopening").clicked() {
                    app.finish_training();
                    *closing = Closing::AfterJob;
                }
            }
            let cancel = ui.button("Cancel the job and close");
            if cancel
                .on_hover_text("Labels are saved in any case; a round that has not finished training is lost")
                .clicked()
            {
                app.cancel_job();
                *closing = Closing::AfterJob;
            }
            if ui.button("Keep working").clicked() {
                *closing = Closing::No;
            }
        });
    });
}

/// Version, licence and credits.
pub fn about(ctx: &Context, open: &mut bool) {
    let sheet = Window::new("About Qualm").open(open).resizable(false).collapsible(false);
    sheet.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.set_max_width(60.0 * STEP);
        ui.label(RichText::new(format!("Qualm {}", env!("CARGO_PKG_VERSION"))).strong());
        ui.label(env!("CARGO_PKG_DESCRIPTION"));
        ui.label(format!("Licence: {}", env!("CARGO_PKG_LICENSE")));
        let credits = "After Cost-Effective Active Learning for Melanoma Segmentation (Gorriz et al., arXiv 1711.09168). \
                       EfficientNet-Lite0 weights: Apache-2.0. Demo images: ISIC archive. See assets/CREDITS.md.";
        ui.label(RichText::new(credits).small().color(theme::quiet(ui)));
    });
}
