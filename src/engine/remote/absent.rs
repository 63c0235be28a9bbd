//! What is left of servers in a build without them.

use burn::tensor::Device;

use super::servers::Server;
use crate::engine::config::UNetConfig;
use crate::engine::device_report::DeviceReport;

const ABSENT: &str = "this program was built without servers";

/// Refused: this build cannot use servers.
pub fn device(_name: &str, _network: Option<&UNetConfig>) -> Result<(Device, DeviceReport), String> {
    Err(ABSENT.to_owned())
}

/// Refused: this build cannot use servers.
pub fn try_out(_server: &Server) -> Result<DeviceReport, String> {
    Err(ABSENT.to_owned())
}

/// The reason itself.
pub fn explain(_name: &str, reason: &str) -> String {
    reason.to_owned()
}

/// Nothing.
pub fn release(_name: &str) {}

/// Nothing.
pub fn interrupt(_name: &str) {}
