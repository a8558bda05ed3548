//! Releases to submit.

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::Digest;
use windlass_core::release::Release;

/// `default/web rN` whose image is named after `content`.
pub(crate) fn release(counter: u64, replicas: u32, content: &str) -> Release {
    let text = format!(
        r#"{{"version":1,"fleet":"demo","environment":"default","service":"web","counter":"r{counter}",
        "created_at":"2020-01-01T00:00:00.000Z","author":"alice","spec":{{
        "image":{{"reference":"127.0.0.1:5000/web:{content}","repository":"127.0.0.1:5000/web",
        "digest":"{}","platform":"linux/amd64","size":1000}},
        "scale":{{"replicas":{{"min":{replicas},"max":{replicas}}}}},"placement":{{"spread":"host"}},
        "ports":{{"http":{{"container":3000}}}},"main_port":"http",
        "resources":{{"cpu_millis":500,"memory":"64MiB","pids":100}},
        "security":{{"read_only_root":false}},
        "health":{{}},"strategy":{{"rolling":{{"batch":1,"max_surge":1,"max_unavailable":0,"order":"auto",
        "min_ready":"0s"}}}},"soak":"200ms","progress_deadline":"10m",
        "stop_timeout":"1s","on_failure":"rollback_all","rollback_on":{{"restarts":3,"unhealthy_for":"2m"}},
        "on_lost":{{"on_return":"keep_new"}}}}}}"#,
        Digest::of(content.as_bytes())
    );
    serde_json::from_str(&text).unwrap()
}

/// Its envelope.
pub(crate) fn signed(release: &Release, key: &SigningKey) -> Vec<u8> {
    Envelope::sign(PayloadType::Release, serde_json::to_vec(release).unwrap(), &[key]).to_bytes()
}
