// Which levels this processor and its operating system can run.
#include "cpu/isa.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#else
#include <sys/auxv.h>
#endif

static const char *const isa_names[TN_ISA_COUNT_] = {
#define ISA_NAME(level, name) #name,
    TN_ISA_LEVELS(ISA_NAME)
#undef ISA_NAME
};

const char *tn_isa_name(tn_isa isa) { return isa_names[isa]; }

tn_status tn_isa_parse(const char *name, tn_isa *out_isa)
{
    *out_isa = TN_ISA_SCALAR;
    char known[128] = "";
    size_t length = 0;
    for (unsigned i = 0; i < TN_ISA_COUNT_; i++) {
        if (strcmp(name, isa_names[i]) == 0) {
            *out_isa = (tn_isa)i;
            return TN_OK;
        }
        const char *joint = i == 0 ? "" : i + 1 < TN_ISA_COUNT_ ? ", " : " or ";
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", joint, isa_names[i]);
    }
    return tn_fail(TN_INVALID_ARGUMENT, "no CPU level is called \"%.40s\": use %s", name, known);
}

static tn_isa_set with_level(tn_isa_set set, tn_isa isa, bool present) { return present ? set | (1u << isa) : set; }

#if defined(__x86_64__)

// XCR0: which registers the operating system saves. Only where CPUID says that XGETBV exists.
static uint64_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

// The instruction that the avxvnni kernels use. TN_AVXVNNI_AS_EVEX: in tests that build them with AVX512VL's form of it.
static bool has_avxvnni(bool avx512vnni)
{
#if defined(TN_AVXVNNI_AS_EVEX)
    return avx512vnni;
#else
    const uint32_t avxvnni = 1u << 4; // leaf 7.1, EAX
    uint32_t eax, ebx, ecx, edx;
    (void)avx512vnni;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || eax < 1) return false;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & avxvnni) != 0;
#endif
}

tn_isa_set tn_isa_available(void)
{
    const uint32_t ssse3 = 1u << 9, sse41 = 1u << 19, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;            // leaf 1, ECX
    const uint32_t avx2 = 1u << 5, avx512f = 1u << 16, avx512dq = 1u << 17, avx512bw = 1u << 30, avx512vl = 1u << 31; // leaf 7, EBX
    const uint32_t vbmi = 1u << 1, vnni = 1u << 11;                                                                   // leaf 7, ECX
    const uint64_t ymm = 0x06, zmm = 0xe6; // XCR0: SSE and AVX; with masks and both parts of the 512-bit registers
    uint32_t eax, ebx, ecx, edx;
    tn_isa_set set = 1u << TN_ISA_SCALAR;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return set;
    set = with_level(set, TN_ISA_SSE41, (ecx & ssse3) != 0 && (ecx & sse41) != 0);
    if ((ecx & osxsave) == 0 || (ecx & avx) == 0 || (ecx & f16c) == 0) return set;
    const uint64_t saved = saved_registers();
    if ((saved & ymm) != ymm || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (ebx & avx2) == 0) return set;
    const uint32_t wide = avx512f | avx512dq | avx512bw | avx512vl;
    const bool has_wide = (saved & zmm) == zmm && (ebx & wide) == wide, avx512vnni = has_wide && (ecx & vnni) != 0;
    const uint32_t ecx_features = ecx; // of leaf 7: the next question is another leaf's
    set = with_level(set, TN_ISA_AVX2, true);
    set = with_level(set, TN_ISA_AVXVNNI, has_avxvnni(avx512vnni));
    set = with_level(set, TN_ISA_AVX512BW, has_wide);
    set = with_level(set, TN_ISA_AVX512VNNI, avx512vnni);
    return with_level(set, TN_ISA_AVX512VBMI, avx512vnni && (ecx_features & vbmi) != 0);
}

#else

tn_isa_set tn_isa_available(void)
{
    const unsigned long asimddp = 1ul << 20, i8mm = 1ul << 13; // AT_HWCAP, AT_HWCAP2 of Linux on AArch64
    const bool dotprod = (getauxval(AT_HWCAP) & asimddp) != 0;
    tn_isa_set set = with_level(1u << TN_ISA_SCALAR, TN_ISA_NEON, true); // every AArch64 processor has it
    set = with_level(set, TN_ISA_DOTPROD, dotprod);
    return with_level(set, TN_ISA_I8MM, dotprod && (getauxval(AT_HWCAP2) & i8mm) != 0);
}

#endif
