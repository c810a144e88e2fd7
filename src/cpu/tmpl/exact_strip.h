// The primitives of base/exact_math.h on strips of 32 elements: the same operations in the same order, so the same bits.
// Included after a simd_<isa>.h.
#ifndef TN_CPU_TMPL_EXACT_STRIP_H
#define TN_CPU_TMPL_EXACT_STRIP_H

#include "base/exact_math.h"

TN_INLINE tn_f32s tn_s_fl(tn_f32s x) { return tn_s_flush(x, TN_ABS_BITS_2M50); }
TN_INLINE tn_f32s tn_s_f100(tn_f32s x) { return tn_s_flush(x, TN_ABS_BITS_2M100); }

TN_INLINE tn_f32s tn_s_recip(tn_f32s a)
{
    const tn_f32s one = tn_s_set1(1.0f);
    tn_f32s r = tn_i_float_of_bits(tn_i_sub(tn_i_set1(0x7EF311C7), tn_s_bits(a)));
    for (int i = 0; i < 4; i++) {
        tn_f32s e = tn_s_sub(one, tn_s_mul(a, r));
        r = tn_s_add(r, tn_s_mul(r, e));
    }
    return r;
}

TN_INLINE tn_f32s tn_s_exp2_poly(tn_f32s f)
{
    tn_f32s p = tn_s_set1(0x1.444p-13f);
    p = tn_s_add(tn_s_set1(0x1.5f48cp-10f), tn_s_mul(f, p));
    p = tn_s_add(tn_s_set1(0x1.3b2a1cp-7f), tn_s_mul(f, p));
    p = tn_s_add(tn_s_set1(0x1.c6aeccp-5f), tn_s_mul(f, p));
    p = tn_s_add(tn_s_set1(0x1.ebfbep-3f), tn_s_mul(f, p));
    p = tn_s_add(tn_s_set1(0x1.62e43p-1f), tn_s_mul(f, p));
    return tn_s_add(tn_s_set1(1.0f), tn_s_mul(f, p));
}

TN_INLINE tn_f32s tn_s_silu(tn_f32s x)
{
    // -(x*c) is x*(-c); the order of operands keeps a NaN out of the exponent, x brings it back at the end.
    tn_f32s t = tn_s_mul(x, tn_s_set1(-1.4426950408889634f));
    t = tn_s_min(tn_s_max(t, tn_s_set1(-60.0f)), tn_s_set1(60.0f));
    tn_i32s n = tn_s_round(t);
    tn_f32s e = tn_s_mul(tn_s_exp2_poly(tn_s_sub(t, tn_i_to_f32(n))), tn_i_pow2(n));
    return tn_s_mul(x, tn_s_recip(tn_s_add(tn_s_set1(1.0f), e)));
}

#endif
