//! A browser without a window, for tests: opens a page, presses keys, asks it questions, hears its errors.
//!
//! It is spoken to through two pipes, in messages that end with a NUL; a shell puts these where the browser
//! expects them, so nothing is needed beside it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One browser with one page.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    session: Option<String>,
    number: u64,
    problems: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it.
    pub fn start(program: &Path) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let to = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while output.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                let message = serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes));
                if message.is_err() || sender.send(message.unwrap_or_default()).is_err() {
                    return;
                }
                bytes.clear();
            }
        });
        let mut browser =
            Browser { child, to, from, session: None, number: 0, problems: Vec::new(), _profile: profile };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{message}\0").as_bytes()).unwrap();
        let started = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(started.elapsed());
            let answer = self.from.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    /// Keeps what a page must not do: throw, complain, or ask for anything from elsewhere.
    fn hear(&mut self, message: &Value) {
        let parameters = &message["params"];
        let problem = match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => {
                let details = &parameters["exceptionDetails"];
                let what = details["exception"]["description"].as_str().or(details["text"].as_str());
                format!("exception: {}", what.unwrap_or_default())
            }
            "Runtime.consoleAPICalled" if parameters["type"] != "log" => {
                format!("console.{}: {}", parameters["type"], parameters["args"])
            }
            "Log.entryAdded" => format!("log: {}", parameters["entry"]["text"]),
            "Network.requestWillBeSent" => match parameters["request"]["url"].as_str().unwrap_or_default() {
                url if url.starts_with("file:") || url.starts_with("data:") || url.starts_with("about:") => {
                    return;
                }
                url => format!("request: {url}"),
            },
            _ => return,
        };
        self.problems.push(problem);
    }

    /// Opens a page, and waits until it says what it shows.
    pub fn open(&mut self, page: &Path, hash: &str) {
        let url = format!("file://{}{hash}", page.display());
        self.ask("Page.navigate", json!({ "url": "about:blank" }));
        self.ask("Page.navigate", json!({ "url": url }));
        let shown = "document.readyState === 'complete' && document.querySelector('main')?.dataset.page";
        if !self.until(shown, Duration::from_secs(10)) {
            self.problems.push("the page shows nothing".into());
        }
    }

    /// Whether something becomes true.
    pub fn until(&mut self, expression: &str, time: Duration) -> bool {
        let started = Instant::now();
        // Whoever has thrown does not come to anything any more.
        while started.elapsed() < time && self.problems.is_empty() {
            let value = self.value(&format!("Boolean({expression})"));
            if value == true {
                return true;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        false
    }

    /// What an expression is in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Presses a key that has no character: `Tab`, `Enter`, `ArrowDown`.
    pub fn key(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            other => panic!("no key {other}"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            self.ask("Input.dispatchKeyEvent", json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": if kind == "keyDown" { text } else { "" },
            }));
        }
    }

    /// Types where the focus is.
    pub fn text(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Sets the size of the window, and which colours its user likes.
    pub fn looks(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// What went wrong so far.
    pub fn problems(&mut self) -> Vec<String> {
        // What was said before this is answered has been heard then.
        self.value("1");
        std::mem::take(&mut self.problems)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.to = None;
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
