// What a processor should reach by its data sheet: its clock, as measured, and the dot products that it starts in a cycle, as published.
#ifndef TN_CPU_THEORY_H
#define TN_CPU_THEORY_H

#include "cpu/isa.h"

// Cycles a second of the calling thread's core now, by a chain of additions of which each takes a cycle.  Takes about 10 ms.
double tn_cpu_clock_hz(void);

// A processor as its maker numbers it. x86-64: vendor of CPUID, family and model with their extensions. AArch64: implementer and part of
// MIDR_EL1 as family and model.
typedef struct tn_cpu_identity {
    char vendor[16]; // "AuthenticAMD", "GenuineIntel", "arm"; "" where unknown
    uint32_t family, model;
} tn_cpu_identity;
tn_cpu_identity tn_cpu_identify(void);

// Products of bytes that a core of this kind starts in a cycle with a level's instructions; 0: not known.
uint32_t tn_cpu_products_per_cycle(const tn_cpu_identity *cpu, tn_isa isa);

// Bytes a second that the host's memory modules can give, by the firmware's table; 0: not known.
double tn_cpu_memory_bytes_per_s(void);

#endif
