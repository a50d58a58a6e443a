/*
 * ppc_call_32(entry: u64, first: u64, second: u64) -> u64
 *
 * Calls Open Firmware or RTAS: 32-bit real mode, interrupts off, MSR[RI] = 1 so that a system reset
 * inside can return (LoPAR, "RTAS Environment": 32-bit mode, translation off). Firmware may destroy the
 * upper halves of registers, so all that must survive goes onto our stack and the stack pointer into
 * the per-CPU area.
 */
.text
.globl ppc_call_32
ppc_call_32:
    mflr    %r0
    std     %r0, 16(%r1)
    stdu    %r1, -256(%r1)
    std     %r2, 32(%r1)
    std     %r13, 40(%r1)
    std     %r14, 48(%r1)
    std     %r15, 56(%r1)
    std     %r16, 64(%r1)
    std     %r17, 72(%r1)
    std     %r18, 80(%r1)
    std     %r19, 88(%r1)
    std     %r20, 96(%r1)
    std     %r21, 104(%r1)
    std     %r22, 112(%r1)
    std     %r23, 120(%r1)
    std     %r24, 128(%r1)
    std     %r25, 136(%r1)
    std     %r26, 144(%r1)
    std     %r27, 152(%r1)
    std     %r28, 160(%r1)
    std     %r29, 168(%r1)
    std     %r30, 176(%r1)
    std     %r31, 184(%r1)
    mfcr    %r0
    std     %r0, 192(%r1)
    mfmsr   %r10
    std     %r10, 200(%r1)
    /* A call from inside a system reset that hit firmware keeps the outer call's stack pointer. */
    mfsprg  %r11, 0
    ld      %r9, {PERCPU_FIRMWARE_R1}(%r11)
    std     %r9, 208(%r1)
    std     %r1, {PERCPU_FIRMWARE_R1}(%r11)

    mr      %r8, %r3
    mr      %r3, %r4
    mr      %r4, %r5
    bcl     20, 31, 1f
1:  mflr    %r7
    addi    %r7, %r7, 2f - 1b
    mtlr    %r7
    ori     %r10, %r10, {MSR_EE} | {MSR_IR} | {MSR_DR} | {MSR_RI}
    xori    %r10, %r10, {MSR_EE} | {MSR_IR} | {MSR_DR}
    clrldi  %r10, %r10, 1
    li      %r9, 0
    mtmsrd  %r9, 1
.globl ppc_call_32_leave
ppc_call_32_leave:
    mtsrr0  %r8
    mtsrr1  %r10
    rfid

2:  li      %r10, 1
    sldi    %r10, %r10, 63
    mfmsr   %r11
    or      %r11, %r11, %r10
    mtmsrd  %r11
    isync
    mfsprg  %r11, 0
    ld      %r1, {PERCPU_FIRMWARE_R1}(%r11)
    ld      %r9, 208(%r1)
    std     %r9, {PERCPU_FIRMWARE_R1}(%r11)
    bcl     20, 31, 3f
3:  mflr    %r7
    addi    %r7, %r7, 4f - 3b
    ld      %r10, 200(%r1)
    li      %r9, 0
    mtmsrd  %r9, 1
.globl ppc_call_32_return
ppc_call_32_return:
    mtsrr0  %r7
    mtsrr1  %r10
    rfid
4:  ld      %r0, 192(%r1)
    mtcrf   0xff, %r0
    ld      %r2, 32(%r1)
    ld      %r13, 40(%r1)
    ld      %r14, 48(%r1)
    ld      %r15, 56(%r1)
    ld      %r16, 64(%r1)
    ld      %r17, 72(%r1)
    ld      %r18, 80(%r1)
    ld      %r19, 88(%r1)
    ld      %r20, 96(%r1)
    ld      %r21, 104(%r1)
    ld      %r22, 112(%r1)
    ld      %r23, 120(%r1)
    ld      %r24, 128(%r1)
    ld      %r25, 136(%r1)
    ld      %r26, 144(%r1)
    ld      %r27, 152(%r1)
    ld      %r28, 160(%r1)
    ld      %r29, 168(%r1)
    ld      %r30, 176(%r1)
    ld      %r31, 184(%r1)
    addi    %r1, %r1, 256
    ld      %r0, 16(%r1)
    mtlr    %r0
    clrldi  %r3, %r3, 32
    blr
