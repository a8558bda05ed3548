//! One child and the talk with it, from the agent's side.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Answer, Look, Question, SUBCOMMAND, Seen};

/// Longest answer: some kilobytes per GPU.
const MAX_ANSWER: u64 = 1024 * 1024;
/// GPUs of one host that are believed, and characters of a text about them.
const MOST: (usize, usize) = (256, 256);
/// Errors of all of them in one look.
const XIDS: usize = 1024;
/// Processes of one GPU, and reasons why it is slow.
const LISTED: usize = 64;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// There is no library.
    #[error("there is no NVIDIA library")]
    NoLibrary,
    /// It does not work.
    #[error("the NVIDIA library does not work: {0}")]
    Failed(String),
    /// It knows GPUs as they were when it was loaded, and some of them are lost since.
    #[error("the NVIDIA library is loaded anew to look for GPUs that were lost")]
    Outdated,
    /// It hangs.
    #[error("the NVIDIA library has not answered for {} s", .0.as_secs())]
    Hangs(Duration),
    /// The child could not be started, or ended, or talked nonsense.
    #[error("the process that asks the NVIDIA library {0}")]
    Broken(String),
}

/// A child that can be asked.
#[derive(Debug)]
pub(super) struct Talk {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// This program, even if another one lies in its place by now.
pub(super) fn this_program() -> &'static OsStr {
    OsStr::new("/proc/self/exe")
}

/// Starts a child. It is killed when it is dropped, and nobody waits for its end but who does so.
pub(super) fn start(program: &OsStr) -> Result<(Child, Talk), NoAnswer> {
    let mut command = Command::new(program);
    command.arg(SUBCOMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| NoAnswer::Broken(format!("could not be started: {error}")))?;
    let both = child.stdin.take().zip(child.stdout.take());
    let (input, output) = both.ok_or_else(|| NoAnswer::Broken("has no pipes".to_owned()))?;
    Ok((child, Talk { input, output: BufReader::new(output) }))
}

impl Talk {
    /// Asks, and waits for the answer for ever: whoever asks has a deadline.
    pub(super) async fn ask(&mut self, question: Question) -> Result<Answer, NoAnswer> {
        let broken = |error: std::io::Error| NoAnswer::Broken(format!("went away: {error}"));
        let mut line = serde_json::to_vec(&question).map_err(|error| NoAnswer::Broken(error.to_string()))?;
        line.push(b'\n');
        self.input.write_all(&line).await.map_err(broken)?;
        let mut line = Vec::new();
        let output = &mut self.output;
        output.take(MAX_ANSWER).read_until(b'\n', &mut line).await.map_err(broken)?;
        if line.pop() != Some(b'\n') {
            return Err(NoAnswer::Broken("ended, or said too much".to_owned()));
        }
        let answer = serde_json::from_slice(&line);
        match bounded(answer.map_err(|error| NoAnswer::Broken(format!("talks nonsense: {error}")))?) {
            Answer::Nothing => Err(NoAnswer::NoLibrary),
            Answer::Failed(why) => Err(NoAnswer::Failed(why)),
            answer => Ok(answer),
        }
    }
}

fn bounded(answer: Answer) -> Answer {
    let (most, longest) = MOST;
    let short = |text: String| text.chars().take(longest).collect::<String>();
    match answer {
        Answer::Nothing => Answer::Nothing,
        Answer::Failed(why) => Answer::Failed(short(why)),
        Answer::Seen(mut look) => {
            look.driver.bound();
            look.gpus.truncate(most);
            look.stats.truncate(most);
            look.divided.truncate(most);
            look.broken.truncate(most);
            look.xids.truncate(XIDS);
            look.unwatched.truncate(most);
            let cut = |text: &mut String| *text = short(std::mem::take(text));
            for gpu in &mut look.gpus {
                cut(&mut gpu.uuid);
                cut(&mut gpu.name);
                gpu.parent.iter_mut().for_each(cut);
            }
            for stats in &mut look.stats {
                cut(&mut stats.uuid);
                stats.throttled.truncate(LISTED);
                stats.throttled.iter_mut().for_each(cut);
                stats.processes.truncate(LISTED);
            }
            look.divided.iter_mut().for_each(cut);
            for broken in &mut look.broken {
                broken.uuid.iter_mut().for_each(cut);
                cut(&mut broken.why);
            }
            look.xids.iter_mut().map(|xid| &mut xid.uuid).for_each(cut);
            for one in &mut look.unwatched {
                cut(&mut one.uuid);
                cut(&mut one.why);
            }
            Answer::Seen(look)
        }
    }
}

/// The GPUs of this host, asked once by a child of its own.
///
/// # Errors
/// There is no library, or no answer in time.
pub async fn ask_once(deadline: Duration) -> Result<Seen, NoAnswer> {
    let (_child, mut talk) = start(this_program())?;
    match timeout(deadline, talk.ask(Question::Look)).await {
        Ok(Ok(Answer::Seen(Look { gpus, driver, stats, .. }))) => {
            Ok(Seen { gpus, driver, stats, ..Seen::default() })
        }
        Ok(Ok(_)) => Err(NoAnswer::Broken("answers something else".to_owned())),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(NoAnswer::Hangs(deadline)),
    }
}
