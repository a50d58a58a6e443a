/*
 * Trap entries. Each vector has a 16-byte stub at X86_TRAP_STUBS + 16 * vector that pushes an error
 * code where the CPU pushed none, and the vector number in RDI. The common part completes the first
 * 21 words of `elf_gregset_t` (r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip
 * cs eflags rsp ss); the error code lies where that layout has orig_rax. trap.rs adds the other six.
 *
 * r15 is pushed last and popped first: trap.rs relies on it to find the outer context of an
 * interrupted interrupt handler.
 */
.section .text.x86_trap, "ax"
.code64
.balign 16
.globl x86_trap_stubs
x86_trap_stubs:
.set x86_vector, 0
.rept 256
    .balign 16
    .if (x86_vector != 8) && (x86_vector != 10) && (x86_vector != 11) && (x86_vector != 12) && (x86_vector != 13) && (x86_vector != 14) && (x86_vector != 17) && (x86_vector != 21) && (x86_vector != 29) && (x86_vector != 30)
    pushq $0
    .endif
    pushq %rdi
    movl $x86_vector, %edi
    jmp x86_trap_common
    .set x86_vector, x86_vector + 1
.endr

.balign 16
x86_trap_common:
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rsi
    subq $8, %rsp           /* the CPU aligned the frame to 16; 21 words make it odd */
    callq x86_trap
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    addq $8, %rsp           /* error code */
    iretq

/* RDI = 21 words in the frame's order. Callee-saved registers are exact, pc is the return address and
   rsp what it is after the return. */
.globl x86_capture
x86_capture:
    movq %r15, 0(%rdi)
    movq %r14, 8(%rdi)
    movq %r13, 16(%rdi)
    movq %r12, 24(%rdi)
    movq %rbp, 32(%rdi)
    movq %rbx, 40(%rdi)
    movq %r11, 48(%rdi)
    movq %r10, 56(%rdi)
    movq %r9, 64(%rdi)
    movq %r8, 72(%rdi)
    movq %rax, 80(%rdi)
    movq %rcx, 88(%rdi)
    movq %rdx, 96(%rdi)
    movq %rsi, 104(%rdi)
    movq %rdi, 112(%rdi)
    movq $0, 120(%rdi)
    movq (%rsp), %rax
    movq %rax, 128(%rdi)
    xorl %eax, %eax
    movl %cs, %eax
    movq %rax, 136(%rdi)
    pushfq
    popq %rax
    movq %rax, 144(%rdi)
    leaq 8(%rsp), %rax
    movq %rax, 152(%rdi)
    xorl %eax, %eax
    movl %ss, %eax
    movq %rax, 160(%rdi)
    retq

/* An NMI handler holds further NMIs off until an IRET: this is one that goes nowhere, on the same
   stack, with the same flags. */
.globl x86_unblock_nmi
x86_unblock_nmi:
    movq %rsp, %rax
    xorl %edx, %edx
    movl %ss, %edx
    pushq %rdx
    pushq %rax
    pushfq
    xorl %edx, %edx
    movl %cs, %edx
    pushq %rdx
    leaq 1f(%rip), %rdx
    pushq %rdx
    iretq
1:  retq

.text
