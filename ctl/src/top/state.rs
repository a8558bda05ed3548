//! The state of the screen: view, row, words of the filter, and what is to be confirmed. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use windlass_core::EnvironmentId;
use windlass_core::view::{ROWS, ScreenView, Wanted};

use super::View;
use super::act::{Action, Target, Verb};

/// Characters of a filter.
const FILTER: usize = 64;
/// Rows that page keys go.
const PAGE: usize = 10;

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
            TopView::Routes => Self::Routes,
            TopView::Ingresses => Self::Ingresses,
        }
    }
}

/// The effect of a key beside a change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Quit,
    /// Somebody confirmed it.
    Act(Action),
}

/// An action that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) action: Action,
    /// The name, as far as it is typed.
    pub(crate) typed: String,
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
    /// Row that is marked, of all that fit the filter.
    pub(crate) row: usize,
    /// Whether the details of that row are open.
    pub(crate) details: bool,
    /// Lines of them that are above.
    pub(crate) scroll: u16,
    pub(crate) help: bool,
    pub(crate) confirm: Option<Confirm>,
    /// The outcome of the last action, until the next key.
    pub(crate) note: Option<String>,
}

impl State {
    /// Takes a key in, with what is on the screen now.
    pub(crate) fn key(&mut self, key: KeyEvent, screen: Option<&ScreenView>) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Effect::Quit;
        }
        self.note = None;
        let screen = screen.filter(|screen| screen.board == self.view);
        let rows = screen.map_or(0, |screen| screen.found);
        if let Some(confirm) = self.confirm.take() {
            return self.confirming(confirm, key.code);
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
            KeyCode::Char('s') => self.sort = (self.sort + 1) % self.view.columns().len(),
            KeyCode::Char('S') => self.descending = !self.descending,
            KeyCode::Char(digit @ '1'..='8') => self.show(usize::from(digit as u8 - b'1')),
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
            KeyCode::Char(letter) => {
                if let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.key() == letter) {
                    self.begin(verb, screen);
                }
            }
            _ => {}
        }
        self.row = self.row.min(rows.saturating_sub(1));
        Effect::Nothing
    }

    /// The part of the fleet that is to be asked for: the page of the marked row, with one before and one after.
    pub(crate) fn wanted(&self, height: u16, environment: Option<&EnvironmentId>) -> Wanted {
        let page = usize::from(height).clamp(PAGE, ROWS / 3);
        Wanted {
            board: self.view,
            filter: self.filter.clone(),
            sort: self.sort,
            descending: self.descending,
            from: (self.row / page).saturating_sub(1) * page,
            limit: page * 3,
            environment: environment.cloned(),
        }
    }

    /// Returns the subject of the marked row that an action would change.
    pub(crate) fn target(&self, screen: &ScreenView) -> Option<Target> {
        let row = self.row.checked_sub(screen.from).and_then(|row| screen.rows.get(row))?;
        Target::of(row, screen)
    }

    fn begin(&mut self, verb: Verb, screen: Option<&ScreenView>) {
        match screen.and_then(|screen| self.target(screen)) {
            None => {
                self.note = Some(format!("{}: mark a rollout, a service or an instance first", verb.name()))
            }
            Some(target) if !target.may => {
                let environment = &target.service.environment;
                self.note = Some(format!(
                    "{}: this needs role `deployer` in environment `{environment}`",
                    verb.name()
                ));
            }
            Some(target) => {
                let action = Action { verb, target };
                self.confirm = Some(Confirm { action, typed: String::new() });
            }
        }
    }

    fn confirming(&mut self, mut confirm: Confirm, code: KeyCode) -> Effect {
        match code {
            KeyCode::Enter if confirm.typed == confirm.action.target.service.name.as_str() => {
                self.note =
                    Some(format!("{} {}: asked", confirm.action.verb.name(), confirm.action.target.service));
                return Effect::Act(confirm.action);
            }
            KeyCode::Enter => self.note = Some("that is not its name: nothing was done".to_owned()),
            KeyCode::Esc => self.note = Some("nothing was done".to_owned()),
            KeyCode::Backspace => {
                confirm.typed.pop();
                self.confirm = Some(confirm);
            }
            KeyCode::Char(c) if confirm.typed.chars().count() < FILTER => {
                confirm.typed.push(c);
                self.confirm = Some(confirm);
            }
            _ => self.confirm = Some(confirm),
        }
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
