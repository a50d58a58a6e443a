/*
 * Exception entry and exit, in the kernel's own text. Entered from the vector page in real mode with
 * MSR[RI] = 0:
 *   r13  per-CPU area     r12  save area: r10-r13, SRR0/1, CR, CTR, (ordinary vectors) the vector
 * A system reset that hits this code resumes it where that is possible (recovery.rs knows the labels).
 * All other registers are the interrupted context's. Every kind of exception has a stack of its own, so
 * the 288 bytes below the interrupted stack pointer that code may use without a frame stay untouched.
 */
.section .text.ppc_trap, "ax"

/* System reset. One stack per nesting level, named by the save area. */
.globl ppc_nmi_entry
ppc_nmi_entry:
    li      %r11, 0x100
    std     %r11, {SAVE_VECTOR}(%r12)
    ld      %r11, {PERCPU_NMI_LIMIT}(%r13)
    cmpld   %r12, %r11
    bge     ppc_nmi_too_deep
    ld      %r11, {SAVE_STACK}(%r12)
    b       ppc_save

/* More system resets on top of each other than there are stacks: this one is dropped. */
.globl ppc_nmi_too_deep
ppc_nmi_too_deep:
    ld      %r11, {PERCPU_NMI_DROPPED}(%r13)
    addi    %r11, %r11, 1
    std     %r11, {PERCPU_NMI_DROPPED}(%r13)
    /* falls through */

/* A system reset without a handler: what is left of it after a jump into a crash image. */
.globl ppc_nmi_resume
ppc_nmi_resume:
    std     %r12, {PERCPU_NMI_NEXT}(%r13)
ppc_resume:
    ld      %r10, {SAVE_SRR1}(%r12)
    andi.   %r11, %r10, {MSR_RI}
    beq     ppc_stuck
    mtsrr1  %r10
    ld      %r10, {SAVE_SRR0}(%r12)
    mtsrr0  %r10
    ld      %r10, {SAVE_CTR}(%r12)
    mtctr   %r10
    ld      %r10, {SAVE_CR}(%r12)
    mtcrf   0xff, %r10
    ld      %r10, {SAVE_R10}(%r12)
    ld      %r11, {SAVE_R11}(%r12)
    ld      %r13, {SAVE_R13}(%r12)
    ld      %r12, {SAVE_R12}(%r12)
    rfid

/*
 * SRR1[RI] was 0: there is nothing to return to. A CPU on its way into the crash image goes that way
 * again; any other can only be parked, which needs nothing of what was lost.
 */
ppc_stuck:
    ld      %r3, {PERCPU_JUMP_TREE}(%r13)
    ld      %r4, {PERCPU_JUMP_BASE}(%r13)
    cmpdi   %r4, 0
    beq     1f
    b       ppc_kexec_jump
1:  b       ppc_park_wait

/* Machine check. One stack: it never returns. */
.globl ppc_mc_entry
ppc_mc_entry:
    li      %r11, 0x200
    std     %r11, {SAVE_VECTOR}(%r12)
    ld      %r11, {SAVE_STACK}(%r12)
    b       ppc_save

.globl ppc_mc_resume
ppc_mc_resume:
    b       ppc_resume

.globl ppc_trap_entry
ppc_trap_entry:
    ld      %r10, {SAVE_VECTOR}(%r12)
    cmpdi   %r10, 0x500
    beq     1f
    cmpdi   %r10, 0x900
    beq     1f
    /* A fault. It may come from the stack of the fault before it, so the two alternate. */
    ld      %r11, {PERCPU_FAULT_STACK}(%r13)
    ld      %r10, {PERCPU_FAULT_STACK_NEXT}(%r13)
    std     %r10, {PERCPU_FAULT_STACK}(%r13)
    std     %r11, {PERCPU_FAULT_STACK_NEXT}(%r13)
    b       ppc_save
    /* An interrupt: what it interrupted is kept where a system reset in its handler finds it. */
1:  ld      %r10, {SAVE_SRR0}(%r12)
    std     %r10, {PERCPU_IRQ_PC}(%r13)
    std     %r30, {PERCPU_IRQ_R30}(%r13)
    li      %r10, 1
    std     %r10, {PERCPU_IRQ_ACTIVE}(%r13)
    ld      %r11, {PERCPU_IRQ_STACK}(%r13)
    /* falls through */

/*
 * r11 = top of the stack to use. Stores all registers in the order of elf_gregset_t and calls
 * ppc_trap(registers, vector) with the MSR that handlers run with.
 */
.globl ppc_save
ppc_save:
    addi    %r11, %r11, -{FRAME_SIZE}
    std     %r0, ({FRAME_REGS} + 0 * 8)(%r11)
    std     %r1, ({FRAME_REGS} + 1 * 8)(%r11)
    std     %r2, ({FRAME_REGS} + 2 * 8)(%r11)
    std     %r3, ({FRAME_REGS} + 3 * 8)(%r11)
    std     %r4, ({FRAME_REGS} + 4 * 8)(%r11)
    std     %r5, ({FRAME_REGS} + 5 * 8)(%r11)
    std     %r6, ({FRAME_REGS} + 6 * 8)(%r11)
    std     %r7, ({FRAME_REGS} + 7 * 8)(%r11)
    std     %r8, ({FRAME_REGS} + 8 * 8)(%r11)
    std     %r9, ({FRAME_REGS} + 9 * 8)(%r11)
    ld      %r3, {SAVE_R10}(%r12)
    ld      %r4, {SAVE_R11}(%r12)
    ld      %r5, {SAVE_R12}(%r12)
    ld      %r6, {SAVE_R13}(%r12)
    std     %r3, ({FRAME_REGS} + 10 * 8)(%r11)
    std     %r4, ({FRAME_REGS} + 11 * 8)(%r11)
    std     %r5, ({FRAME_REGS} + 12 * 8)(%r11)
    std     %r6, ({FRAME_REGS} + 13 * 8)(%r11)
    std     %r14, ({FRAME_REGS} + 14 * 8)(%r11)
    std     %r15, ({FRAME_REGS} + 15 * 8)(%r11)
    std     %r16, ({FRAME_REGS} + 16 * 8)(%r11)
    std     %r17, ({FRAME_REGS} + 17 * 8)(%r11)
    std     %r18, ({FRAME_REGS} + 18 * 8)(%r11)
    std     %r19, ({FRAME_REGS} + 19 * 8)(%r11)
    std     %r20, ({FRAME_REGS} + 20 * 8)(%r11)
    std     %r21, ({FRAME_REGS} + 21 * 8)(%r11)
    std     %r22, ({FRAME_REGS} + 22 * 8)(%r11)
    std     %r23, ({FRAME_REGS} + 23 * 8)(%r11)
    std     %r24, ({FRAME_REGS} + 24 * 8)(%r11)
    std     %r25, ({FRAME_REGS} + 25 * 8)(%r11)
    std     %r26, ({FRAME_REGS} + 26 * 8)(%r11)
    std     %r27, ({FRAME_REGS} + 27 * 8)(%r11)
    std     %r28, ({FRAME_REGS} + 28 * 8)(%r11)
    std     %r29, ({FRAME_REGS} + 29 * 8)(%r11)
    std     %r30, ({FRAME_REGS} + 30 * 8)(%r11)
    std     %r31, ({FRAME_REGS} + 31 * 8)(%r11)
    ld      %r3, {SAVE_SRR0}(%r12)
    ld      %r4, {SAVE_SRR1}(%r12)
    std     %r3, ({FRAME_REGS} + {NIP} * 8)(%r11)
    std     %r4, ({FRAME_REGS} + {MSR} * 8)(%r11)
    ld      %r3, {SAVE_CFAR}(%r12)
    ld      %r4, {SAVE_CTR}(%r12)
    std     %r3, ({FRAME_REGS} + {ORIG_GPR3} * 8)(%r11)
    std     %r4, ({FRAME_REGS} + {CTR} * 8)(%r11)
    mflr    %r3
    mfxer   %r4
    std     %r3, ({FRAME_REGS} + {LINK} * 8)(%r11)
    std     %r4, ({FRAME_REGS} + {XER} * 8)(%r11)
    ld      %r3, {SAVE_CR}(%r12)
    li      %r5, 0
    std     %r3, ({FRAME_REGS} + {CCR} * 8)(%r11)
    std     %r5, ({FRAME_REGS} + {SOFTE} * 8)(%r11)
    ld      %r4, {SAVE_VECTOR}(%r12)
    mfdar   %r3
    std     %r4, ({FRAME_REGS} + {TRAP} * 8)(%r11)
    std     %r3, ({FRAME_REGS} + {DAR} * 8)(%r11)
    mfdsisr %r3
    std     %r3, ({FRAME_REGS} + {DSISR} * 8)(%r11)
    std     %r5, ({FRAME_REGS} + {RESULT} * 8)(%r11)
    std     %r5, ({FRAME_REGS} + 44 * 8)(%r11)
    std     %r5, ({FRAME_REGS} + 45 * 8)(%r11)
    std     %r5, ({FRAME_REGS} + 46 * 8)(%r11)
    std     %r5, ({FRAME_REGS} + 47 * 8)(%r11)
    /* The back chain ends here. */
    std     %r5, 0(%r11)
    mr      %r1, %r11
    addi    %r3, %r11, {FRAME_REGS}
    ld      %r5, {PERCPU_HANDLER_MSR}(%r13)
    bl      ppc_load_toc
    bcl     20, 31, 1f
1:  mflr    %r6
    addi    %r6, %r6, 2f - 1b
.globl ppc_save_leave
ppc_save_leave:
    mtsrr0  %r6
    mtsrr1  %r5
    rfid
2:  bl      ppc_trap
    nop

    /* Back to what was interrupted. What the handler may have used is restored first, then RI goes. */
    ld      %r3, ({FRAME_REGS} + {LINK} * 8)(%r1)
    ld      %r4, ({FRAME_REGS} + {XER} * 8)(%r1)
    ld      %r5, ({FRAME_REGS} + {CTR} * 8)(%r1)
    mtlr    %r3
    mtxer   %r4
    mtctr   %r5
    ld      %r0, ({FRAME_REGS} + 0 * 8)(%r1)
    ld      %r2, ({FRAME_REGS} + 2 * 8)(%r1)
    ld      %r3, ({FRAME_REGS} + 3 * 8)(%r1)
    ld      %r4, ({FRAME_REGS} + 4 * 8)(%r1)
    ld      %r5, ({FRAME_REGS} + 5 * 8)(%r1)
    ld      %r6, ({FRAME_REGS} + 6 * 8)(%r1)
    ld      %r7, ({FRAME_REGS} + 7 * 8)(%r1)
    ld      %r8, ({FRAME_REGS} + 8 * 8)(%r1)
    ld      %r9, ({FRAME_REGS} + 9 * 8)(%r1)
    ld      %r14, ({FRAME_REGS} + 14 * 8)(%r1)
    ld      %r15, ({FRAME_REGS} + 15 * 8)(%r1)
    ld      %r16, ({FRAME_REGS} + 16 * 8)(%r1)
    ld      %r17, ({FRAME_REGS} + 17 * 8)(%r1)
    ld      %r18, ({FRAME_REGS} + 18 * 8)(%r1)
    ld      %r19, ({FRAME_REGS} + 19 * 8)(%r1)
    ld      %r20, ({FRAME_REGS} + 20 * 8)(%r1)
    ld      %r21, ({FRAME_REGS} + 21 * 8)(%r1)
    ld      %r22, ({FRAME_REGS} + 22 * 8)(%r1)
    ld      %r23, ({FRAME_REGS} + 23 * 8)(%r1)
    ld      %r24, ({FRAME_REGS} + 24 * 8)(%r1)
    ld      %r25, ({FRAME_REGS} + 25 * 8)(%r1)
    ld      %r26, ({FRAME_REGS} + 26 * 8)(%r1)
    ld      %r27, ({FRAME_REGS} + 27 * 8)(%r1)
    ld      %r28, ({FRAME_REGS} + 28 * 8)(%r1)
    ld      %r29, ({FRAME_REGS} + 29 * 8)(%r1)
    ld      %r30, ({FRAME_REGS} + 30 * 8)(%r1)
    ld      %r31, ({FRAME_REGS} + 31 * 8)(%r1)
    mfsprg  %r13, 0
    li      %r10, 0
    /* L=1: changes EE and RI only, both to 0. */
    mtmsrd  %r10, 1
.globl ppc_exit
ppc_exit:
    ld      %r11, ({FRAME_REGS} + {TRAP} * 8)(%r1)
    cmpdi   %r11, 0x100
    beq     3f
    std     %r10, {PERCPU_IRQ_ACTIVE}(%r13)
    b       4f
    /* The save area and the stack of this level are free again. */
3:  ld      %r11, {PERCPU_NMI_NEXT}(%r13)
    addi    %r11, %r11, -{SAVE_SIZE}
    std     %r11, {PERCPU_NMI_NEXT}(%r13)
    /* A reservation that the handler left must not satisfy the interrupted code's store-conditional. */
.globl ppc_exit_restore
ppc_exit_restore:
4:  addi    %r11, %r1, {FRAME_REGS} + {RESULT} * 8
    stdcx.  %r10, 0, %r11
    ld      %r11, ({FRAME_REGS} + {NIP} * 8)(%r1)
    ld      %r12, ({FRAME_REGS} + {MSR} * 8)(%r1)
    mtsrr0  %r11
    mtsrr1  %r12
    ld      %r11, ({FRAME_REGS} + {CCR} * 8)(%r1)
    mtcrf   0xff, %r11
    ld      %r10, ({FRAME_REGS} + 10 * 8)(%r1)
    ld      %r11, ({FRAME_REGS} + 11 * 8)(%r1)
    ld      %r12, ({FRAME_REGS} + 12 * 8)(%r1)
    ld      %r13, ({FRAME_REGS} + 13 * 8)(%r1)
    ld      %r1, ({FRAME_REGS} + 1 * 8)(%r1)
.globl ppc_exit_end
ppc_exit_end:
    rfid
.text
