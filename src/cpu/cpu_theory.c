// Data sheets: dot products a cycle by processor, the clock, and the memory modules.
#include "cpu/cpu_theory.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "cpu/smbios.h"

#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

// A chain of N additions of registers: no processor makes two of them in a cycle. (Additions of constants may be merged, so none are used.)
static uint64_t add_chain(uint64_t n_blocks)
{
    uint64_t x = n_blocks, one = 1;
    for (uint64_t i = 0; i < n_blocks; i++) {
#define ADD_1         "add %1, %0\n\t"
#define ADD_ARM       "add %0, %0, %1\n\t"
#define TIMES_8(text) text text text text text text text text
#if defined(__x86_64__)
        __asm__ volatile(TIMES_8(TIMES_8(ADD_1)) : "+r"(x) : "r"(one));
#else
        __asm__ volatile(TIMES_8(TIMES_8(ADD_ARM)) : "+r"(x) : "r"(one));
#endif
    }
    return x;
}

double tn_cpu_clock_hz(void)
{
    enum { BLOCKS = 50000, ADDS = 64, TRIES = 8 }; // about a millisecond a try
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        const uint64_t begun_ns = tn_clock_ns();
        add_chain(BLOCKS);
        const uint64_t ns = tn_clock_ns() - begun_ns;
        const double hz = ns ? (double)BLOCKS * ADDS * 1e9 / (double)ns : 0;
        if (hz > best) best = hz;
    }
    return best;
}

#if defined(__x86_64__)

tn_cpu_identity tn_cpu_identify(void)
{
    tn_cpu_identity cpu = {0};
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx)) return cpu;
    memcpy(cpu.vendor, &ebx, 4);
    memcpy(cpu.vendor + 4, &edx, 4);
    memcpy(cpu.vendor + 8, &ecx, 4);
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return cpu;
    cpu.family = eax >> 8 & 15;
    cpu.model = eax >> 4 & 15;
    if (cpu.family == 6 || cpu.family == 15) cpu.model |= (eax >> 16 & 15) << 4;
    if (cpu.family == 15) cpu.family += eax >> 20 & 255;
    return cpu;
}

#else

tn_cpu_identity tn_cpu_identify(void)
{
    tn_cpu_identity cpu = {0};
    unsigned long long midr = 0;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "re");
    if (!file) return cpu;
    if (fscanf(file, "%llx", &midr) == 1) {
        snprintf(cpu.vendor, sizeof cpu.vendor, "arm");
        cpu.family = (uint32_t)(midr >> 24 & 255);
        cpu.model = (uint32_t)(midr >> 4 & 0xfff);
    }
    fclose(file);
    return cpu;
}

#endif

// Sources: AMD's software optimisation guides (families 16h to 1Ah), Intel's optimisation manual and uops.info's tables of ports, Agner
// Fog's instruction tables for what is older, Arm's software optimisation guides. The figure is the reciprocal throughput of the
// instruction that makes the products: (v)pmaddubsw for SSE4.1, AVX2 and AVX512-BW, vpdpbusd for VNNI, sdot. Hybrid processors, those whose
// vector units differ from part to part (Skylake-X has one or two), and those whose cores share them (Bulldozer) are left out.
static const struct {
    const char *vendor;
    uint32_t family, first_model, last_model;
    tn_isa isa;
    uint32_t products; // instructions a cycle * products of each
} rates[] = {
#if defined(__x86_64__)
    // Jaguar: pmaddubsw 1 a cycle. Zen, Zen+ and Zen 2: 1 a cycle, in pipe 0 alone.
    {"AuthenticAMD", 0x16, 0x00, 0xff, TN_ISA_SSE41, 16},
    {"AuthenticAMD", 0x17, 0x00, 0xff, TN_ISA_SSE41, 16},
    // Zen 3: pmaddubsw and vpmaddubsw of 256 bits on two of four pipes.
    {"AuthenticAMD", 0x19, 0x00, 0x0f, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x19, 0x00, 0x0f, TN_ISA_AVX2, 2 * 32},
    {"AuthenticAMD", 0x19, 0x20, 0x5f, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x19, 0x20, 0x5f, TN_ISA_AVX2, 2 * 32},
    // Zen 4: the same; vpmaddubsw and vpdpbusd of 512 bits take both pipes.
    {"AuthenticAMD", 0x19, 0x10, 0x1f, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x19, 0x10, 0x1f, TN_ISA_AVX2, 2 * 32},
    {"AuthenticAMD", 0x19, 0x10, 0x1f, TN_ISA_AVX512BW, 64},
    {"AuthenticAMD", 0x19, 0x10, 0x1f, TN_ISA_AVX512VNNI, 64},
    {"AuthenticAMD", 0x19, 0x60, 0x7f, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x19, 0x60, 0x7f, TN_ISA_AVX2, 2 * 32},
    {"AuthenticAMD", 0x19, 0x60, 0x7f, TN_ISA_AVX512BW, 64},
    {"AuthenticAMD", 0x19, 0x60, 0x7f, TN_ISA_AVX512VNNI, 64},
    {"AuthenticAMD", 0x19, 0xa0, 0xaf, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x19, 0xa0, 0xaf, TN_ISA_AVX2, 2 * 32},
    {"AuthenticAMD", 0x19, 0xa0, 0xaf, TN_ISA_AVX512BW, 64},
    {"AuthenticAMD", 0x19, 0xa0, 0xaf, TN_ISA_AVX512VNNI, 64},
    // Zen 5 with pipes of 512 bits: servers and desktops.
    {"AuthenticAMD", 0x1a, 0x00, 0x1f, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x1a, 0x00, 0x1f, TN_ISA_AVX2, 2 * 32},
    {"AuthenticAMD", 0x1a, 0x00, 0x1f, TN_ISA_AVXVNNI, 2 * 32},
    {"AuthenticAMD", 0x1a, 0x00, 0x1f, TN_ISA_AVX512BW, 2 * 64},
    {"AuthenticAMD", 0x1a, 0x00, 0x1f, TN_ISA_AVX512VNNI, 2 * 64},
    {"AuthenticAMD", 0x1a, 0x40, 0x4f, TN_ISA_SSE41, 2 * 16},
    {"AuthenticAMD", 0x1a, 0x40, 0x4f, TN_ISA_AVX2, 2 * 32},
    {"AuthenticAMD", 0x1a, 0x40, 0x4f, TN_ISA_AVXVNNI, 2 * 32},
    {"AuthenticAMD", 0x1a, 0x40, 0x4f, TN_ISA_AVX512BW, 2 * 64},
    {"AuthenticAMD", 0x1a, 0x40, 0x4f, TN_ISA_AVX512VNNI, 2 * 64},
    // Penryn, Nehalem, Westmere, Sandy Bridge and Ivy Bridge: pmaddubsw 1 a cycle.
    {"GenuineIntel", 6, 0x17, 0x17, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x1d, 0x1d, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x1a, 0x1a, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x1e, 0x1f, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x2e, 0x2e, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x25, 0x25, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x2c, 0x2c, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x2f, 0x2f, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x2a, 0x2a, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x2d, 0x2d, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x3a, 0x3a, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x3e, 0x3e, TN_ISA_SSE41, 16},
    // Haswell and Broadwell: port 0; Skylake of desktops: ports 0 and 1.
    {"GenuineIntel", 6, 0x3c, 0x3d, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x3c, 0x3d, TN_ISA_AVX2, 32},
    {"GenuineIntel", 6, 0x3f, 0x3f, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x3f, 0x3f, TN_ISA_AVX2, 32},
    {"GenuineIntel", 6, 0x45, 0x47, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x45, 0x47, TN_ISA_AVX2, 32},
    {"GenuineIntel", 6, 0x4f, 0x4f, TN_ISA_SSE41, 16},
    {"GenuineIntel", 6, 0x4f, 0x4f, TN_ISA_AVX2, 32},
    {"GenuineIntel", 6, 0x4e, 0x4e, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0x4e, 0x4e, TN_ISA_AVX2, 2 * 32},
    {"GenuineIntel", 6, 0x5e, 0x5e, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0x5e, 0x5e, TN_ISA_AVX2, 2 * 32},
    {"GenuineIntel", 6, 0x8e, 0x8e, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0x8e, 0x8e, TN_ISA_AVX2, 2 * 32},
    {"GenuineIntel", 6, 0x9e, 0x9e, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0x9e, 0x9e, TN_ISA_AVX2, 2 * 32},
    // Servers from Ice Lake on: 128 and 256 bits on ports 0 and 1, vpmaddubsw and vpdpbusd of 512 bits on ports 0 and 5.
    {"GenuineIntel", 6, 0x6a, 0x6a, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0x6a, 0x6a, TN_ISA_AVX2, 2 * 32},
    {"GenuineIntel", 6, 0x6a, 0x6a, TN_ISA_AVX512BW, 2 * 64},
    {"GenuineIntel", 6, 0x6a, 0x6a, TN_ISA_AVX512VNNI, 2 * 64},
    {"GenuineIntel", 6, 0x8f, 0x8f, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0x8f, 0x8f, TN_ISA_AVX2, 2 * 32},
    {"GenuineIntel", 6, 0x8f, 0x8f, TN_ISA_AVXVNNI, 2 * 32},
    {"GenuineIntel", 6, 0x8f, 0x8f, TN_ISA_AVX512BW, 2 * 64},
    {"GenuineIntel", 6, 0x8f, 0x8f, TN_ISA_AVX512VNNI, 2 * 64},
    {"GenuineIntel", 6, 0xcf, 0xcf, TN_ISA_SSE41, 2 * 16},
    {"GenuineIntel", 6, 0xcf, 0xcf, TN_ISA_AVX2, 2 * 32},
    {"GenuineIntel", 6, 0xcf, 0xcf, TN_ISA_AVXVNNI, 2 * 32},
    {"GenuineIntel", 6, 0xcf, 0xcf, TN_ISA_AVX512BW, 2 * 64},
    {"GenuineIntel", 6, 0xcf, 0xcf, TN_ISA_AVX512VNNI, 2 * 64},
#else
    {"arm", 0x41, 0xd0c, 0xd0c, TN_ISA_DOTPROD, 2 * 16}, // Neoverse N1
    {"arm", 0x41, 0xd49, 0xd49, TN_ISA_DOTPROD, 2 * 16}, // N2
    {"arm", 0x41, 0xd40, 0xd40, TN_ISA_DOTPROD, 4 * 16}, // V1
    {"arm", 0x41, 0xd4f, 0xd4f, TN_ISA_DOTPROD, 4 * 16}, // V2
#endif
};

uint32_t tn_cpu_products_per_cycle(const tn_cpu_identity *cpu, tn_isa isa)
{
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        if (rates[i].isa == isa && rates[i].family == cpu->family && cpu->model >= rates[i].first_model &&
            cpu->model <= rates[i].last_model && strcmp(rates[i].vendor, cpu->vendor) == 0)
            return rates[i].products;
    }
    return 0;
}

double tn_cpu_memory_bytes_per_s(void)
{
    enum { TABLE_BYTES_MAX = 1 << 20 };
    FILE *file = fopen("/sys/firmware/dmi/tables/DMI", "rbe"); // absent without firmware tables, and closed to ordinary users
    if (!file) return 0;
    double bytes_per_s = 0;
    uint8_t *table;
    if (tn_alloc(TABLE_BYTES_MAX, 1, &table) == TN_OK) {
        bytes_per_s = tn_smbios_read_memory(table, fread(table, 1, TABLE_BYTES_MAX, file)).bytes_per_s;
        tn_free(table);
    }
    fclose(file);
    return bytes_per_s;
}
