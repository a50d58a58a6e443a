/*
 * ppc_kexec_jump(tree: u64, base: u64) -> !
 *
 * The last instructions of this kernel: translation and interrupts off, then the first byte of the
 * image at `base` with r3 = flattened device tree, r4 = base, r5 = 0. Both addresses are real ones.
 */
.text
.globl ppc_kexec_jump
ppc_kexec_jump:
    li      %r0, 0
    mtmsrd  %r0, 1
    sync
    isync
    mfmsr   %r10
    ori     %r10, %r10, {MSR_IR} | {MSR_DR} | {MSR_RI}
    xori    %r10, %r10, {MSR_IR} | {MSR_DR}
    mtsrr0  %r4
    mtsrr1  %r10
    mr      %r5, %r0
    rfid
