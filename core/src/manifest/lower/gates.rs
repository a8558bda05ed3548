//! Gates become their signed form.

use std::collections::BTreeMap;

use crate::gate::Number;
use crate::manifest::model::{Gate, Manifest};
use crate::release::{self, GateAsk};

/// The gates; none of those that ask nothing, or a number that is none.
pub(in crate::manifest) fn gates(manifest: &Manifest) -> BTreeMap<String, release::Gate> {
    // The steps of a set beside the old one name no gates.
    let from_step = manifest.strategy.blue_green.as_ref().map(|_| 1);
    let lower = |(name, gate): (&String, &Gate)| Some((name.clone(), lower_gate(gate, from_step)?));
    manifest.gates.iter().filter_map(lower).collect()
}

fn lower_gate(gate: &Gate, from_step: Option<u32>) -> Option<release::Gate> {
    let baseline = gate.baseline.unwrap_or(true);
    let number = |value: Option<f64>| value.and_then(Number::new);
    let ask = if let Some(of) = &gate.error_rate {
        GateAsk::ErrorRate { max: of.max.0, min_requests: of.min_requests, baseline }
    } else if let Some(of) = &gate.p95 {
        GateAsk::P95 { max: of.max, min_requests: of.min_requests, baseline }
    } else if let Some(of) = &gate.crashes {
        GateAsk::Crashes { max: of.max }
    } else if let Some(of) = &gate.memory {
        GateAsk::Memory { max: of.max.0 }
    } else if let Some(of) = &gate.cpu {
        GateAsk::Cpu { max: of.max.0 }
    } else if let Some(of) = &gate.gpu_memory {
        GateAsk::GpuMemory { max: of.max.0 }
    } else if let Some(of) = &gate.gpu_errors {
        GateAsk::GpuErrors { max: of.max }
    } else if let Some(of) = &gate.prometheus {
        let (url, query, timeout) = (of.url.clone(), of.query.clone(), of.timeout);
        GateAsk::Prometheus { url, query, timeout, min: number(of.min), max: number(of.max) }
    } else {
        let of = gate.http.as_ref()?;
        let (url, pointer, timeout) = (of.url.clone(), of.pointer.clone(), of.timeout);
        GateAsk::Http { url, pointer, timeout, min: number(of.min), max: number(of.max) }
    };
    let (window, passes, fails) = (gate.window, gate.passes, gate.fails);
    Some(release::Gate {
        ask,
        window,
        passes,
        fails,
        dry_run: gate.dry_run,
        from_step: gate.from_step.or(from_step),
    })
}
