//! One emulator, from start to end: the console is read and typed on, QMP is spoken, three clocks
//! run (deadline, silence, and the guest's own `hold`), and everything is written to files as it
//! comes, so that a run that hangs has left its traces.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;
use crash_record::event::Stream;
use serde_json::{Value, json};

use super::debugger::Debugger;
use super::emulator::{Emulator, Input, STDERR, create};
use super::folder::Folder;
use super::inspect::{Inspection, Target};
use super::kill::Leash;
use super::plan::Plan;
use super::qmp::{Message, Qmp};
use super::{Ended, Evidence, Fate, Input as Given, Observer};
use crate::error::{Classed, environment};
use crate::events::{Event, EventLog};
use crate::scenario;

/// How long a QMP command may take: the emulator's main loop shares two busy cores.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long a guest that is meant to stay is watched after its `final` event.
const STAY: Duration = Duration::from_secs(2);
/// Bytes of console after which a run is out of its mind.
const CONSOLE_LIMIT: usize = 8 << 20;

/// An emulator that runs.
pub struct Session<'a> {
    plan: &'a Plan,
    folder: &'a Folder,
    observer: &'a mut dyn Observer,
    leash: Leash,
    typing: Option<ChildStdin>,
    inputs: Receiver<Input>,
    pub(super) qmp: Qmp,
    debugger: Option<Debugger>,
    /// Inputs whose event was seen, and when they are due.
    due: Vec<(Instant, usize)>,
    console_file: File,
    partial: Vec<u8>,
    console_bytes: usize,
    console_open: bool,
    qmp_open: bool,
    started: Instant,
    last_sound: Instant,
    /// When a guest that is meant to stay may be ended.
    stay_until: Option<Instant>,
    /// True while the runner itself has stopped the machine.
    pub(super) holding: bool,
    stopped: Option<String>,
    hold_due: Option<Event>,
    /// The machine is off, and stays to be looked at.
    is_off: bool,
    given: Vec<Given>,
    debugging: bool,
    log: EventLog,
    console: Vec<String>,
    shutdowns: Vec<String>,
    inspections: Vec<Inspection>,
    inspection_problems: Vec<String>,
    /// How often an input was put off, because the CPU that it is about was in firmware.
    put_off: u32,
}

/// How long an input is put off that finds its CPU in firmware, and how often at most: one that is there for good is
/// derailed there.
const PUT_OFF: Duration = Duration::from_millis(1);
const MOST_PUT_OFF: u32 = 100;

/// Starts the emulator, sees the run through, and returns what it left behind. `target` says what
/// to read when the guest holds. With `debugging` the machine waits for a debugger and
/// nothing is ever given up.
pub fn run(
    plan: &Plan,
    folder: &Folder,
    arguments: &[String],
    target: &Target,
    debugging: bool,
    observer: &mut dyn Observer,
) -> Result<Evidence> {
    let mut session = Session::start(plan, folder, arguments, debugging, observer)?;
    let ended = session.listen(target)?;
    session.leash.kill();
    session.drain();
    let stderr = std::fs::read(folder.file(STDERR)).unwrap_or_default();
    Ok(Evidence {
        log: session.log,
        console: session.console,
        ended,
        shutdowns: session.shutdowns,
        inspections: session.inspections,
        inspection_problems: session.inspection_problems,
        inputs: session.given,
        store: None,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        wall: session.started.elapsed(),
    })
}

/// What a process has had of the host's CPUs, which Linux tells in hundredths of a second.
fn worked(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok());
    Some(Duration::from_millis(10 * ticks.sum::<Option<u64>>()?))
}

fn waits(input: &scenario::Input) -> Given {
    Given { after: input.after.clone(), fate: Fate::Waits }
}

impl<'a> Session<'a> {
    fn start(
        plan: &'a Plan,
        folder: &'a Folder,
        arguments: &[String],
        debugging: bool,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        let Emulator { leash, typing, inputs, qmp, debugger } =
            Emulator::start(plan, folder, arguments, debugging)?;
        let console_file = create(folder, "console.log")?;
        let now = Instant::now();
        Ok(Session {
            plan,
            folder,
            observer,
            leash,
            typing,
            inputs,
            qmp,
            debugger,
            due: Vec::new(),
            console_file,
            partial: Vec::new(),
            console_bytes: 0,
            console_open: true,
            qmp_open: true,
            started: now,
            last_sound: now,
            stay_until: None,
            holding: false,
            stopped: None,
            hold_due: None,
            is_off: false,
            given: plan.scenario.input.iter().map(waits).collect(),
            debugging,
            log: EventLog::default(),
            console: Vec::new(),
            shutdowns: Vec::new(),
            inspections: Vec::new(),
            inspection_problems: Vec::new(),
            put_off: 0,
        })
    }

    /// The run itself.
    fn listen(&mut self, target: &Target) -> Result<Ended> {
        let mut greeted = false;
        loop {
            match self.inputs.recv_timeout(self.until_due(Duration::from_millis(20))) {
                Ok(Input::Qmp(Message::Greeting)) => {
                    greeted = true;
                    self.command("qmp_capabilities", Value::Null);
                    if !self.debugging {
                        self.command("cont", Value::Null);
                    }
                    self.last_sound = Instant::now();
                }
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
                // Nothing comes any more: it is about to exit.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
            }
            self.act_on_due(target);
            if let Some(event) = self.hold_due.take() {
                self.hold(target, &event);
            }
            if std::mem::take(&mut self.is_off) {
                self.look_at_the_end(target);
            }
            if let Some(status) = self.exit_status()? {
                self.drain();
                if !greeted || self.refused(status) {
                    return Err(self.did_not_start(status));
                }
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Exit(code),
                    (None, signal) => Ended::Signal(signal.unwrap_or(0)),
                });
            }
            if let Some(ended) = self.give_up() {
                return Ok(ended);
            }
        }
    }

    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.leash.child().try_wait().or_environment(|| "cannot wait for the emulator".into())
    }

    /// The emulator gave up before the guest could do anything, and says why.
    fn refused(&self, status: ExitStatus) -> bool {
        let silent = self.console_bytes == 0 && self.shutdowns.is_empty() && self.inspections.is_empty();
        silent
            && !status.success()
            && std::fs::metadata(self.folder.file(STDERR)).is_ok_and(|file| file.len() > 0)
    }

    fn did_not_start(&self, status: ExitStatus) -> anyhow::Error {
        let stderr = std::fs::read_to_string(self.folder.file(STDERR)).unwrap_or_default();
        let reason = match stderr.trim() {
            "" => status.to_string(),
            text => text.to_owned(),
        };
        environment(format!("{} did not start: {reason}", self.plan.binary().display()))
    }

    fn give_up(&mut self) -> Option<Ended> {
        if let Some(state) = self.stopped.take() {
            return Some(Ended::Stopped(state));
        }
        let now = Instant::now();
        if self.stay_until.is_some_and(|until| now >= until) {
            return Some(Ended::Stayed);
        }
        if self.debugging {
            return None;
        }
        let ended = if self.console_bytes > CONSOLE_LIMIT || now - self.started >= self.plan.deadline() {
            Ended::Deadline(now - self.started)
        } else if now - self.last_sound >= self.plan.idle() {
            Ended::Idle(self.plan.idle())
        } else {
            return None;
        };
        self.observer.note(self.started.elapsed(), "giving up; looking where every CPU is");
        self.last_look("registers-at-the-end.txt");
        Some(ended)
    }

    /// Takes one input. Never waits.
    fn take(&mut self, input: Input) {
        match input {
            Input::Console(bytes) => {
                self.last_sound = Instant::now();
                self.console_bytes += bytes.len();
                let _ = self.console_file.write_all(&bytes);
                self.partial.extend_from_slice(&bytes);
                while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = self.partial.drain(..=end).collect();
                    self.line(&line);
                }
            }
            Input::ConsoleClosed => {
                self.console_open = false;
                let rest = std::mem::take(&mut self.partial);
                if !rest.is_empty() {
                    self.line(&rest);
                }
            }
            Input::Qmp(Message::Event { name, data }) => self.monitor_event(&name, &data),
            Input::Qmp(Message::Closed) => self.qmp_open = false,
            Input::Qmp(Message::Answer { id, result }) => self.answered(id, result),
            Input::Qmp(Message::Greeting) => {}
        }
    }

    /// The answer to an input. The monitor for people is silent when it has done what it was told.
    fn answered(&mut self, id: u64, result: std::result::Result<Value, String>) {
        let Some(given) = self.given.iter_mut().find(|given| given.fate == Fate::Asked(id)) else { return };
        let objection = match &result {
            Ok(value) => value.as_str().map_or("", str::trim),
            Err(error) => error.as_str(),
        };
        given.fate = if objection.is_empty() { Fate::Given } else { Fate::Refused(objection.to_owned()) };
    }

    fn monitor_event(&mut self, name: &str, data: &Value) {
        match name {
            "SHUTDOWN" => {
                let reason = data.get("reason").and_then(Value::as_str).unwrap_or("unknown");
                // The second one of a run that was looked at when it was over is the runner's own.
                if !self.plan.random || self.shutdowns.is_empty() {
                    self.shutdowns.push(reason.to_owned());
                    self.is_off = self.plan.random;
                }
            }
            // Nobody asked for it: a fatal error of the accelerator, or a debugger.
            "STOP" if !self.holding && !self.debugging && self.shutdowns.is_empty() => {
                self.stopped = Some("stopped by the emulator".into());
            }
            _ => {}
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned();
        self.console.push(text.clone());
        let events = self.log.feed(self.console.len(), &text).to_vec();
        self.observer.line(self.started.elapsed(), &text, &events);
        for event in events {
            self.react(event);
        }
    }

    fn react(&mut self, event: Event) {
        for number in 0..self.given.len() {
            let input = &self.plan.scenario.input[number];
            if self.given[number].fate != Fate::Waits || !event.is(&input.after) {
                continue;
            }
            if input.delay_us > 0 || input.derail.is_some() || input.corrupt.is_some() {
                if self.due.iter().all(|(_, due)| *due != number) {
                    self.due.push((Instant::now() + Duration::from_micros(input.delay_us), number));
                }
                continue;
            }
            self.act(number);
        }
        if event.is("final") && self.plan.ending.stays {
            self.stay_until = Some(Instant::now() + STAY);
        }
        if event.is("hold") {
            self.hold_due = Some(event);
        }
    }

    /// Does what an input says, now. Never waits.
    fn act(&mut self, number: usize) {
        let input = &self.plan.scenario.input[number];
        let mut fate = Fate::Given;
        if let Some(text) = &input.send {
            self.observer.note(self.started.elapsed(), &format!("typing {text:?}"));
            self.type_bytes(text.as_bytes());
        }
        if let Some(command) = &input.qmp {
            self.observer.note(self.started.elapsed(), &format!("QMP {command}"));
            fate = self.command(command, Value::Null);
        }
        if let Some(line) = &input.monitor {
            self.observer.note(self.started.elapsed(), &format!("monitor: {line}"));
            fate = self.command("human-monitor-command", json!({ "command-line": line }));
        }
        self.given[number].fate = fate;
    }

    /// The time until the next input is due, `most` at the most.
    fn until_due(&self, most: Duration) -> Duration {
        let now = Instant::now();
        self.due.iter().map(|(due, _)| due.saturating_duration_since(now)).min().unwrap_or(most).min(most)
    }

    /// Does what has become due.
    fn act_on_due(&mut self, target: &Target) {
        let now = Instant::now();
        while let Some(place) = self.due.iter().position(|(due, _)| *due <= now) {
            let (_, number) = self.due.swap_remove(place);
            // The same event may come again while the machine is being stopped for the first one: that is not
            // another input, and must not put another fate in its place.
            if self.given[number].fate == Fate::Waits {
                self.act_at_rest(target, number);
            }
        }
    }

    /// The kernel that panics has made way for another one, or for nothing.
    fn has_left(&self) -> bool {
        let last = |event: &Event| event.kind == "end" && event.text("outcome") == "leaving";
        let mut panic = self.log.stream(Stream::Panic);
        panic.any(|event| last(event) || event.kind == "final")
            || self.log.stream(Stream::Capture).next().is_some()
    }

    /// Does what an input says while the machine stands still, if it is not too late by then: what the guest had
    /// printed before it stood still has been taken when that is answered.
    fn act_at_rest(&mut self, target: &Target, number: usize) {
        let input = &self.plan.scenario.input[number];
        self.holding = true;
        if let Err(error) = self.ask("stop", Value::Null) {
            self.given[number].fate = Fate::Refused(crate::error::one_line(&error));
        } else if self.has_left() && !input.after.starts_with("capture/") {
            self.given[number].fate = Fate::TooLate;
        } else if let Some(cpu) = input.derail
            && self.put_off < MOST_PUT_OFF
            && !self.in_kernel(cpu, target)
        {
            self.put_off += 1;
            self.due.push((Instant::now() + PUT_OFF, number));
        } else if let Some(cpu) = input.derail {
            self.observer.note(self.started.elapsed(), &format!("derailing CPU {cpu}"));
            let register = self.plan.machine.registers.debugger_pc;
            self.given[number].fate = self.debug(|debugger| debugger.write_register(cpu, register, [0; 8]));
        } else if let Some(damage) = target.damage(number) {
            let (bytes, at) = (damage.bytes.len(), damage.physical);
            let words = format!("writing over {bytes} bytes at {at:#x}");
            self.observer.note(self.started.elapsed(), &words);
            self.given[number].fate = self.debug(|debugger| debugger.write_memory(at, &damage.bytes));
        } else {
            self.act(number);
        }
        // An emulator that is gone is noticed by its exit.
        let _ = self.ask("cont", Value::Null);
        self.holding = false;
        self.last_sound = Instant::now();
    }

    /// Whether a CPU of a machine at rest is where this kernel can be torn out of its work.
    fn in_kernel(&mut self, cpu: u32, target: &Target) -> bool {
        let answer = self.ask("human-monitor-command", json!({ "command-line": "info registers -a" }));
        answer.is_ok_and(|text| target.in_kernel(cpu, text.as_str().unwrap_or_default()))
    }

    /// Has the debugger do something to the machine, which stands still.
    fn debug(&mut self, what: impl FnOnce(&mut Debugger) -> Result<()>) -> Fate {
        match self.debugger.as_mut().map(what) {
            None => Fate::Refused("there is no debugger".into()),
            Some(Ok(())) => Fate::Given,
            Some(Err(error)) => Fate::Refused(crate::error::one_line(&error)),
        }
    }

    /// The guest holds still and says so: look at it from outside, then let it go on.
    fn hold(&mut self, target: &Target, event: &Event) {
        self.observer.note(self.started.elapsed(), "the guest holds: reading its memory and registers");
        let number = self.inspections.len();
        match Inspection::take(self, target, event.stream, number) {
            Ok(inspection) => self.inspections.push(inspection),
            // It went off meanwhile, and is looked at when it is over.
            Err(_) if self.is_off => {}
            Err(error) => self.inspection_problems.push(crate::error::one_line(&error)),
        }
        self.type_bytes(b"g");
        self.last_sound = Instant::now();
        if self.stay_until.is_some() {
            self.stay_until = Some(Instant::now() + STAY);
        }
    }

    /// Reads what a machine that is off has left, and lets the emulator go.
    fn look_at_the_end(&mut self, target: &Target) {
        if self.inspections.is_empty() {
            match Inspection::at_the_end(self, target) {
                Ok(inspection) => self.inspections.push(inspection),
                Err(error) => self.inspection_problems.push(crate::error::one_line(&error)),
            }
        }
        self.command("quit", Value::Null);
    }

    fn type_bytes(&mut self, bytes: &[u8]) {
        if let Some(typing) = &mut self.typing {
            // A guest that is gone is noticed by its exit.
            let _ = typing.write_all(bytes).and_then(|()| typing.flush());
        }
    }

    fn command(&mut self, command: &str, arguments: Value) -> Fate {
        // An emulator that is gone is noticed by its exit.
        self.qmp.send(command, arguments).map_or(Fate::Waits, Fate::Asked)
    }

    /// Whether something was done to the machine from outside.
    pub(super) fn was_disturbed(&self) -> bool {
        self.given.iter().any(|given| given.fate != Fate::Waits)
    }

    /// The run's folder.
    pub(super) fn folder(&self) -> &Folder {
        self.folder
    }

    /// Sends a command and waits for its answer, while console and events go on being taken.
    pub(super) fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        Ok(self.ask_all(&[(command, arguments)])?.pop().unwrap_or_default())
    }

    /// The same for several, which the emulator does in their order: on a busy host each wait for an answer takes longer
    /// than what is asked. The first objection is the error; what was sent behind it is done all the same.
    pub(super) fn ask_all(&mut self, commands: &[(&str, Value)]) -> Result<Vec<Value>> {
        let mut waiting = VecDeque::new();
        for (command, arguments) in commands {
            let id = self.qmp.send(command, arguments.clone());
            waiting.push_back((id.or_environment(|| format!("QMP {command}"))?, *command));
        }
        let mut answers = Vec::new();
        let until = Instant::now() + ANSWER_LIMIT;
        while let Some(&(id, command)) = waiting.front() {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                let limit = ANSWER_LIMIT.as_secs();
                return Err(environment(format!("QMP {command}: no answer within {limit} s")));
            };
            match self.inputs.recv_timeout(left.min(Duration::from_millis(50))) {
                Ok(Input::Qmp(Message::Answer { id: answered, result })) if answered == id => {
                    answers.push(result.map_err(|error| environment(format!("QMP {command}: {error}")))?);
                    waiting.pop_front();
                }
                Ok(input) => self.take(input),
                Err(_) => {
                    if self.exit_status()?.is_some() {
                        return Err(environment(format!("QMP {command}: the emulator has exited")));
                    }
                }
            }
        }
        Ok(answers)
    }

    /// Lets the guest run for a moment.
    pub(super) fn let_run(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Ok(input) = self.inputs.recv_timeout(left) {
                self.take(input);
            }
        }
    }

    /// Lets the guest run until the emulator has had so much of the host's CPUs; ten times as long at the most, for one
    /// that needs none, and just as long where the host does not tell.
    pub(super) fn let_work(&mut self, time: Duration) {
        let (since, process) = (Instant::now(), self.leash.child().id());
        let before = worked(process);
        self.let_run(time);
        let enough = |now: Option<Duration>| {
            before.zip(now).is_none_or(|(before, now)| now.saturating_sub(before) >= time)
        };
        while !enough(worked(process)) && since.elapsed() < 10 * time {
            self.let_run(time / 4);
        }
    }

    /// Registers of a guest that is about to be killed, for whoever reads the folder.
    fn last_look(&mut self, name: &str) {
        self.holding = true;
        let answer = self.ask("human-monitor-command", json!({ "command-line": "info registers -a" }));
        if let Ok(Value::String(text)) = answer {
            let _ = self.folder.write(name, &text);
        }
    }

    /// Takes what is still in the pipes of a dead emulator.
    fn drain(&mut self) {
        let until = Instant::now() + Duration::from_secs(2);
        while (self.console_open || self.qmp_open) && Instant::now() < until {
            match self.inputs.recv_timeout(Duration::from_millis(50)) {
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while let Ok(input) = self.inputs.recv_timeout(Duration::from_millis(20)) {
            self.take(input);
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
