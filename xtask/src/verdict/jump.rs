//! Did the owner leave the first kernel? What a capture kernel prints, the first kernel can print too; so
//! the emulator is asked where the owner's program counter lies in physical memory.

use crash_record::event::Stream;

use super::record::not_seen;
use super::{Check, Facts};

/// The owner runs in the second copy of the image, outside of the first one.
pub fn jump(name: &'static str, facts: &Facts) -> Check {
    if !facts.capture() {
        return Check::none(name, "no capture kernel in this run");
    }
    let expected = "one capture kernel, of the same build, and the owner in its code";
    let log = &facts.evidence.log;
    let Some(boot) = log.first(Stream::Boot, "boot") else { return facts.missing(name, "a boot event") };
    let starts: Vec<_> = log.all(Stream::Capture, "capture").collect();
    let [start] = starts.as_slice() else {
        return match starts.len() {
            0 => facts.missing(name, expected),
            count => Check::fail(name, expected, format!("{count} capture kernels started")),
        };
    };
    let bias = facts.machine.memory.physical_bias;
    let places = (
        facts.symbols.range("image"),
        facts.symbols.range("text"),
        facts.symbols.physical("__image_start", bias),
        facts.symbols.physical("__text_start", bias),
    );
    let (Some(image), Some(text), Some(first), Some(first_text)) = places else {
        return Check::fail(
            name,
            expected,
            "the image has no __image_start, __image_end, __text_start and __text_end",
        );
    };
    let mut faults = Vec::new();
    if boot.text("build") != start.text("build") {
        faults.push(format!("build {}, the first kernel is {}", start.text("build"), boot.text("build")));
    }
    if boot.hex("base") != Some(first) {
        faults.push(format!("the first kernel says it is at {}, not {first:#x}", boot.text("base")));
    }
    let Some(second) = start.hex("base").filter(|base| base.abs_diff(first) >= image.end - image.start)
    else {
        faults.push(format!("it says it is at {}, which is in the first kernel", start.text("base")));
        return Check::fail(name, expected, faults.join("; "));
    };
    let Some(inspection) = facts.inspection() else {
        return if faults.is_empty() {
            not_seen(name)
        } else {
            Check::fail(name, expected, faults.join("; "))
        };
    };
    let code = first_text.wrapping_sub(first).wrapping_add(second);
    let code = code..code + (text.end - text.start);
    let first_image = first..first + (image.end - image.start);
    let looks = &inspection.owner_at;
    if let Some(at) = looks.iter().find(|at| first_image.contains(at)) {
        let place = facts.symbols.describe(at.wrapping_sub(first).wrapping_add(image.start));
        faults.push(format!("the owner executes at physical {at:#x}, in the first kernel: {place}"));
    } else if looks.is_empty() {
        faults.push("the emulator does not say where the owner executes".into());
    } else if !looks.iter().any(|at| code.contains(at)) {
        // At one of the looks it may be in a call that the capture kernel makes of firmware, not at each.
        let places: Vec<_> = looks.iter().map(|at| format!("{at:#x}")).collect();
        faults.push(format!("the owner executes at physical {}", places.join(", later at ")));
    }
    Check::without_faults(name, expected, faults, format!("from {first:#x} to {second:#x}"))
}
