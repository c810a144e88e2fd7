// Arithmetic on sizes that come from files or callers: no silent wrap-around.
#ifndef TN_BASE_CHECKED_H
#define TN_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

// Each returns false, and leaves *out alone, where the true result does not fit into 64 bits.
static inline bool tn_ckd_add(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
static inline bool tn_ckd_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
// Rounds up to a multiple of `to` (a power of two).
static inline bool tn_ckd_round_up(uint64_t a, uint64_t to, uint64_t *out)
{
    uint64_t r;
    if (!tn_ckd_add(a, to - 1, &r)) return false;
    *out = r & ~(to - 1);
    return true;
}

#endif
