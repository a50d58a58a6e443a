/*
 * Where firmware, kexec and RTAS start-cpu enter.
 *
 * Both boot paths enter at the first byte of the image in real mode, big-endian:
 *   Open Firmware  32-bit mode (SLOF and VOF alike), r5 = client interface entry
 *   kexec          64-bit mode, r3 = flattened device tree, r4 = address of this image, r5 = 0
 */
.section .text.ppc_entry, "ax"
.globl ppc_entry
ppc_entry:
    li      %r9, 1
    sldi    %r9, %r9, 63
    mfmsr   %r10
    or      %r10, %r10, %r9
    ori     %r10, %r10, {MSR_RI}
    mtmsrd  %r10
    isync
    cmpwi   %r5, 0
    beq     1f
    /* The upper halves of registers are anything after 32-bit code. */
    clrldi  %r3, %r3, 32
    clrldi  %r4, %r4, 32
    clrldi  %r5, %r5, 32
1:  mr      %r29, %r3
    mr      %r30, %r4
    mr      %r31, %r5

    /* r28: where we are; r27: how far that is from where we were linked. */
    bcl     20, 31, 2f
2:  mflr    %r28
    addi    %r28, %r28, ppc_entry - 2b
    lis     %r27, {LINK_BASE_HIGH}
    subf    %r27, %r27, %r28

    addis   %r3, %r28, (__bss_start - ppc_entry)@ha
    addi    %r3, %r3, (__bss_start - ppc_entry)@l
    addis   %r4, %r28, (__bss_end - ppc_entry)@ha
    addi    %r4, %r4, (__bss_end - ppc_entry)@l
    li      %r0, 0
3:  cmpld   %r3, %r4
    bge     4f
    std     %r0, 0(%r3)
    addi    %r3, %r3, 8
    b       3b

    /* Elf64_Rela: offset, type, addend. Others than R_PPC64_RELATIVE (22) are counted in r26. */
4:  addis   %r3, %r28, (__rela_start - ppc_entry)@ha
    addi    %r3, %r3, (__rela_start - ppc_entry)@l
    addis   %r4, %r28, (__rela_end - ppc_entry)@ha
    addi    %r4, %r4, (__rela_end - ppc_entry)@l
    li      %r26, 0
5:  cmpld   %r3, %r4
    bge     7f
    lwz     %r7, 12(%r3)
    cmpwi   %r7, 22
    bne     6f
    ld      %r6, 0(%r3)
    ld      %r8, 16(%r3)
    add     %r8, %r8, %r27
    stdx    %r8, %r6, %r27
    addi    %r3, %r3, 24
    b       5b
6:  addi    %r26, %r26, 1
    addi    %r3, %r3, 24
    b       5b

7:  bl      ppc_load_toc
    /* The first stack slot is the boot CPU's main stack. */
    addis   %r1, %r28, (__stacks_start - ppc_entry)@ha
    addi    %r1, %r1, (__stacks_start - ppc_entry)@l
    addi    %r1, %r1, {STACK_SLOT} - 8
    addi    %r1, %r1, 8 - 64
    std     %r0, 0(%r1)
    mr      %r3, %r29
    mr      %r4, %r30
    mr      %r5, %r31
    mr      %r6, %r28
    mr      %r7, %r26
    bl      ppc_boot
    nop
    b       .

/* r2 := TOC base. Changes r2 and lr's caller only through the return. */
.globl ppc_load_toc
ppc_load_toc:
    mflr    %r0
    bcl     20, 31, 1f
1:  mflr    %r2
    addis   %r2, %r2, (.TOC. - 1b)@ha
    addi    %r2, %r2, (.TOC. - 1b)@l
    mtlr    %r0
    li      %r0, 0
    blr
.globl ppc_load_toc_end
ppc_load_toc_end:

/*
 * A secondary, from RTAS start-cpu: 64-bit real mode, r3 = its per-CPU area. MSR[RI] is 0 until SPRG0
 * is set: a system reset that comes earlier sends the CPU back to stop.
 */
.globl ppc_secondary_entry
ppc_secondary_entry:
    mtsprg  0, %r3
    mr      %r31, %r3
    ld      %r1, {PERCPU_MAIN_STACK}(%r3)
    bl      ppc_load_toc
    mtspr   {SPR_PID}, %r0
    isync
    ld      %r4, {PERCPU_HANDLER_MSR}(%r31)
    bcl     20, 31, 1f
1:  mflr    %r5
    addi    %r5, %r5, 2f - 1b
    mtsrr0  %r5
    mtsrr1  %r4
    rfid
2:  stdu    %r0, -64(%r1)
    mr      %r3, %r31
    bl      ppc_secondary_start
    nop
    b       .
.text
