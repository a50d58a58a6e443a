//! No emulator, and no build, outlives the runner.
//!
//! Four ways a run can end early, four answers: an error or a panic here drops the [`Leash`], which
//! kills the process group; Ctrl-C, SIGTERM and SIGHUP kill every group on the list and exit; a
//! runner that is killed itself takes its children along by the parent-death signal; and a runner
//! that dies between fork and that call is noticed by the child.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal};

use crate::error::Classed;

/// The process groups that live now.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn groups() -> MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes Ctrl-C, SIGTERM and SIGHUP end every child before this program. Call once, at the start.
pub fn on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        // The list stays locked: nothing can be started between this and the exit.
        let groups = groups();
        for &group in groups.iter() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let killed = if groups.is_empty() { "" } else { "; what was started is ended" };
        eprintln!("\ninterrupted{killed}");
        std::process::exit(130);
    })
    .or_environment(|| "cannot install the signal handler".into())
}

/// A child in a process group of its own, which ends when this value does.
///
/// The child also dies with the *thread* that started it (that is what Linux ties the signal to), so
/// the starting thread has to stay for the whole run.
pub struct Leash {
    child: Child,
    group: Pid,
}

impl Leash {
    /// Starts a command.
    ///
    /// `inherit` are files that the child gets under the same numbers.
    pub fn spawn(command: &mut Command, inherit: Vec<OwnedFd>) -> std::io::Result<Self> {
        let parent = rustix::process::getpid();
        command.process_group(0);
        let prepare = move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(Errno::SRCH.into());
            }
            for file in &inherit {
                // Only here, in the child: another child of this program must not get it too.
                fcntl_setfd(file, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: the closure runs between fork and exec of a program with threads. It makes system
        // calls only, and neither allocates nor takes a lock.
        unsafe { command.pre_exec(prepare) };
        let mut groups = groups();
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        groups.push(group);
        Ok(Leash { child, group })
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends the whole group, at once.
    pub fn kill(&mut self) {
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // The leader may be gone while a member of its group is not. The group's number cannot have
        // been given to somebody else: the leader is reaped only below.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
            let _ = self.child.wait();
        }
        groups().retain(|&group| group != self.group);
    }
}

/// Runs a command to its end, on a leash.
pub fn status(command: &mut Command) -> std::io::Result<ExitStatus> {
    Leash::spawn(command, Vec::new())?.child().wait()
}

#[cfg(test)]
#[path = "kill_tests.rs"]
mod tests;
