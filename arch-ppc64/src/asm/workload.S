/*
 * The test load of one CPU: ppc_workload_run(&hal::testload::Workload) -> !, never returns.
 *
 *   r30 witness   r29 heartbeat   r28 lock   r27 the Workload   r26 rounds   r25 MSR[EE]
 *
 * All of it lies in .text.workload; the one call out (the nudge) is bracketed by `*outside`.
 */
.section .text.workload, "ax"
.globl ppc_workload_run
ppc_workload_run:
    mflr    %r0
    std     %r0, 16(%r1)
    stdu    %r1, -64(%r1)
    mr      %r27, %r3
    ld      %r30, 0(%r27)
    ld      %r29, 8(%r27)
    ld      %r28, 16(%r27)
    li      %r26, 0
    lwz     %r4, 56(%r27)
    cmpwi   %r4, 1
    beq     ppc_workload_spin
    /* A taken branch in this section, so that CFAR never leads out of it (trap.rs). */
    b       ppc_workload_round

ppc_workload_round:
    /* Interrupts on (mtmsrd with L=1 changes EE and RI only). */
    li      %r25, 0
    ori     %r25, %r25, {MSR_EE} | {MSR_RI}
    mtmsrd  %r25, 1
    li      %r4, 1000
    mtctr   %r4
1:  ld      %r5, 0(%r29)
    addi    %r5, %r5, 1
    std     %r5, 0(%r29)
    bdnz    1b

    /* The lock, with interrupts on: a stop may find it held. The heartbeat goes on while waiting. */
2:  lwarx   %r5, 0, %r28
    cmpwi   %r5, 0
    bne     3f
    li      %r5, 1
    stwcx.  %r5, 0, %r28
    bne     2b
    isync
    b       5f
3:  ld      %r5, 0(%r29)
    addi    %r5, %r5, 1
    std     %r5, 0(%r29)
    or      27, 27, 27
    lwz     %r5, 0(%r28)
    cmpwi   %r5, 0
    bne     3b
    b       2b
5:  ld      %r6, 24(%r27)
    li      %r4, 100
    mtctr   %r4
6:  ld      %r5, 0(%r6)
    addi    %r5, %r5, 1
    std     %r5, 0(%r6)
    bdnz    6b
    lwsync
    li      %r5, 0
    stw     %r5, 0(%r28)

    /* Interrupts off. */
    li      %r4, {MSR_RI}
    mtmsrd  %r4, 1
    li      %r4, 1000
    mtctr   %r4
7:  ld      %r5, 0(%r29)
    addi    %r5, %r5, 1
    std     %r5, 0(%r29)
    bdnz    7b
    mtmsrd  %r25, 1

    addi    %r26, %r26, 1
    andi.   %r4, %r26, 63
    bne     ppc_workload_round
    ld      %r4, 32(%r27)
    li      %r5, 1
    stw     %r5, 0(%r4)
    ld      %r12, 40(%r27)
    ld      %r3, 48(%r27)
    mtctr   %r12
    bctrl
    ld      %r4, 32(%r27)
    li      %r5, 0
    stw     %r5, 0(%r4)
    b       ppc_workload_round

ppc_workload_spin:
    li      %r4, {MSR_RI}
    mtmsrd  %r4, 1
8:  ld      %r5, 0(%r29)
    addi    %r5, %r5, 1
    std     %r5, 0(%r29)
    or      27, 27, 27
    b       8b
.text
