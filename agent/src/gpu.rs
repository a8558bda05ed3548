//! GPUs, by NVIDIA's management library. It is looked for at run time: a host without it is an ordinary host.

use std::ffi::OsString;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use windlass_core::host::{Gpu, GpuStats};

/// Path of another library to load, for tests and unusual installations.
const LIBRARY: &str = "WINDLASS_NVML";
/// The name under which drivers install it; the one without a number belongs to development packages.
const INSTALLED: &str = "libnvidia-ml.so.1";

/// The GPUs of this host.
#[derive(Debug)]
pub struct Gpus {
    nvml: Nvml,
}

impl Gpus {
    /// Loads the library; `None` if there is none, or no driver behind it.
    pub fn load() -> Option<Self> {
        let path = std::env::var_os(LIBRARY).unwrap_or_else(|| OsString::from(INSTALLED));
        match Nvml::builder().lib_path(&path).init() {
            Ok(nvml) => Some(Self { nvml }),
            Err(NvmlError::LibloadingError(_)) => None,
            Err(error) => {
                tracing::warn!(%error, "there is a GPU library, but it does not work");
                None
            }
        }
    }

    /// What there is.
    pub fn list(&self) -> Vec<Gpu> {
        self.devices(|device| {
            Ok(Gpu { uuid: device.uuid()?, name: device.name()?, memory: device.memory_info()?.total })
        })
    }

    /// How they do. What a device cannot tell is zero.
    pub fn stats(&self) -> Vec<GpuStats> {
        self.devices(|device| {
            let memory = device.memory_info()?;
            Ok(GpuStats {
                uuid: device.uuid()?,
                utilization: device.utilization_rates().map_or(0.0, |rates| f64::from(rates.gpu)),
                memory_used: memory.used,
                memory_total: memory.total,
                temperature: device.temperature(TemperatureSensor::Gpu).map_or(0.0, f64::from),
                power: device.power_usage().map_or(0.0, |milliwatts| f64::from(milliwatts) / 1000.0),
            })
        })
    }

    fn devices<T>(&self, read: impl Fn(&nvml_wrapper::Device<'_>) -> Result<T, NvmlError>) -> Vec<T> {
        let count = self.nvml.device_count().unwrap_or(0);
        let device = |index| self.nvml.device_by_index(index).and_then(|device| read(&device));
        let found = (0..count).filter_map(|index| match device(index) {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::debug!(index, %error, "a GPU does not answer");
                None
            }
        });
        found.collect()
    }
}
