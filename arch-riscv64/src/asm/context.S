/* Contexts that no trap made. */
.text

/*
 * riscv_switch_stack(job: *const (), entry: extern "C" fn(*const ()) -> !, stack_top: u64) -> !
 * Leaves the caller's stack for good. The chain of frames ends on the new one.
 */
.globl riscv_switch_stack
riscv_switch_stack:
    mv      sp, a2
    li      s0, 0
    jalr    a1
    unimp

/*
 * riscv_hand_over(hart, entry, opaque) -> error: starts another hart at `entry` and stops this one, which takes no
 * memory: the other one begins on the same stack, and is the one that boots. Returns only if it could not be started.
 */
.globl riscv_hand_over
riscv_hand_over:
    lla     t0, riscv64_booted
    sw      zero, 0(t0)
    fence   rw, rw
    li      a7, {HART_STATE}
    li      a6, 0
    ecall
    bnez    a0, 2f
    li      a6, 1
1:  ecall
    j       1b
2:  li      t1, 1
    lla     t0, riscv64_booted
    sw      t1, 0(t0)
    ret

/*
 * riscv_capture(words: *mut RegisterSet): the caller's registers in the order of elf_gregset_t; pc is the
 * return address. Everything a callee may destroy holds what the call left in it.
 */
.globl riscv_capture
riscv_capture:
    sd      ra, 0(a0)
    sd      ra, 1 * 8(a0)
    sd      sp, 2 * 8(a0)
    sd      gp, 3 * 8(a0)
    sd      tp, 4 * 8(a0)
    sd      t0, 5 * 8(a0)
    sd      t1, 6 * 8(a0)
    sd      t2, 7 * 8(a0)
    sd      s0, 8 * 8(a0)
    sd      s1, 9 * 8(a0)
    sd      a0, 10 * 8(a0)
    sd      a1, 11 * 8(a0)
    sd      a2, 12 * 8(a0)
    sd      a3, 13 * 8(a0)
    sd      a4, 14 * 8(a0)
    sd      a5, 15 * 8(a0)
    sd      a6, 16 * 8(a0)
    sd      a7, 17 * 8(a0)
    sd      s2, 18 * 8(a0)
    sd      s3, 19 * 8(a0)
    sd      s4, 20 * 8(a0)
    sd      s5, 21 * 8(a0)
    sd      s6, 22 * 8(a0)
    sd      s7, 23 * 8(a0)
    sd      s8, 24 * 8(a0)
    sd      s9, 25 * 8(a0)
    sd      s10, 26 * 8(a0)
    sd      s11, 27 * 8(a0)
    sd      t3, 28 * 8(a0)
    sd      t4, 29 * 8(a0)
    sd      t5, 30 * 8(a0)
    sd      t6, 31 * 8(a0)
    ret
