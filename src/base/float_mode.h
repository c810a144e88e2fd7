// The floating-point environment of the exact mode: round to nearest, no flushing of subnormals. Entered around public calls and in
// workers.
#ifndef TN_BASE_FLOAT_MODE_H
#define TN_BASE_FLOAT_MODE_H

#include <stdint.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
typedef uint32_t tn_float_mode;
// Sets the exact mode's environment for the calling thread and returns what was there.
static inline tn_float_mode tn_float_mode_enter(void)
{
    tn_float_mode saved = _mm_getcsr();
    _mm_setcsr(0x1f80); // all exceptions masked, nearest, neither FTZ nor DAZ
    return saved;
}
static inline void tn_float_mode_leave(tn_float_mode saved) { _mm_setcsr(saved); }
#elif defined(__aarch64__)
typedef uint64_t tn_float_mode;
static inline tn_float_mode tn_float_mode_enter(void)
{
    tn_float_mode saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory"); // nearest, no flushing, no traps
    return saved;
}
static inline void tn_float_mode_leave(tn_float_mode saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved) : "memory"); }
#else
#error "ternion needs x86-64 (SSE2) or AArch64"
#endif

#endif
