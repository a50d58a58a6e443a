/*
 * The jump into the crash image.
 *
 * x86_kexec_leave runs in kernel text. RDI = CR3 of the control tables (their upper half is this
 * kernel's own, their lower half maps the first GiB at its own addresses), RSI = physical address
 * of the control page, RDX = 32-bit entry of the image, RCX = its start info. Does not return.
 *
 * The control page (kexec/control.rs) holds GDT, IDT, the code between x86_control_start and
 * x86_control_end, and a stack. From the CR3 load until the next kernel has its own vectors an NMI
 * finds, in this order: this kernel's handlers, still mapped; the control page's 64-bit gate; its
 * 32-bit gate. Both gates only return.
 */
.set X86_CONTROL_GDT_POINTER, 0x20
.set X86_CONTROL_IDT_POINTER, 0x30
.set X86_CONTROL_CODE, 0x80

.section .text.x86_kexec, "ax"
.code64
.globl x86_kexec_leave
x86_kexec_leave:
    cli
    movq %rdi, %cr3
    movl %edx, %edi
    movl %ecx, %ebx
    lidtq X86_CONTROL_IDT_POINTER(%rsi)
    lgdtq X86_CONTROL_GDT_POINTER(%rsi)
    leaq 4096(%rsi), %rsp
    /* IRETQ rather than a far jump: a panic may have begun inside an NMI handler, and the next
       kernel shall not start with NMIs blocked. One that was latched is taken here, harmlessly. */
    leaq 4096(%rsi), %rax
    leaq X86_CONTROL_CODE(%rsi), %rcx
    pushq $0x10
    pushq %rax
    pushq $0x02
    pushq $0x08
    pushq %rcx
    iretq

.section .rodata.x86_control, "a"
.balign 16
.globl x86_control_start
x86_control_start:
    pushq $0x18
    leaq x86_control_32(%rip), %rax
    pushq %rax
    lretq
.code32
x86_control_32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movl $0x11, %eax        /* CR0: ET, PE; leaves long mode */
    movl %eax, %cr0
    movl $0xC0000080, %ecx  /* EFER */
    rdmsr
    andl $~0x900, %eax
    wrmsr
    xorl %eax, %eax
    movl %eax, %cr3
    movl %eax, %cr4
    /* The state that PVH promises: EBX start info, EAX without meaning. */
    jmpl *%edi
.balign 8
.globl x86_control_nmi_32
x86_control_nmi_32:
    iretl
.code64
.balign 8
.globl x86_control_nmi_64
x86_control_nmi_64:
    iretq
.globl x86_control_end
x86_control_end:

.text
