//! The emulator's monitor protocol: one JSON object per line over a Unix socket.
//!
//! Reading and writing are separate halves. The reading half turns lines into [`Message`]s for the
//! supervisor's one queue; the writing half numbers commands, so that an answer finds its question.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What the emulator said.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// It is there, and waits for the capabilities.
    Greeting,
    /// Something happened in the machine.
    Event {
        /// Its name, such as `SHUTDOWN`.
        name: String,
        /// What it carries.
        data: Value,
    },
    /// The answer to a command.
    Answer {
        /// The number that [`Qmp::send`] gave.
        id: u64,
        /// What came back, or the error's text.
        result: Result<Value, String>,
    },
    /// It says nothing any more.
    Closed,
}

/// Reads one line; `None` if it is none of the protocol's objects.
pub fn parse(line: &str) -> Option<Message> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    if value.get("QMP").is_some() {
        return Some(Message::Greeting);
    }
    if let Some(name) = value.get("event").and_then(Value::as_str) {
        return Some(Message::Event { name: name.to_owned(), data: value["data"].take() });
    }
    let id = value.get("id")?.as_u64()?;
    let result = match value.get("error") {
        Some(error) => Err(error.get("desc").and_then(Value::as_str).unwrap_or("error").to_owned()),
        None => Ok(value.get_mut("return").map(Value::take)?),
    };
    Some(Message::Answer { id, result })
}

/// Everything that went over the wire, in a file.
#[derive(Clone)]
struct Log(Arc<Mutex<File>>);

impl Log {
    fn line(&self, direction: &str, text: &str) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The log is a help for people; a run does not fail for it.
        let _ = writeln!(file, "{{\"{direction}\":{}}}", text.trim_end());
    }
}

/// The writing half.
pub struct Qmp {
    socket: UnixStream,
    log: Log,
    next: u64,
}

impl Qmp {
    /// Takes our end of the socket. Messages go to `sink` from a thread of their own, until it
    /// returns false or the emulator closes its end.
    pub fn start(
        socket: UnixStream,
        log: &Path,
        mut sink: impl FnMut(Message) -> bool + Send + 'static,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let log = Log(Arc::new(Mutex::new(file)));
        let reader = BufReader::new(socket.try_clone().context("cannot share the QMP socket")?);
        let received = log.clone();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                received.line("received", &line);
                if let Some(message) = parse(&line)
                    && !sink(message)
                {
                    return;
                }
            }
            sink(Message::Closed);
        });
        Ok(Qmp { socket, log, next: 1 })
    }

    /// Sends a command, and returns the number its answer will carry.
    pub fn send(&mut self, command: &str, arguments: Value) -> std::io::Result<u64> {
        let id = self.next;
        self.next += 1;
        let mut message = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let line = message.to_string();
        self.log.line("sent", &line);
        self.socket.write_all(line.as_bytes())?;
        self.socket.write_all(b"\n")?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        assert_eq!(parse(r#"{"QMP": {"version": {}, "capabilities": []}}"#), Some(Message::Greeting));
        assert_eq!(
            parse(r#"{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}, "timestamp": {}}"#),
            Some(Message::Event { name: "SHUTDOWN".into(), data: json!({"reason": "guest-reset"}) })
        );
        assert_eq!(
            parse(r#"{"return": {}, "id": 7}"#),
            Some(Message::Answer { id: 7, result: Ok(json!({})) })
        );
        assert_eq!(
            parse(r#"{"id": 8, "error": {"class": "GenericError", "desc": "no"}}"#),
            Some(Message::Answer { id: 8, result: Err("no".into()) })
        );
        assert_eq!(parse("not json"), None);
        assert_eq!(parse(r#"{"return": {}}"#), None);
    }

    #[test]
    fn commands_and_answers_meet() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut qmp =
            Qmp::start(ours, &folder.path().join("qmp.jsonl"), move |message| sender.send(message).is_ok())
                .unwrap();
        let id = qmp.send("stop", Value::Null).unwrap();
        let mut line = String::new();
        let mut far = BufReader::new(theirs);
        far.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), json!({"execute": "stop", "id": id}));
        far.get_mut().write_all(format!("{{\"return\": {{}}, \"id\": {id}}}\n").as_bytes()).unwrap();
        assert_eq!(receiver.recv().unwrap(), Message::Answer { id, result: Ok(json!({})) });
    }
}
