//! Devices: which ones there are, which of them compute the same as the CPU, and which one to use.
//!
//! Invariant: a graphics adapter or a server is used only after training, prediction and dropout passes, of a tiny U-Net and of the
//! pre-trained encoder, have given the same results on it as on the CPU; and for a network only after gradients, prediction and
//! passes of one of its shape have, since kernels depend on it. The verdicts are kept for the lifetime of the process.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::engine::EngineError;
use crate::engine::config::UNetConfig;
pub use crate::engine::device_report::{AdapterKind, DeviceReport, Link};
use crate::engine::memory::MemoryWatch;
use crate::engine::remote;
pub use crate::engine::self_check::SELF_CHECK_LIMIT;
use crate::engine::self_check::{SELF_CHECK, compare, within};
pub use burn::tensor::Device;
use burn::tensor::DeviceKind;
use burn::tensor::wgpu::WgpuBackend;

/// The device that the user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// A discrete or else an integrated GPU that passes the self-check; otherwise the CPU.
    #[default]
    Auto,
    /// Burn's CPU backend, Flex.
    Cpu,
    /// The best graphics adapter that passes, including software ones.
    Gpu,
    /// The server that is remembered under this name, or has this id.
    Server(String),
}

impl DeviceChoice {
    /// The devices of this machine, in the order shown.
    pub const HERE: [Self; 3] = [Self::Auto, Self::Cpu, Self::Gpu];

    /// Whether a graphics adapter of this kind may be chosen.
    fn takes(&self, kind: AdapterKind) -> bool {
        match self {
            Self::Auto => kind <= AdapterKind::Integrated,
            Self::Cpu | Self::Server(_) => false,
            Self::Gpu => true,
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::Server(name) => write!(f, "remote:{name}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("remote:").filter(|name| !name.is_empty()) {
            return Ok(Self::Server(name.to_owned()));
        }
        let here = Self::HERE.into_iter().find(|choice| choice.to_string() == text);
        here.ok_or("auto, cpu, gpu or remote:NAME is expected".to_owned())
    }
}

/// A graphics adapter as the system lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Adapter {
    kind: AdapterKind,
    name: String,
    api: wgpu::Backend,
    /// Its index among the adapters of its type.
    index: usize,
}

/// Instances are created and dropped one at a time; otherwise the Vulkan loader crashes.
static LISTING: Mutex<()> = Mutex::new(());
/// A report, and the device where it passed.
type Verdict = (DeviceReport, Option<Device>);
static CHECKED: Mutex<Option<HashMap<Adapter, Verdict>>> = Mutex::new(None);
/// An adapter that passed, a network that was to run on it, and the largest relative difference to the CPU, or why the adapter
/// is not used for the network.
type NetworkVerdict = (Adapter, UNetConfig, Result<f32, String>);
/// The adapter that was chosen last; `None` if that was the CPU.
static IN_USE: Mutex<Option<Adapter>> = Mutex::new(None);
static CHECKED_NETWORKS: Mutex<Vec<NetworkVerdict>> = Mutex::new(Vec::new());

/// The CPU.
pub fn cpu() -> (Device, DeviceReport) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let report = DeviceReport {
        name: format!("CPU, {threads} threads"),
        api: "Flex".to_owned(),
        kind: AdapterKind::Cpu,
        difference: 0.0,
        seconds: 0.0,
        refused: None,
        link: None,
    };
    (Device::flex(), report)
}

/// Every device of this machine, checked: graphics adapters from fast to slow, then the CPU.
pub fn survey(limit: Duration) -> Vec<DeviceReport> {
    let mut reports: Vec<DeviceReport> = adapters().iter().map(|adapter| checked(adapter, limit).0).collect();
    reports.push(cpu().1);
    reports
}

/// Selects the device for `choice`, and returns the reports of all devices that were checked on the
/// way, the chosen one last.
pub fn choose(choice: &DeviceChoice, limit: Duration) -> Result<(Device, Vec<DeviceReport>), EngineError> {
    choose_for(choice, None, limit)
}

/// [`choose`], for a network of this shape.
pub fn choose_for(
    choice: &DeviceChoice,
    network: Option<&UNetConfig>,
    limit: Duration,
) -> Result<(Device, Vec<DeviceReport>), EngineError> {
    let mut looked_at = Vec::new();
    *IN_USE.lock().unwrap_or_else(|e| e.into_inner()) = None;
    if let DeviceChoice::Server(name) = choice {
        let (device, report) = remote::device(name, network).map_err(EngineError::Refused)?;
        return Ok((device, vec![report]));
    }
    if *choice != DeviceChoice::Cpu {
        for adapter in adapters().into_iter().filter(|adapter| choice.takes(adapter.kind)) {
            let (mut report, mut device) = checked(&adapter, limit);
            if let (Some(found), Some(network)) = (&device, network) {
                match checked_for(&adapter, found, network, limit) {
                    Ok(difference) => report.difference = report.difference.max(difference),
                    Err(reason) => {
                        let UNetConfig { rows, columns, .. } = network;
                        report.refused = Some(format!("at this network's size, {columns} × {rows}: {reason}"));
                        device = None;
                    }
                }
            }
            looked_at.push(report);
            if let Some(device) = device {
                *IN_USE.lock().unwrap_or_else(|e| e.into_inner()) = Some(adapter);
                return Ok((device, looked_at));
            }
        }
    }
    if *choice == DeviceChoice::Gpu {
        let reasons: Vec<String> =
            looked_at.iter().map(|r| format!("{r}: {}", r.refused.as_deref().unwrap_or("refused"))).collect();
        return Err(EngineError::Refused(if reasons.is_empty() {
            "no graphics adapter was found; install its Vulkan driver (Debian: mesa-vulkan-drivers), or use the CPU"
                .to_owned()
        } else {
            format!("no graphics adapter passed the self-check: {}; use the CPU", reasons.join("; "))
        }));
    }
    let (device, report) = cpu();
    looked_at.push(report);
    Ok((device, looked_at))
}

/// The graphics adapters of this machine, the fastest kind first.
fn adapters() -> Vec<Adapter> {
    let _one_at_a_time = LISTING.lock().unwrap_or_else(|e| e.into_inner());
    let backends = if cfg!(target_os = "macos") { wgpu::Backends::METAL } else { wgpu::Backends::VULKAN };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut of_type: HashMap<wgpu::DeviceType, usize> = HashMap::new();
    let mut adapters: Vec<Adapter> = pollster::block_on(instance.enumerate_adapters(backends))
        .iter()
        .map(|adapter| {
            let info = adapter.get_info();
            let count = of_type.entry(info.device_type).or_default();
            *count += 1;
            Adapter { kind: kind_of(info.device_type), name: info.name, api: info.backend, index: *count - 1 }
        })
        .collect();
    adapters.sort_by_key(|adapter| (adapter.kind, adapter.index));
    adapters
}

fn kind_of(device_type: wgpu::DeviceType) -> AdapterKind {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
    }
}

/// The adapter's verdict, found out once.
fn checked(adapter: &Adapter, limit: Duration) -> Verdict {
    let mut checked = CHECKED.lock().unwrap_or_else(|e| e.into_inner());
    let known = checked.get_or_insert_default();
    if let Some(verdict) = known.get(adapter) {
        return verdict.clone();
    }
    let begun = Instant::now();
    let tried = adapter.clone();
    let verdict =
        within(limit, SELF_CHECK, move || open(&tried).and_then(|device| Ok((compare(&device, None)?, device))));
    let mut report = DeviceReport {
        name: adapter.name.clone(),
        api: format!("{:?}", adapter.api),
        kind: adapter.kind,
        difference: 0.0,
        seconds: begun.elapsed().as_secs_f64(),
        refused: None,
        link: None,
    };
    let device = match verdict {
        Ok((difference, device)) => {
            report.difference = difference;
            Some(device)
        }
        Err(reason) => {
            report.refused = Some(reason);
            None
        }
    };
    known.insert(adapter.clone(), (report.clone(), device.clone()));
    (report, device)
}

/// The adapter's verdict for a network, found out once.
fn checked_for(adapter: &Adapter, device: &Device, network: &UNetConfig, limit: Duration) -> Result<f32, String> {
    // Not held during the check: another engine may take this one's place.
    let checked = || CHECKED_NETWORKS.lock().unwrap_or_else(|e| e.into_inner());
    if let Some((.., verdict)) = checked().iter().find(|(of, shape, _)| of == adapter && shape == network) {
        return verdict.clone();
    }
    let (tried, shape, watch) = (device.clone(), network.clone(), MemoryWatch::begin());
    let verdict = within(limit, SELF_CHECK, move || compare(&tried, Some(&shape)));
    match verdict.as_ref().err().and_then(|reason| watch.explain(reason)) {
        // Another program may have had it.
        Some(reason) => Err(reason),
        None => {
            checked().push((adapter.clone(), network.clone(), verdict.clone()));
            verdict
        }
    }
}

/// Checks a graphics adapter again that failed in use. If it fails the check as well, it is not chosen again while this
/// process runs: returns whether that is so. The CPU is always chosen again.
pub fn recheck(device: &Device, limit: Duration) -> bool {
    if *device == cpu().0 {
        return false;
    }
    let again = device.clone();
    let Err(reason) = within(limit, SELF_CHECK, move || compare(&again, None)) else { return false };
    let mut checked = CHECKED.lock().unwrap_or_else(|e| e.into_inner());
    for (report, of) in checked.get_or_insert_default().values_mut().filter(|(_, of)| of.as_ref() == Some(device)) {
        report.refused = Some(format!("it failed in use: {reason}"));
        *of = None;
    }
    true
}

/// Excludes the graphics adapter on which a job of this choice hung: it is not chosen again while this process runs.
/// Returns its name; `None` if the job ran on the CPU, or on a server, which is left. Does not touch the adapter.
pub fn exclude(choice: &DeviceChoice) -> Option<String> {
    if let DeviceChoice::Server(name) = choice {
        remote::release(name);
    }
    let used = IN_USE.lock().unwrap_or_else(|e| e.into_inner()).clone().filter(|adapter| choice.takes(adapter.kind))?;
    let mut checked = CHECKED.lock().unwrap_or_else(|e| e.into_inner());
    let (report, device) = checked.get_or_insert_default().get_mut(&used)?;
    report.refused = Some("a job on it did not end".to_owned());
    *device = None;
    Some(report.to_string())
}

fn open(adapter: &Adapter) -> Result<Device, String> {
    let kind = match adapter.kind {
        AdapterKind::Discrete => DeviceKind::DiscreteGpu(adapter.index),
        AdapterKind::Integrated => DeviceKind::IntegratedGpu(adapter.index),
        AdapterKind::Virtual => DeviceKind::VirtualGpu(adapter.index),
        AdapterKind::Software | AdapterKind::Cpu | AdapterKind::Server => DeviceKind::Cpu,
    };
    let api = if adapter.api == wgpu::Backend::Metal { WgpuBackend::Metal } else { WgpuBackend::Vulkan };
    Device::wgpu_options().device_kind(kind).graphics_api(api).init().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_on_which_a_job_hung_is_not_chosen_again() {
        // No machine lists this adapter: other tests do not meet it.
        let name = "an adapter that hangs".to_owned();
        let adapter = Adapter { kind: AdapterKind::Discrete, name, api: wgpu::Backend::Noop, index: 0 };
        let report = DeviceReport { name: adapter.name.clone(), kind: adapter.kind, ..cpu().1 };
        let verdict = (report, Some(Device::flex()));
        CHECKED.lock().unwrap().get_or_insert_default().insert(adapter.clone(), verdict);
        *IN_USE.lock().unwrap() = Some(adapter.clone());
        assert_eq!(exclude(&DeviceChoice::Cpu), None);
        assert!(exclude(&DeviceChoice::Auto).unwrap().contains(&adapter.name));
        let (report, device) = checked(&adapter, Duration::ZERO);
        assert!(device.is_none() && report.refused.unwrap().contains("did not end"));
    }
}
