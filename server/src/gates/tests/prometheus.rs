//! A real Prometheus, which is installed with the other programs of the tests.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use windlass_core::Timestamp;
use windlass_core::gate::{Answer, AnswerFault, Said};

use super::{asker, fault, question};

/// Kills it at the end of the test.
struct Server {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// A Prometheus that scrapes nothing, and answers.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, "global: { scrape_interval: 15s }\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`prometheus` is installed: `tests/lab/install.sh` does that");
        let server = Self { child, url: format!("http://{address}"), folder };
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() || server.ask("vector(1)").await.is_not_ready() {
            assert!(began.elapsed() < Duration::from_secs(60), "it answers: {:?}", server.folder);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server
    }

    async fn ask(&self, query: &str) -> Answer {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
        let mut question = question(json!({ "prometheus": { "url": self.url, "query": query, "max": 1 } }));
        question.key.until = now;
        asker(&["127.0.0.1/32"]).ask(&question, now).await
    }
}

trait Ready {
    fn is_not_ready(&self) -> bool;
}

impl Ready for Answer {
    fn is_not_ready(&self) -> bool {
        matches!(fault(self), Some(AnswerFault::Status | AnswerFault::NoConnection))
    }
}

#[tokio::test]
async fn a_real_prometheus_is_read_as_it_answers() {
    use AnswerFault as F;
    let server = Server::start().await;
    for (query, number) in [("vector(0.25)", 0.25), ("scalar(vector(3))", 3.0), ("vector(-1e-9)", -1e-9)] {
        let answer = server.ask(query).await;
        assert!(matches!(&answer.said, Said::Number(said) if said.get() == number), "{query}: {answer:?}");
    }
    #[rustfmt::skip]
    let table = [
        ("up{release=\"{{release}}\"}", F::Empty),
        ("vector(0) / vector(0)", F::NotANumber),
        ("vector(1) / vector(0)", F::Infinite),
        ("label_replace(vector(1), \"a\", \"b\", \"\", \"\") or vector(2)", F::SeveralSeries),
        ("sum by (", F::QueryFailed),
        ("vector(1)[5m:1m]", F::NotJson),
    ];
    for (query, want) in table {
        let answer = server.ask(query).await;
        assert_eq!(fault(&answer), Some(want), "{query}: {answer:?}");
    }
}
