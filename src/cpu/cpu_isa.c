// Which ISA levels exist and which of them this CPU and its operating system can run.
#include "cpu/kernel.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const isa_names[TN_ISA_COUNT_] = {"scalar", "avx2", "avx512vnni"};

const char *tn_isa_name(tn_isa isa) { return isa_names[isa]; }

tn_status tn_isa_parse(const char *name, tn_isa *out_isa)
{
    *out_isa = TN_ISA_SCALAR;
    for (unsigned i = 0; i < TN_ISA_COUNT_; i++) {
        if (strcmp(name, isa_names[i]) == 0) {
            *out_isa = (tn_isa)i;
            return TN_OK;
        }
    }
    return tn_fail(TN_INVALID_ARGUMENT, "no CPU level is called \"%.40s\": use scalar, avx2 or avx512vnni", name);
}

#if defined(__x86_64__)

// XCR0: which registers the operating system saves. Only where CPUID says that XGETBV exists.
static uint64_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

tn_isa tn_isa_detect(void)
{
    const uint32_t osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;                                               // leaf 1, ECX
    const uint32_t avx2 = 1u << 5, avx512f = 1u << 16, avx512dq = 1u << 17, avx512bw = 1u << 30, avx512vl = 1u << 31; // leaf 7, EBX
    const uint32_t avx512vnni = 1u << 11;                                                                             // leaf 7, ECX
    const uint64_t ymm = 0x06, zmm = 0xe6; // XCR0: SSE and AVX; with masks and both parts of the 512-bit registers
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & osxsave) == 0 || (ecx & avx) == 0 || (ecx & f16c) == 0) return TN_ISA_SCALAR;
    const uint64_t saved = saved_registers();
    if ((saved & ymm) != ymm || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (ebx & avx2) == 0) return TN_ISA_SCALAR;
    const uint32_t wide = avx512f | avx512dq | avx512bw | avx512vl;
    if ((saved & zmm) != zmm || (ebx & wide) != wide || (ecx & avx512vnni) == 0) return TN_ISA_AVX2;
    return TN_ISA_AVX512VNNI;
}

#else

tn_isa tn_isa_detect(void) { return TN_ISA_SCALAR; }

#endif
