/*
 * Where parked CPUs wait. An observer recognises a parked CPU by its pc in this section.
 *
 * ppc_park_wait() -> !
 *
 * Goes to real mode and stays here for ever: a crash kernel replaces the page tables of the whole
 * partition, and a parked CPU must not notice. No stack and no memory is used. Each round masks the CPU
 * at the interrupt controller (a pending interrupt would end every H_JOIN at once), puts the
 * decrementer off, spins a little at low priority and then gives the processor back by H_JOIN, which,
 * other than H_CEDE, leaves MSR[EE] off; a system reset still wakes it. H_JOIN refuses to stop the last
 * running CPU; then the spin is the wait.
 */
.section .text.park, "ax"
.globl ppc_park_wait
ppc_park_wait:
    mfmsr   %r10
    li      %r9, 0
    bcl     20, 31, 1f
1:  mflr    %r8
    addi    %r8, %r8, ppc_park_real - 1b
    ori     %r10, %r10, {MSR_EE} | {MSR_IR} | {MSR_DR} | {MSR_RI}
    xori    %r10, %r10, {MSR_EE} | {MSR_IR} | {MSR_DR}
    mtmsrd  %r9, 1
.globl ppc_park_leave
ppc_park_leave:
    mtsrr0  %r8
    mtsrr1  %r10
    rfid
ppc_park_real:
    li      %r3, {H_CPPR}
    li      %r4, 0
    .long   0x44000022
    lis     %r3, 0x7fff
    ori     %r3, %r3, 0xffff
    mtdec   %r3
    li      %r4, 64
    mtctr   %r4
2:  or      31, 31, 31
    bdnz    2b
    or      2, 2, 2
    li      %r3, {H_JOIN}
    .long   0x44000022
    b       ppc_park_real
.text
