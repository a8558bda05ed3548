//! A registry that cannot answer engines for a while: passes requests on to a real one, and answers those of engines with a
//! status instead, so many times.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

const PATIENCE: Duration = Duration::from_secs(20);

/// The registry. It ends when it is dropped.
#[derive(Debug)]
pub struct Busy {
    shared: Arc<Shared>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    /// The status line, while `left` are left.
    status: Mutex<String>,
    left: AtomicU32,
    refused: AtomicU32,
    ended: AtomicBool,
}

impl Busy {
    /// Listens on `address` before the registry `target`, and passes everything on.
    ///
    /// # Panics
    /// If the address is taken.
    #[track_caller]
    pub fn before(target: &str, address: &str) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            status: Mutex::default(),
            left: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.answer(stream));
            }
        });
        Self { shared, address: address.to_owned(), thread: Some(thread) }
    }

    /// Answers the next `count` requests of engines for manifests with `status`: `503 Service Unavailable`.
    pub fn refuse(&self, status: &str, count: u32) {
        status.clone_into(&mut self.shared.status.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.refused.store(0, Ordering::SeqCst);
        self.shared.left.store(count, Ordering::SeqCst);
    }

    /// Answers every request again.
    pub fn answer_all(&self) {
        self.shared.left.store(0, Ordering::SeqCst);
    }

    /// So many were answered in that way since.
    pub fn refused(&self) -> u32 {
        self.shared.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let woken = TcpStream::connect(&self.address);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join(); // it has nothing to say
        }
    }
}

impl Shared {
    /// One request per connection.
    fn answer(&self, mut near: TcpStream) -> Result<()> {
        near.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(near.try_clone()?);
        let mut head = Vec::new();
        let mut is_engine = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let lower = line.to_lowercase();
            is_engine |= lower.starts_with("user-agent: docker/");
            if !lower.starts_with("connection:") {
                head.push(line);
            }
        }
        let Some(request) = head.first() else { return Ok(()) };
        if is_engine && request.contains("/manifests/") {
            let take = |left: u32| left.checked_sub(1);
            if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                self.refused.fetch_add(1, Ordering::SeqCst);
                let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
                write!(near, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(());
            }
        }
        let mut far = TcpStream::connect(&self.target)?;
        far.set_read_timeout(Some(PATIENCE))?;
        write!(far, "{}Connection: close\r\n\r\n", head.concat())?;
        std::io::copy(&mut far, &mut near)?;
        near.shutdown(Shutdown::Both)?;
        Ok(())
    }
}
