//! The access log: a record of each request when it has ended. A queue that is full loses records, which are counted;
//! it never delays a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Version};
use serde::Serialize;
use tokio::sync::mpsc;
use windlass_core::{Digest, ServiceId};

use crate::counters::Ended;
use crate::upstream::Endpoint;

/// Longest text of a request in a record, in characters.
const MOST_TEXT: usize = 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that has ended.
#[derive(Debug, Clone, Serialize)]
pub struct Access {
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// The time to the last byte of its response, in milliseconds.
    pub ms: f64,
    /// The client's address.
    pub client: IpAddr,
    /// The name that was asked for.
    pub host: String,
    /// Its method.
    pub method: String,
    /// Its path, without the query, in which secrets may stand.
    pub path: String,
    /// The version of HTTP.
    pub http: &'static str,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Status of the response; 499 if the client left before there was one.
    pub status: u16,
    /// The status of a gRPC call, from the head or the trailers of its response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u32>,
    /// Its end: `whole`, `broken` (by the endpoint), `cut` (by its client or by a drain), or `client_gone`.
    pub ended: &'static str,
    /// The service that it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The release that had it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Digest>,
    /// The endpoint that had it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// The id that its endpoint gets: the client's own, or one that was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The receiver of records.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    queue: mpsc::Sender<Access>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    pub(crate) fn new(queue: mpsc::Sender<Access>) -> Self {
        Self { queue, dropped: Arc::default() }
    }

    /// Records that were lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Begins the record of a request.
    pub(crate) fn begin<B>(&self, request: &Request<B>, client: IpAddr, tls: bool) -> Entry {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let host = request.uri().authority().map(|authority| authority.as_str()).or_else(|| header(&HOST));
        let access = Access {
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            ms: 0.0,
            client,
            host: cut(host.unwrap_or_default()),
            method: cut(request.method().as_str()),
            path: cut(request.uri().path()),
            http: match request.version() {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            tls,
            status: 0,
            grpc_status: None,
            ended: "",
            service: None,
            release: None,
            endpoint: None,
            request_id: header(&REQUEST_ID).map(cut),
        };
        Entry { access: Box::new(access), began: Instant::now(), log: self.clone() }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

/// The record of a request under way.
#[derive(Debug)]
pub(crate) struct Entry {
    access: Box<Access>,
    began: Instant,
    log: AccessLog,
}

impl Entry {
    /// The service was found.
    pub(crate) fn of(&mut self, service: &ServiceId) {
        self.access.service = Some(service.clone());
    }

    /// These are the headers for its endpoint.
    pub(crate) fn named(&mut self, headers: &HeaderMap) {
        let id = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        self.access.request_id = id.map(cut);
    }

    /// An endpoint has it now.
    pub(crate) fn at(&mut self, endpoint: &Endpoint) {
        self.access.release = Some(endpoint.key.release);
        self.access.endpoint = Some(endpoint.key.address);
    }

    /// The response has said this gRPC status.
    pub(crate) fn grpc(&mut self, status: &HeaderValue) {
        self.access.grpc_status = status.to_str().ok().and_then(|status| status.parse().ok());
    }

    /// It has ended.
    pub(crate) fn end(mut self, status: u16, ended: Ended) {
        let took: Duration = self.began.elapsed();
        self.access.ms = took.as_secs_f64() * 1000.0;
        (self.access.status, self.access.ended) = match ended {
            Ended::Whole => (status, "whole"),
            Ended::Cut => (status, "cut"),
            Ended::Broken => (status, "broken"),
            Ended::ClientGone => (499, "client_gone"),
        };
        if self.log.queue.try_send(*self.access).is_err() {
            self.log.dropped.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_full_loses_records_and_counts_them() {
        let (queue, mut records) = mpsc::channel(1);
        let log = AccessLog::new(queue);
        let request = Request::get("http://a.b/x?y=z").body(()).unwrap();
        let begin = || log.begin(&request, [127, 0, 0, 1].into(), false);
        begin().end(200, Ended::Whole);
        begin().end(200, Ended::Cut);
        begin().end(0, Ended::ClientGone);
        assert_eq!(log.dropped(), 2);
        let kept = records.try_recv().unwrap();
        assert_eq!((kept.host.as_str(), kept.path.as_str(), kept.ended), ("a.b", "/x", "whole"));
        begin().end(0, Ended::ClientGone);
        assert_eq!(records.try_recv().unwrap().status, 499);
    }
}
