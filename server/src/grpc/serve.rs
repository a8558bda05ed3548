//! Putting the services on the listener.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;
use tonic::transport::Server;
use windlass_certs::tls::Incoming;
use windlass_proto::limits;
use windlass_proto::pb::agent_link_server::AgentLinkServer;
use windlass_proto::pb::control_server::ControlServer;
use windlass_proto::pb::enrolment_server::EnrolmentServer;

use super::access::AccessLayer;
use super::control::ControlService;
use super::enrolment::EnrolmentService;
use super::in_flight::InFlight;
use super::link::LinkService;
use super::parts::Link;
use crate::coordinator::Coordinator;

/// Largest message of a stranger: a certificate request and a token.
const MAX_ENROLMENT: usize = 64 << 10;
/// The longest time of a call that is not a stream; longer than clients wait.
const DEADLINE: Duration = Duration::from_secs(20);

/// Streams of one connection that were reset before they were looked at; one more, and it ends.
const MAX_RESETS: usize = 20;

/// Everything that is served, ready to run.
pub(crate) struct Serving {
    routes: Routes,
    access: AccessLayer,
}

/// All services of `coordinator`.
pub(crate) async fn services(coordinator: Arc<Coordinator>) -> anyhow::Result<Serving> {
    let access = AccessLayer {
        fleet: coordinator.authority.ca().fleet().clone(),
        metrics: coordinator.metrics.clone(),
        calls: InFlight::default(),
        peers: coordinator.peers.clone(),
    };
    let enrolment =
        EnrolmentServer::new(EnrolmentService(coordinator.clone())).max_decoding_message_size(MAX_ENROLMENT);
    let link = Link::new(LinkService::new(coordinator.clone()));
    let control = ControlServer::new(ControlService(coordinator))
        .max_decoding_message_size(limits::MAX_MESSAGE)
        .max_encoding_message_size(limits::MAX_MESSAGE);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<EnrolmentServer<EnrolmentService>>().await;
    reporter.set_serving::<AgentLinkServer<LinkService>>().await;
    reporter.set_serving::<ControlServer<ControlService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(windlass_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut routes = Routes::builder();
    routes
        .add_service(enrolment)
        .add_service(link)
        .add_service(control)
        .add_service(health)
        .add_service(reflection);
    Ok(Serving { routes: routes.routes(), access })
}

impl Serving {
    /// Serves connections until `shutdown`; streams that stand then end with their connections.
    pub(crate) async fn run(
        self,
        incoming: Incoming,
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        Server::builder()
            .initial_stream_window_size(limits::STREAM_WINDOW)
            .initial_connection_window_size(limits::CONNECTION_WINDOW)
            .max_concurrent_streams(limits::MAX_STREAMS)
            .http2_max_header_list_size(limits::MAX_HEADERS)
            .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
            .http2_max_local_error_reset_streams(Some(MAX_RESETS))
            .http2_keepalive_interval(Some(limits::KEEPALIVE))
            .http2_keepalive_timeout(Some(limits::KEEPALIVE_TIMEOUT))
            .timeout(DEADLINE)
            .layer(self.access)
            .add_routes(self.routes)
            .serve_with_incoming_shutdown(incoming, shutdown)
            .await?;
        Ok(())
    }
}
