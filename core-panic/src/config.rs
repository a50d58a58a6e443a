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
}

impl StopPolicy {
    /// Every policy.
    pub const ALL: [StopPolicy; 2] = [StopPolicy::IpiNmi, StopPolicy::Nmi];
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
    /// `panic.stop=ipi-nmi|nmi`, default `nmi`.
    pub stop: StopPolicy,
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
        stop: StopPolicy::Nmi,
        final_action: FinalAction::Reboot,
        timeout_s: 0,
        scale: 1,
        cpu: None,
    };

    /// Takes one `key=value` of a command line. A key that does not start with `panic.` is somebody
    /// else's: `Ok(false)`. An error changes nothing, so the default stands.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, ConfigError> {
        let Some(name) = key.strip_prefix("panic.") else { return Ok(false) };
        match name {
            "kexec" => {
                self.kexec = one_of(
                    value,
                    &[("pre", KexecMode::Pre), ("post", KexecMode::Post), ("off", KexecMode::Off)],
                    "pre, post or off",
                )?;
            }
            "stop" => {
                self.stop = one_of(
                    value,
                    &[("ipi-nmi", StopPolicy::IpiNmi), ("nmi", StopPolicy::Nmi)],
                    "ipi-nmi or nmi",
                )?;
            }
            "final" => {
                self.final_action = one_of(
                    value,
                    &[
                        ("reboot", FinalAction::Reboot),
                        ("poweroff", FinalAction::PowerOff),
                        ("halt", FinalAction::Halt),
                    ],
                    "reboot, poweroff or halt",
                )?;
            }
            "timeout" => self.timeout_s = number(value, 0, 3600, "a number of seconds from 0 to 3600")?,
            "scale" => self.scale = number(value, 1, 100, "a number from 1 to 100")?,
            "cpu" => {
                self.cpu = Some(number(value, 0, hal::MAX_CPUS as u32 - 1, "a CPU number from 0 to 15")?);
            }
            _ => return Err(ConfigError::UnknownKey),
        }
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

fn one_of<T: Copy>(value: &str, choices: &[(&str, T)], expected: &'static str) -> Result<T, ConfigError> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| *choice).ok_or(ConfigError::Expected(expected))
}

fn number(value: &str, least: u32, most: u32, expected: &'static str) -> Result<u32, ConfigError> {
    let parsed = value.parse().ok().filter(|number| (least..=most).contains(number));
    parsed.ok_or(ConfigError::Expected(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_it_knows() {
        let mut config = Config::DEFAULT;
        for (key, value) in [
            ("panic.kexec", "post"),
            ("panic.stop", "ipi-nmi"),
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
            final_action: FinalAction::Halt,
            timeout_s: 3,
            scale: 20,
            cpu: Some(2),
        };
        assert_eq!(config, expected);
        assert_eq!(config.deadline_ns(50), 1_000_000_000);
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
