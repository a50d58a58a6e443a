//! The choices, and the command line that makes them.

use core::fmt;

/// When to jump into the crash image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KexecMode {
    /// After the stop, before the informing notifiers.
    Pre,
    /// After the notifiers.
    Post,
    /// Not at all.
    Off,
}

/// How the other CPUs are stopped: the ladder of signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopPolicy {
    /// A maskable IPI first, then NMIs to whoever did not answer.
    IpiNmi,
    /// NMIs at once.
    Nmi,
    /// NMIs at once, and whoever holds a [`crash_lock::CrashLock`] finishes its critical section first.
    Deferred,
    /// What Linux does on x86: `nmi` with a crash image, `ipi-nmi` without.
    Linux,
}

impl StopPolicy {
    /// Every policy.
    pub const ALL: [StopPolicy; 4] =
        [StopPolicy::Deferred, StopPolicy::Nmi, StopPolicy::IpiNmi, StopPolicy::Linux];
}

/// What ends this kernel when no crash image took over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FinalAction {
    /// Restart; if that fails, power off; if that fails, halt.
    Reboot,
    /// Power off; if that fails, halt.
    PowerOff,
    /// Stay stopped, for somebody to look.
    Halt,
}

/// The configuration of the panic path. A plain value: other kernels build it as they like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// `panic.kexec=pre|post|off`, default `pre`.
    pub kexec: KexecMode,
    /// `panic.stop=deferred|nmi|ipi-nmi|linux`, default `deferred`.
    pub stop: StopPolicy,
    /// `panic.grace=MS`, 0 to 10000, default 100: how long a CPU may go on that holds a lock, from its own
    /// acknowledgement on, with `panic.stop=deferred`.
    pub grace_ms: u32,
    /// `panic.final=reboot|poweroff|halt`, default `reboot`.
    pub final_action: FinalAction,
    /// `panic.timeout=SECONDS`, 0 to 3600, default 0: how long to wait before the final action.
    pub timeout_s: u32,
    /// `panic.scale=N`, 1 to 100, default 1: every budget is multiplied by it. For emulators and
    /// overcommitted hosts, where a virtual CPU may stand still for seconds.
    pub scale: u32,
    /// `panic.cpu=N`, 0 to 15, default none: the CPU that goes through the steps, whoever panicked.
    pub cpu: Option<u32>,
}

impl Config {
    /// The defaults.
    pub const DEFAULT: Config = Config {
        kexec: KexecMode::Pre,
        stop: StopPolicy::Deferred,
        grace_ms: 100,
        final_action: FinalAction::Reboot,
        timeout_s: 0,
        scale: 1,
        cpu: None,
    };

    /// Takes one `key=value` of a command line. A key that does not start with `panic.` is somebody
    /// else's: `Ok(false)`. An error changes nothing: the default, or what was said before, stands. What
    /// is said last wins.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, ConfigError> {
        let Some(name) = key.strip_prefix(PREFIX) else { return Ok(false) };
        let key = KEYS.iter().find(|key| key.name == name).ok_or(ConfigError::UnknownKey)?;
        let number = key.values.number(value).ok_or(ConfigError::Expected(key.expected))?;
        (key.put)(self, number);
        Ok(true)
    }

    /// A budget in ms as a deadline in ns.
    pub fn deadline_ns(&self, budget_ms: u64) -> u64 {
        budget_ms.saturating_mul(1_000_000).saturating_mul(u64::from(self.scale))
    }
}

/// Why an option was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// No such key.
    UnknownKey,
    /// The value is not this.
    Expected(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::UnknownKey => f.write_str("no such key"),
            ConfigError::Expected(what) => write!(f, "expected {what}"),
        }
    }
}

/// What every key of [`KEYS`] starts with.
pub const PREFIX: &str = "panic.";

/// A key of the command line. The table is what is parsed by, and what the documents are made of.
pub struct Key {
    /// Its name after [`PREFIX`].
    pub name: &'static str,
    /// What it takes.
    pub values: Values,
    /// The same in words, for whoever gave it something else.
    pub expected: &'static str,
    /// The value that says the same as nothing, or why there is none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// A word counts by its place, a number as itself.
    put: fn(&mut Config, u32),
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number in this range, in decimal digits.
    Number {
        /// From here.
        least: u32,
        /// To here, inclusive.
        most: u32,
    },
}

impl Values {
    fn number(&self, value: &str) -> Option<u32> {
        match *self {
            Values::Words(words) => words.iter().position(|word| *word == value).map(|place| place as u32),
            Values::Number { least, most } => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.then(|| value.parse().ok()).flatten();
                number.filter(|number| (least..=most).contains(number))
            }
        }
    }
}

/// Every key.
pub const KEYS: [Key; 7] = [
    Key {
        name: "kexec",
        values: Values::Words(&["pre", "post", "off"]),
        expected: "pre, post or off",
        default: "pre",
        meaning: "when to jump into the crash image: before anybody is told, after that, or not at all",
        put: |config, place| {
            config.kexec = match place {
                0 => KexecMode::Pre,
                1 => KexecMode::Post,
                _ => KexecMode::Off,
            }
        },
    },
    Key {
        name: "stop",
        values: Values::Words(&["deferred", "nmi", "ipi-nmi", "linux"]),
        expected: "deferred, nmi, ipi-nmi or linux",
        default: "deferred",
        meaning: "how the other CPUs are stopped: by NMI, and who holds a lock finishes its critical section; by \
                  NMI at once; by an IPI and then an NMI to whoever does not answer; as Linux does, which is \
                  `nmi` with a crash image and `ipi-nmi` without",
        put: |config, place| {
            let policy = StopPolicy::ALL.get(place as usize);
            config.stop = policy.copied().unwrap_or(StopPolicy::Deferred);
        },
    },
    Key {
        name: "grace",
        values: Values::Number { least: 0, most: 10_000 },
        expected: "a number of milliseconds from 0 to 10000",
        default: "100",
        meaning: "how long a CPU that holds a lock may go on, in ms from its own acknowledgement, with \
                  `panic.stop=deferred`",
        put: |config, number| config.grace_ms = number,
    },
    Key {
        name: "final",
        values: Values::Words(&["reboot", "poweroff", "halt"]),
        expected: "reboot, poweroff or halt",
        default: "reboot",
        meaning: "what ends this kernel when no crash image took over; what fails falls back to the next one",
        put: |config, place| {
            config.final_action = match place {
                0 => FinalAction::Reboot,
                1 => FinalAction::PowerOff,
                _ => FinalAction::Halt,
            }
        },
    },
    Key {
        name: "timeout",
        values: Values::Number { least: 0, most: 3600 },
        expected: "a number of seconds from 0 to 3600",
        default: "0",
        meaning: "how many seconds to wait before the final action",
        put: |config, number| config.timeout_s = number,
    },
    Key {
        name: "scale",
        values: Values::Number { least: 1, most: 100 },
        expected: "a number from 1 to 100",
        default: "1",
        meaning: "what every budget is multiplied by: for emulators and overcommitted hosts",
        put: |config, number| config.scale = number,
    },
    Key {
        name: "cpu",
        values: Values::Number { least: 0, most: hal::MAX_CPUS as u32 - 1 },
        expected: "a CPU number from 0 to 15",
        default: "none",
        meaning: "the CPU that goes through the steps, whoever panicked; one that the machine does not have is \
                  nonsense too",
        put: |config, number| config.cpu = Some(number),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_it_knows() {
        let mut config = Config::DEFAULT;
        for (key, value) in [
            ("panic.kexec", "post"),
            ("panic.stop", "ipi-nmi"),
            ("panic.grace", "7"),
            ("panic.final", "halt"),
            ("panic.timeout", "3"),
            ("panic.scale", "20"),
            ("panic.cpu", "2"),
        ] {
            assert_eq!(config.set(key, value), Ok(true));
        }
        let expected = Config {
            kexec: KexecMode::Post,
            stop: StopPolicy::IpiNmi,
            grace_ms: 7,
            final_action: FinalAction::Halt,
            timeout_s: 3,
            scale: 20,
            cpu: Some(2),
        };
        assert_eq!(config, expected);
        assert_eq!(config.deadline_ns(50), 1_000_000_000);
    }

    #[test]
    fn the_table_is_true() {
        let other = Config {
            kexec: KexecMode::Off,
            stop: StopPolicy::IpiNmi,
            grace_ms: 7,
            final_action: FinalAction::Halt,
            timeout_s: 7,
            scale: 7,
            cpu: Some(7),
        };
        let (mut default, mut reset) = (Config::DEFAULT, other);
        for key in KEYS.iter().filter(|key| key.default != "none") {
            (key.put)(&mut default, key.values.number(key.default).unwrap());
            (key.put)(&mut reset, key.values.number(key.default).unwrap());
        }
        assert_eq!(default, Config::DEFAULT, "a default changes nothing");
        assert_eq!(reset, Config { cpu: Some(7), ..Config::DEFAULT }, "and every key but one has one");
        for key in &KEYS {
            let set = |value: &str| {
                let mut name = crate::report::Text::<32>::new(format_args!("{PREFIX}{}", key.name));
                name.printable();
                Config::DEFAULT.clone().set(core::str::from_utf8(name.bytes()).unwrap(), value)
            };
            let refused = Err(ConfigError::Expected(key.expected));
            assert_eq!(set(""), refused);
            match key.values {
                Values::Words(words) => {
                    for word in words {
                        assert_eq!(set(word), Ok(true));
                        assert!(key.expected.contains(word), "{word}");
                    }
                }
                Values::Number { least, most } => {
                    let text = |number: i64| crate::report::Text::<32>::new(format_args!("{number}"));
                    for (number, good) in [(least, true), (most, true), (most + 1, false)] {
                        let text = text(number.into());
                        let value = core::str::from_utf8(text.bytes()).unwrap();
                        assert_eq!(set(value).is_ok(), good, "{value}");
                        assert!(!good || key.expected.contains(value), "{value}");
                    }
                    for nonsense in ["-1", "+1", "0x1", "1s", "99999999999999999999"] {
                        assert_eq!(set(nonsense), refused, "{nonsense}");
                    }
                }
            }
        }
    }

    #[test]
    fn nonsense_changes_nothing_and_is_named() {
        let mut config = Config::DEFAULT;
        assert_eq!(config.set("panic.kexec", "maybe"), Err(ConfigError::Expected("pre, post or off")));
        assert_eq!(config.set("panic.scale", "0"), Err(ConfigError::Expected("a number from 1 to 100")));
        assert_eq!(
            config.set("panic.timeout", "-1"),
            Err(ConfigError::Expected("a number of seconds from 0 to 3600"))
        );
        assert_eq!(config.set("panic.kexce", "pre"), Err(ConfigError::UnknownKey));
        assert_eq!(config.set("console", "ttyS0"), Ok(false));
        assert_eq!(config, Config::DEFAULT);
    }
}
