//! Handing the listeners to a successor: both processes hold the same sockets for a while, so no connection in the kernel's
//! queue is lost (closing one of two `SO_REUSEPORT` sockets would drop its queue).
//!
//! ```text
//! successor                                   process that serves
//!   connect ────────────────────────────────▶   checks for the same user (SO_PEERCRED)
//!           ◀─ version, listeners, doubts, state  with the descriptors (SCM_RIGHTS)
//!   reads and verifies all of it
//!   ready   ────────────────────────────────▶   stops accepting, goes on serving
//!           ◀────────────────────────── stopped
//!   begins to accept                            drains, ends
//! ```
//!
//! A successor that dies before `ready` changes nothing.

use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::upstream::Doubt;

/// The version of this protocol.
const VERSION: u32 = 1;
/// Each side gives up on a step that takes longer.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Most listeners of a process.
const MOST_LISTENERS: usize = 32;
/// Most bytes of the state that is handed on.
const MOST_STATE: u64 = 64 * 1024 * 1024;
const MOST_HEAD: usize = 16 * 1024;
/// Most endpoints of which a hand-over tells that they fail: some 250 bytes each, in the head.
pub const MOST_DOUBTS: usize = 48;

/// A listener and what it serves, by a name that both processes know.
#[derive(Debug)]
pub struct Listener {
    /// For example `http` or `https`.
    pub name: String,
    /// The socket.
    pub socket: TcpListener,
}

/// The inheritance of a successor.
#[derive(Debug)]
pub struct Inheritance {
    /// The listeners. It may accept from them after [`Successor::ready`].
    pub listeners: Vec<Listener>,
    /// The newest signed tables of the process before. The successor verifies them itself.
    pub state: Vec<u8>,
    /// Endpoints that fail.
    pub doubts: Vec<Doubt>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    listeners: Vec<String>,
    state: u64,
    /// Absent where the process before is an older one.
    #[serde(default)]
    doubts: Vec<Doubt>,
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Offers the listeners to the successor at the other end, and answers when it is ready to accept. The caller then stops
/// accepting and says so with [`Ready::stopped`].
///
/// Blocks up to a multiple of [`DEADLINE`]: call it on a thread of its own.
///
/// # Errors
/// The peer is another user, breaks the protocol, or was not ready in time. Nothing has changed then.
pub fn offer(
    peer: UnixStream,
    listeners: &[Listener],
    state: &[u8],
    doubts: Vec<Doubt>,
) -> io::Result<Ready> {
    let credentials = rustix::net::sockopt::socket_peercred(&peer)?;
    if credentials.uid != rustix::process::geteuid() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the successor runs as another user"));
    }
    if listeners.len() > MOST_LISTENERS {
        return Err(invalid(format!("{} listeners, at most {MOST_LISTENERS}", listeners.len())));
    }
    peer.set_read_timeout(Some(DEADLINE))?;
    peer.set_write_timeout(Some(DEADLINE))?;
    let head = Head {
        version: VERSION,
        listeners: listeners.iter().map(|listener| listener.name.clone()).collect(),
        state: state.len() as u64,
        doubts,
    };
    let head = serde_json::to_vec(&head).map_err(io::Error::other)?;
    let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(|listener| listener.socket.as_fd()).collect();
    send_head(&peer, &head, &descriptors)?;
    (&peer).write_all(state)?;
    let mut lines = BufReader::new(peer);
    expect(&mut lines, "ready")?;
    Ok(Ready(lines))
}

/// A successor that is ready to accept.
#[derive(Debug)]
pub struct Ready(BufReader<UnixStream>);

impl Ready {
    /// Tells the successor that nobody else accepts any more.
    ///
    /// # Errors
    /// The successor is gone. Nobody accepts then: the caller goes on accepting.
    pub fn stopped(self) -> io::Result<()> {
        let mut stream = self.0.into_inner();
        stream.write_all(b"stopped\n")
    }
}

/// The successor's end of the connection.
#[derive(Debug)]
pub struct Successor(BufReader<UnixStream>);

impl Successor {
    /// Takes what the process at the other end hands over. Blocks: call it on a thread of its own.
    ///
    /// # Errors
    /// The process is gone, speaks another version, or sends something else.
    pub fn take(peer: UnixStream) -> io::Result<(Self, Inheritance)> {
        peer.set_read_timeout(Some(DEADLINE))?;
        peer.set_write_timeout(Some(DEADLINE))?;
        let (head, descriptors) = receive_head(&peer)?;
        let head: Head = serde_json::from_slice(&head).map_err(|error| invalid(error.to_string()))?;
        if head.version != VERSION {
            return Err(invalid(format!(
                "hand-over of version {}, this program knows {VERSION}",
                head.version
            )));
        }
        if head.listeners.len() != descriptors.len() || head.state > MOST_STATE {
            return Err(invalid("a hand-over that contradicts itself"));
        }
        let mut reader = BufReader::new(peer);
        let mut state = Vec::new();
        reader.by_ref().take(head.state).read_to_end(&mut state)?;
        if state.len() as u64 != head.state {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sockets = descriptors.into_iter().map(TcpListener::from);
        let listeners =
            head.listeners.into_iter().zip(sockets).map(|(name, socket)| Listener { name, socket }).collect();
        Ok((Self(reader), Inheritance { listeners, state, doubts: head.doubts }))
    }

    /// Says that everything is verified, and answers when the process before has stopped accepting.
    ///
    /// # Errors
    /// It is gone or did not answer in time. It holds no listener any more if it is gone; a caller that cannot tell ends.
    pub fn ready(mut self) -> io::Result<()> {
        self.0.get_mut().write_all(b"ready\n")?;
        expect(&mut self.0, "stopped")
    }
}

/// The head travels in one message with the descriptors, after its length in four bytes.
fn send_head(peer: &UnixStream, head: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u32::try_from(head.len()).map_err(io::Error::other)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_LISTENERS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(invalid("too many descriptors for one message"));
    }
    let sent = sendmsg(peer, &[IoSlice::new(&length)], &mut control, SendFlags::empty())?;
    if sent != length.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut peer = peer;
    peer.write_all(head)
}

fn receive_head(peer: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_LISTENERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(peer, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes != length.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MOST_HEAD {
        return Err(invalid("a hand-over with a head that is too long"));
    }
    let mut head = vec![0; length];
    let mut peer = peer;
    peer.read_exact(&mut head)?;
    Ok((head, descriptors))
}

fn expect(lines: &mut BufReader<UnixStream>, word: &str) -> io::Result<()> {
    let mut line = String::new();
    lines.by_ref().take(64).read_line(&mut line)?;
    match line.trim_end() {
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        found if found == word => Ok(()),
        _ => Err(invalid(format!("the other process did not say {word}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpStream;
    use std::thread;

    use super::*;

    fn listener() -> Listener {
        Listener { name: "http".to_owned(), socket: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    #[test]
    fn a_connection_in_the_queue_survives_the_hand_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listeners = vec![listener()];
        let address = listeners[0].socket.local_addr().unwrap();
        let waiting = TcpStream::connect(address).unwrap();
        let serves = thread::spawn(move || {
            let ready = offer(ours, &listeners, b"tables", Vec::new()).unwrap();
            drop(listeners);
            ready.stopped().unwrap();
        });
        let (successor, inherited) = Successor::take(theirs).unwrap();
        assert_eq!((inherited.state.as_slice(), inherited.listeners.len()), (&b"tables"[..], 1));
        successor.ready().unwrap();
        serves.join().unwrap();
        let (mut accepted, _) = inherited.listeners[0].socket.accept().unwrap();
        accepted.write_all(b"hello").unwrap();
        drop(accepted);
        let mut text = String::new();
        { waiting }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_successor_that_dies_before_ready_changes_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listeners = vec![listener()];
        drop(theirs);
        assert!(offer(ours, &listeners, b"", Vec::new()).is_err());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let dies = thread::spawn(move || drop(Successor::take(theirs).unwrap()));
        assert!(offer(ours, &listeners, &vec![7; 1 << 20], Vec::new()).is_err());
        dies.join().unwrap();
        let address = listeners[0].socket.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        listeners[0].socket.accept().unwrap();
    }

    #[test]
    fn another_version_and_nonsense_are_refused() {
        for head in [
            &br#"{"version":2,"listeners":[],"state":0}"#[..],
            br#"{"version":1,"listeners":["http"],"state":0}"#,
            br#"{"version":1,"listeners":[],"state":99999999999}"#,
            b"nonsense",
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            send_head(&ours, head, &[]).unwrap();
            assert!(Successor::take(theirs).is_err(), "{}", String::from_utf8_lossy(head));
        }
    }
}
