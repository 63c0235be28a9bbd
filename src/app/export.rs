//! An export of labels, from its preview to its end.

use crate::app::App;
use crate::app::remedies::explained;
use crate::domain::remedy::Failure;
use crate::domain::text::counted;
use crate::worker::{ExportPlan, Exported, JobKind, Request};

/// An export being prepared or done.
pub struct Export {
    /// The format and the destination.
    pub plan: ExportPlan,
    /// What it would write, or why it cannot; `None` while that is being worked out.
    pub outcome: Option<Result<Exported, String>>,
    /// Whether it is being done.
    pub is_being_done: bool,
}

impl App {
    /// Requests a preview of what an export would write.
    pub fn plan_export(&mut self, plan: ExportPlan) {
        self.release();
        self.export = Some(Export { plan: plan.clone(), outcome: None, is_being_done: false });
        self.ask(Request::Export { plan, is_dry: true });
    }

    /// Performs the export; one with predictions runs as a job of the engine.
    pub fn do_export(&mut self) {
        let Some(export) = self.export.as_mut().filter(|export| matches!(export.outcome, Some(Ok(_)))) else { return };
        let plan = export.plan.clone();
        if plan.what.has_predictions() {
            if self.job.is_some() {
                return self.notify("a job is running; export predictions when it has ended", false);
            }
            self.export = None;
            self.start(JobKind::Export(plan));
        } else {
            export.is_being_done = true;
            self.ask(Request::Export { plan, is_dry: false });
        }
    }

    pub(super) fn exported(&mut self, plan: &ExportPlan, is_dry: bool, result: Result<Exported, Failure>) {
        // Ignore an answer to an earlier plan that the user has changed since.
        let Some(export) = self.export.as_mut().filter(|export| export.plan == *plan) else { return };
        match (is_dry, result) {
            (false, Ok(exported)) => {
                self.export = None;
                self.notify_of_end(exported_text(&exported), !exported.left_out.is_empty());
            }
            (_, result) => {
                export.is_being_done = false;
                export.outcome = Some(result.map_err(|failure| explained(&failure)));
            }
        }
    }
}

/// What an export has written.
pub(super) fn exported_text(exported: &Exported) -> String {
    let notes: String = exported.notes.iter().map(|note| format!("; {note}")).collect();
    let (images, files) = (counted(exported.images, "image"), counted(exported.files.len(), "file"));
    let left_out = left_out(&exported.left_out);
    format!("{images} exported to {}, {files}{notes}{left_out}", exported.folder.display())
}

/// What was left out, as text: the first problem and the number of others; empty if there are none.
pub(super) fn left_out(problems: &[String]) -> String {
    match problems {
        [] => String::new(),
        [only] => format!("; left out: {only}"),
        [first, more @ ..] => format!("; left out: {first}, and {} more", more.len()),
    }
}
