/*
 * ppc_kexec_jump(tree: u64, base: u64) -> !
 *
 * The last instructions of this kernel: translation and interrupts off, then the first byte of the
 * image at `base` with r3 = flattened device tree, r4 = base, r5 = 0. Both addresses are real ones.
 *
 * May be entered again, in real mode too, as long as SPRG0 is this kernel's: a system reset between the
 * mtmsrd and the rfid loses the context, and trap.S then starts over here.
 */
.text
.globl ppc_kexec_jump
ppc_kexec_jump:
    li      %r0, 0
    sync
    isync
    mfmsr   %r10
    ori     %r10, %r10, {MSR_EE} | {MSR_IR} | {MSR_DR} | {MSR_RI}
    xori    %r10, %r10, {MSR_EE} | {MSR_IR} | {MSR_DR}
    mr      %r5, %r0
    /* MSR[RI] is 0 for three instructions. L=1: changes EE and RI only. */
    mtmsrd  %r0, 1
.globl ppc_kexec_leave
ppc_kexec_leave:
    mtsrr0  %r4
    mtsrr1  %r10
    rfid
