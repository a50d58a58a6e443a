//! What the kernel's ELF file says: where things are, in the first kernel's address space and in
//! physical memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use object::read::elf::ProgramHeader;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::error::{Classed, environment};

/// Symbols and segments of an image.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// Address by name.
    pub addresses: BTreeMap<String, u64>,
    /// Bytes of what has some, by name.
    sizes: BTreeMap<String, u64>,
    /// Code by address: end and name.
    functions: BTreeMap<u64, (u64, String)>,
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    virtual_start: u64,
    physical_start: u64,
    bytes: u64,
}

impl Symbols {
    /// Reads an ELF file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).or_environment(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("{} is not an ELF image that can be read", path.display());
        match object::File::parse(&*bytes).or_environment(wrong)? {
            object::File::Elf64(file) => {
                let endian = file.endian();
                let segments = file.elf_program_headers().iter();
                let segments = segments
                    .filter(|header| header.p_type(endian) == object::elf::PT_LOAD)
                    .map(|header| Segment {
                        virtual_start: header.p_vaddr(endian),
                        physical_start: header.p_paddr(endian),
                        bytes: header.p_memsz(endian),
                    })
                    .collect();
                let mut symbols = Symbols { segments, ..Symbols::default() };
                for symbol in file.symbols() {
                    if let (true, Ok(name)) = (!symbol.is_undefined(), symbol.name()) {
                        symbols.add(name, symbol.address(), symbol.size(), symbol.kind() == SymbolKind::Text);
                    }
                }
                Ok(symbols)
            }
            _ => Err(environment(format!("{} is not a 64-bit ELF image", path.display()))),
        }
    }

    fn add(&mut self, name: &str, address: u64, bytes: u64, code: bool) {
        self.addresses.insert(name.to_owned(), address);
        self.sizes.insert(name.to_owned(), bytes);
        if code {
            self.functions.insert(address, (address + bytes.max(1), name.to_owned()));
        }
    }

    /// From `__<name>_start` to `__<name>_end`.
    pub fn range(&self, name: &str) -> Option<Range<u64>> {
        let start = *self.addresses.get(&format!("__{name}_start"))?;
        let end = *self.addresses.get(&format!("__{name}_end"))?;
        Some(start..end)
    }

    /// Memory of the image that the kernel may write, stacks included. An image without the symbols of a
    /// stack section has its stacks in its data.
    pub fn writable(&self) -> Option<Range<u64>> {
        let data = self.range("data")?;
        let end = self.range("stacks").map_or(data.end, |stacks| stacks.end.max(data.end));
        Some(data.start..end)
    }

    /// A symbol by its name in the image, or by the path of a Rust item, which has to be the only one: its name and how
    /// many bytes it has. The error says what is wrong.
    pub fn object(&self, wanted: &str) -> std::result::Result<(&str, u64), String> {
        let sized = || self.sizes.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        if let Some(found) = sized().find(|(name, _)| *name == wanted) {
            return Ok(found);
        }
        let found: Vec<_> = sized().filter(|(name, _)| readable(name) == wanted).collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(format!("the image has no symbol `{wanted}`")),
            _ => Err(format!("the image has {} symbols `{wanted}`", found.len())),
        }
    }

    /// The physical address of a symbol, where the emulator loads it.
    pub fn physical(&self, name: &str, bias: u64) -> Option<u64> {
        let address = *self.addresses.get(name)?;
        let segment = self.segments.iter().find(|segment| {
            address.checked_sub(segment.virtual_start).is_some_and(|offset| offset < segment.bytes)
        })?;
        Some((address - segment.virtual_start).wrapping_add(segment.physical_start).wrapping_add(bias))
    }

    /// An address for people: with the place it is in.
    pub fn describe(&self, address: u64) -> String {
        match self.place(address) {
            Some(place) => format!("{address:#x} ({place})"),
            None => format!("{address:#x}"),
        }
    }

    /// What is at an address: a function, as in `name+0x12`, or else one of the image's sections.
    pub fn place(&self, address: u64) -> Option<String> {
        match self.functions.range(..=address).next_back() {
            Some((&start, (end, name))) if address < *end => {
                Some(format!("{}+{:#x}", readable(name), address - start))
            }
            _ => self.region(address).map(|region| format!("in {region}")),
        }
    }

    /// What is at a return address: the place of the call before it. A call that does not return may be
    /// the last instruction of its function, with another function right behind it.
    pub fn caller(&self, address: u64) -> Option<String> {
        let before = address.checked_sub(1)?;
        match self.functions.range(..=before).next_back() {
            Some((&start, (end, name))) if before < *end => {
                Some(format!("{}+{:#x}", readable(name), address - start))
            }
            _ => self.region(before).map(|region| format!("in {region}")),
        }
    }

    fn region(&self, address: u64) -> Option<&'static str> {
        ["park", "workload", "text", "rodata", "image"]
            .into_iter()
            .find(|name| self.range(name).is_some_and(|range| range.contains(&address)))
    }

    /// Symbols made up for a test.
    #[cfg(test)]
    pub fn made_up(addresses: &[(&str, u64)]) -> Self {
        let mut symbols = Symbols {
            segments: vec![Segment { virtual_start: 0x1000, physical_start: 0x200, bytes: 0x9000 }],
            ..Symbols::default()
        };
        for &(name, address) in addresses {
            symbols.add(name, address, 0x10, !name.starts_with("__") && name.to_lowercase() == name);
        }
        symbols
    }
}

/// A mangled Rust name as its path, without hashes.
fn readable(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_addresses_follow_the_segment_and_the_bias() {
        let symbols = Symbols::made_up(&[("RECORD", 0x1100), ("OUTSIDE", 0xf0000)]);
        assert_eq!(symbols.physical("RECORD", 0x40_0000), Some(0x40_0300));
        assert_eq!(symbols.physical("OUTSIDE", 0), None);
        assert_eq!(symbols.physical("ABSENT", 0), None);
    }

    #[test]
    fn ranges_need_both_ends() {
        let symbols =
            Symbols::made_up(&[("__park_start", 0x1000), ("__park_end", 0x1040), ("__text_start", 0)]);
        assert_eq!(symbols.range("park"), Some(0x1000..0x1040));
        assert_eq!(symbols.range("text"), None);
        assert_eq!(symbols.describe(0x1004), "0x1004 (in park)");
    }

    #[test]
    fn a_return_address_belongs_to_the_call_before_it() {
        let symbols = Symbols::made_up(&[("never_returns", 0x1000), ("next", 0x1010)]);
        assert_eq!(symbols.place(0x1010).as_deref(), Some("next+0x0"));
        assert_eq!(symbols.caller(0x1010).as_deref(), Some("never_returns+0x10"));
        assert_eq!(symbols.caller(0x1000), None);
        assert_eq!(symbols.caller(0), None);
    }

    #[test]
    fn mangled_names_become_paths() {
        assert_eq!(readable("_ZN4core9panicking5panic17h0123456789abcdefE"), "core::panicking::panic");
        let v0 = "_RNvXNtCse1a71XByeor_4arch8platformNtB2_4PortNtNtCsaDQiLUImPg6_3hal3cpu3Cpu5relax";
        assert_eq!(readable(v0), "<arch::platform::Port as hal::cpu::Cpu>::relax");
        assert_eq!(readable("_start"), "_start");
    }
}
