/*
 * Where parked CPUs wait. An observer recognises a parked CPU by its pc in this section.
 *
 * riscv_park_wait(): `wfi` with every source of interrupts off, and not only sstatus.SIE: one that is pending and
 * enabled in sie ends each `wfi` at once, taken or not (privileged architecture, "Wait for Interrupt").
 */
.section .text.park, "ax"
.globl riscv_park_wait
riscv_park_wait:
    csrci   sstatus, {STATUS_SIE}
    csrw    sie, zero
    wfi
    ret
.text
