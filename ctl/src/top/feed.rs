//! Screens of the coordinator, one stream at a time, for as long as somebody looks. A coordinator that has no such stream is asked
//! for its lists instead, and the screen is cut here.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use windlass_core::Timestamp;
use windlass_core::view::{ScreenView, Wanted};
use windlass_process::report::chain;

use super::Snapshot;
use crate::client::{CallError, Client};
use crate::clock;
use crate::session::Session;

/// The deadline of an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after the last key: a filter that is typed is one question.
const TYPED: Duration = Duration::from_millis(150);

/// A message of the feed.
pub(crate) enum News {
    /// A screen, and when it was so by the coordinator's clock.
    Screen(Box<ScreenView>, Timestamp),
    /// The screen before is still so.
    Same(Timestamp),
    /// There is none, and why.
    Problem(String),
    /// The connection that actions go over.
    Client(Box<Client>),
}

/// Tells what is `wanted`, every so often, until nobody listens.
pub(crate) async fn feed(
    mut session: Session,
    mut wanted: watch::Receiver<Wanted>,
    every: Duration,
    tell: mpsc::Sender<News>,
) {
    let mut is_old = false;
    loop {
        let now = wanted.borrow_and_update().clone();
        // A certificate that ends meanwhile is renewed. Not within what a key may cancel.
        let problem = match timeout(PATIENCE, session.keep_fresh()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let mut client = session.client();
        if tell.send(News::Client(Box::new(client.clone()))).await.is_err() {
            return;
        }
        let round = async {
            let ended = match problem {
                Some(problem) => Err(Ended::Problem(problem)),
                None if is_old => lists(&mut client, &now, &tell).await,
                None => screens(&mut client, &now, every, &tell).await,
            };
            match ended {
                Ok(()) => {}
                Err(Ended::Unheard) => return Some(Ended::Unheard),
                Err(Ended::Old) => return Some(Ended::Old),
                Err(Ended::Problem(problem)) => {
                    if tell.send(News::Problem(problem)).await.is_err() {
                        return Some(Ended::Unheard);
                    }
                    sleep(every).await;
                }
            }
            if is_old {
                sleep(every).await;
            }
            None
        };
        let ended = tokio::select! {
            biased;
            changed = wanted.changed() => match changed {
                Ok(()) => {
                    sleep(TYPED).await;
                    None
                }
                Err(_) => Some(Ended::Unheard),
            },
            ended = round => ended,
        };
        match ended {
            Some(Ended::Unheard) => return,
            Some(Ended::Old) => is_old = true,
            Some(Ended::Problem(_)) | None => {}
        }
    }
}

/// The reason why a round of asking is over.
enum Ended {
    /// Nobody listens any more.
    Unheard,
    /// The coordinator has no such stream.
    Old,
    /// No answer.
    Problem(String),
}

impl From<CallError> for Ended {
    fn from(error: CallError) -> Self {
        if error.is_unimplemented() { Self::Old } else { Self::Problem(chain(&error)) }
    }
}

fn late<T>(_: T) -> Ended {
    Ended::Problem("no answer in time".to_owned())
}

/// One stream, up to the end of its lease.
async fn screens(
    client: &mut Client,
    wanted: &Wanted,
    every: Duration,
    tell: &mpsc::Sender<News>,
) -> Result<(), Ended> {
    let mut stream = timeout(PATIENCE, client.fleet(wanted, every)).await.map_err(late)??;
    let mut heard = false;
    while let Some((screen, at)) = timeout(PATIENCE + every, stream.next()).await.map_err(late)?? {
        heard = true;
        let news = match screen {
            Some(screen) => News::Screen(Box::new(screen), at),
            None => News::Same(at),
        };
        tell.send(news).await.map_err(|_| Ended::Unheard)?;
    }
    if heard { Ok(()) } else { Err(Ended::Problem("the coordinator answered with nothing".to_owned())) }
}

/// The lists, once.
async fn lists(client: &mut Client, wanted: &Wanted, tell: &mpsc::Sender<News>) -> Result<(), Ended> {
    let asked = timeout(PATIENCE, Snapshot::ask(client, wanted.environment.as_ref())).await;
    let snapshot = asked.map_err(late)??;
    let news = News::Screen(Box::new(snapshot.screen(wanted)), clock::now());
    tell.send(news).await.map_err(|_| Ended::Unheard)
}
