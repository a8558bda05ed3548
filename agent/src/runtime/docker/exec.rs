//! Commands in containers, each with an end: the engine cannot stop one, so what takes too long is killed here.
//!
//! The engine says which process it is. That works where engine and agent share a machine; the process is killed only if
//! its control group names the container, through a descriptor that stands for this very process.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep, timeout_at};

use super::super::{Command, RuntimeError};
use super::error::refused;

/// Time between two looks whether a command that has closed its output has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Time in which a killed command is gone.
const GONE: Duration = Duration::from_secs(1);

/// Runs a command; kills it when `limit` is over.
pub(super) async fn run(
    docker: &Docker,
    container: &str,
    argv: &[String],
    limit: Duration,
) -> Result<Command, RuntimeError> {
    let deadline = Instant::now() + limit;
    let late = |doing| RuntimeError::TimedOut { doing, after: limit };
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(argv.to_vec()),
        ..Default::default()
    };
    let made = timeout_at(deadline, docker.create_exec(container, options)).await;
    let exec = made.map_err(|_| late("prepare a command"))?.map_err(refused("prepare a command"))?.id;
    let running = async {
        let started = docker.start_exec(&exec, None).await.map_err(refused("run a command"))?;
        if let StartExecResults::Attached { mut output, .. } = started {
            // Its output is not kept.
            while let Some(Ok(_)) = output.next().await {}
        }
        loop {
            if let Some(code) = ended(docker, &exec).await? {
                return Ok(code);
            }
            sleep(LOOK).await;
        }
    };
    if let Ok(ended) = timeout_at(deadline, running).await {
        return ended.map(Command::Exited);
    }
    kill(docker, container, &exec).await;
    let gone = async {
        while ended(docker, &exec).await?.is_none() {
            sleep(LOOK).await;
        }
        Ok(Command::Killed)
    };
    timeout_at(Instant::now() + GONE, gone).await.unwrap_or(Ok(Command::GoesOn(exec)))
}

/// The exit code, once it has ended.
pub(super) async fn ended(docker: &Docker, exec: &str) -> Result<Option<i64>, RuntimeError> {
    match docker.inspect_exec(exec).await {
        Ok(seen) if seen.running == Some(true) => Ok(None),
        Ok(seen) => Ok(Some(seen.exit_code.unwrap_or(-1))),
        // The engine forgets those of containers that have ended.
        Err(error) if super::error::status(&error) == Some(404) => Ok(Some(-1)),
        Err(error) => Err(refused("ask how a command ended")(error)),
    }
}

async fn kill(docker: &Docker, container: &str, exec: &str) {
    let Ok(seen) = docker.inspect_exec(exec).await else { return };
    let Some(pid) = seen.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0) else { return };
    let container = container.to_owned();
    // Reading all of /proc takes milliseconds.
    let killed = tokio::task::spawn_blocking(move || kill_tree(pid, &container)).await;
    tracing::debug!(pid, killed = killed.unwrap_or(0), "a command in a container took too long");
}

/// Kills a process and what it started, as far as they are in the container. Answers how many.
fn kill_tree(root: i32, container: &str) -> usize {
    let parents = parents();
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        let children = parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid);
        let new: Vec<i32> = children.filter(|pid| !tree.contains(pid)).collect();
        tree.extend(new);
        at += 1;
    }
    tree.into_iter().filter(|pid| kill_one(*pid, container)).count()
}

fn kill_one(pid: i32, container: &str) -> bool {
    let Some(known) = Pid::from_raw(pid) else { return false };
    let Ok(process) = pidfd_open(known, PidfdFlags::empty()) else { return false };
    // Looked at after it was opened: the number cannot stand for another process any more.
    let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let ours = container.len() >= 12 && group.contains(container);
    ours && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

/// The parent of every process.
fn parents() -> BTreeMap<i32, i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parent(&stat)?))
    })
    .collect()
}

/// `17 (a name (with) spaces) S 4 …`: the fourth field.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_group_is_never_killed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(kill_tree(pid, "4f0c35b39e1f7c2e9b7c0e1a2f3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d"), 0);
        assert_eq!(kill_tree(pid, ""), 0, "an empty name is in every group");
        assert!(child.try_wait().unwrap().is_none(), "it runs");
        assert_eq!(parents().get(&pid).copied(), i32::try_from(std::process::id()).ok());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("17 (a) b (c) S 4 17 17 0"), Some(4));
        assert_eq!(parent("nonsense"), None);
    }
}
