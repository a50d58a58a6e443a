/* Instructions that fault, for tests of the panic path. */
.text
.globl riscv_provoke_undefined
riscv_provoke_undefined:
    /* All zero is defined to be illegal (unprivileged ISA, "Expanded Instruction-Length Encoding"). */
    .4byte  0
    j       .

.globl riscv_provoke_trap
riscv_provoke_trap:
    ebreak
    j       .

/* riscv_provoke_read(address), riscv_provoke_write(address), riscv_provoke_execute(address) */
.globl riscv_provoke_read
riscv_provoke_read:
    ld      a1, 0(a0)
    j       .

.globl riscv_provoke_write
riscv_provoke_write:
    sd      a1, 0(a0)
    j       .

.globl riscv_provoke_execute
riscv_provoke_execute:
    jalr    a0
    j       .

/* Pushes frames until there is no stack. */
.globl riscv_provoke_stack_overflow
riscv_provoke_stack_overflow:
    addi    sp, sp, -128
    sd      ra, 120(sp)
    sd      s0, 112(sp)
    addi    s0, sp, 128
    call    riscv_provoke_stack_overflow
    j       .

/*
 * What a hart does that takes a hardware error exception (cause 19): the place and the cause into the supervisor's
 * registers, interrupts off and what they were into SPIE, on to the entry.
 */
.globl riscv_provoke_machine_check
riscv_provoke_machine_check:
    csrrci  t0, sstatus, {STATUS_SIE}
    slli    t1, t0, 4
    andi    t1, t1, {STATUS_SPIE}
    li      t0, {STATUS_SPIE}
    csrc    sstatus, t0
    li      t0, {STATUS_SPP}
    or      t0, t0, t1
    csrs    sstatus, t0
    csrw    sepc, ra
    li      t0, {HARDWARE_ERROR}
    csrw    scause, t0
    csrw    stval, zero
    j       riscv_trap_entry
