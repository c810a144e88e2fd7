// Instruction-set levels of the processor that this is compiled for: their names, and which of them can run here.
#ifndef TN_CPU_ISA_H
#define TN_CPU_ISA_H

#include "backend/backend.h"

// X(enum name, name for people), slowest first. A level is the features that its kernels are compiled for; it runs where the processor and
// the operating system have all of them. A later level does not imply an earlier one: AVX512-VNNI processors without AVX-VNNI exist.
#if defined(__x86_64__)
#define TN_ISA_LEVELS(X)                                                                                                                   \
    X(SCALAR, scalar)                                                                                                                      \
    X(SSE41, sse41) X(AVX2, avx2) X(AVXVNNI, avxvnni) X(AVX512BW, avx512bw) X(AVX512VNNI, avx512vnni) X(AVX512VBMI, avx512vbmi)
#elif defined(__aarch64__)
#define TN_ISA_LEVELS(X) X(SCALAR, scalar) X(NEON, neon) X(DOTPROD, dotprod) X(I8MM, i8mm)
#else
#error "ternion needs x86-64 or AArch64"
#endif

typedef enum tn_isa {
#define TN_ISA_ENUM(level, name) TN_ISA_##level,
    TN_ISA_LEVELS(TN_ISA_ENUM)
#undef TN_ISA_ENUM
        TN_ISA_COUNT_
} tn_isa;

typedef uint32_t tn_isa_set; // bit i: level i. TN_ISA_SCALAR is always in it.

const char *tn_isa_name(tn_isa isa);                       // "avx512vnni"
tn_status tn_isa_parse(const char *name, tn_isa *out_isa); // INVALID_ARGUMENT: lists the names
tn_isa_set tn_isa_available(void);                         // levels that this processor and operating system can run

static inline bool tn_isa_set_has(tn_isa_set set, tn_isa isa) { return ((set >> isa) & 1u) != 0; }
// Those of `set` that are not above `max`.
static inline tn_isa_set tn_isa_set_up_to(tn_isa_set set, tn_isa max) { return set & ((2u << max) - 1u); }
static inline tn_isa tn_isa_set_highest(tn_isa_set set)
{
    tn_isa highest = TN_ISA_SCALAR;
    for (unsigned i = 0; i < TN_ISA_COUNT_; i++) {
        if (tn_isa_set_has(set, (tn_isa)i)) highest = (tn_isa)i;
    }
    return highest;
}

#endif
