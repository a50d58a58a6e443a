/*
 * riscv_kexec_jump(hart, tree, entry) -> !
 *
 * The last instructions of this kernel: interrupts and translation off, then the image, as firmware would enter it.
 * The map is the identity, so the instruction after the one that switches it off is the next one. What was written comes
 * before the image runs, to devices too (the interrupt controller was silenced), and what was written at the image's place
 * is made visible to fetches.
 */
.text
.globl riscv_kexec_jump
riscv_kexec_jump:
    csrci   sstatus, {STATUS_SIE}
    csrw    sie, zero
    fence   iorw, iorw
    fence.i
    csrw    satp, zero
    sfence.vma
    jr      a2
