/*
 * The test load of one CPU: riscv_workload_run(&hal::testload::Workload) -> !, never returns.
 *
 *   s11 witness   s10 heartbeat   s9 lock   s8 the Workload   s7 rounds
 *
 * All of it lies in .text.workload; the one call out (the nudge) is bracketed by `*outside`.
 */
.section .text.workload, "ax"
.globl riscv_workload_run
riscv_workload_run:
    addi    sp, sp, -16
    sd      ra, 8(sp)
    sd      s0, 0(sp)
    addi    s0, sp, 16
    mv      s8, a0
    ld      s11, 0(s8)
    ld      s10, 8(s8)
    ld      s9, 16(s8)
    li      s7, 0
    lw      t0, 56(s8)
    li      t1, 1
    beq     t0, t1, riscv_workload_spin

riscv_workload_round:
    csrsi   sstatus, {STATUS_SIE}
    li      t0, 500
1:  ld      t1, 0(s10)
    addi    t1, t1, 1
    sd      t1, 0(s10)
    addi    t0, t0, -1
    bnez    t0, 1b

    /* The lock, with interrupts on: a stop may find it held. The heartbeat goes on while waiting. */
2:  li      t1, 1
    amoswap.w.aq t1, t1, (s9)
    beqz    t1, 4f
3:  ld      t1, 0(s10)
    addi    t1, t1, 1
    sd      t1, 0(s10)
    fence   w, 0                /* pause */
    lw      t1, 0(s9)
    bnez    t1, 3b
    j       2b
4:  ld      t2, 24(s8)
    li      t0, 50
5:  ld      t1, 0(t2)
    addi    t1, t1, 1
    sd      t1, 0(t2)
    addi    t0, t0, -1
    bnez    t0, 5b
    amoswap.w.rl zero, zero, (s9)

    csrci   sstatus, {STATUS_SIE}
    li      t0, 500
6:  ld      t1, 0(s10)
    addi    t1, t1, 1
    sd      t1, 0(s10)
    addi    t0, t0, -1
    bnez    t0, 6b
    csrsi   sstatus, {STATUS_SIE}

    addi    s7, s7, 1
    andi    t0, s7, 31
    bnez    t0, riscv_workload_round
    ld      t0, 32(s8)
    li      t1, 1
    sw      t1, 0(t0)
    ld      a0, 48(s8)
    ld      t0, 40(s8)
    jalr    t0
    ld      t0, 32(s8)
    sw      zero, 0(t0)
    j       riscv_workload_round

riscv_workload_spin:
    csrci   sstatus, {STATUS_SIE}
7:  ld      t1, 0(s10)
    addi    t1, t1, 1
    sd      t1, 0(s10)
    fence   w, 0
    j       7b
.text
