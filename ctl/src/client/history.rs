//! The history of hosts and services.

use tonic::{Code, Response};
use windlass_core::view::HistoryView;
use windlass_core::{HostId, ServiceId};
use windlass_proto::pb;

use super::{CallError, Client, call, view};

impl Client {
    /// The history of a host; `None` if nothing was measured, or the coordinator is of a version that keeps nothing.
    pub(crate) async fn host_history(&mut self, host: &HostId) -> Result<Option<HistoryView>, CallError> {
        self.history(pb::GetHistoryRequest { host: host.to_string(), ..Default::default() }).await
    }

    /// The same of a service.
    pub(crate) async fn service_history(
        &mut self,
        service: &ServiceId,
    ) -> Result<Option<HistoryView>, CallError> {
        self.history(pb::GetHistoryRequest { service: service.to_string(), ..Default::default() }).await
    }

    async fn history(&mut self, request: pb::GetHistoryRequest) -> Result<Option<HistoryView>, CallError> {
        let what = "get the history";
        let asked = async {
            match self.control.get_history(request).await {
                Err(status) if status.code() == Code::Unimplemented => {
                    Ok(Response::new(pb::GetHistoryResponse::default()))
                }
                answer => answer,
            }
        };
        let answer = call(what, asked).await?;
        if answer.view.is_empty() { Ok(None) } else { view(what, &answer.view).map(Some) }
    }
}
