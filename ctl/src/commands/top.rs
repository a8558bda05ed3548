//! `top`: hosts, services, rollouts, instances, GPUs, events and traffic in a terminal, asked for again and again.

use std::future::Future;
use std::io::IsTerminal as _;
use std::pin::Pin;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyEventKind};
use ratatui::crossterm::terminal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use windlass_core::EnvironmentId;
use windlass_process::report::chain;

use crate::args::{Global, TopArgs};
use crate::client::Client;
use crate::clock;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::top::{About, Action, Asked, Effect, Keys, News, Screen, Snapshot, State, View};
use crate::top::{act, draw, feed, text};

/// The interval at which ages are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// The deadline of an action.
const PATIENCE: Duration = Duration::from_secs(20);
/// A screen that is older than this, and than two intervals, is not shown any more.
const STALE: Duration = Duration::from_secs(10);
/// News that wait to be drawn.
const WAITING: usize = 4;
/// Columns of a frame that no terminal shows.
const WIDTH: u16 = 160;

/// The reason why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    #[error("`top` needs a terminal")]
    NoTerminal,
    #[error("the terminal cannot be used")]
    Terminal(#[from] std::io::Error),
}

impl Failure for TopError {
    fn hint(&self) -> Option<String> {
        Some("`windlass top --once` prints one frame, `windlass top -o json` the data".to_owned())
    }
}

pub(super) async fn run(args: &TopArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let environment = global.environment.as_ref();
    let fleet = &context.config.fleet;
    let is_frame = printer.is_structured() || args.once;
    let about = About {
        has_keys: !is_frame,
        text: format!("{fleet} as {}", context.config.server),
        is_production: environment.map_or(fleet.as_str(), EnvironmentId::as_str).starts_with("prod"),
        stale_after: STALE.max(args.interval.duration() * 2),
    };
    let mut state = State::default();
    let view = args.view.map_or(View::Hosts, View::from);
    state.show(View::ALL.iter().position(|of| *of == view).unwrap_or(0));
    state.filter = args.filter.clone().unwrap_or_default();
    if is_frame {
        let snapshot = Snapshot::ask(&mut session.client(), environment).await?;
        let width = terminal::size().map_or(WIDTH, |(width, _)| width.max(40));
        let width = if std::io::stdout().is_terminal() { width } else { WIDTH };
        printer.document(&snapshot, |_| {
            let mut asked = Asked::default();
            let mut wanted = state.wanted(0, environment);
            wanted.limit = usize::MAX;
            asked.take(snapshot.screen(&wanted), snapshot.at, snapshot.at);
            match text(&asked, &state, &about, width, snapshot.at) {
                Ok(frame) => frame + "\n",
                Err(never) => match never {},
            }
        });
        return Ok(Exit::Done);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(TopError::NoTerminal.into());
    }
    watch_fleet(session, state, about, args.interval.duration(), environment, printer).await?;
    Ok(Exit::Done)
}

/// The event that woke the loop.
enum Woken {
    Typed(Option<Event>),
    News(Option<News>),
    Acted(String),
    Time,
    Again,
    Stopped,
}

/// An action under way.
type Acting = Option<Pin<Box<dyn Future<Output = String> + Send>>>;

async fn watch_fleet(
    session: Session,
    mut state: State,
    about: About,
    every: Duration,
    environment: Option<&EnvironmentId>,
    printer: &Printer,
) -> Result<(), TopError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (mut hangup, mut resumed) = (signal(SignalKind::hangup())?, signal(SignalKind::from_raw(SIGCONT))?);
    let mut client = session.client();
    let mut screen = Screen::take()?;
    let mut keys = Keys::read()?;
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = Asked::default();
    let wanted = watch::Sender::new(state.wanted(screen.height()?, environment));
    let (tell, mut told) = mpsc::channel(WAITING);
    let mut feeding = Box::pin(feed(session, wanted.subscribe(), every, tell));
    let mut acting: Acting = None;
    loop {
        let colour = printer.colour();
        screen.terminal().draw(|frame| draw(frame, &state, &asked, &about, clock::now(), colour))?;
        let now_wanted = state.wanted(screen.height()?, environment);
        wanted.send_if_modified(|wanted| {
            let changed = *wanted != now_wanted;
            *wanted = now_wanted;
            changed
        });
        let woken = tokio::select! {
            biased;
            _ = terminate.recv() => Woken::Stopped,
            _ = interrupt.recv() => Woken::Stopped,
            _ = hangup.recv() => Woken::Stopped,
            _ = resumed.recv() => Woken::Again,
            typed = keys.next() => Woken::Typed(typed),
            words = under_way(&mut acting) => Woken::Acted(words),
            news = told.recv() => Woken::News(news),
            () = &mut feeding => Woken::Stopped,
            _ = redraw.tick() => Woken::Time,
        };
        match woken {
            Woken::Stopped | Woken::Typed(None) | Woken::News(None) => return Ok(()),
            Woken::Again => screen.again()?,
            Woken::Typed(Some(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                match state.key(key, asked.screen.as_ref()) {
                    Effect::Quit => return Ok(()),
                    Effect::Act(action) if acting.is_none() => {
                        acting = Some(Box::pin(done(client.clone(), action)));
                    }
                    Effect::Act(_) => {
                        state.note = Some("the action before this one is not answered yet".to_owned());
                    }
                    Effect::Nothing => {}
                }
            }
            Woken::Typed(Some(_)) | Woken::Time => {}
            Woken::Acted(words) => (acting, state.note) = (None, Some(words)),
            Woken::News(Some(news)) => match news {
                News::Screen(screen, at) => asked.take(*screen, at, clock::now()),
                News::Same(at) => asked.still(at, clock::now()),
                News::Problem(problem) => asked.problem = Some(problem),
                News::Client(newest) => client = *newest,
            },
        }
    }
}

/// The end of the action under way; waits for ever without one.
async fn under_way(acting: &mut Acting) -> String {
    match acting {
        Some(acting) => acting.await,
        None => std::future::pending().await,
    }
}

/// Does it, and says what came of it: the coordinator's words if it refused.
async fn done(mut client: Client, action: Action) -> String {
    match timeout(PATIENCE, act(&mut client, &action)).await {
        Ok(Ok(words)) => words,
        Ok(Err(error)) => match error.hint() {
            Some(hint) => format!("{}; {hint}", chain(&error)),
            None => chain(&error),
        },
        Err(_) => "no answer in time: look whether it was done".to_owned(),
    }
}

/// SIGCONT, on every platform that we run on.
const SIGCONT: i32 = 18;
