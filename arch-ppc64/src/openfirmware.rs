//! The Open Firmware client interface (IEEE 1275-1994, chapter 6), for as long as firmware is there.
//!
//! Used once at boot, by the boot CPU, in real mode, before the vector page is written (VOF lives under
//! it): instantiate RTAS, flatten the tree.

#![cfg(mayday_metal)]

use crate::asm;
use crate::flat::{WriteError, Writer};
use core::ffi::CStr;

/// Levels of nodes that are followed.
const DEPTH: usize = 12;
/// A property name or path component, as the standard limits it, with room for the paths of this machine.
const NAME: usize = 256;
/// What firmware answers where there is no such thing.
const NONE: u32 = u32::MAX;

/// An address as firmware takes it. Everything that is passed lies in the image, below 4 GiB, at its
/// real address.
fn address<T>(pointer: *const T) -> u32 {
    pointer as u64 as u32
}

/// The client interface.
#[derive(Debug)]
pub struct OpenFirmware {
    entry: u64,
}

impl OpenFirmware {
    /// # Safety
    /// `entry` is the client interface entry that firmware passed, firmware's memory is untouched,
    /// translation is off, SPRG0 is set.
    pub unsafe fn new(entry: u64) -> Self {
        OpenFirmware { entry }
    }

    /// Calls `service`. `None` if firmware lacks the service or the call
    /// does not fit.
    fn call(&self, service: &CStr, arguments: &[u32], results: &mut [u32]) -> Option<()> {
        let mut block = [0_u32; 16];
        let head = [address(service.as_ptr()), arguments.len() as u32, results.len() as u32];
        if head.len() + arguments.len() + results.len() > block.len() {
            return None;
        }
        for (slot, word) in block.iter_mut().zip(head.iter().chain(arguments)) {
            *slot = *word;
        }
        // SAFETY: `new`'s contract; the block and everything it points to is in the image, below 4 GiB,
        // at its real address.
        let status = unsafe { asm::ppc_call_32(self.entry, (&raw mut block) as u64, 0) };
        let answers = block.iter().skip(head.len() + arguments.len());
        for (slot, word) in results.iter_mut().zip(answers) {
            *slot = *word;
        }
        (status == 0).then_some(())
    }

    fn ask(&self, service: &CStr, arguments: &[u32]) -> Option<u32> {
        let mut result = [NONE];
        self.call(service, arguments, &mut result)?;
        Some(result[0]).filter(|answer| *answer != NONE)
    }

    fn property(&self, node: u32, name: &CStr, value: &mut [u8]) -> Option<usize> {
        let arguments = [node, address(name.as_ptr()), address(value.as_mut_ptr()), value.len() as u32];
        self.ask(c"getprop", &arguments).map(|len| len as usize)
    }

    fn cell(&self, node: u32, name: &CStr) -> Option<u32> {
        let mut value = [0; 4];
        self.property(node, name, &mut value).filter(|len| *len == 4)?;
        Some(u32::from_be_bytes(value))
    }

    fn find(&self, path: &CStr) -> Option<u32> {
        self.ask(c"finddevice", &[address(path.as_ptr())])
    }

    /// Puts RTAS into memory: its real base address and entry point.
    pub fn instantiate_rtas(&self) -> Option<(u32, u32)> {
        let size = self.cell(self.find(c"/rtas")?, c"rtas-size")?;
        let base = self.ask(c"claim", &[0, size, 0x1000])?;
        let instance = self.ask(c"open", &[address(c"/rtas".as_ptr())]).filter(|instance| *instance != 0)?;
        let method = address(c"instantiate-rtas".as_ptr());
        let mut results = [NONE; 2];
        self.call(c"call-method", &[method, instance, base], &mut results)?;
        (results[0] == 0 && results[1] != 0).then_some((base, results[1]))
    }

    /// Hardware id of the CPU that runs this; 0 where firmware does not say.
    pub fn boot_cpu(&self) -> u32 {
        let instance = self.find(c"/chosen").and_then(|chosen| self.cell(chosen, c"cpu"));
        let node = instance.and_then(|instance| self.ask(c"instance-to-package", &[instance]));
        node.and_then(|node| self.cell(node, c"reg")).unwrap_or(0)
    }

    /// Writes the whole tree. The node `/rtas` gets `linux,rtas-base` and `linux,rtas-entry`, as kexec
    /// kernels expect them.
    pub fn flatten(&self, mut writer: Writer<'_>, rtas: Option<(u32, u32)>) -> Result<usize, WriteError> {
        let boot_cpu = self.boot_cpu();
        let mut path = [0_u32; DEPTH];
        let mut depth = 0;
        let mut node = self.ask(c"peer", &[0]).unwrap_or(0);
        while node != 0 {
            self.begin(node, depth, &mut writer, rtas);
            let child = self.ask(c"child", &[node]).unwrap_or(0);
            if child != 0
                && let Some(slot) = path.get_mut(depth)
            {
                *slot = node;
                depth += 1;
                node = child;
                continue;
            }
            // Children of the deepest level are left out.
            loop {
                writer.end_node();
                let next = if depth == 0 { 0 } else { self.ask(c"peer", &[node]).unwrap_or(0) };
                if next != 0 || depth == 0 {
                    node = next;
                    break;
                }
                depth -= 1;
                node = path.get(depth).copied().unwrap_or(0);
            }
        }
        writer.finish(boot_cpu)
    }

    fn begin(&self, node: u32, depth: usize, writer: &mut Writer<'_>, rtas: Option<(u32, u32)>) {
        let mut path = [0; NAME];
        let arguments = [node, address(path.as_mut_ptr()), (NAME - 1) as u32];
        let len = self.ask(c"package-to-path", &arguments).map_or(0, |len| (len as usize).min(NAME - 1));
        let path = path.get(..len).unwrap_or_default();
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        writer.begin_node(if depth == 0 { b"" } else { name });

        let mut has_handle = false;
        let mut previous = [0_u8; NAME];
        loop {
            let mut next = [0_u8; NAME];
            let arguments = [node, address(previous.as_ptr()), address(next.as_mut_ptr())];
            if self.ask(c"nextprop", &arguments) != Some(1) {
                break;
            }
            previous = next;
            let Ok(property) = CStr::from_bytes_until_nul(&next) else { break };
            let text = property.to_bytes();
            if text.is_empty() {
                break;
            }
            // The name is in the node; these two are written below.
            if text == b"name" || text == b"linux,rtas-base" || text == b"linux,rtas-entry" {
                continue;
            }
            has_handle |= text == b"phandle";
            let len = self.ask(c"getproplen", &[node, address(property.as_ptr())]).unwrap_or(0);
            if let Some(room) = writer.reserve(text, len as usize)
                && !room.is_empty()
            {
                let _ = self.property(node, property, room);
            }
        }
        if !has_handle {
            writer.property(b"phandle", &node.to_be_bytes());
        }
        if depth == 1
            && name == b"rtas"
            && let Some((base, entry)) = rtas
        {
            writer.property(b"linux,rtas-base", &base.to_be_bytes());
            writer.property(b"linux,rtas-entry", &entry.to_be_bytes());
        }
    }
}
