//! Contents that failed, and which coordinator answers.

use windlass_core::view::QuarantineView;
use windlass_core::{Counter, ServiceId};
use windlass_proto::pb;

use super::{CallError, Client, call, view};

impl Client {
    /// Quarantined contents of `environment/service`, or of all services if empty.
    pub(crate) async fn quarantine(&mut self, service: &str) -> Result<Vec<QuarantineView>, CallError> {
        let request = pb::ListQuarantineRequest { service: service.to_owned() };
        let answer = call("list the quarantine", self.control.list_quarantine(request)).await?;
        view("list the quarantine", &answer.view)
    }

    /// Lets quarantined contents start again: that of a release, or all of the service.
    pub(crate) async fn clear_quarantine(
        &mut self,
        service: &ServiceId,
        release: Option<Counter>,
    ) -> Result<Vec<QuarantineView>, CallError> {
        let release = release.map(|counter| counter.to_string()).unwrap_or_default();
        let request = pb::ClearQuarantineRequest { service: service.to_string(), release };
        let answer = call("clear the quarantine", self.control.clear_quarantine(request)).await?;
        view("clear the quarantine", &answer.view)
    }

    /// The version of the coordinator; a coordinator without the call says `unimplemented`.
    pub(crate) async fn version(&mut self) -> Result<pb::GetVersionResponse, CallError> {
        call("ask for the version", self.control.get_version(pb::GetVersionRequest {})).await
    }
}
