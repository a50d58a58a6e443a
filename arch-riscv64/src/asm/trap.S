/*
 * The one trap entry. sscratch holds the address of the executing CPU's area (percpu.rs) whenever anything can
 * trap, and no other register takes part in finding it: a stack pointer that ran into a guard page, or was
 * overwritten, is only saved.
 *
 * Interrupts get the interrupt stack, from its top, because they do not nest; but the deadline timer's shot, which may
 * hit a panic inside an interrupt handler, gets one of two of its own, in turns, and so do exceptions: the second one must
 * not destroy what the first one saved. What is saved is a `registers::Frame`.
 */
.text
.balign 4
.globl riscv_trap_entry
riscv_trap_entry:
    csrrw   sp, sscratch, sp
    sd      t0, {AREA_T0}(sp)
    sd      t1, {AREA_T1}(sp)
    csrr    t0, sscratch
    sd      t0, {AREA_SP}(sp)
    csrw    sscratch, sp
    csrr    t0, scause
    bltz    t0, 1f
    ld      t0, {AREA_FAULT_STACK}(sp)
    ld      t1, {AREA_FAULT_STACK_NEXT}(sp)
    sd      t1, {AREA_FAULT_STACK}(sp)
    sd      t0, {AREA_FAULT_STACK_NEXT}(sp)
    j       2f
1:  slli    t0, t0, 1
    addi    t0, t0, -2 * {TIMER_INTERRUPT}
    bnez    t0, 3f
    ld      t0, {AREA_TIMER_STACK}(sp)
    ld      t1, {AREA_TIMER_STACK_NEXT}(sp)
    sd      t1, {AREA_TIMER_STACK}(sp)
    sd      t0, {AREA_TIMER_STACK_NEXT}(sp)
    j       2f
3:  ld      t0, {AREA_INTERRUPT_STACK}(sp)
2:  addi    t0, t0, -{FRAME_SIZE}
    sd      ra, 1 * 8(t0)
    ld      t1, {AREA_SP}(sp)
    sd      t1, 2 * 8(t0)
    sd      gp, 3 * 8(t0)
    sd      tp, 4 * 8(t0)
    ld      t1, {AREA_T0}(sp)
    sd      t1, 5 * 8(t0)
    ld      t1, {AREA_T1}(sp)
    sd      t1, 6 * 8(t0)
    mv      sp, t0
    sd      t2, 7 * 8(sp)
    sd      s0, 8 * 8(sp)
    sd      s1, 9 * 8(sp)
    sd      a0, 10 * 8(sp)
    sd      a1, 11 * 8(sp)
    sd      a2, 12 * 8(sp)
    sd      a3, 13 * 8(sp)
    sd      a4, 14 * 8(sp)
    sd      a5, 15 * 8(sp)
    sd      a6, 16 * 8(sp)
    sd      a7, 17 * 8(sp)
    sd      s2, 18 * 8(sp)
    sd      s3, 19 * 8(sp)
    sd      s4, 20 * 8(sp)
    sd      s5, 21 * 8(sp)
    sd      s6, 22 * 8(sp)
    sd      s7, 23 * 8(sp)
    sd      s8, 24 * 8(sp)
    sd      s9, 25 * 8(sp)
    sd      s10, 26 * 8(sp)
    sd      s11, 27 * 8(sp)
    sd      t3, 28 * 8(sp)
    sd      t4, 29 * 8(sp)
    sd      t5, 30 * 8(sp)
    sd      t6, 31 * 8(sp)
    csrr    t0, sepc
    csrr    t1, sstatus
    csrr    t2, scause
    csrr    t3, stval
    sd      t0, 0(sp)
    sd      t1, {FRAME_STATUS}(sp)
    sd      t2, {FRAME_CAUSE}(sp)
    sd      t3, {FRAME_VALUE}(sp)
    mv      a0, sp
    call    riscv_trap

    /* A reservation that the handler left must not satisfy the interrupted code's store-conditional, and sret gives none
       up. Whether this one stores or not: what it stores is there already. */
    ld      t0, 0(sp)
    sc.d    zero, t0, (sp)
    ld      t1, {FRAME_STATUS}(sp)
    csrw    sepc, t0
    csrw    sstatus, t1
    ld      ra, 1 * 8(sp)
    ld      gp, 3 * 8(sp)
    ld      tp, 4 * 8(sp)
    ld      t0, 5 * 8(sp)
    ld      t1, 6 * 8(sp)
    ld      t2, 7 * 8(sp)
    ld      s0, 8 * 8(sp)
    ld      s1, 9 * 8(sp)
    ld      a0, 10 * 8(sp)
    ld      a1, 11 * 8(sp)
    ld      a2, 12 * 8(sp)
    ld      a3, 13 * 8(sp)
    ld      a4, 14 * 8(sp)
    ld      a5, 15 * 8(sp)
    ld      a6, 16 * 8(sp)
    ld      a7, 17 * 8(sp)
    ld      s2, 18 * 8(sp)
    ld      s3, 19 * 8(sp)
    ld      s4, 20 * 8(sp)
    ld      s5, 21 * 8(sp)
    ld      s6, 22 * 8(sp)
    ld      s7, 23 * 8(sp)
    ld      s8, 24 * 8(sp)
    ld      s9, 25 * 8(sp)
    ld      s10, 26 * 8(sp)
    ld      s11, 27 * 8(sp)
    ld      t3, 28 * 8(sp)
    ld      t4, 29 * 8(sp)
    ld      t5, 30 * 8(sp)
    ld      t6, 31 * 8(sp)
    ld      sp, 2 * 8(sp)
    sret
