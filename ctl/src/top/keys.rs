//! Keys, read on a thread of their own that ends by itself when nobody wants them any more.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

/// The time within which the thread sees that nobody reads.
const LOOK: Duration = Duration::from_millis(100);
/// Keys that wait.
const WAITING: usize = 64;

/// A key, or a change of the size.
pub(crate) struct Keys(mpsc::Receiver<Event>);

impl Keys {
    /// Begins to read.
    pub(crate) fn read() -> io::Result<Self> {
        let (tell, told) = mpsc::channel(WAITING);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while !tell.is_closed() {
                let event = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                // The terminal has gone: the receiver hears that nothing more comes.
                let Ok(event) = event else { return };
                if tell.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(told))
    }

    /// The next one; `None` if the terminal has gone.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}
