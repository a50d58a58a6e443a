//! The file of trials: a line of data each, appended as they end, so that a series can be broken off and gone on
//! with.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::trial::{Series, Trial};
use crate::error::{Classed, usage};

/// Trials that the file has of these series; of others it must have none. A last line that was cut off is taken out.
pub fn read(path: &Path, series: &[Series], resume: bool) -> Result<Vec<Trial>> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).or_environment(|| format!("--json: cannot read {shown}")),
    };
    if !text.is_empty() && !resume {
        return Err(usage(format!(
            "--json: {shown} is not empty; go on with it (--resume) or name another file"
        )));
    }
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole != text.len() {
        std::fs::write(path, &text[..whole]).or_environment(|| format!("--json: cannot write {shown}"))?;
    }
    let mut trials = Vec::new();
    for (number, line) in text[..whole].lines().enumerate() {
        let number = number + 1;
        let trial: Trial = serde_json::from_str(line)
            .map_err(|error| usage(format!("--json: {shown}:{number}: not a trial: {error}")))?;
        if !series.contains(&trial.series) {
            let Series { machine, accel, firmware, cpus, seed } = &trial.series;
            return Err(usage(format!(
                "--json: {shown}:{number}: a trial of another series: {machine}, {accel}, {firmware}, {cpus} CPUs, seed {seed}"
            )));
        }
        trials.push(trial);
    }
    Ok(trials)
}

/// Adds a line.
pub fn append(path: &Path, trial: &Trial) -> Result<()> {
    let cannot = || format!("--json: cannot write {}", path.display());
    let line = serde_json::to_string(trial).or_environment(cannot)?;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{line}")).or_environment(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, class_of, one_line};
    use crate::scenario::Stop;

    fn series(seed: u64) -> Series {
        Series { machine: "m".into(), accel: "a".into(), firmware: "f".into(), cpus: 4, seed }
    }

    fn trial(number: u32) -> Trial {
        Trial {
            series: series(1),
            policy: Stop::IpiNmi,
            trial: number,
            kind: "quiet".into(),
            roles: String::new(),
            red: vec![],
            measured: Some(crate::experiment::trial::Measured::default()),
        }
    }

    #[test]
    fn a_series_goes_on_where_it_was_broken_off() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("trials.jsonl");
        assert_eq!(read(&path, &[series(1)], false).unwrap(), []);
        append(&path, &trial(0)).unwrap();
        append(&path, &trial(1)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"machine\":\"m")).unwrap();
        assert_eq!(read(&path, &[series(1)], true).unwrap(), [trial(0), trial(1)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        append(&path, &trial(2)).unwrap();
        assert_eq!(read(&path, &[series(1)], true).unwrap().len(), 3);
    }

    #[test]
    fn what_does_not_belong_there_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("trials.jsonl");
        append(&path, &trial(0)).unwrap();
        let refused = |series: Series, resume| {
            let error = read(&path, &[series], resume).unwrap_err();
            assert_eq!(class_of(&error), Exit::Usage);
            one_line(&error)
        };
        assert!(
            refused(series(1), false)
                .ends_with("is not empty; go on with it (--resume) or name another file")
        );
        assert!(refused(series(2), true).ends_with(":1: a trial of another series: m, a, f, 4 CPUs, seed 1"));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(refused(series(1), true).contains(":1: not a trial: "));
    }
}
