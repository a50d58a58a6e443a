/* Instructions that fault, for tests of the panic path. */
.text
.globl ppc_provoke_undefined
ppc_provoke_undefined:
    .long   0
    b       .

.globl ppc_provoke_trap
ppc_provoke_trap:
    trap
    b       .

/* ppc_provoke_read(address), ppc_provoke_write(address), ppc_provoke_execute(address) */
.globl ppc_provoke_read
ppc_provoke_read:
    ld      %r4, 0(%r3)
    b       .

.globl ppc_provoke_write
ppc_provoke_write:
    std     %r4, 0(%r3)
    b       .

.globl ppc_provoke_execute
ppc_provoke_execute:
    mr      %r12, %r3
    mtctr   %r12
    bctrl
    b       .

/* Pushes frames until there is no stack. */
.globl ppc_provoke_stack_overflow
ppc_provoke_stack_overflow:
    mflr    %r0
    std     %r0, 16(%r1)
    stdu    %r1, -128(%r1)
    bl      ppc_provoke_stack_overflow
    b       .

/*
 * What a processor does that finds a machine check: interrupts and translation off, SRR0 and SRR1 set, on to
 * the vector. The kernel runs at its real addresses.
 */
.globl ppc_provoke_machine_check
ppc_provoke_machine_check:
    mflr    %r5
    mfmsr   %r6
    mr      %r7, %r6
    ori     %r7, %r7, {MSR_EE} | {MSR_IR} | {MSR_DR} | {MSR_RI}
    xori    %r7, %r7, {MSR_EE} | {MSR_IR} | {MSR_DR} | {MSR_RI}
    mtmsrd  %r7
    isync
    mtsrr0  %r5
    mtsrr1  %r6
    li      %r12, 0x200
    mtctr   %r12
    bctr
