//! An endpoint and a client of HTTP/1.1, so small that nothing is tried again behind a test's back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
    BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// An endpoint that says its name; dropped, it is gone.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Endpoint {
    pub(crate) async fn listen(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(async move { drop(answer(stream, name).await) });
            }
        });
        Self { address, _tasks: tasks }
    }
}

/// Answers requests without a body; the path `/wait/MILLISECONDS` takes so long, and an upgrade gets every byte back.
async fn answer(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let Some(head) = head(&mut stream).await? else { return Ok(()) };
        if head.iter().any(|line| line.to_ascii_lowercase().starts_with("upgrade:")) {
            return echo(stream).await;
        }
        let wait = head[0].split(' ').nth(1).and_then(|path| path.strip_prefix("/wait/")?.parse().ok());
        sleep(Duration::from_millis(wait.unwrap_or(0))).await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Answers an upgrade, and gives back what comes.
async fn echo(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await?;
    loop {
        let came = stream.fill_buf().await?.to_vec();
        if came.is_empty() {
            return Ok(());
        }
        stream.consume(came.len());
        stream.write_all(&came).await?;
    }
}

/// The lines of a head; `None` at the end of the connection.
async fn head(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<String>>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        match line.trim_end() {
            "" => return Ok(Some(lines)),
            text => lines.push(text.to_owned()),
        }
    }
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The server closes the connection.
    pub(crate) close: bool,
    pub(crate) location: Option<String>,
}

/// A client's connection.
pub(crate) struct Client<S = TcpStream>(BufReader<S>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// Makes a tunnel of it.
    pub(crate) async fn upgrade(&mut self, host: &str) -> io::Result<()> {
        let request =
            format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        self.0.write_all(request.as_bytes()).await?;
        self.0.flush().await?;
        let lines = head(&mut self.0).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if lines[0].contains(" 101 ") { Ok(()) } else { Err(io::Error::other(lines.join("; "))) }
    }

    /// Says something in a tunnel, and waits until it comes back.
    pub(crate) async fn echo(&mut self, text: &str) -> io::Result<()> {
        let both = async {
            self.0.write_all(text.as_bytes()).await?;
            self.0.flush().await?;
            let mut back = vec![0; text.len()];
            self.0.read_exact(&mut back).await?;
            if back == text.as_bytes() { Ok(()) } else { Err(io::Error::other(format!("{back:?}"))) }
        };
        timeout(Duration::from_secs(30), both).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await?;
        self.0.flush().await?;
        let lines = head(&mut self.0).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let value = |name: &str| {
            let named = lines.iter().filter_map(|line| line.split_once(": "));
            named.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
        };
        let length = value("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Answer {
            status: lines[0].split(' ').nth(1).unwrap().parse().unwrap(),
            body: String::from_utf8_lossy(&body).into_owned(),
            close: value("connection") == Some("close"),
            location: value("location").map(str::to_owned),
        })
    }
}

/// One request over a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    let asked = async { Client::connect(address).await?.get(host, path).await };
    timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
