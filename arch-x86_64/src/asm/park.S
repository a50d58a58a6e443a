/* Where parked CPUs wait. An observer recognises a parked CPU by its pc in this section. */
.section .text.park, "ax"
.code64
.globl x86_park_wait
x86_park_wait:
    cli
    hlt
    retq

.text
