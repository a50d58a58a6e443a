/*
 * First steps of a secondary. smp.rs copies this to physical 0x8000 (start-up vector 8), fills the
 * mailbox at its end, and the CPU arrives here in real mode with CS = 0x800, IP = 0.
 */
.set X86_TRAMPOLINE, 0x8000

.section .rodata.x86_trampoline, "a"
.balign 16
.globl x86_trampoline_start
x86_trampoline_start:
.code16
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl X86_TRAMPOLINE + (x86_trampoline_gdt_pointer - x86_trampoline_start)
    movl $0x20, %eax        /* CR4.PAE */
    movl %eax, %cr4
    movl X86_TRAMPOLINE + (x86_trampoline_boot_cr3 - x86_trampoline_start), %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx  /* EFER: LME, NXE */
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010031, %eax  /* CR0: PG, WP, NE, ET, PE */
    movl %eax, %cr0
    ljmpl $0x08, $(X86_TRAMPOLINE + (x86_trampoline_long - x86_trampoline_start))
.code64
x86_trampoline_long:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq x86_trampoline_stack(%rip), %rsp
    movq x86_trampoline_cpu(%rip), %rdi
    movq x86_trampoline_cr3(%rip), %rsi
    movq x86_trampoline_entry(%rip), %rax
    jmpq *%rax

.balign 16
x86_trampoline_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF
    .quad 0x00CF93000000FFFF
x86_trampoline_gdt_pointer:
    .word 3 * 8 - 1
    .long X86_TRAMPOLINE + (x86_trampoline_gdt - x86_trampoline_start)
/* The mailbox: `smp::Mailbox`. */
.balign 8
.globl x86_trampoline_mailbox
x86_trampoline_mailbox:
x86_trampoline_boot_cr3: .quad 0
x86_trampoline_cr3:      .quad 0
x86_trampoline_stack:    .quad 0
x86_trampoline_entry:    .quad 0
x86_trampoline_cpu:      .quad 0
.globl x86_trampoline_end
x86_trampoline_end:

.text
