//! No way from the panic path into Rust's own panic.
//!
//! A bounds check or an overflow that strikes on the panic path is a re-entry: the step that ran is lost.
//! So there shall be none. The image is linked with its relocations kept; they say what refers to what,
//! whatever the instruction set: a call, a function's address in a table of methods, a constant. What can be
//! reached from the panic's entries by such references is the panic path, an over-estimate of it; none of it may
//! be a function of `core::panicking`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Result;
use object::elf::{SHF_ALLOC, SHF_EXECINSTR};
use object::read::elf::ElfFile64;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionFlags, SymbolKind,
};

use super::{Finding, SHOWN};
use crate::error::Classed;
use crate::machine::ImageCheck;

/// Stable name of the rule.
pub const CHECK: &str = "no-panic-on-the-panic-path";

/// Functions of the sequence that a trap, a panic or a signal calls, which are entries as all of that crate. None of
/// them may be inlined away: an image without them has not been looked at.
const ENTRIES: [&str; 3] = ["enter", "on_signal", "begin"];
/// The crate whose functions these are.
const SEQUENCE: &str = "core_panic";

/// What is called through a pointer that boot stored, so that no reference leads from the caller to it: all functions
/// of these paths are entries. The crates of the sequence are there as a whole. At least one function of each has to
/// be there.
const BY_POINTER: [&str; 4] = [
    // The sequence, whoever calls it.
    "core_panic::",
    "crash_lock::",
    // The handlers that a port's trap entries call.
    "kernel::traps::",
    // What locks do when a panic is under way.
    "kernel::state::SEQUENCE::",
];

/// Functions that lead to code which is not the panic path's own, and which may panic: a re-entry is what they
/// are for.
const MAY_PANIC: [&str; 5] = [
    // The message, formatted by the `Display` of whoever panicked.
    "core_panic::report::foreign",
    // The faults and panics that scenarios order.
    "kernel::bench::go_wrong",
    "kernel::traps::ordered",
    // A panic of the second kernel, which has no sequence.
    "kernel::capture::died",
    // Notifiers.
    "core_panic::notifier::Notifier>::notify",
];

/// What must not be reached.
const FORBIDDEN: &str = "core::panicking::";

/// A function, or a piece of data between two places that something refers to.
struct Piece {
    end: u64,
    name: String,
}

struct Graph {
    pieces: BTreeMap<u64, Piece>,
    edges: BTreeMap<u64, BTreeSet<u64>>,
}

/// What the panic path can reach that it must not, with the way there.
pub fn findings(file: &ElfFile64<'_>, settings: &ImageCheck) -> Result<Vec<Finding>> {
    let graph = Graph::of(file)?;
    let finding = |message: String| Finding { check: CHECK, message };
    let mut found: Vec<_> = ENTRIES
        .iter()
        .filter(|entry| graph.named(|name| is_entry(name, entry)).next().is_none())
        .map(|entry| finding(format!("there is no function `{entry}` of `{SEQUENCE}` to start from")))
        .collect();
    let absent = settings.entries.iter().filter(|entry| graph.named(|name| name == **entry).next().is_none());
    found.extend(absent.map(|entry| finding(format!("there is no function `{entry}` to start from"))));
    let missing = BY_POINTER.iter().filter(|path| graph.named(|name| is_below(name, path)).next().is_none());
    found.extend(missing.map(|path| finding(format!("there is nothing of `{path}` to start from"))));
    if settings.entries.is_empty() {
        found.push(finding("`[image_check] entries` names no function that the trap entries call".into()));
    }
    if graph.edges.is_empty() {
        found.push(finding("the image was linked without its relocations".into()));
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let entry = |name: &str| {
        BY_POINTER.iter().any(|path| is_below(name, path))
            || settings.entries.iter().any(|entry| entry == name)
    };
    let ways = graph.ways(entry);
    found.extend(ways.iter().take(SHOWN).map(|way| finding(way.join(" -> "))));
    if ways.len() > SHOWN {
        found.push(finding(format!("and {} more", ways.len() - SHOWN)));
    }
    Ok(found)
}

impl Graph {
    fn of(file: &ElfFile64<'_>) -> Result<Graph> {
        let mut pieces = BTreeMap::new();
        for symbol in file.symbols().filter(|symbol| !symbol.is_undefined() && symbol.size() != 0) {
            if matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data) {
                let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")));
                pieces.insert(symbol.address(), Piece { end: symbol.address() + symbol.size(), name });
            }
        }
        let references = references(file)?;
        let mut graph = Graph { pieces, edges: BTreeMap::new() };
        // Constants have no symbols of their own: each begins where something refers to it. Those that code
        // refers to come first, because the distances in a table of jumps count from its beginning.
        let data = data_sections(file);
        for reference in references.iter().filter(|reference| reference.from_code) {
            graph.begin(reference.target, &data);
        }
        for reference in references.iter().filter(|reference| !reference.from_code) {
            graph.begin(graph.target(reference), &data);
        }
        for reference in &references {
            let from = graph.start_of(reference.at);
            let to = graph.start_of(graph.target(reference));
            if let (Some(from), Some(to)) = (from, to)
                && from != to
            {
                graph.edges.entry(from).or_default().insert(to);
            }
        }
        Ok(graph)
    }

    /// A piece of data begins here, unless a larger one goes on.
    fn begin(&mut self, address: u64, sections: &[(u64, u64)]) {
        let Some(&(_, end)) = sections.iter().find(|(start, end)| (*start..*end).contains(&address)) else {
            return;
        };
        if self.start_of(address).is_none_or(|start| self.pieces[&start].name.is_empty() && start != address)
        {
            self.pieces.insert(address, Piece { end, name: String::new() });
        }
    }

    /// The piece that an address lies in. Nameless ones end where the next begins.
    fn start_of(&self, address: u64) -> Option<u64> {
        let (start, piece) = self.pieces.range(..=address).next_back()?;
        (address < piece.end).then_some(*start)
    }

    fn target(&self, reference: &Reference) -> u64 {
        let distance = if reference.relative && !reference.from_code {
            self.start_of(reference.at).map_or(0, |start| reference.at - start)
        } else {
            0
        };
        reference.target.wrapping_sub(distance)
    }

    /// The pieces whose name is one of those.
    fn named(&self, is: impl Fn(&str) -> bool) -> impl Iterator<Item = u64> {
        self.pieces.iter().filter(move |(_, piece)| is(&piece.name)).map(|(&start, _)| start)
    }

    /// The shortest way to each function that must not be reached, one for each function that calls it.
    fn ways(&self, is_entry: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
        let mut before: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        let mut queue = VecDeque::new();
        let may_panic = |name: &str| MAY_PANIC.iter().any(|may| is_function(name, may));
        for start in self.named(|name| is_entry(name) && !may_panic(name)) {
            before.insert(start, None);
            queue.push_back(start);
        }
        let mut ways = Vec::new();
        while let Some(from) = queue.pop_front() {
            for &to in self.edges.get(&from).into_iter().flatten() {
                let name = &self.pieces[&to].name;
                if name.starts_with(FORBIDDEN) {
                    let mut way = vec![name.clone()];
                    let mut at = Some(from);
                    while let Some(place) = at {
                        way.push(self.shown(place));
                        at = before[&place];
                    }
                    way.reverse();
                    ways.push(way);
                } else if !may_panic(name) && !before.contains_key(&to) {
                    before.insert(to, Some(from));
                    queue.push_back(to);
                }
            }
        }
        ways
    }

    fn shown(&self, place: u64) -> String {
        match self.pieces[&place].name.as_str() {
            "" => format!("a constant at {place:#x}"),
            name => name.into(),
        }
    }
}

/// Whether a demangled name is this function of the sequence, of any type: `<core_panic::…>::enter`,
/// `core_panic::…::begin::<…>`.
fn is_entry(name: &str, entry: &str) -> bool {
    name.trim_start_matches('<').starts_with(SEQUENCE)
        && name.split("::").any(|part| part == entry)
        && without_types(name).ends_with(entry)
}

/// Whether a demangled name is something of this path: a function, a method of its types, a closure.
fn is_below(name: &str, path: &str) -> bool {
    name.trim_start_matches(['<', '&']).starts_with(path)
}

/// Whether a demangled name is this function, of any type.
fn is_function(name: &str, path: &str) -> bool {
    without_types(name).ends_with(path)
}

/// A path without what stands in angle brackets behind it.
fn without_types(name: &str) -> &str {
    match name.find("::<") {
        Some(at) if name.ends_with('>') => &name[..at],
        _ => name,
    }
}

/// One relocation.
struct Reference {
    at: u64,
    target: u64,
    from_code: bool,
    /// Counted from the place itself.
    relative: bool,
}

fn flags(section: &object::read::elf::ElfSection64<'_, '_>) -> u64 {
    match section.flags() {
        SectionFlags::Elf { sh_flags } => sh_flags,
        _ => 0,
    }
}

fn is_code(section: &object::read::elf::ElfSection64<'_, '_>) -> bool {
    flags(section) & u64::from(SHF_EXECINSTR) != 0
}

/// Sections that are loaded and hold no code.
fn data_sections(file: &ElfFile64<'_>) -> Vec<(u64, u64)> {
    file.sections()
        .filter(|section| flags(section) & u64::from(SHF_ALLOC) != 0 && !is_code(section))
        .map(|section| (section.address(), section.address() + section.size()))
        .collect()
}

fn references(file: &ElfFile64<'_>) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for section in file.sections().filter(|section| flags(section) & u64::from(SHF_ALLOC) != 0) {
        let from_code = is_code(&section);
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol =
                file.symbol_by_index(index).or_environment(|| "a relocation names no symbol".into())?;
            let relative = relocation.kind() == RelocationKind::Relative
                || relocation.kind() == RelocationKind::PltRelative;
            // A function is referred to as a whole, whatever is added. Otherwise x86 counts, in code, from the
            // end of the field, so 4 bytes are in the addend.
            let addend = match (symbol.kind(), relative && from_code) {
                (SymbolKind::Text, _) => 0,
                (_, true) => relocation.addend() + 4,
                (_, false) => relocation.addend(),
            };
            let target = symbol.address().wrapping_add_signed(addend);
            references.push(Reference { at, target, from_code, relative });
        }
    }
    Ok(references)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions of 16 bytes at 0x1000, 0x1010, …, a table of one constant at 0x9000, and what refers to what.
    fn graph(names: &[&str], edges: &[(u64, u64)]) -> Graph {
        let mut graph = Graph { pieces: BTreeMap::new(), edges: BTreeMap::new() };
        for (start, name) in (0x1000..).step_by(16).zip(names) {
            graph.pieces.insert(start, Piece { end: start + 16, name: (*name).into() });
        }
        graph.begin(0x9000, &[(0x9000, 0x9100)]);
        for (from, to) in edges {
            graph.edges.entry(*from).or_default().insert(*to);
        }
        graph
    }

    fn ways(names: &[&str], edges: &[(u64, u64)]) -> Vec<Vec<String>> {
        graph(names, edges).ways(|name| is_entry(name, "enter"))
    }

    const ENTER: &str = "<core_panic::sequence::Panic<kernel::bench::Bench>>::enter";
    const BOUNDS: &str = "core::panicking::panic_bounds_check";

    #[test]
    fn a_way_into_panicking_is_found_and_shown() {
        let names = [ENTER, "port::write", BOUNDS, "kernel::boot"];
        assert_eq!(ways(&names, &[(0x1000, 0x1010), (0x1010, 0x1020)]), [[ENTER, "port::write", BOUNDS]]);
        // Through a table of methods, too.
        let table = [(0x1000, 0x9000), (0x9000, 0x1010), (0x1010, 0x1020)];
        assert_eq!(ways(&names, &table)[0][1], "a constant at 0x9000");
        // What only others call is none of the panic path's business.
        assert!(ways(&names, &[(0x1000, 0x1010), (0x1030, 0x1020)]).is_empty());
    }

    #[test]
    fn code_that_is_not_ours_may_panic() {
        for may in [
            "core_panic::report::foreign::<352>",
            "kernel::bench::go_wrong",
            "<kernel::notifiers::Which as core_panic::notifier::Notifier>::notify",
        ] {
            let names = [ENTER, may, BOUNDS];
            assert!(ways(&names, &[(0x1000, 0x1010), (0x1010, 0x1020)]).is_empty(), "{may}");
        }
    }

    #[test]
    fn entries_are_functions_of_the_sequence() {
        assert!(is_entry(ENTER, "enter"));
        assert!(is_entry("core_panic::sequence::begin::<kernel::bench::Bench>", "begin"));
        assert!(!is_entry("<crash_lock::lock::CrashLock<core_panic::X>>::enter", "enter"));
        assert!(!is_entry("<core_panic::sequence::Panic<kernel::bench::Bench>>::entry", "enter"));
        assert!(!is_entry("<core_panic::sequence::Panic<x>>::enter::inner", "enter"));
    }

    #[test]
    fn what_only_a_pointer_leads_to_is_an_entry() {
        for name in [
            "<kernel::state::SEQUENCE::{closure#2} as core::ops::function::FnOnce<(&crash_lock::Ruling,)>>::call_once",
            "kernel::traps::HANDLERS",
            "<&core_panic::notifier::Registry as core::fmt::Debug>::fmt",
            "<crash_lock::lock::CrashLock<kernel::X>>::enter",
        ] {
            assert!(BY_POINTER.iter().any(|path| is_below(name, path)), "{name}");
        }
        for name in ["kernel::first::first", "<kernel::bench::Bench as core_panic::Anything>::f"] {
            assert!(!BY_POINTER.iter().any(|path| is_below(name, path)), "{name}");
        }
        // One that may panic does not become an entry by its path.
        let names = ["kernel::traps::ordered", BOUNDS];
        assert!(graph(&names, &[(0x1000, 0x1010)]).ways(|name| is_below(name, "kernel::traps::")).is_empty());
    }

    #[test]
    fn constants_end_where_the_next_begins() {
        let mut graph = graph(&[ENTER], &[]);
        graph.begin(0x9010, &[(0x9000, 0x9100)]);
        graph.begin(0x1008, &[(0x9000, 0x9100)]);
        let starts = [0x1008, 0x9008, 0x9010, 0x90ff, 0x9100, 0xfff].map(|at| graph.start_of(at));
        assert_eq!(starts, [Some(0x1000), Some(0x9000), Some(0x9010), Some(0x9010), None, None]);
    }

    #[test]
    fn distances_in_a_table_count_from_its_beginning() {
        let graph = graph(&[ENTER], &[]);
        let reference = |at, from_code| Reference { at, target: 0x1010, from_code, relative: true };
        assert_eq!(graph.target(&reference(0x9008, false)), 0x1008);
        assert_eq!(graph.target(&reference(0x1008, true)), 0x1010);
    }
}
