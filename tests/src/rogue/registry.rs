//! A registry that lies: it answers to a digest with other bytes than the digest names.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use windlass_core::Digest;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const PATIENCE: Duration = Duration::from_secs(5);

/// An image, as a release names it.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// `host:port/path`.
    pub repository: String,
    /// Of its manifest.
    pub digest: Digest,
    /// Compressed size in bytes.
    pub size: u64,
}

/// The lie of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// The manifest of another image under the digest.
    Manifest,
    /// Another configuration than the manifest names.
    Config,
    /// A layer with one bit changed.
    Layer,
    /// Everything fits together, and is for another processor.
    Platform,
    /// A layer that does not end, whatever its manifest says.
    Endless,
}

/// Of a layer without an end, so much is sent at most: enough to see that nobody stops it, and no full disk.
const ENDLESS: usize = 192 << 20;

/// The registry. It ends when it is dropped.
#[derive(Debug)]
pub struct Liar {
    address: SocketAddr,
    images: BTreeMap<Lie, Pinned>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Answers = BTreeMap<String, Vec<u8>>;

impl Pinned {
    /// An image of an honest registry.
    ///
    /// # Panics
    /// If the registry does not have it.
    pub fn of(registry: &str, name: &str, tag: &str) -> Self {
        let manifest =
            get(registry, &format!("/v2/{name}/manifests/{tag}")).expect("the registry has the image");
        Self { repository: format!("{registry}/{name}"), digest: Digest::of(&manifest), size: 1 << 20 }
    }
}

impl Liar {
    /// Listens on `ip` and lies about images made from `web:v2` and `web:v4` of an honest registry.
    ///
    /// # Panics
    /// If it cannot listen, or that registry does not answer.
    pub fn start(ip: &str, honest: &str) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("the lab's gateway can be listened on");
        let address = listener.local_addr().expect("it is bound");
        let (images, answers) = lies(&address.to_string(), honest).expect("the honest registry answers");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                let _ = answer(stream, &answers); // an engine may hang up
            }
        });
        Self { address, images, ended, thread: Some(thread) }
    }

    /// Its address, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The image it lies about in this way.
    pub fn image(&self, lie: Lie) -> &Pinned {
        &self.images[&lie]
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let woken = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join(); // it has nothing to say
        }
    }
}

/// The images, and what is answered to which path.
fn lies(address: &str, honest: &str) -> Result<(BTreeMap<Lie, Pinned>, Answers)> {
    let other = get(honest, "/v2/web/manifests/v4")?;
    let manifest: Value = serde_json::from_slice(&get(honest, "/v2/web/manifests/v2")?)?;
    let config = manifest["config"]["digest"].as_str().context("no config")?;
    let config: Value = serde_json::from_slice(&get(honest, &format!("/v2/web/blobs/{config}"))?)?;
    // An empty archive: a layer that no engine has, and every engine takes.
    let layer = vec![0_u8; 10_240];
    let mut bent_layer = layer.clone();
    bent_layer[10_239] = 1;
    let (mut images, mut answers) = (BTreeMap::new(), Answers::new());
    for lie in [Lie::Manifest, Lie::Config, Lie::Layer, Lie::Platform, Lie::Endless] {
        let name = format!("{lie:?}").to_lowercase();
        let (mut manifest, mut config) = (manifest.clone(), config.clone());
        config["author"] = name.as_str().into(); // an image of its own
        if matches!(lie, Lie::Layer | Lie::Endless) {
            push(&mut config["rootfs"]["diff_ids"], Digest::of(&layer).to_string().into());
            let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
            let entry =
                json!({ "mediaType": kind, "size": layer.len(), "digest": Digest::of(&layer).to_string() });
            push(&mut manifest["layers"], entry);
        }
        if lie == Lie::Platform {
            config["architecture"] = "arm64".into();
        }
        let config = config.to_string().into_bytes();
        let named = Digest::of(&config).to_string();
        manifest["config"]["digest"] = named.as_str().into();
        manifest["config"]["size"] = config.len().into();
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        let mut bent_config = config.clone();
        if let Some(byte) = bent_config.last_mut() {
            *byte ^= 1;
        }
        let mut put =
            |path: String, bytes: &[u8]| drop(answers.insert(format!("/v2/{name}/{path}"), bytes.to_vec()));
        put(format!("manifests/{digest}"), if lie == Lie::Manifest { &other } else { &manifest });
        put(format!("blobs/{named}"), if lie == Lie::Config { &bent_config } else { &config });
        put(format!("blobs/{}", Digest::of(&layer)), &bent_layer);
        images.insert(lie, Pinned { repository: format!("{address}/{name}"), digest, size: 1 << 20 });
    }
    Ok((images, answers))
}

fn push(list: &mut Value, entry: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(entry);
    }
}

/// One request per connection.
fn answer(mut stream: TcpStream, answers: &Answers) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let found = if path == "/v2/" { Some(b"{}".as_slice()) } else { answers.get(path).map(Vec::as_slice) };
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    if found.is_some() && path.starts_with("/v2/endless/blobs/") && body.len() == 10_240 {
        return endless(&mut stream);
    }
    let named = path.rsplit_once('/').map_or("", |(_, name)| name);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {MANIFEST}\r\nContent-Length: {}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nDocker-Content-Digest: {named}\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    Ok(())
}

fn endless(stream: &mut TcpStream) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = 1_u64 << 40;
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")?;
    let piece = vec![0; 1 << 16];
    for _ in 0..ENDLESS / piece.len() {
        stream.write_all(&piece)?;
    }
    Ok(())
}

/// Asks an honest registry.
fn get(registry: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(registry)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {registry}\r\nAccept: {MANIFEST}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no end of headers")?;
    ensure!(bytes.split(|byte| *byte == b' ').nth(1) == Some(b"200"), "{registry}{path} is not there");
    Ok(bytes.split_off(head + 4))
}
