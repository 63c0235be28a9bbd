//! What is known of a device.

use std::fmt;

use serde::Serialize;

/// What kind of device it is, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// A graphics card of its own.
    Discrete,
    /// A graphics unit beside the processor.
    Integrated,
    /// A graphics unit lent to a virtual machine, or one that does not say what it is.
    Virtual,
    /// A graphics interface computed by the processor, such as lavapipe: slower than [`AdapterKind::Cpu`].
    Software,
    /// The processor, by Burn's Flex.
    Cpu,
    /// A device of another machine.
    Server,
}

/// What was measured of the way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Link {
    /// Seconds from asking for a number to having it, the median of nine.
    pub latency_s: f64,
    /// Bytes sent per second.
    pub upload: f64,
    /// Bytes received per second.
    pub download: f64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latency_s, upload, download } = self;
        let megabytes = |rate: &f64| rate / 1e6;
        let (up, down) = (megabytes(upload), megabytes(download));
        write!(f, "latency {:.1} ms, {up:.1} MB/s up, {down:.1} MB/s down", latency_s * 1e3)
    }
}

/// One device, and what the self-check found.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DeviceReport {
    /// The adapter's name.
    pub name: String,
    /// Vulkan, Metal, Dx12; Flex for the CPU.
    pub api: String,
    /// What it is.
    pub kind: AdapterKind,
    /// Largest relative difference to the CPU that the self-check met.
    pub difference: f32,
    /// Seconds that the self-check took.
    pub seconds: f64,
    /// Why it is not used; `None` where it passed.
    pub refused: Option<String>,
    /// The way to it, where it is a server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.api)
    }
}

impl DeviceReport {
    /// What was found of it, in lines: what it is and how far it differs from the CPU, and the link to it if it is a server's.
    pub fn lines(&self) -> Vec<String> {
        let difference = format!("{self}, differs from the CPU by {:.1e} in the self-check", self.difference);
        [difference].into_iter().chain(self.link.map(|link| link.to_string())).collect()
    }
}
