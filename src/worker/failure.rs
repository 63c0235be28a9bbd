//! Errors of the inner rooms as the user is told of them.

use crate::domain::remedy::{Failure, Remedy};
use crate::domain::settings::SettingError;
use crate::engine::EngineError;
use crate::project::ProjectError;

/// The error with the remedy that the first of its causes names.
pub fn failure(error: &anyhow::Error) -> Failure {
    let remedy = error.chain().find_map(|cause| {
        let failure = || cause.downcast_ref::<Failure>()?.remedy.clone();
        let project = || cause.downcast_ref::<ProjectError>()?.remedy();
        let engine = || cause.downcast_ref::<EngineError>().and_then(engine_remedy);
        let setting = || cause.downcast_ref::<SettingError>().and_then(setting_remedy);
        failure().or_else(project).or_else(engine).or_else(setting)
    });
    Failure { text: format!("{error:#}"), remedy }
}

fn setting_remedy(error: &SettingError) -> Option<Remedy> {
    match error {
        SettingError::UnknownKey(_) => Some(Remedy::Settings),
        SettingError::BadValue { .. } | SettingError::NoEquals(_) | SettingError::Contradiction(_) => None,
    }
}

/// What can be done about an error of the engine, where its message does not say.
fn engine_remedy(error: &EngineError) -> Option<Remedy> {
    match error {
        EngineError::NothingToLearn => Some(Remedy::AcceptLabels),
        EngineError::Other(failure) => failure.remedy.clone(),
        EngineError::Cancelled
        | EngineError::LossNotFinite { .. }
        | EngineError::NotFinite(_)
        | EngineError::NoPasses
        | EngineError::Device(_)
        | EngineError::Refused(_)
        | EngineError::Weights(..)
        | EngineError::OutOfMemory(_)
        | EngineError::File(..) => None,
    }
}
