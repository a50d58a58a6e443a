/*
 * The vector page: a template that is copied to real address 0. Everything here is position-independent
 * and knows no address of the kernel: it takes what it needs from the per-CPU area in SPRG0, so that it
 * may be replaced by the same page of a capture kernel while CPUs of the first kernel are parked.
 *
 *   SPRG0  per-CPU area, 0 on a CPU that was never started
 *   SPRG1  scratch of the ordinary vectors
 *   SPRG2, SPRG3  scratch of system reset and machine check
 *
 * MSR[RI] is 0 in here: a system reset that finds it so never returns.
 */
.section .rodata.ppc_vectors, "a"
.balign 4096
.globl ppc_vectors
ppc_vectors:
/*
 * Words that a CPU without a per-CPU area finds where others find theirs, at the same offsets. Written
 * at install: the save areas; the RTAS argument block for stop-self, RTAS's entry and base.
 */
.org {PERCPU_NMI_NEXT}
    .quad   {LOW_SAVE}
.org {PERCPU_MC_SAVE}
    .quad   {LOW_SAVE}
.org {LOW_STOP_BLOCK}
    .quad   0, 0, 0

/* Saves what the entry code needs before the first branch, SRR0/1 and CFAR (the last branch taken) too. */
.macro PPC_VECTOR_NMI save
    mtsprg  2, %r13
    mtsprg  3, %r12
    mfsprg  %r13, 0
    ld      %r12, \save(%r13)
    std     %r11, {SAVE_R11}(%r12)
    std     %r10, {SAVE_R10}(%r12)
    mfsrr0  %r10
    mfsrr1  %r11
    std     %r10, {SAVE_SRR0}(%r12)
    std     %r11, {SAVE_SRR1}(%r12)
    mfsprg  %r10, 2
    mfsprg  %r11, 3
    std     %r10, {SAVE_R13}(%r12)
    std     %r11, {SAVE_R12}(%r12)
    mfcr    %r10
    mfctr   %r11
    std     %r10, {SAVE_CR}(%r12)
    std     %r11, {SAVE_CTR}(%r12)
    mfspr   %r10, {SPR_CFAR}
    std     %r10, {SAVE_CFAR}(%r12)
.endm

.org 0x100
    PPC_VECTOR_NMI {PERCPU_NMI_NEXT}
    addi    %r10, %r12, {SAVE_SIZE}
    std     %r10, {PERCPU_NMI_NEXT}(%r13)
    cmpdi   %r13, 0
    beq     ppc_vector_stop
    ld      %r11, {PERCPU_NMI_ENTRY}(%r13)
    mtctr   %r11
    bctr

.org 0x200
    PPC_VECTOR_NMI {PERCPU_MC_SAVE}
    cmpdi   %r13, 0
    beq     ppc_vector_stop
    ld      %r11, {PERCPU_MC_ENTRY}(%r13)
    mtctr   %r11
    bctr

/* 0x80 bytes each. */
.macro PPC_VECTOR address
.org \address
    mtsprg  1, %r13
    mfsprg  %r13, 0
    std     %r12, ({PERCPU_TRAP_SAVE} + {SAVE_R12})(%r13)
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_R11})(%r13)
    mfsrr0  %r11
    mfsrr1  %r12
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_SRR0})(%r13)
    std     %r12, ({PERCPU_TRAP_SAVE} + {SAVE_SRR1})(%r13)
    mfspr   %r11, {SPR_CFAR}
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_CFAR})(%r13)
    li      %r12, \address
    b       ppc_vector_common
.endm

/* 0x20 bytes each. */
.macro PPC_VECTOR_SHORT address
.org \address
    mtsprg  1, %r13
    mfsprg  %r13, 0
    std     %r12, ({PERCPU_TRAP_SAVE} + {SAVE_R12})(%r13)
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_R11})(%r13)
    mfspr   %r11, {SPR_CFAR}
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_CFAR})(%r13)
    li      %r12, \address
    b       ppc_vector_late
.endm

    PPC_VECTOR 0x300
    PPC_VECTOR 0x380
    PPC_VECTOR 0x400
    PPC_VECTOR 0x480
    PPC_VECTOR 0x500
    PPC_VECTOR 0x600
    PPC_VECTOR 0x700
    PPC_VECTOR 0x800
    PPC_VECTOR 0x900
    PPC_VECTOR 0x980
    PPC_VECTOR 0xa00
    PPC_VECTOR 0xb00
    PPC_VECTOR 0xc00
    PPC_VECTOR 0xd00
    PPC_VECTOR_SHORT 0xe00
    PPC_VECTOR_SHORT 0xe20
    PPC_VECTOR_SHORT 0xe40
    PPC_VECTOR_SHORT 0xe60
    PPC_VECTOR_SHORT 0xe80
    PPC_VECTOR_SHORT 0xea0
    PPC_VECTOR_SHORT 0xf00
    PPC_VECTOR_SHORT 0xf20
    PPC_VECTOR_SHORT 0xf40
    PPC_VECTOR_SHORT 0xf60
    PPC_VECTOR_SHORT 0xf80
    PPC_VECTOR 0x1500

.org 0x1600
ppc_vector_late:
    mfsrr0  %r11
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_SRR0})(%r13)
    mfsrr1  %r11
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_SRR1})(%r13)
ppc_vector_common:
    std     %r12, ({PERCPU_TRAP_SAVE} + {SAVE_VECTOR})(%r13)
    std     %r10, ({PERCPU_TRAP_SAVE} + {SAVE_R10})(%r13)
    mfsprg  %r11, 1
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_R13})(%r13)
    mfcr    %r11
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_CR})(%r13)
    mfctr   %r11
    std     %r11, ({PERCPU_TRAP_SAVE} + {SAVE_CTR})(%r13)
    ld      %r11, {PERCPU_TRAP_ENTRY}(%r13)
    mtctr   %r11
    addi    %r12, %r13, {PERCPU_TRAP_SAVE}
    bctr

/*
 * A CPU that nobody started was woken by a signal to "all CPUs". It has no stack and goes back to stop
 * by RTAS stop-self (32-bit mode; the argument block is shared: RTAS writes it only if it fails).
 */
ppc_vector_stop:
    li      %r10, {LOW_SAVE}
    std     %r10, {PERCPU_NMI_NEXT}(0)
    ld      %r3, {LOW_STOP_BLOCK}(0)
    ld      %r5, ({LOW_STOP_BLOCK} + 8)(0)
    ld      %r4, ({LOW_STOP_BLOCK} + 16)(0)
    cmpdi   %r5, 0
    beq     1f
    mtctr   %r5
    bcl     20, 31, 2f
2:  mflr    %r6
    addi    %r6, %r6, 1f - 2b
    mtlr    %r6
    mfmsr   %r7
    rldicl  %r7, %r7, 0, 1
    mtmsrd  %r7
    isync
    bctr
1:  or      31, 31, 31
    b       1b

.org {LOW_END}
.globl ppc_vectors_end
ppc_vectors_end:
.text
