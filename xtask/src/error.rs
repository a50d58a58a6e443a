//! How a command fails: a message for a person, and a class that becomes the exit code.
//!
//! Everything that can fail returns [`anyhow::Result`]. An error that was never classed counts as
//! [`Exit::Unexpected`]; class one with [`usage`], [`environment`] or the [`Classed`] methods.

use std::fmt;

/// What kind of failure it was. The number is the exit code; 0 is "as expected".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// What was run did not do what was expected of it.
    Unexpected = 1,
    /// The command line, a scenario file or a machine file asks for something that does not exist.
    Usage = 2,
    /// Something is missing or broken on this machine: a tool, a file, a permission.
    Environment = 3,
}

#[derive(Debug)]
struct ClassedError {
    exit: Exit,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for ClassedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ClassedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn classed(exit: Exit, message: impl fmt::Display) -> anyhow::Error {
    ClassedError { exit, message: message.to_string(), source: None }.into()
}

/// An error of class [`Exit::Unexpected`].
pub fn unexpected(message: impl fmt::Display) -> anyhow::Error {
    classed(Exit::Unexpected, message)
}

/// An error of class [`Exit::Usage`].
pub fn usage(message: impl fmt::Display) -> anyhow::Error {
    classed(Exit::Usage, message)
}

/// An error of class [`Exit::Environment`].
pub fn environment(message: impl fmt::Display) -> anyhow::Error {
    classed(Exit::Environment, message)
}

/// Classes the error of any result and says what was being done.
pub trait Classed<T> {
    /// As [`Exit::Environment`], under `message`.
    fn or_environment(self, message: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Classed<T> for Result<T, E> {
    fn or_environment(self, message: impl FnOnce() -> String) -> anyhow::Result<T> {
        wrap(self, Exit::Environment, message)
    }
}

fn wrap<T, E: Into<anyhow::Error>>(
    result: Result<T, E>,
    exit: Exit,
    message: impl FnOnce() -> String,
) -> anyhow::Result<T> {
    result
        .map_err(|error| ClassedError { exit, message: message(), source: Some(error.into().into()) }.into())
}

/// The class of an error: the outermost one that was given.
pub fn class_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ClassedError>())
        .map_or(Exit::Unexpected, |classed| classed.exit)
}

/// An error and its causes on one line: `what: why: why`.
pub fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_class_survives_added_context() {
        let error =
            anyhow::Result::<()>::Err(usage("no such machine")).context("while starting").unwrap_err();
        assert_eq!(class_of(&error), Exit::Usage);
        assert_eq!(one_line(&error), "while starting: no such machine");
    }

    #[test]
    fn an_unclassed_error_is_unexpected() {
        assert_eq!(class_of(&anyhow::anyhow!("odd")), Exit::Unexpected);
    }

    #[test]
    fn a_wrapped_error_keeps_its_cause() {
        let error =
            std::fs::read("/nonexistent/file").or_environment(|| "cannot read it".into()).unwrap_err();
        assert_eq!(class_of(&error), Exit::Environment);
        assert!(one_line(&error).starts_with("cannot read it: No such file"));
    }
}
