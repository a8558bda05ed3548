//! The child: answers line by line on its output what it is asked on its input, until that ends.

use std::io::{self, BufRead, Read, Write};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::library::Library;
use super::{Answer, Question};

/// Longer lines are no questions.
const MAX_QUESTION: u64 = 64;

/// Serves until the agent has gone. Any call in here may hang; the agent ends this process then.
///
/// # Errors
/// Input or output broke.
pub fn serve() -> io::Result<()> {
    // An agent that dies takes it along, even out of a call that hangs.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut library = None;
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(MAX_QUESTION).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let question = serde_json::from_slice(&line)?;
        let answer = answer(question, &mut library);
        let is_last = matches!(answer, Answer::Nothing | Answer::Failed(_));
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line)?;
        output.flush()?;
        if is_last {
            return Ok(()); // a library that failed is loaded anew by another process
        }
    }
}

fn answer(question: Question, kept: &mut Option<Library>) -> Answer {
    let library = match kept {
        Some(library) => library,
        None => match Library::load() {
            Ok(Some(library)) => kept.insert(library),
            Ok(None) => return Answer::Nothing,
            Err(error) => return Answer::Failed(error.to_string()),
        },
    };
    match question {
        Question::Look => library.look().map_or_else(|error| Answer::Failed(error.to_string()), Answer::Seen),
    }
}
