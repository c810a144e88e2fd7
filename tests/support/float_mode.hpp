// The calling thread's floating-point mode (MXCSR, FPCR), for tests that bend it and put it back.
#ifndef TN_TESTS_FLOAT_MODE_HPP
#define TN_TESTS_FLOAT_MODE_HPP

#include <cstdint>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace tn_test::float_mode
{

#if defined(__SSE2__)
constexpr uint64_t flush = 0x8040, rounding = 0x6000, up = 0x4000, toward_zero = 0x6000; // FTZ and DAZ; the field of rounding
inline uint64_t get() { return _mm_getcsr(); }
inline void set(uint64_t mode) { _mm_setcsr(static_cast<uint32_t>(mode)); }
#else
constexpr uint64_t flush = 1u << 24, rounding = 3u << 22, up = 1u << 22, toward_zero = 3u << 22; // FZ; RMode
inline uint64_t get()
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
    return mode;
}
inline void set(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#endif

} // namespace tn_test::float_mode

#endif
