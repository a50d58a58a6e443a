/*
 * The test load of one CPU: hal::testload::Workload, RDI on entry. Never returns.
 *
 *   r15 witness   r14 heartbeat   r13 lock   r12 the Workload   ebx rounds
 *
 * All of it lies in .text.workload; the one call out (the nudge) is bracketed by `*outside`.
 */
.section .text.workload, "ax"
.code64
.globl x86_workload_run
x86_workload_run:
    pushq %rbp
    movq %rsp, %rbp
    movq %rdi, %r12
    movq 0(%r12), %r15
    movq 8(%r12), %r14
    movq 16(%r12), %r13
    xorl %ebx, %ebx
    cmpl $1, 56(%r12)
    je x86_workload_spin

x86_workload_round:
    sti
    movl $500, %ecx
1:  incq (%r14)
    decl %ecx
    jnz 1b

    /* The lock, with interrupts on: a stop may find it held. The heartbeat goes on while waiting. */
2:  movl $1, %eax
    xchgl %eax, (%r13)
    testl %eax, %eax
    jz 4f
3:  incq (%r14)
    pause
    cmpl $0, (%r13)
    jne 3b
    jmp 2b
4:  movq 24(%r12), %rax
    movl $50, %ecx
5:  incq (%rax)
    decl %ecx
    jnz 5b
    movl $0, (%r13)

    cli
    movl $500, %ecx
6:  incq (%r14)
    decl %ecx
    jnz 6b
    sti

    incl %ebx
    testl $31, %ebx
    jnz x86_workload_round
    movq 32(%r12), %rax
    movl $1, (%rax)
    movq 48(%r12), %rdi
    callq *40(%r12)
    movq 32(%r12), %rax
    movl $0, (%rax)
    jmp x86_workload_round

x86_workload_spin:
    cli
7:  incq (%r14)
    pause
    jmp 7b

.text
