//! Families of metrics, as they are written.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use windlass_core::Timestamp;

/// Writes families.
pub(super) struct Out<'a>(DescriptorEncoder<'a>);

impl<'a> Out<'a> {
    pub(super) const fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Something that rises and falls.
    pub(super) fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// One that has no labels.
    pub(super) fn one(&mut self, name: &'static str, help: &'static str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Something that only rises; its samples get the ending `_total`.
    pub(super) fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
        })
    }
}

/// As metrics are: floating.
#[expect(clippy::cast_precision_loss, reason = "counts and bytes of today fit into 52 bits")]
pub(super) const fn number(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
pub(super) const fn count(count: usize) -> f64 {
    count as f64
}

/// Seconds since the epoch.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age fit into 52 bits")]
pub(super) const fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}

pub(super) const fn yes(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}
