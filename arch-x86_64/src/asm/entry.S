/*
 * Entry from firmware (PVH) or from the first kernel's jump: 32-bit protected mode, paging off,
 * EBX = physical address of `hvm_start_info`. Leaves for `x86_boot` in long mode.
 *
 * Position: the image may lie at its p_paddr plus any multiple of 2 MiB. EBP holds that delta from
 * the fourth instruction on, and every address is formed as `(symbol - X86_KERNEL_BASE)(%ebp)`.
 *
 * NMI: firmware gives none. After a jump the previous kernel's control page is still in IDTR with a
 * gate that only returns. It selects code 0x18 in 32-bit mode and 0x08 in long mode, so this file's
 * GDT has these two at the same places, and ESP is valid at every instruction.
 */
.set X86_KERNEL_BASE, 0xFFFFFFFF80000000
/* End of CPU 0's main stack in X86_STACKS: one guard page and 32 KiB (checked in stack.rs). */
.set X86_BOOT_STACK, 0x9000
/* How much of the high half the boot tables map: 16 pages of 2 MiB (checked in mmu.rs). */
.set X86_BOOT_IMAGE_PAGES, 16

.section .note.pvh, "a", @note
.balign 4
    .long 4
    .long 8
    .long 18                /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad x86_pvh_entry - X86_KERNEL_BASE

.section .text.x86_entry, "ax"
.code32
.globl x86_pvh_entry
x86_pvh_entry:
    cli
    cld
    /* The only memory known to exist is the start info: its first word serves as stack once. It is put
       right only when ESP has left it, because an NMI writes below ESP. */
    movl (%ebx), %ecx
    leal 4(%ebx), %esp
    call 1f
1:  popl %ebp
    subl $(1b - X86_KERNEL_BASE), %ebp
    leal (X86_STACKS + X86_BOOT_STACK - X86_KERNEL_BASE)(%ebp), %esp
    movl %ecx, (%ebx)

    leal (__bss_start - X86_KERNEL_BASE)(%ebp), %edi
    leal (__bss_end - X86_KERNEL_BASE)(%ebp), %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl

    /* Boot tables: the first 4 GiB at their own addresses, the image also in the high half. They
       serve until mmu::init and again for each secondary's first steps. */
    leal (x86_boot_pml4 - X86_KERNEL_BASE)(%ebp), %edi
    leal (x86_boot_pdpt_low - X86_KERNEL_BASE + 3)(%ebp), %eax
    movl %eax, (%edi)
    leal (x86_boot_pdpt_high - X86_KERNEL_BASE + 3)(%ebp), %eax
    movl %eax, (511 * 8)(%edi)

    leal (x86_boot_pdpt_low - X86_KERNEL_BASE)(%ebp), %edi
    leal (x86_boot_pd_low - X86_KERNEL_BASE + 3)(%ebp), %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    decl %ecx
    jnz 2b

    leal (x86_boot_pd_low - X86_KERNEL_BASE)(%ebp), %edi
    movl $0x83, %eax
    movl $2048, %ecx
3:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 3b

    leal (x86_boot_pdpt_high - X86_KERNEL_BASE)(%ebp), %edi
    leal (x86_boot_pd_high - X86_KERNEL_BASE + 3)(%ebp), %eax
    movl %eax, (510 * 8)(%edi)
    leal (x86_boot_pd_high - X86_KERNEL_BASE)(%ebp), %edi
    leal 0x83(%ebp), %eax
    movl $X86_BOOT_IMAGE_PAGES, %ecx
4:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 4b

    /* The descriptor-table pointer holds a physical address, known only now. */
    leal (x86_boot_gdt - X86_KERNEL_BASE)(%ebp), %eax
    movl %eax, (x86_boot_gdt_pointer + 2 - X86_KERNEL_BASE)(%ebp)
    lgdtl (x86_boot_gdt_pointer - X86_KERNEL_BASE)(%ebp)

    movl %ebx, %esi
    movl $0x20, %eax        /* CR4.PAE */
    movl %eax, %cr4
    leal (x86_boot_pml4 - X86_KERNEL_BASE)(%ebp), %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx  /* EFER: LME, NXE */
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010031, %eax  /* CR0: PG, WP, NE, ET, PE */
    movl %eax, %cr0
    pushl $0x08
    leal (x86_long_mode - X86_KERNEL_BASE)(%ebp), %eax
    pushl %eax
    lretl

.code64
x86_long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %esi, %edi         /* start info, zero-extended */
    movl %ebp, %esi         /* delta, zero-extended */
    movq $(X86_STACKS + X86_BOOT_STACK), %rsp
    xorl %ebp, %ebp
    movabsq $x86_boot, %rax
    callq *%rax
    ud2

/* A secondary arrives from the trampoline on the boot tables, on its own stack.
   RDI = logical CPU, RSI = this kernel's own CR3. */
.globl x86_secondary_entry
x86_secondary_entry:
    movq %rsi, %cr3
    xorl %ebp, %ebp
    callq x86_secondary
    ud2

.section .data.x86_boot, "aw"
.balign 16
x86_boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF    /* 0x08: 64-bit code */
    .quad 0x00CF93000000FFFF    /* 0x10: data */
    .quad 0x00CF9B000000FFFF    /* 0x18: 32-bit code */
x86_boot_gdt_pointer:
    .word 4 * 8 - 1
    .long 0                     /* set by the entry code */
    .long 0

.section .bss.x86_boot, "aw", @nobits
.balign 4096
.globl x86_boot_pml4
x86_boot_pml4:      .skip 4096
x86_boot_pdpt_low:  .skip 4096
x86_boot_pdpt_high: .skip 4096
x86_boot_pd_low:    .skip 4 * 4096
x86_boot_pd_high:   .skip 4096

.text
