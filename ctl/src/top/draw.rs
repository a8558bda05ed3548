//! A frame, from what was asked and what was typed. Pure.

use std::time::Duration;

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph, Row as TableRow, Table, TableState, Wrap};
use windlass_core::Timestamp;
use windlass_core::time::display_duration;
use windlass_core::view::ScreenView;

use super::act::Verb;
use super::row::{Row, Tone};
use super::rows::{rows, short_names};
use super::state::Confirm;
use super::{Asked, State, View};
use crate::printer::Colour;

/// Columns of the widest cell that is not the last one.
const WIDEST: u16 = 40;
/// Columns between two cells.
const SPACING: u16 = 2;
/// Columns for names of GPUs in full.
const WIDE: u16 = 120;
/// Columns that words in the last cell need.
const LAST: u16 = 16;
const HELP: &str = "1-8, Tab  view          /   filter          Enter  details\n\
                    j k g G   row           s   sort by next    S      the other way round\n\
                    Esc       back          ?   this            q      quit\n\
                    \n\
                    Of the service in the marked row, each confirmed by its name:\n\
                    a  abort its rollout    p   pause it        u      let it go on\n\
                    P  promote it           r   roll the service back\n";

/// The words of the first line.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// The fleet, and the way to it.
    pub(crate) text: String,
    /// Whether it is one that people depend on.
    pub(crate) is_production: bool,
    /// Whether somebody types: the views have the numbers of their keys.
    pub(crate) has_keys: bool,
    /// The age from which on a screen is not shown any more.
    pub(crate) stale_after: Duration,
}

/// Draws everything.
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    state: &State,
    asked: &Asked,
    about: &About,
    now: Timestamp,
    colour: Colour,
) {
    let areas = Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)]);
    let [head, body, foot] = areas.areas(frame.area());
    let age = asked.at.map(|(_, told)| now.since(told));
    frame.render_widget(
        Paragraph::new(vec![title(asked, about, age, colour), tabs(state, head.width, about, colour)]),
        head,
    );
    let fresh = asked.screen.as_ref().filter(|_| age.is_some_and(|age| age <= about.stale_after));
    let screen = fresh.filter(|screen| screen.board == state.view);
    let found = match (screen, asked.at) {
        (Some(screen), Some((at, told))) => {
            // Ages are by the clock of the coordinator, which sets the times that are shown.
            let mut found = rows(screen, at + now.since(told));
            if screen.board == View::Gpus && body.width < WIDE {
                found.iter_mut().for_each(short_names);
            }
            table(frame, body, state, screen, &found, colour);
            found
        }
        _ => {
            let words = if fresh.is_some() { "\n...".to_owned() } else { silence(asked, age) };
            frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: false }), body);
            Vec::new()
        }
    };
    frame.render_widget(Paragraph::new(footer(state, screen, colour)), foot);
    let shown = screen.and_then(|screen| found.get(state.row.checked_sub(screen.from)?));
    if let Some(confirm) = &state.confirm {
        popup(frame, body, "confirm: Enter, Esc", &question(confirm), 0);
    } else if state.help {
        popup(frame, body, "keys", HELP, 0);
    } else if let Some(row) = shown.filter(|_| state.details) {
        popup(frame, body, "details: j k, Esc", &row.details, state.scroll);
    }
}

/// One frame as text, as high as it has to be.
pub(crate) fn text(
    asked: &Asked,
    state: &State,
    about: &About,
    width: u16,
    now: Timestamp,
) -> Result<String, std::convert::Infallible> {
    let count = asked.screen.as_ref().map_or(0, |screen| screen.rows.len());
    let height = u16::try_from(count + 4).unwrap_or(u16::MAX).min(2000);
    let mut terminal = Terminal::new(TestBackend::new(width, height))?;
    terminal.draw(|frame| draw(frame, state, asked, about, now, Colour::Off))?;
    let buffer = terminal.backend().buffer();
    let line = |y: u16| -> String {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    Ok((0..height - 1).map(line).collect::<Vec<_>>().join("\n"))
}

fn title<'a>(asked: &Asked, about: &'a About, age: Option<Duration>, colour: Colour) -> Line<'a> {
    let style = if about.is_production { paint(Color::Red, colour) } else { Style::new() };
    let mut parts =
        vec![Span::styled("windlass top  ", Modifier::BOLD), Span::styled(about.text.as_str(), style)];
    if let Some(screen) = &asked.screen {
        let (up, hosts, moving) = (screen.hosts_up, screen.hosts, screen.moving);
        parts.push(Span::raw(format!("  {up}/{hosts} hosts up  {moving} rollouts under way")));
    }
    if let (Some(age), true) =
        (age, asked.problem.is_some() || age.is_some_and(|age| age > about.stale_after))
    {
        parts.push(Span::styled(format!("  stale {}", whole(age)), paint(Color::Red, colour)));
    }
    Line::from(parts)
}

fn tabs(state: &State, width: u16, about: &About, colour: Colour) -> Line<'static> {
    let names: usize = View::ALL.iter().map(|view| view.name().len() + 5).sum();
    let is_narrow = names > usize::from(width);
    let mut before = false;
    let tab = |(number, view): (usize, &View)| {
        let is_shown = *view == state.view;
        let style = if is_shown { paint(Color::Cyan, colour) } else { Style::new() };
        let name = match about.has_keys {
            true => format!("{} {}", number + 1, view.name()),
            // Without keys a number would look like a count.
            false => view.name().to_owned(),
        };
        let text = match (is_shown, is_narrow) {
            (true, false) => format!("[{name}] "),
            (false, false) => format!(" {name}  "),
            (true, true) => format!("[{name}]"),
            // One column between two names, which a bracket may have.
            (false, true) if before => name,
            (false, true) => format!(" {name}"),
        };
        before = is_shown;
        Span::styled(text, style)
    };
    View::ALL.iter().enumerate().map(tab).collect()
}

/// In the place of figures that are old, or that never came.
fn silence(asked: &Asked, age: Option<Duration>) -> String {
    let why = asked.problem.as_deref().unwrap_or("it was asked and has not answered yet");
    match age {
        Some(age) => format!(
            "\nThe coordinator has not answered for {}: {why}\n\nWhat was shown is not known to be so any more.",
            whole(age)
        ),
        None => format!("\nWaiting for the coordinator: {why}"),
    }
}

fn whole(age: Duration) -> String {
    display_duration(Duration::from_secs(age.as_secs()))
}

fn paint(color: Color, colour: Colour) -> Style {
    let style = Style::new().add_modifier(Modifier::BOLD);
    if colour == Colour::On { style.fg(color) } else { style }
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    screen: &ScreenView,
    found: &[Row],
    colour: Colour,
) {
    let names = screen.board.columns();
    let headers = names.iter().enumerate().map(|(index, name)| {
        let mark = match (index == state.sort, state.descending) {
            (false, _) => "",
            (true, false) => " ▲",
            (true, true) => " ▼",
        };
        format!("{name}{mark}")
    });
    let headers: Vec<String> = headers.collect();
    let shown = fitting(&headers, found, area.width);
    let widths = shown.iter().map(|(_, width)| width.map_or(Constraint::Fill(1), Constraint::Length));
    let widths: Vec<Constraint> = widths.collect();
    let rows = found.iter().map(|row| {
        let style = match (row.tone, colour) {
            (Tone::Well, _) | (_, Colour::Off) => Style::new(),
            (Tone::Moving, Colour::On) => Style::new().fg(Color::Yellow),
            (Tone::Bad, Colour::On) => Style::new().fg(Color::Red),
        };
        let cells = shown.iter().filter_map(|(index, _)| row.cells.get(*index));
        TableRow::new(cells.map(String::as_str)).style(style)
    });
    let table = Table::new(rows, widths)
        .header(TableRow::new(shown.iter().map(|(index, _)| headers[*index].as_str())).style(Modifier::BOLD))
        .column_spacing(SPACING)
        .row_highlight_style(Modifier::REVERSED);
    // The part that was asked for may not have come yet: nothing is marked then.
    let last = screen.found.saturating_sub(1);
    let marked = state.row.min(last).checked_sub(screen.from).filter(|row| *row < found.len());
    // The rows stand still while the marked one moves within a page.
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let above = marked.map_or(0, |row| row / height * height);
    let mut at = TableState::new().with_offset(above).with_selected(marked);
    frame.render_stateful_widget(table, area, &mut at);
}

/// The columns that there is room for, with their width; the last one has the rest. Where that is too little for words, the
/// ones before it give way.
fn fitting(headers: &[String], found: &[Row], width: u16) -> Vec<(usize, Option<u16>)> {
    let last = headers.len().saturating_sub(1);
    let widest = |(index, header): (usize, &String)| {
        let cells = found.iter().filter_map(|row| row.cells.get(index)).map(|cell| cell.chars().count());
        let widest = cells.chain([header.chars().count()]).max().unwrap_or(0);
        u16::try_from(widest).unwrap_or(WIDEST).min(WIDEST)
    };
    let words = headers.last().map_or(LAST, |header| widest((last, header)).min(LAST));
    let before = headers.iter().enumerate().take(last).map(|column| (column.0, Some(widest(column))));
    let mut shown: Vec<(usize, Option<u16>)> = before.collect();
    let taken = |shown: &[(usize, Option<u16>)]| -> u16 {
        shown.iter().map(|(_, width)| width.unwrap_or(0) + SPACING).fold(0, u16::saturating_add)
    };
    while shown.len() > 3 && taken(&shown).saturating_add(words) > width {
        shown.pop();
    }
    shown.push((last, None));
    shown
}

fn footer(state: &State, screen: Option<&ScreenView>, colour: Colour) -> Line<'static> {
    if state.typing {
        return Line::from(format!("/{}_   Enter: keep  Esc: no filter", state.filter));
    }
    if let Some(note) = &state.note {
        return Line::styled(crate::table::printable(note), Modifier::BOLD);
    }
    let filter = if state.filter.is_empty() { String::new() } else { format!("  /{}", state.filter) };
    let found = screen.map_or(0, |screen| screen.found);
    let mut parts = vec![Span::raw(format!("{found} rows{filter}  "))];
    if let Some(target) = screen.and_then(|screen| state.target(screen)) {
        let keys = Verb::ALL.map(|verb| format!("{} {}", verb.key(), verb.name())).join("  ");
        parts.push(match (target.may, colour) {
            (true, _) => Span::raw(format!("{keys}  ")),
            (false, Colour::On) => Span::styled(format!("({keys})  "), Modifier::DIM),
            (false, Colour::Off) => Span::raw(format!("({keys})  ")),
        });
    }
    parts.push(Span::raw("?: keys  q: quit"));
    Line::from(parts)
}

fn question(confirm: &Confirm) -> String {
    let (verb, service) = (confirm.action.verb, &confirm.action.target.service);
    format!("{service}\n{}.\n\nType {} to confirm: {}_\n", verb.effect(), service.name, confirm.typed)
}

fn popup(frame: &mut Frame<'_>, area: Rect, title: &str, text: &str, scroll: u16) {
    let [area] =
        Layout::horizontal([Constraint::Percentage(94)]).flex(ratatui::layout::Flex::Center).areas(area);
    let lines = u16::try_from(text.lines().count() + 2).unwrap_or(u16::MAX);
    let height = lines.min(area.height);
    let scroll = scroll.min(lines - height);
    let [area] =
        Layout::vertical([Constraint::Length(height)]).flex(ratatui::layout::Flex::Center).areas(area);
    frame.render_widget(Clear, area);
    let text = Paragraph::new(Text::raw(text)).scroll((scroll, 0));
    frame.render_widget(text.block(Block::bordered().title(title)), area);
}
