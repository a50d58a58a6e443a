//! Starting the emulator, with its three channels: the console on its standard streams, QMP on a
//! socket that it inherits, and complaints on standard error, which go to a file.
//!
//! The socket is a pair made before the start: no path that could be too long, taken or left behind,
//! and nobody else who could connect.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Result;

use super::debugger::Debugger;
use super::folder::Folder;
use super::kill::Leash;
use super::plan::{Plan, shell_quoted};
use super::qmp::{Message, Qmp};
use crate::error::Classed;

/// Where an emulator's complaints go.
pub const STDERR: &str = "qemu.stderr";

/// Something came from the emulator.
pub enum Input {
    /// Bytes of the console.
    Console(Vec<u8>),
    /// The console is closed.
    ConsoleClosed,
    /// A message of the monitor.
    Qmp(Message),
}

/// An emulator that was started, and waits for `cont`.
pub struct Emulator {
    /// Its life.
    pub leash: Leash,
    /// Its keyboard.
    pub typing: Option<ChildStdin>,
    /// Everything that comes from it, in one queue.
    pub inputs: Receiver<Input>,
    /// Its monitor.
    pub qmp: Qmp,
    /// Its debugger, if the run needs one.
    pub debugger: Option<Debugger>,
}

/// Creates a file of a run.
pub fn create(folder: &Folder, name: &str) -> Result<File> {
    let path = folder.file(name);
    File::create(&path).or_environment(|| format!("cannot create {}", path.display()))
}

impl Emulator {
    /// Starts it. With `debugging` it also listens for a debugger.
    pub fn start(plan: &Plan, folder: &Folder, arguments: &[String], debugging: bool) -> Result<Self> {
        if debugging {
            port_is_free(DEBUGGER_PORT)?;
        }
        let (ours, theirs) = UnixStream::pair().or_environment(|| "cannot make a socket for QMP".into())?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(plan.binary());
        command.args(arguments);
        // The machine waits, so that no QMP event comes before somebody listens.
        command.args(["-S", "-monitor", "none"]);
        if plan.random {
            // Nobody knows whether a kernel will hold still: what it leaves is read when all is over.
            command.arg("-no-shutdown");
        }
        command.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        command.arg("-chardev").arg(format!("socket,id=qmp,fd={}", theirs.as_raw_fd()));
        command.args(["-mon", "chardev=qmp,mode=control"]);
        let mut inherit = vec![theirs];
        let mut debugger = None;
        if debugging {
            command.arg("-gdb").arg(format!("tcp::{DEBUGGER_PORT}"));
        } else if plan.needs_debugger() {
            let (ours, theirs) =
                UnixStream::pair().or_environment(|| "cannot make a socket for the debugger".into())?;
            let theirs = OwnedFd::from(theirs);
            command.arg("-chardev").arg(format!("socket,id=debugger,fd={}", theirs.as_raw_fd()));
            command.args(["-gdb", "chardev:debugger"]);
            inherit.push(theirs);
            debugger = Some(Debugger::new(ours)?);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(create(folder, STDERR)?);
        let binary = plan.binary();
        let mut leash = Leash::spawn(&mut command, inherit).or_environment(|| {
            format!("cannot start {}; `cargo xtask setup` installs what is missing", binary.display())
        })?;
        // The command still owns the emulator's end of the socket: with it open, a dead emulator
        // would look like a silent one.
        drop(command);
        let (sender, inputs) = channel();
        if let Some(stdout) = leash.child().stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || pump(stdout, &sender));
        }
        let typing = leash.child().stdin.take();
        let qmp = Qmp::start(ours, &folder.file("qmp.jsonl"), move |message| {
            sender.send(Input::Qmp(message)).is_ok()
        })?;
        Ok(Emulator { leash, typing, inputs, qmp, debugger })
    }
}

fn pump(mut from: impl Read, to: &Sender<Input>) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => {
                let _ = to.send(Input::ConsoleClosed);
                return;
            }
            Ok(count) => {
                if to.send(Input::Console(buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
        }
    }
}

/// Where the emulator waits for a debugger.
const DEBUGGER_PORT: u16 = 1234;

/// Finds out before the start what the emulator would only say after it.
fn port_is_free(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port));
    listener.map(drop).or_environment(|| {
        format!("--gdb: port {port} of this machine, where the emulator waits for the debugger")
    })
}

/// The command that starts a debugger, for a person.
pub fn debugger_line(kernel: &Path) -> String {
    format!(
        "gdb-multiarch -ex 'target remote :{DEBUGGER_PORT}' {}",
        shell_quoted(&kernel.display().to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, class_of, one_line};

    #[test]
    fn a_port_in_use_is_named() {
        let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = port_is_free(port).unwrap_err();
        assert_eq!(class_of(&error), Exit::Environment);
        assert!(one_line(&error).starts_with(&format!("--gdb: port {port} of this machine")), "{error}");
        drop(listener);
        port_is_free(port).unwrap();
    }
}
