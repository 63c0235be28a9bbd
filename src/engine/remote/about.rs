//! What a server says of itself.

use crate::engine::device_report::DeviceReport;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct About {
    /// The version of its program. Clients of other versions go no further.
    pub version: String,
    /// The name of its device.
    pub device: String,
    /// Vulkan, Metal, Dx12; Flex for a CPU.
    pub api: String,
}

impl About {
    /// This program with this device.
    pub fn new(report: &DeviceReport) -> Self {
        let DeviceReport { name, api, .. } = report;
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), device: name.clone(), api: api.clone() }
    }
}
