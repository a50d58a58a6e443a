/* Contexts that no exception made. */
.text

/*
 * ppc_switch_stack(job: *const (), entry: extern "C" fn(*const ()) -> !, stack_top: u64) -> !
 * Leaves the caller's stack for good.
 */
.globl ppc_switch_stack
ppc_switch_stack:
    mr      %r1, %r5
    li      %r0, 0
    stdu    %r0, -64(%r1)
    mr      %r12, %r4
    mtctr   %r12
    bctrl
    b       .

/*
 * ppc_capture(words: *mut [u64; 48]) The caller's registers in the order of elf_gregset_t; pc is the
 * return address. Everything a callee may destroy holds what the call left in it.
 */
.globl ppc_capture
ppc_capture:
    std     %r0, 0 * 8(%r3)
    std     %r1, 1 * 8(%r3)
    std     %r2, 2 * 8(%r3)
    std     %r3, 3 * 8(%r3)
    std     %r4, 4 * 8(%r3)
    std     %r5, 5 * 8(%r3)
    std     %r6, 6 * 8(%r3)
    std     %r7, 7 * 8(%r3)
    std     %r8, 8 * 8(%r3)
    std     %r9, 9 * 8(%r3)
    std     %r10, 10 * 8(%r3)
    std     %r11, 11 * 8(%r3)
    std     %r12, 12 * 8(%r3)
    std     %r13, 13 * 8(%r3)
    std     %r14, 14 * 8(%r3)
    std     %r15, 15 * 8(%r3)
    std     %r16, 16 * 8(%r3)
    std     %r17, 17 * 8(%r3)
    std     %r18, 18 * 8(%r3)
    std     %r19, 19 * 8(%r3)
    std     %r20, 20 * 8(%r3)
    std     %r21, 21 * 8(%r3)
    std     %r22, 22 * 8(%r3)
    std     %r23, 23 * 8(%r3)
    std     %r24, 24 * 8(%r3)
    std     %r25, 25 * 8(%r3)
    std     %r26, 26 * 8(%r3)
    std     %r27, 27 * 8(%r3)
    std     %r28, 28 * 8(%r3)
    std     %r29, 29 * 8(%r3)
    std     %r30, 30 * 8(%r3)
    std     %r31, 31 * 8(%r3)
    mflr    %r4
    mfmsr   %r5
    std     %r4, {NIP} * 8(%r3)
    std     %r5, {MSR} * 8(%r3)
    mfctr   %r5
    std     %r5, {CTR} * 8(%r3)
    std     %r4, {LINK} * 8(%r3)
    mfxer   %r5
    std     %r5, {XER} * 8(%r3)
    mfcr    %r5
    std     %r5, {CCR} * 8(%r3)
    blr
