//! Who may run between the stop and the jump.

/// Vouches for a notifier that runs before the dump is taken.
///
/// Everything before the jump into the crash image is a risk for the dump: other CPUs are stopped where they
/// were, and the memory that somebody will want to look at is as it was. Code that runs there has to be
/// written for it, looked at by somebody else, and few; so it takes this word to register it, and
/// registration is a constant (`unsafe` to write, visible to whoever reads the kernel's source).
///
/// # Safety
///
/// Whoever implements this has made sure of all of these, for every state in which the other CPUs may have
/// been stopped:
///
/// * it repairs or switches off something that would spoil the dump or the capture kernel, and there is no
///   later place for that;
/// * it writes no memory that somebody else may be in the middle of writing, and takes no lock;
/// * it starts no transfer to memory, and leaves none behind that it started;
/// * it finishes within its budget, 10 ms at scale 1, on hardware that does not answer too.
#[allow(unsafe_code)] // the word `unsafe` is what this is for; nothing here relies on it
pub unsafe trait BeforeDump {}
