.macro SHIM_FILL register, value
    li      \register, 0x1100 + \value
.endm
/* Collects in r6 what is not as SHIM_FILL left it. */
.macro SHIM_CHECK register, value
    xori    %r5, \register, 0x1100 + \value
    or      %r6, %r6, %r5
.endm

/*
 * A firmware that stands in front of RTAS, for tests (rtas/shim.rs): it can take its time over a service, never come
 * back from one, and it knows who else is in there. Entered and left as RTAS is: 32-bit real mode, MSR[RI] = 1, r3 =
 * argument block, r4 = RTAS' data, return address in LR. No stack is used; what lies in r14 to r31 survives the call
 * of the real entry, and a system reset.
 *
 *   r31 return address   r30 argument block   r29 RTAS' data   r27 state (SHIM_...)   r26 real entry
 *   r25 token   r24 hardware id   r23 this CPU's word of who is inside   r22 what that was before
 *   r21 class of the token: 0 bears nothing, 1 itself, 2 everything
 */
.text
.globl ppc_shim
ppc_shim:
    mflr    %r31
    mr      %r30, %r3
    mr      %r29, %r4
    mfsprg  %r24, 0
    ld      %r27, {PERCPU_SHIM}(%r24)
    ld      %r24, {PERCPU_HARDWARE_ID}(%r24)
    clrldi  %r24, %r24, 60
    ld      %r26, {SHIM_ENTRY}(%r27)
    lwz     %r25, 0(%r30)
    sldi    %r23, %r24, 3
    add     %r23, %r23, %r27
    addi    %r23, %r23, {SHIM_INSIDE}
    ld      %r22, 0(%r23)
    std     %r25, 0(%r23)
    sync

    li      %r21, 0
    addi    %r5, %r27, {SHIM_CLASSES}
    li      %r6, {SHIM_MOST_CLASSES}
    mtctr   %r6
1:  lwz     %r7, 0(%r5)
    cmpw    %r7, %r25
    bne     2f
    lwz     %r21, 4(%r5)
2:  addi    %r5, %r5, 8
    bdnz    1b

    /* Who else is inside, and does this service bear that? */
    cmpwi   %r21, 2
    beq     6f
    addi    %r5, %r27, {SHIM_INSIDE}
    li      %r6, 16
    mtctr   %r6
3:  ld      %r7, 0(%r5)
    cmpd    %r5, %r23
    bne     4f
    mr      %r7, %r22
4:  cmpdi   %r7, 0
    beq     5f
    cmpwi   %r21, 1
    bne     7f
    cmpd    %r7, %r25
    beq     5f
7:  sldi    %r8, %r25, 32
    or      %r8, %r8, %r7
    std     %r8, {SHIM_LAST}(%r27)
    addi    %r9, %r27, {SHIM_VIOLATIONS}
8:  ldarx   %r8, 0, %r9
    addi    %r8, %r8, 1
    stdcx.  %r8, 0, %r9
    bne-    8b
5:  addi    %r5, %r5, 8
    bdnz    3b
6:  ld      %r5, {SHIM_VIOLATIONS}(%r27)
    cmpdi   %r5, 0
    beq     9f
    /* What it keeps is mixed up from here on: hardware error, whatever is asked. */
    lwz     %r5, 4(%r30)
    slwi    %r5, %r5, 2
    add     %r5, %r5, %r30
    li      %r6, -1
    stw     %r6, 12(%r5)
    b       14f

9:  ld      %r5, {SHIM_TOKEN}(%r27)
    cmpd    %r5, %r25
    bne     13f
    ld      %r5, {SHIM_CPUS}(%r27)
    srd     %r5, %r5, %r24
    andi.   %r5, %r5, 1
    beq     13f

    /* Takes its time, with something in every register that must still be there afterwards. */
    ld      %r20, {SHIM_TICKS}(%r27)
    mftb    %r19
    std     %r19, {SHIM_BEGAN}(%r27)
    SHIM_FILL %r3, 3
    SHIM_FILL %r4, 4
    SHIM_FILL %r7, 7
    SHIM_FILL %r8, 8
    SHIM_FILL %r9, 9
    SHIM_FILL %r10, 10
    SHIM_FILL %r11, 11
    SHIM_FILL %r12, 12
    SHIM_FILL %r14, 14
    SHIM_FILL %r15, 15
    SHIM_FILL %r16, 16
    SHIM_FILL %r17, 17
    SHIM_FILL %r18, 18
    mtctr   %r12
    mtlr    %r30
    lis     %r5, 0x2000
    mtxer   %r5
    lis     %r5, 0x0123
    ori     %r5, %r5, 0x4567
    mtcrf   0xff, %r5
10: or      27, 27, 27
    mftb    %r5
    subf    %r5, %r19, %r5
    cmpld   %r5, %r20
    blt     10b
    li      %r6, 0
    SHIM_CHECK %r3, 3
    SHIM_CHECK %r4, 4
    SHIM_CHECK %r7, 7
    SHIM_CHECK %r8, 8
    SHIM_CHECK %r9, 9
    SHIM_CHECK %r10, 10
    SHIM_CHECK %r11, 11
    SHIM_CHECK %r12, 12
    SHIM_CHECK %r14, 14
    SHIM_CHECK %r15, 15
    SHIM_CHECK %r16, 16
    SHIM_CHECK %r17, 17
    SHIM_CHECK %r18, 18
    mfctr   %r5
    xor     %r5, %r5, %r12
    or      %r6, %r6, %r5
    mflr    %r5
    xor     %r5, %r5, %r30
    or      %r6, %r6, %r5
    mfxer   %r5
    xoris   %r5, %r5, 0x2000
    or      %r6, %r6, %r5
    /* The first field was the loop's. */
    mfcr    %r5
    clrlwi  %r5, %r5, 4
    xoris   %r5, %r5, 0x0123
    xori    %r5, %r5, 0x4567
    or      %r6, %r6, %r5
    mfmsr   %r5
    srdi    %r7, %r5, 63
    or      %r6, %r6, %r7
    andi.   %r5, %r5, {MSR_EE} | {MSR_IR} | {MSR_DR} | {MSR_RI}
    xori    %r5, %r5, {MSR_RI}
    or      %r6, %r6, %r5
    cmpdi   %r6, 0
    addi    %r9, %r27, {SHIM_UNDISTURBED}
    beq     11f
    addi    %r9, %r27, {SHIM_DISTURBED}
11: ldarx   %r8, 0, %r9
    addi    %r8, %r8, 1
    stdcx.  %r8, 0, %r9
    bne-    11b

13: mr      %r3, %r30
    mr      %r4, %r29
    mtctr   %r26
    bctrl
14: lwsync
    std     %r22, 0(%r23)
    mtlr    %r31
    blr
