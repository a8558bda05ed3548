//! The state of the screen: view, row and words of the filter. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Characters of a filter.
const FILTER: usize = 64;
/// Rows that page keys go.
const PAGE: usize = 10;

/// The view on the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum View {
    #[default]
    Hosts,
    Services,
    Rollouts,
    Instances,
    Gpus,
    Events,
}

impl View {
    /// In the order of their keys.
    pub(crate) const ALL: [Self; 6] =
        [Self::Hosts, Self::Services, Self::Rollouts, Self::Instances, Self::Gpus, Self::Events];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Services => "services",
            Self::Rollouts => "rollouts",
            Self::Instances => "instances",
            Self::Gpus => "gpus",
            Self::Events => "events",
        }
    }
}

impl From<crate::args::TopView> for View {
    fn from(view: crate::args::TopView) -> Self {
        use crate::args::TopView;
        match view {
            TopView::Hosts => Self::Hosts,
            TopView::Services => Self::Services,
            TopView::Rollouts => Self::Rollouts,
            TopView::Instances => Self::Instances,
            TopView::Gpus => Self::Gpus,
            TopView::Events => Self::Events,
        }
    }
}

/// The effect of a key beside a change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Quit,
}

/// Everything that was typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) view: View,
    /// Column by which is sorted.
    pub(crate) sort: usize,
    pub(crate) descending: bool,
    pub(crate) filter: String,
    /// Whether the filter is being typed.
    pub(crate) typing: bool,
    /// Row that is marked.
    pub(crate) row: usize,
    /// Whether the details of that row are open.
    pub(crate) details: bool,
    /// Lines of them that are above.
    pub(crate) scroll: u16,
    pub(crate) help: bool,
}

impl State {
    /// Takes a key in. `rows`: how many there are now; `columns`: of the view.
    pub(crate) fn key(&mut self, key: KeyEvent, rows: usize, columns: usize) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Effect::Quit;
        }
        if self.typing {
            self.typed(key.code);
            return Effect::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Esc if self.help || self.details => (self.help, self.details) = (false, false),
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Char('?') => self.help = !self.help,
            KeyCode::Char('/') => (self.typing, self.details) = (true, false),
            KeyCode::Char('s') => self.sort = (self.sort + 1) % columns.max(1),
            KeyCode::Char('S') => self.descending = !self.descending,
            KeyCode::Char(digit @ '1'..='6') => self.show(usize::from(digit as u8 - b'1')),
            KeyCode::Tab | KeyCode::Right => self.show((self.number() + 1) % View::ALL.len()),
            KeyCode::BackTab | KeyCode::Left => {
                self.show((self.number() + View::ALL.len() - 1) % View::ALL.len());
            }
            KeyCode::Enter => (self.details, self.scroll) = (!self.details && rows > 0, 0),
            KeyCode::Down | KeyCode::Char('j') if self.details => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') if self.details => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.row = self.row.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.row = self.row.saturating_sub(1),
            KeyCode::PageDown => self.row = self.row.saturating_add(PAGE),
            KeyCode::PageUp => self.row = self.row.saturating_sub(PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.row = 0,
            KeyCode::End | KeyCode::Char('G') => self.row = usize::MAX,
            _ => {}
        }
        self.row = self.row.min(rows.saturating_sub(1));
        Effect::Nothing
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < FILTER => self.filter.push(c),
            _ => {}
        }
        self.row = 0;
    }

    fn number(&self) -> usize {
        View::ALL.iter().position(|view| *view == self.view).unwrap_or(0)
    }

    /// Goes to a view, which begins as it is usual there.
    pub(crate) fn show(&mut self, number: usize) {
        let view = View::ALL[number.min(View::ALL.len() - 1)];
        if view != self.view {
            (self.view, self.sort, self.descending, self.row, self.details) = (view, 0, false, 0, false);
        }
    }
}
