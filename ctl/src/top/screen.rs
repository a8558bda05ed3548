//! The terminal while `top` has it. However it ends (a key, a signal, an error, a panic), the terminal is as it was.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType};

/// The terminal in raw mode, on its other screen.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    _restore: Restore,
}

/// Gives the terminal back when it is dropped.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Screen {
    /// Takes the terminal. The guard is there first, so that what fails halfway is undone.
    pub(crate) fn take() -> io::Result<Self> {
        let restore = Restore;
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal, _restore: restore })
    }

    /// Takes it again after the process was stopped: a shell may have set it otherwise meanwhile.
    pub(crate) fn again(&mut self) -> io::Result<()> {
        self.terminal = ratatui::try_init()?;
        // Not by ratatui, which asks the terminal where its cursor is and waits for an answer among the keys.
        execute!(io::stdout(), Clear(ClearType::All))
    }

    /// The rows that there are on it.
    pub(crate) fn height(&self) -> io::Result<u16> {
        Ok(self.terminal.size()?.height)
    }

    pub(crate) const fn terminal(&mut self) -> &mut DefaultTerminal {
        &mut self.terminal
    }
}
