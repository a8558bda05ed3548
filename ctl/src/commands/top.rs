//! `top`: hosts, services, rollouts, instances, GPUs and events in a terminal, asked for again and again.

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyEventKind};
use ratatui::crossterm::terminal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};
use windlass_core::EnvironmentId;
use windlass_process::report::chain;

use crate::args::{Global, TopArgs};
use crate::clock;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::top::{Asked, Effect, Keys, Screen, Snapshot, State, View, draw, text};

/// The interval at which ages are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// The deadline of one look at everything.
const PATIENCE: Duration = Duration::from_secs(20);
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
    let about = format!("{} as {}", context.config.fleet, context.config.server);
    let mut state = State::default();
    let wanted = args.view.map_or(View::Hosts, View::from);
    state.show(View::ALL.iter().position(|view| *view == wanted).unwrap_or(0));
    state.filter = args.filter.clone().unwrap_or_default();
    let environment = global.environment.as_ref();
    if printer.is_structured() || args.once {
        let snapshot = Snapshot::ask(&mut session.client(), environment).await?;
        let width = terminal::size().map_or(WIDTH, |(width, _)| width.max(40));
        let width = if std::io::stdout().is_terminal() { width } else { WIDTH };
        printer.document(&snapshot, |_| match text(snapshot.clone(), &state, &about, width, clock::now()) {
            Ok(frame) => frame + "\n",
            Err(never) => match never {},
        });
        return Ok(Exit::Done);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(TopError::NoTerminal.into());
    }
    let shown = Shown { state, asked: Asked::default(), about, rows: 0 };
    watch(session, shown, args.interval.duration(), environment, printer).await?;
    Ok(Exit::Done)
}

/// The content of the screen.
struct Shown {
    state: State,
    asked: Asked,
    about: String,
    rows: usize,
}

/// The event that woke the loop.
enum Woken {
    Typed(Option<Event>),
    Answered(Box<Answer>),
    Time,
    Again,
    Stopped,
}

type Answer = (Session, Result<Snapshot, String>);

async fn watch(
    session: Session,
    mut shown: Shown,
    every: Duration,
    environment: Option<&EnvironmentId>,
    printer: &Printer,
) -> Result<(), TopError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (mut hangup, mut resumed) = (signal(SignalKind::hangup())?, signal(SignalKind::from_raw(SIGCONT))?);
    let mut screen = Screen::take()?;
    let mut keys = Keys::read()?;
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = Box::pin(ask(session, environment.cloned(), Duration::ZERO));
    loop {
        let colour = printer.colour();
        screen.terminal().draw(|frame| {
            shown.rows = draw(frame, &shown.state, &shown.asked, &shown.about, clock::now(), colour);
        })?;
        let woken = tokio::select! {
            biased;
            _ = terminate.recv() => Woken::Stopped,
            _ = interrupt.recv() => Woken::Stopped,
            _ = hangup.recv() => Woken::Stopped,
            _ = resumed.recv() => Woken::Again,
            typed = keys.next() => Woken::Typed(typed),
            answer = &mut asking => Woken::Answered(Box::new(answer)),
            _ = redraw.tick() => Woken::Time,
        };
        match woken {
            Woken::Stopped | Woken::Typed(None) => return Ok(()),
            Woken::Again => screen.again()?,
            Woken::Typed(Some(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                let columns = crate::top::columns(shown.state.view);
                match shown.state.key(key, shown.rows, columns) {
                    Effect::Quit => return Ok(()),
                    Effect::Nothing => {}
                }
            }
            Woken::Typed(Some(_)) | Woken::Time => {}
            Woken::Answered(answered) => {
                let (session, answer) = *answered;
                match answer {
                    Ok(snapshot) => shown.asked = Asked { snapshot: Some(snapshot), problem: None },
                    Err(problem) => shown.asked.problem = Some(problem),
                }
                asking = Box::pin(ask(session, environment.cloned(), every));
            }
        }
    }
}

/// SIGCONT, on every platform that we run on.
const SIGCONT: i32 = 18;

/// Asks for everything after a pause. A certificate that ends meanwhile is renewed.
async fn ask(mut session: Session, environment: Option<EnvironmentId>, pause: Duration) -> Answer {
    tokio::time::sleep(pause).await;
    let asked = timeout(PATIENCE, async {
        session.keep_fresh().await.map_err(|error| chain(&error))?;
        let answer = Snapshot::ask(&mut session.client(), environment.as_ref()).await;
        answer.map_err(|error| chain(&error))
    });
    let answer = asked.await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    (session, answer)
}
