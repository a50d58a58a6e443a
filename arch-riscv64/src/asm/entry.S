/*
 * Entry from firmware (SBI, README.md): supervisor mode, translation off, a0 = hart id, a1 = address of the
 * flattened device tree. No stack, no memory zeroed. Leaves for `riscv_boot`.
 */
.section .text.riscv64_entry, "ax"
.globl riscv64_entry
riscv64_entry:
    csrci   sstatus, {STATUS_SIE}
    csrw    sie, zero
    csrw    satp, zero
    lla     t0, __bss_start
    lla     t1, __bss_end
    bgeu    t0, t1, 2f
1:  sd      zero, 0(t0)
    addi    t0, t0, 8
    bltu    t0, t1, 1b
2:  lla     sp, __stacks_start
    li      t0, {STACK_SLOT}
    add     sp, sp, t0
    /* The chain of frames ends here. */
    li      s0, 0
    call    riscv_boot
    unimp

/* A secondary arrives the same way, with its logical number in a1. */
.globl riscv_secondary_entry
riscv_secondary_entry:
    csrci   sstatus, {STATUS_SIE}
    csrw    sie, zero
    csrw    satp, zero
    lla     sp, __stacks_start
    li      t0, {STACK_SLOT}
    add     sp, sp, t0
    li      t0, {STACKS_PER_CPU}
    mul     t0, t0, a1
    add     sp, sp, t0
    li      s0, 0
    mv      a0, a1
    call    riscv_secondary_start
    unimp
.text
