/* One faulting instruction each, for tests of the panic path. */
.section .text.x86_provoke, "ax"
.code64
.globl x86_provoke_undefined
x86_provoke_undefined:
    /* LOCK with a register destination is undefined on every x86. */
    .byte 0xF0, 0x01, 0xC0
    ud2

/* Recursion without an end: CALL pushes until it meets the guard page. */
.globl x86_provoke_stack_overflow
x86_provoke_stack_overflow:
    pushq %rbp
    movq %rsp, %rbp
    callq x86_provoke_stack_overflow
    ud2

.text
