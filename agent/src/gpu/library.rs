//! NVIDIA's management library, in the one process that may call it.

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
pub(super) struct Library {
    nvml: Nvml,
}

impl Library {
    /// Loads it; `None` if there is none, or no driver behind it: then there are no GPUs.
    pub(super) fn load() -> Result<Option<Self>, NvmlError> {
        let path = std::env::var_os(LIBRARY).unwrap_or_else(|| OsString::from(INSTALLED));
        match Nvml::builder().lib_path(&path).init() {
            Ok(nvml) => Ok(Some(Self { nvml })),
            Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The GPUs that there are. One that does not answer is none.
    pub(super) fn list(&self) -> Result<Vec<Gpu>, NvmlError> {
        self.devices(|device| {
            Ok(Gpu { uuid: device.uuid()?, name: device.name()?, memory: device.memory_info()?.total })
        })
    }

    /// How they do. What a device cannot tell is zero.
    pub(super) fn stats(&self) -> Result<Vec<GpuStats>, NvmlError> {
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

    fn devices<T>(
        &self,
        read: impl Fn(&nvml_wrapper::Device<'_>) -> Result<T, NvmlError>,
    ) -> Result<Vec<T>, NvmlError> {
        let count = self.nvml.device_count()?;
        let device = |index| self.nvml.device_by_index(index).and_then(|device| read(&device));
        Ok((0..count).filter_map(|index| device(index).ok()).collect())
    }
}
