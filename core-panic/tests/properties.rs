//! The command line comes from outside: nonsense changes nothing, and what is taken is in its range.
#![cfg(not(loom))]

use core_panic::Config;
use core_panic::config::ConfigError;
use proptest::prelude::*;
use proptest::sample::select;

const KEYS: [&str; 8] = [
    "panic.kexec",
    "panic.stop",
    "panic.grace",
    "panic.final",
    "panic.timeout",
    "panic.scale",
    "panic.cpu",
    "panic.odd",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_changes_nothing(
        before in (select(KEYS.to_vec()), "[a-z0-9-]{0,8}"),
        key in prop_oneof![select(KEYS.to_vec()).prop_map(String::from), "\\PC{0,20}"],
        value in prop_oneof!["[0-9]{0,25}", "-?[0-9]{1,4}", "\\PC{0,20}", select(vec!["pre", "nmi", "off", "halt"]).prop_map(String::from)],
    ) {
        let mut config = Config::DEFAULT;
        let _ = config.set(before.0, &before.1);
        let kept = config;
        match config.set(&key, &value) {
            Ok(true) => prop_assert!(KEYS.contains(&key.as_str())),
            Ok(false) => {
                prop_assert!(!key.starts_with("panic."));
                prop_assert_eq!(config, kept);
            }
            Err(error) => {
                prop_assert_eq!(error == ConfigError::UnknownKey, !KEYS[..7].contains(&key.as_str()));
                prop_assert_eq!(config, kept);
            }
        }
        prop_assert!((1..=100).contains(&config.scale) && config.cpu.is_none_or(|cpu| cpu < 16));
        let _ = config.deadline_ns(u64::MAX);
    }
}
