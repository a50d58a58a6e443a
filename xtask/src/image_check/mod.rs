//! Looking at a linked kernel image: no floating point, nothing writable and executable, no way from the panic
//! path into Rust's own panic, every symbol there that the Rust side and the runner rely on.
//!
//! The kernels do not save floating-point or vector registers in their trap entries, so an instruction that
//! touches one would destroy another context's values without a trace. The rules belong to the instruction
//! set that the ELF header names.

mod power;
mod reach;
mod riscv;
mod x86;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use object::elf::{EM_PPC64, EM_RISCV, EM_X86_64, PF_W, PF_X, PT_LOAD, SHF_EXECINSTR};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionFlags};

use crate::error::{Classed, environment, unexpected};
use crate::machine::{ImageCheck, Machine};
use crate::report::{YELLOW, paint, say};

/// What a linker script must define: `PORTING.md` says what each means.
pub const SYMBOL_CONTRACT: [&str; 12] = [
    "__image_start",
    "__image_end",
    "__text_start",
    "__text_end",
    "__rodata_start",
    "__rodata_end",
    "__park_start",
    "__park_end",
    "__workload_start",
    "__workload_end",
    "__build_id_start",
    "__build_id_end",
];

/// An instruction that must not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forbidden {
    address: u64,
    what: String,
}

/// One thing that is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the rule.
    pub check: &'static str,
    /// What was found, and where.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.message)
    }
}

/// The rules, by the names that findings carry.
pub const NAMES: [&str; 4] = ["write-xor-execute", "symbol-contract", NO_FLOATING_POINT, reach::CHECK];
const NO_FLOATING_POINT: &str = "no-floating-point";

/// Most findings of one rule that are shown.
const SHOWN: usize = 8;

/// Checks the image of a machine's kernel; an error lists what is wrong with it.
pub fn run(machine: &Machine, elf: &Path) -> Result<()> {
    let data = read(elf)?;
    let findings = all_of(machine, &data)?;
    for (check, reason) in not_applicable(machine, &data)? {
        say!("{} {}/image: {check}: {reason}", paint(YELLOW, "n/a"), machine.name);
    }
    if findings.is_empty() {
        return Ok(());
    }
    let mut lines = vec![format!("the {} image fails its checks ({})", machine.name, elf.display())];
    lines.extend(findings.iter().map(|finding| format!("  {finding}")));
    Err(unexpected(lines.join("\n")))
}

/// Everything that is wrong with the image of a machine's kernel.
pub fn all(machine: &Machine, elf: &Path) -> Result<Vec<Finding>> {
    all_of(machine, &read(elf)?)
}

fn read(elf: &Path) -> Result<Vec<u8>> {
    std::fs::read(elf).or_environment(|| format!("cannot read {}", elf.display()))
}

fn all_of(machine: &Machine, data: &[u8]) -> Result<Vec<Finding>> {
    let mut findings = findings(data, &machine.image_check)?;
    if machine.image_check.not_yet.is_none() {
        findings.extend(reach::findings(&parse(data)?, &machine.image_check)?);
    }
    Ok(findings)
}

/// Rules that cannot be applied to this image, and why.
fn not_applicable(machine: &Machine, data: &[u8]) -> Result<Vec<(&'static str, String)>> {
    let file = parse(data)?;
    let isa = file.elf_header().e_machine(file.endian());
    let mut all = Vec::new();
    if rules_of(isa).is_none() {
        all.push((
            NO_FLOATING_POINT,
            format!("there are no rules for the instructions of ELF machine {isa}"),
        ));
    }
    all.extend(machine.image_check.not_yet.iter().map(|reason| (reach::CHECK, reason.clone())));
    Ok(all)
}

fn parse(data: &[u8]) -> Result<ElfFile64<'_>> {
    ElfFile64::<Endianness>::parse(data).or_environment(|| "not a 64-bit ELF image".into())
}

/// What is wrong with an image, whatever the kernel in it.
fn findings(data: &[u8], settings: &ImageCheck) -> Result<Vec<Finding>> {
    let file = parse(data)?;
    let mut findings = writable_and_executable(&file);
    findings.extend(missing_symbols(&file));
    findings.extend(floating_point(&file, settings)?);
    Ok(findings)
}

fn writable_and_executable(file: &ElfFile64<'_>) -> Vec<Finding> {
    let endian = file.endian();
    file.elf_program_headers()
        .iter()
        .filter(|header| {
            header.p_type(endian) == PT_LOAD && header.p_flags(endian) & (PF_W | PF_X) == PF_W | PF_X
        })
        .map(|header| Finding {
            check: "write-xor-execute",
            message: format!(
                "the segment at {:#x} ({:#x} bytes) is writable and executable",
                header.p_vaddr(endian),
                header.p_memsz(endian)
            ),
        })
        .collect()
}

fn missing_symbols(file: &ElfFile64<'_>) -> Vec<Finding> {
    let there = |name: &str| file.symbols().any(|symbol| !symbol.is_undefined() && symbol.name() == Ok(name));
    SYMBOL_CONTRACT
        .iter()
        .filter(|name| !there(name))
        .map(|name| Finding { check: "symbol-contract", message: format!("`{name}` is not defined") })
        .collect()
}

/// What is forbidden in a piece of code at an address.
type Rules = fn(&[u8], u64, Endianness) -> Vec<Forbidden>;

/// The rules of an instruction set, by its number in an ELF header.
fn rules_of(isa: u16) -> Option<Rules> {
    match isa {
        EM_X86_64 => Some(|code, address, _| x86::forbidden(code, address)),
        EM_PPC64 => Some(power::forbidden),
        EM_RISCV => Some(|code, address, _| riscv::forbidden(code, address)),
        _ => None,
    }
}

fn floating_point(file: &ElfFile64<'_>, settings: &ImageCheck) -> Result<Vec<Finding>> {
    let check = NO_FLOATING_POINT;
    let Some(decode) = rules_of(file.elf_header().e_machine(file.endian())) else { return Ok(Vec::new()) };
    let skipped = skipped_ranges(file, settings)?;
    // Symbols are where decoding starts anew, so that data between functions cannot put it out of step.
    let mut starts: Vec<u64> = file.symbols().map(|symbol| symbol.address()).collect();
    starts.extend(skipped.iter().flat_map(|&(start, end)| [start, end]));
    starts.sort_unstable();
    starts.dedup();
    let mut found = Vec::new();
    let mut executable = 0;
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(SHF_EXECINSTR) == 0 {
            continue;
        }
        let bytes = section.data().or_environment(|| "a section lies outside the file".into())?;
        executable += bytes.len();
        let base = section.address();
        for (from, to) in pieces(base, bytes.len() as u64, &starts) {
            if !skipped.iter().any(|&(start, end)| start <= from && to <= end) {
                found.extend(decode(
                    &bytes[(from - base) as usize..(to - base) as usize],
                    from,
                    file.endian(),
                ));
            }
        }
    }
    if executable == 0 {
        return Ok(vec![Finding { check, message: "the image has no executable section".into() }]);
    }
    let total = found.len();
    let mut findings: Vec<_> = found
        .into_iter()
        .take(SHOWN)
        .map(|hit| Finding {
            check,
            message: format!("{:#x} {}: {}", hit.address, place(file, hit.address), hit.what),
        })
        .collect();
    if total > SHOWN {
        findings.push(Finding { check, message: format!("and {} more", total - SHOWN) });
    }
    Ok(findings)
}

/// Ranges between two symbols that hold data, or code of another mode.
fn skipped_ranges(file: &ElfFile64<'_>, settings: &ImageCheck) -> Result<Vec<(u64, u64)>> {
    let address = |name: &str| {
        file.symbols().find(|symbol| symbol.name() == Ok(name)).map(|symbol| symbol.address()).ok_or_else(
            || environment(format!("image_check.skip names `{name}`, which the image does not define")),
        )
    };
    settings.skip.iter().map(|[from, to]| Ok((address(from)?, address(to)?))).collect()
}

/// Cuts `length` bytes at `base` at every one of the sorted addresses.
fn pieces(base: u64, length: u64, cuts: &[u64]) -> Vec<(u64, u64)> {
    let end = base + length;
    let mut edges = vec![base];
    edges.extend(cuts.iter().copied().filter(|&cut| cut > base && cut < end));
    edges.push(end);
    edges.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// The nearest symbol at or below an address.
fn place(file: &ElfFile64<'_>, address: u64) -> String {
    file.symbols()
        .filter(|symbol| symbol.address() <= address && !symbol.is_undefined())
        .max_by_key(|symbol| symbol.address())
        .and_then(|symbol| Some(format!("{}+{:#x}", symbol.name().ok()?, address - symbol.address())))
        .unwrap_or_else(|| "?".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole ELF64 image in memory: one segment, one text section, one symbol table.
    struct Image {
        machine: u16,
        big: bool,
        flags: u32,
        text: Vec<u8>,
        symbols: Vec<(String, u64)>,
    }

    impl Image {
        /// With every symbol of the contract and one harmless word of text.
        fn complete(machine: u16, big: bool) -> Image {
            let symbols = SYMBOL_CONTRACT.iter().map(|name| (name.to_string(), 0x1000)).collect();
            Image { machine, big, flags: PF_X, text: vec![0x60, 0, 0, 0], symbols }
        }

        fn number(&self, value: u64, width: usize) -> Vec<u8> {
            if self.big {
                value.to_be_bytes()[8 - width..].to_vec()
            } else {
                value.to_le_bytes()[..width].to_vec()
            }
        }

        fn row(&self, fields: &[(u64, usize)]) -> Vec<u8> {
            fields.iter().flat_map(|&(value, width)| self.number(value, width)).collect()
        }

        fn bytes(&self) -> Vec<u8> {
            let mut names = vec![0];
            let mut table = vec![0; 24];
            for (name, address) in &self.symbols {
                // A symbol of a linker script: no type, no size, absolute.
                let fields = [(names.len() as u64, 4), (0x10, 1), (0, 1), (0xfff1, 2), (*address, 8), (0, 8)];
                table.extend(self.row(&fields));
                names.extend(name.bytes().chain([0]));
            }
            names.resize(names.len().next_multiple_of(8), 0);
            let text = 0x200;
            let symbols = text + (self.text.len() as u64).next_multiple_of(8);
            let strings = symbols + table.len() as u64;
            let sections = strings + names.len() as u64;
            let section = |kind: u64, flags: u64, at: u64, length: usize, link: u64, entry: u64| {
                let address = if flags == 0 { 0 } else { 0x1000 };
                let fields = [(0, 4), (kind, 4), (flags, 8), (address, 8), (at, 8), (length as u64, 8)];
                [self.row(&fields), self.row(&[(link, 4), (1, 4), (1, 8), (entry, 8)])].concat()
            };
            let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, if self.big { 2 } else { 1 }, 1, 0];
            bytes.resize(16, 0);
            let machine = u64::from(self.machine);
            bytes.extend(self.row(&[(2, 2), (machine, 2), (1, 4), (0, 8), (64, 8), (sections, 8), (0, 4)]));
            bytes.extend(self.row(&[(64, 2), (56, 2), (1, 2), (64, 2), (4, 2), (3, 2)]));
            bytes.extend(self.row(&[
                (1, 4),
                (u64::from(self.flags), 4),
                (text, 8),
                (0x1000, 8),
                (0x1000, 8),
            ]));
            bytes.extend(self.row(&[(self.text.len() as u64, 8), (0x2000, 8), (0x1000, 8)]));
            bytes.resize(text as usize, 0);
            bytes.extend(&self.text);
            bytes.resize(symbols as usize, 0);
            bytes.extend(table.iter().chain(&names));
            bytes.extend(vec![0; 64]);
            bytes.extend(section(1, 6, text, self.text.len(), 0, 0));
            bytes.extend(section(2, 0, symbols, table.len(), 3, 24));
            bytes.extend(section(3, 0, strings, names.len(), 0, 0));
            bytes
        }

        fn checks(&self) -> Vec<&'static str> {
            self.checks_with(&ImageCheck::default())
        }

        fn checks_with(&self, settings: &ImageCheck) -> Vec<&'static str> {
            findings(&self.bytes(), settings).unwrap().iter().map(|finding| finding.check).collect()
        }
    }

    const KNOWN: [(u16, bool); 3] = [(EM_X86_64, false), (EM_PPC64, true), (EM_RISCV, false)];
    /// An instruction set without rules here.
    const UNKNOWN: u16 = object::elf::EM_LOONGARCH;

    #[test]
    fn a_complete_image_is_fine_in_either_byte_order() {
        for (machine, big) in KNOWN {
            assert_eq!(Image::complete(machine, big).checks(), Vec::<&str>::new());
        }
    }

    #[test]
    fn a_writable_and_executable_segment_is_found() {
        for (machine, big) in KNOWN {
            let image = Image { flags: PF_W | PF_X, ..Image::complete(machine, big) };
            assert_eq!(image.checks(), ["write-xor-execute"]);
        }
    }

    #[test]
    fn a_missing_symbol_is_found() {
        let mut image = Image::complete(EM_PPC64, true);
        image.symbols.remove(0);
        assert_eq!(image.checks(), ["symbol-contract"]);
    }

    #[test]
    fn floating_point_is_found_unless_it_is_skipped() {
        let code = [
            (EM_X86_64, false, vec![0x90, 0x0f, 0x28, 0xc1]),
            (EM_PPC64, true, vec![0xfc, 1, 0x10, 0x2a]),
            (EM_RISCV, false, vec![0x53, 0x75, 0xb5, 0x02]),
        ];
        for (machine, big, text) in code {
            let mut image = Image { text, ..Image::complete(machine, big) };
            assert_eq!(image.checks(), ["no-floating-point"]);
            image.symbols.extend([("data".into(), 0x1000), ("data_end".into(), 0x1004)]);
            let skip = ImageCheck { skip: vec![["data".into(), "data_end".into()]], ..ImageCheck::default() };
            assert_eq!(image.checks_with(&skip), Vec::<&str>::new());
            let unknown =
                ImageCheck { skip: vec![["data".into(), "nowhere".into()]], ..ImageCheck::default() };
            assert!(findings(&image.bytes(), &unknown).is_err());
        }
    }

    #[test]
    fn an_image_without_text_is_not_fine() {
        assert_eq!(
            Image { text: Vec::new(), ..Image::complete(EM_PPC64, true) }.checks(),
            ["no-floating-point"]
        );
    }

    #[test]
    fn an_unknown_instruction_set_has_no_rules_and_garbage_is_an_error() {
        assert!(rules_of(UNKNOWN).is_none());
        assert_eq!(findings(&Image::complete(UNKNOWN, false).bytes(), &ImageCheck::default()).unwrap(), []);
        assert!(findings(b"not an image", &ImageCheck::default()).is_err());
    }

    #[test]
    fn decoding_starts_anew_at_symbols() {
        assert_eq!(
            pieces(0x100, 0x20, &[0x80, 0x100, 0x110, 0x120, 0x200]),
            [(0x100, 0x110), (0x110, 0x120)]
        );
        assert_eq!(pieces(0x100, 0x20, &[]), [(0x100, 0x120)]);
    }
}
