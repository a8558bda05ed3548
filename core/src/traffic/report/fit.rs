//! Keeping a report within its bound.

use super::{IngressReport, MAX_REPORT, MAX_TEXT, ReleaseTraffic, ServiceTraffic};

impl IngressReport {
    /// The report as JSON of at most [`MAX_REPORT`] bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        encode(&self.fitted())
    }

    /// The report with what fits into [`MAX_REPORT`] bytes. The quietest services lose their histograms first, then
    /// their endpoints, then all; [`IngressReport::cut_services`] says how many lost something.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        for refusal in self.refused.values_mut() {
            refusal.detail = refusal.detail.chars().take(MAX_TEXT / 4).collect();
        }
        let mut quietest: Vec<_> =
            self.services.iter().map(|(name, s)| (s.requests(), name.clone())).collect();
        quietest.sort();
        let cuts: [fn(&mut ServiceTraffic); 3] = [
            ServiceTraffic::cut_histograms,
            |service| {
                service.histograms_cut = true;
                service.endpoints.clear();
            },
            |service| *service = ServiceTraffic { histograms_cut: true, ..ServiceTraffic::default() },
        ];
        let mut size = encode(&self).len() + SLACK;
        for (cut, (_, name)) in cuts.iter().flat_map(|cut| quietest.iter().map(move |one| (cut, one))) {
            if size <= MAX_REPORT {
                break;
            }
            if let Some(service) = self.services.get_mut(name) {
                let before = encode(service).len();
                cut(service);
                size = (size + encode(service).len()).saturating_sub(before);
            }
        }
        let lost = self.services.values().filter(|service| service.histograms_cut).count();
        self.cut_services = u64::try_from(lost).unwrap_or_default();
        self
    }
}

/// Room for [`IngressReport::cut_services`], which is written down last.
const SLACK: usize = 64;

impl ServiceTraffic {
    fn requests(&self) -> u64 {
        let releases = self.releases.values();
        releases.flat_map(ReleaseTraffic::all).map(|counts| counts.requests).sum()
    }

    fn cut_histograms(&mut self) {
        let releases = self.releases.values_mut();
        let counts = releases.flat_map(|of| [&mut of.weighted, &mut of.matched, &mut of.unconfirmed]);
        for counts in counts.chain([&mut self.nobody]) {
            self.histograms_cut |= !counts.to_head.is_empty() || !counts.to_end.is_empty();
            counts.to_head.clear();
            counts.to_end.clear();
        }
    }
}

/// A report is plain data, which serde can always write.
fn encode(part: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(part).unwrap_or_default()
}
