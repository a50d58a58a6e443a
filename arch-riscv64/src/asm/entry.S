/*
 * Entry from firmware (SBI, README.md) or from the first kernel's jump: supervisor mode, translation off, a0 = hart id,
 * a1 = address of the flattened device tree. No stack, no memory zeroed, nothing relocated. Leaves for `riscv_boot`.
 */
.section .text.riscv64_entry, "ax"
.globl riscv64_entry
riscv64_entry:
    csrci   sstatus, {STATUS_SIE}
    csrw    sie, zero
    csrw    satp, zero
    /* One hart boots. Another one that firmware lets go here, late, as it may on a host that is busy, stops; it is
       started again (smp.rs). */
    lla     t0, riscv64_booted
    li      t1, 1
    amoswap.w.aqrl t1, t1, (t0)
    bnez    t1, riscv64_late
    lla     t0, __bss_start
    lla     t1, __bss_end
    bgeu    t0, t1, 2f
1:  sd      zero, 0(t0)
    addi    t0, t0, 8
    bltu    t0, t1, 1b

    /* t2: how far this is from where it was linked. Elf64_Rela: offset, type, addend; types other than
       R_RISCV_RELATIVE (3) are counted in a2. */
2:  lla     t2, __image_start
    li      t3, {LINK_BASE}
    sub     t2, t2, t3
    li      a2, 0
    li      t6, 3
    lla     t0, __rela_start
    lla     t1, __rela_end
    bgeu    t0, t1, 5f
3:  lw      t3, 8(t0)
    bne     t3, t6, 6f
    ld      t4, 0(t0)
    ld      t5, 16(t0)
    add     t4, t4, t2
    add     t5, t5, t2
    sd      t5, 0(t4)
4:  addi    t0, t0, 24
    bltu    t0, t1, 3b

5:  lla     sp, __stacks_start
    li      t0, {STACK_SLOT}
    add     sp, sp, t0
    /* The chain of frames ends here. */
    li      s0, 0
    call    riscv_boot
    unimp
6:  addi    a2, a2, 1
    j       4b

riscv64_late:
    li      a7, {HART_STATE}
    li      a6, 1
    ecall
    j       riscv64_late

/* Not 0: a hart has begun to boot this image. Neither zeroed nor relocated. */
.section .data.riscv64_booted, "aw"
.balign 4
.globl riscv64_booted
riscv64_booted:
    .word   0
.section .text.riscv64_entry, "ax"

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
