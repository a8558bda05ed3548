//! NVIDIA's management library, in the one process that may call it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, EventSet, Nvml, cuda_driver_version_major, cuda_driver_version_minor};
use windlass_core::host::{Gpu, GpuDriver, GpuProcess, GpuReadings, GpuStats};

use super::smi::Smi;
use super::{Broken, Look, Unwatched, Xid};

/// Path of another library to load, for tests and unusual installations.
const LIBRARY: &str = "WINDLASS_NVML";
/// The name under which drivers install it; the one without a number belongs to development packages.
const INSTALLED: &str = "libnvidia-ml.so.1";
/// Processes of one GPU, and errors of one in a look, that are told.
const MOST: (usize, usize) = (64, 64);

/// The GPUs of this host.
#[derive(Debug)]
pub(super) struct Library {
    nvml: &'static Nvml,
    /// The driver, which does not change while the library is loaded.
    driver: GpuDriver,
    /// The UUID of each place in its list, for a GPU that does not tell its own any more.
    places: BTreeMap<u32, String>,
    /// Tell the errors that the driver reports, each of one GPU: whose they are is known even if that one is lost.
    events: Vec<(String, EventSet<'static>)>,
    /// GPUs without one: no other one is silent with them.
    unwatched: BTreeMap<String, String>,
    /// Tells the memory where the library does not.
    smi: Smi,
}

impl Library {
    /// Loads it; `None` if there is none, or no driver behind it: then there are no GPUs.
    pub(super) fn load() -> Result<Option<Self>, NvmlError> {
        let path = std::env::var_os(LIBRARY).unwrap_or_else(|| OsString::from(INSTALLED));
        match Nvml::builder().lib_path(&path).init() {
            // This process ends with it.
            Ok(nvml) => Ok(Some(Self::of(Box::leak(Box::new(nvml))))),
            Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(nvml: &'static Nvml) -> Self {
        let (places, events, unwatched) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let (driver, smi) = (driver(nvml), Smi::default());
        let mut library = Self { nvml, driver, places, events, unwatched, smi };
        for number in 0..nvml.device_count().unwrap_or(0) {
            let Ok(device) = nvml.device_by_index(number) else { continue };
            let Ok(uuid) = device.uuid() else { continue };
            library.places.insert(number, uuid.clone());
            match events_of(nvml, &device) {
                Ok(set) => library.events.push((uuid, set)),
                Err(why) => drop(library.unwatched.insert(uuid, why)),
            }
        }
        library
    }

    /// Everything that there is, and how it does. One that does not answer is broken.
    pub(super) fn look(&mut self) -> Result<Look, NvmlError> {
        let unwatched = self.unwatched.iter();
        let unwatched = unwatched.map(|(uuid, why)| Unwatched { uuid: uuid.clone(), why: why.clone() });
        let unwatched = unwatched.collect();
        let mut look = Look { driver: self.driver.clone(), unwatched, ..Look::default() };
        for number in 0..self.nvml.device_count()? {
            if let Err((uuid, error)) = self.device(number, &mut look) {
                let why = match error {
                    NvmlError::GpuLost => "it has fallen off the bus".to_owned(),
                    error => error.to_string(),
                };
                let uuid = uuid.or_else(|| self.places.get(&number).cloned());
                look.broken.push(Broken { number, uuid, why });
            }
        }
        look.xids = self.errors();
        Ok(look)
    }

    fn device(&mut self, number: u32, look: &mut Look) -> Result<(), (Option<String>, NvmlError)> {
        let device = self.nvml.device_by_index(number).map_err(|error| (None, error))?;
        let uuid = device.uuid().map_err(|error| (None, error))?;
        self.places.insert(number, uuid.clone());
        // One whose mode cannot be asked is not divided.
        if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
            for n in 0..device.mig_device_count().unwrap_or(0) {
                // Numbers without an instance are gaps.
                if let Ok(part) = device.mig_device_by_index(n)
                    && let Ok((gpu, stats)) = self.both(&part, Some(&uuid))
                {
                    look.gpus.push(gpu);
                    look.stats.push(stats);
                }
            }
            look.divided.push(uuid);
            return Ok(());
        }
        let (gpu, stats) = self.both(&device, None).map_err(|error| (Some(uuid), error))?;
        look.gpus.push(gpu);
        look.stats.push(stats);
        Ok(())
    }

    /// A device, a whole GPU or an instance of one, and its measured values.
    fn both(&mut self, device: &Device<'_>, parent: Option<&String>) -> Result<(Gpu, GpuStats), NvmlError> {
        let (uuid, name) = (device.uuid()?, device.name()?);
        // Some have none of their own, and cannot tell: such a device is there all the same.
        let (total, reserved, used) = match device.memory_info() {
            Ok(memory) => (memory.total, memory.reserved, memory.used),
            Err(NvmlError::GpuLost) => return Err(NvmlError::GpuLost),
            // A driver before 510. What it keeps for itself it counts as in use.
            Err(NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound) if parent.is_none() => {
                self.smi.memory(&uuid).map_or((0, 0, 0), |(total, used)| (total, 0, used))
            }
            Err(_) => (0, 0, 0),
        };
        let parent = parent.cloned();
        let gpu = Gpu { uuid: uuid.clone(), name, memory: total, reserved, parent, ..Gpu::default() };
        let watts = |milliwatts: u32| f64::from(milliwatts) / 1000.0;
        let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).unwrap_or(0);
        let rows = bad_memory(device);
        let readings = GpuReadings {
            utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu)),
            temperature: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            power: device.power_usage().ok().map(watts),
        };
        let stats = GpuStats {
            uuid,
            readings,
            memory_used: used,
            memory_total: total,
            power_limit: device.enforced_power_limit().map_or(0.0, watts),
            clock: device.clock_info(Clock::SM).unwrap_or(0),
            ecc_corrected: errors(MemoryError::Corrected),
            ecc_uncorrected: errors(MemoryError::Uncorrected),
            xid_count: 0,
            xid: 0,
            xid_of_programs: 0,
            pages_pending: device.are_pages_pending_retired().unwrap_or(false) || rows.pending > 0,
            retired_pages: rows.retired,
            remapped_rows: rows.remapped,
            remap_failed: rows.failed > 0,
            throttled: device.current_throttle_reasons().map(throttled).unwrap_or_default(),
            processes: processes(device),
        };
        Ok((gpu, stats))
    }

    /// The errors that the driver reported since the last look.
    fn errors(&self) -> Vec<Xid> {
        let of_one = |(uuid, set): &(String, EventSet<'static>)| {
            let events = std::iter::from_fn(|| set.wait(0).ok()).take(MOST.1);
            let codes = events.filter_map(|event| match event.event_data? {
                XidError::Value(code) => Some(code),
                XidError::Unknown => Some(0),
            });
            codes.map(|code| Xid { uuid: uuid.clone(), code }).collect::<Vec<_>>()
        };
        self.events.iter().flat_map(of_one).collect()
    }
}

/// The errors that the driver reports of one GPU from now on, or why there are none.
fn events_of(nvml: &'static Nvml, device: &Device<'static>) -> Result<EventSet<'static>, String> {
    if device.supported_event_types().is_ok_and(|types| !types.contains(EventTypes::CRITICAL_XID_ERROR)) {
        return Err("its model reports none".to_owned());
    }
    let set = nvml.create_event_set().map_err(|error| error.to_string())?;
    let registered = device.register_events(EventTypes::CRITICAL_XID_ERROR, set);
    registered.map_err(|error| error.error.to_string())
}

/// Facts that the driver tells of itself; old ones do not tell all.
fn driver(nvml: &Nvml) -> GpuDriver {
    let cuda = nvml
        .sys_cuda_driver_version()
        .map(|cuda| format!("{}.{}", cuda_driver_version_major(cuda), cuda_driver_version_minor(cuda)));
    let version = nvml.sys_driver_version().unwrap_or_default();
    let mut driver = GpuDriver { version, cuda: cuda.unwrap_or_default() };
    driver.bound();
    driver
}

/// Parts of its memory that are out of use, or shall be.
#[derive(Debug, Default)]
struct BadMemory {
    /// Pages that were taken out of use after errors that were not corrected.
    retired: u64,
    /// Rows that another one stands in for, after such errors.
    remapped: u64,
    /// Rows that wait for a restart to be replaced.
    pending: u64,
    /// Rows that no other one could stand in for.
    failed: u64,
}

/// Old models retire pages, newer ones remap rows: what a device does not know is zero.
fn bad_memory(device: &Device<'_>) -> BadMemory {
    let fields = [
        field_id::NVML_FI_DEV_RETIRED_DBE,
        field_id::NVML_FI_DEV_REMAPPED_UNC,
        field_id::NVML_FI_DEV_REMAPPED_PENDING,
        field_id::NVML_FI_DEV_REMAPPED_FAILURE,
    ];
    let told = device.field_values_for(&fields.map(FieldId)).unwrap_or_default();
    let value = |id: u32| {
        let field = told.iter().flatten().find(|sample| sample.field.0 == id);
        match field.and_then(|sample| sample.value.as_ref().ok()) {
            Some(SampleValue::U32(value)) => u64::from(*value),
            Some(SampleValue::U64(value)) => *value,
            Some(SampleValue::I64(value)) => u64::try_from(*value).unwrap_or(0),
            Some(SampleValue::F64(_)) | None => 0,
        }
    };
    let [retired, remapped, pending, failed] = fields.map(value);
    BadMemory { retired, remapped, pending, failed }
}

fn processes(device: &Device<'_>) -> Vec<GpuProcess> {
    let found = device.running_compute_processes().unwrap_or_default();
    let process = |pid, used: &UsedGpuMemory| GpuProcess {
        pid,
        memory: match used {
            UsedGpuMemory::Used(bytes) => Some(*bytes),
            UsedGpuMemory::Unavailable => None,
        },
    };
    found.iter().take(MOST.0).map(|found| process(found.pid, &found.used_gpu_memory)).collect()
}

/// Causes that slow it down, beside idling and a limit that a person set.
fn throttled(reasons: ThrottleReasons) -> Vec<String> {
    let heat = ThrottleReasons::SW_THERMAL_SLOWDOWN | ThrottleReasons::HW_THERMAL_SLOWDOWN;
    let named = [
        ("thermal", heat),
        ("power_brake", ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN),
        ("slowdown", ThrottleReasons::HW_SLOWDOWN),
        ("power_cap", ThrottleReasons::SW_POWER_CAP),
    ];
    let holds = named.iter().filter(|(_, bits)| reasons.intersects(*bits));
    holds.map(|(name, _)| (*name).to_owned()).collect()
}
