// The words of src/cuda/kernels/gpu.cuh on the host: a block's threads are fibers of one thread, which switch where they wait for others.
// What it watches: shared memory accesses outside an array, of what nobody wrote, and of two threads without a barrier between; copies that
// nobody waited for; warps and blocks whose threads wait at different places or return before others; addresses that are not aligned.
// Exchanges between lanes order nothing in memory, as on a GPU: only tn_sync and tn_sync_warp do.
#ifndef TN_TESTS_CUDA_HOST_GPU_HOST_HPP
#define TN_TESTS_CUDA_HOST_GPU_HOST_HPP

#include "cuda_host/emulation.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

#define TN_FN     static inline
#define TN_METHOD inline
#define TN_UNROLL
#define TN_ROLLED

// Threads wait for the kernel before at their beginning, or (EARLY) somewhere in the body, which must not be left out.
TN_FN void tn_wait_previous() { cuda_host::wait_previous(); }
#define TN_KERNEL_ENTRY(name, params, threads, before_body)                                                                                \
    static void tn_body_##name(const params &p);                                                                                           \
    static void tn_entry_##name(const void *p)                                                                                             \
    {                                                                                                                                      \
        before_body;                                                                                                                       \
        tn_body_##name(*static_cast<const params *>(p));                                                                                   \
        cuda_host::must_have_waited("returns");                                                                                            \
    }                                                                                                                                      \
    static const cuda_host::Kernel tn_kernel_##name = cuda_host::add_kernel({#name, sizeof(params), threads, tn_entry_##name});            \
    static void tn_body_##name(const params &p)
#define TN_KERNEL(name, params, threads)                  TN_KERNEL_ENTRY(name, params, threads, tn_wait_previous())
#define TN_KERNEL_BLOCKS(name, params, threads, n_blocks) TN_KERNEL(name, params, threads)
#define TN_KERNEL_EARLY(name, params, threads, n_blocks)  TN_KERNEL_ENTRY(name, params, threads, (void)0)
#define TN_KERNEL_FIRST(name, params, threads)            TN_KERNEL(name, params, threads)

#define TN_SHARED(type, name, n)                                                                                                           \
    static const char tn_key_of_##name = 0;                                                                                                \
    const cuda_host::Shared<type> name = cuda_host::shared_array<type>(n, &tn_key_of_##name, #name)
#define TN_SHARED_ARG(type, name)               const cuda_host::Shared<type> &name
#define TN_SHARED_DYNAMIC_AT(type, name, align) TN_SHARED_DYNAMIC(type, name)
#define TN_SHARED_DYNAMIC(type, name)           const cuda_host::Shared<type> name = cuda_host::shared_dynamic<type>(#name)

TN_FN const uint8_t *tn_opaque(const uint8_t *at) { return at; }
TN_FN uint32_t tn_copy(uint32_t v) { return v; }

// Of a kernel's two ways blocks take either, one after another.
#define TN_MAKES_EARLY ((cuda_host::block().at[0] + cuda_host::block().at[1]) % 2 != 0)
template <uint32_t from_arch = 1000> TN_FN uint32_t tn_late(uint32_t v) { return v; }

TN_FN uint32_t tn_thread() { return cuda_host::self().thread; }
TN_FN uint32_t tn_n_threads() { return cuda_host::block().n_threads; }
TN_FN uint32_t tn_lane() { return cuda_host::self().thread & 31u; }
TN_FN uint32_t tn_warp() { return cuda_host::self().thread >> 5; }
TN_FN uint32_t tn_block_x() { return cuda_host::block().at[0]; }
TN_FN uint32_t tn_block_y() { return cuda_host::block().at[1]; }
TN_FN uint32_t tn_block_z() { return cuda_host::block().at[2]; }
TN_FN uint32_t tn_grid_x() { return cuda_host::block().grid[0]; }
TN_FN uint32_t tn_grid_y() { return cuda_host::block().grid[1]; }
TN_FN uint32_t tn_grid_z() { return cuda_host::block().grid[2]; }

#define tn_sync()         cuda_host::sync_block(__FILE__, __LINE__)
#define tn_sync_warp()    cuda_host::sync_warp(__FILE__, __LINE__)
#define tn_sync_or(value) cuda_host::sync_or((value), __FILE__, __LINE__)
TN_FN void tn_fence() { cuda_host::fence(); }

// As a last parameter: where the function was called.
#define TN_CALLED_AT const cuda_host::Place &place = {__builtin_FILE(), __builtin_LINE()}

template <class T> static inline T tn_exchange(T v, uint32_t from, const cuda_host::Place &place)
{
    uint32_t bits;
    static_assert(sizeof bits == sizeof v, "32-bit values");
    std::memcpy(&bits, &v, sizeof bits);
    bits = cuda_host::exchange(bits, from, place);
    std::memcpy(&v, &bits, sizeof v);
    return v;
}
template <class T> static inline T tn_shfl(T v, uint32_t lane, TN_CALLED_AT) { return tn_exchange(v, lane & 31u, place); }
template <class T> static inline T tn_shfl_xor(T v, uint32_t mask, TN_CALLED_AT) { return tn_exchange(v, (tn_lane() ^ mask) & 31u, place); }
TN_FN uint32_t tn_ballot(bool v, TN_CALLED_AT) { return cuda_host::ballot(v, place); }

TN_FN uint32_t tn_atomic_add(uint32_t *at, uint32_t v) { return cuda_host::add_global(at, v); }
TN_FN uint32_t tn_atomic_min(uint32_t *at, uint32_t v) { return cuda_host::min_global(at, v); }
TN_FN uint32_t tn_atomic_max(uint32_t *at, uint32_t v) { return cuda_host::max_global(at, v); }
#define tn_shared_add(name, i, v) (name).atomic_add((i), (v))
#define tn_shared_max(name, i, v) (name).atomic_max((i), (v))

static inline tn_u4 tn_load16(const void *at)
{
    cuda_host::check_aligned(at, 16);
    tn_u4 v;
    std::memcpy(&v, at, sizeof v);
    return v;
}
static inline tn_u4 tn_load16_once(const void *at) { return tn_load16(at); }
template <class T> static inline T tn_load_aligned(const void *at)
{
    cuda_host::check_aligned(at, sizeof(T));
    T v;
    std::memcpy(&v, at, sizeof v);
    return v;
}
static inline uint64_t tn_load8_once(const void *at) { return tn_load_aligned<uint64_t>(at); }
static inline uint32_t tn_load4_once(const void *at) { return tn_load_aligned<uint32_t>(at); }
TN_FN void tn_ask_l2(const void *) {}
static inline tn_u4 tn_load16_fresh(const void *at)
{
    cuda_host::must_have_waited("loads what kernels store");
    return tn_load16(at);
}
template <class T> static inline T tn_load_fresh(const T *at)
{
    cuda_host::must_have_waited("loads what kernels store");
    return *at;
}
static inline void tn_store16(void *at, tn_u4 v)
{
    cuda_host::check_aligned(at, 16);
    std::memcpy(at, &v, sizeof v);
}
#define tn_shared_load16(name, i)     (name).template load_wide<tn_u4>(i)
#define tn_shared_store16(name, i, v) (name).template store_wide<tn_u4>((i), (v))
#define tn_shared_store4(name, i, v)  (name).template store_wide<uint32_t>((i), (v))
#define tn_shared_load8(name, i)      (name).template load_wide<uint64_t>(i)
#define tn_async16(name, i, from)     (name).template store_async<tn_u4>((i), tn_load16(from))
TN_FN void tn_async_commit() { cuda_host::async_commit(); }
template <int n_left> static inline void tn_async_wait(TN_CALLED_AT) { cuda_host::async_wait(n_left, place); }

static inline int32_t tn_byte(uint32_t word, int i) { return (int8_t)(word >> (8 * i)); }
static inline int32_t tn_half_of(uint32_t word, int i) { return (int16_t)(word >> (16 * i)); }
static inline int32_t tn_wrap(uint32_t c, int32_t product) { return (int32_t)(c + (uint32_t)product); }
static inline int32_t tn_dp4a_us(uint32_t a, uint32_t b, int32_t c)
{
    for (int i = 0; i < 4; i++) c = tn_wrap((uint32_t)c, (int32_t)((a >> (8 * i)) & 0xffu) * tn_byte(b, i));
    return c;
}
static inline int32_t tn_dp4a_ss(uint32_t a, uint32_t b, int32_t c)
{
    for (int i = 0; i < 4; i++) c = tn_wrap((uint32_t)c, tn_byte(a, i) * tn_byte(b, i));
    return c;
}
static inline int32_t tn_dp2a_lo(uint32_t a, uint32_t b, int32_t c)
{
    for (int i = 0; i < 2; i++) c = tn_wrap((uint32_t)c, tn_half_of(a, i) * tn_byte(b, i));
    return c;
}
static inline int32_t tn_dp2a_hi(uint32_t a, uint32_t b, int32_t c) { return tn_dp2a_lo(a, b >> 16, c); }
static inline uint32_t tn_prmt(uint32_t a, uint32_t b, uint32_t selector)
{
    const uint64_t bytes = ((uint64_t)b << 32) | a;
    uint32_t d = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t s = (selector >> (4 * i)) & 0xfu;
        uint32_t byte = (uint32_t)(bytes >> (8 * (s & 7u))) & 0xffu;
        if (s & 8u) byte = byte & 0x80u ? 0xffu : 0;
        d |= byte << (8 * i);
    }
    return d;
}
TN_FN float tn_max(float a, float b) { return __builtin_fmaxf(a, b); }
TN_FN float tn_abs(float v) { return __builtin_fabsf(v); }
static inline void tn_mma_us(int32_t d[4], const uint32_t a[4], const uint32_t b[2], TN_CALLED_AT)
{
    cuda_host::mma(d, a, b, false, true, place);
}
static inline void tn_mma_ss(int32_t d[4], const uint32_t a[4], const uint32_t b[2], TN_CALLED_AT)
{
    cuda_host::mma(d, a, b, true, true, place);
}
static inline void tn_mma_su(int32_t d[4], const uint32_t a[4], const uint32_t b[2], TN_CALLED_AT)
{
    cuda_host::mma(d, a, b, true, false, place);
}
static inline void tn_mma_uu(int32_t d[4], const uint32_t a[4], const uint32_t b[2], TN_CALLED_AT)
{
    cuda_host::mma(d, a, b, false, false, place);
}
static inline void tn_bmma(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], TN_CALLED_AT)
{
    cuda_host::mma_bits(d, a, b, place);
}
static inline void tn_mma_ss_from(int32_t d[4], int32_t origin, const uint32_t a[4], const uint32_t b[2], TN_CALLED_AT)
{
    d[0] = d[1] = d[2] = d[3] = origin;
    cuda_host::mma(d, a, b, true, true, place);
}
static inline void tn_mma_k16_ss(int32_t d[4], const uint32_t a[2], uint32_t b, TN_CALLED_AT)
{
    const uint32_t a_wide[4] = {a[0], a[1], 0, 0}, b_wide[2] = {b, 0};
    d[0] = d[1] = d[2] = d[3] = 0;
    cuda_host::mma(d, a_wide, b_wide, true, true, place);
}

#define TN_TF32_BITS 0xffffe000u
static inline float tn_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline void tn_mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2], TN_CALLED_AT) { cuda_host::mma_tf32(d, a, b, place); }

static inline float tn_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu, fraction = h & 0x3ffu;
    uint32_t bits;
    float f;
    if (exponent == 0) { // zero and subnormals: fraction * 2^-24, exact
        f = (float)fraction * 0x1p-24f;
        std::memcpy(&bits, &f, sizeof bits);
        bits |= sign;
    } else {
        bits = sign | ((exponent == 31 ? 255u : exponent + 112u) << 23) | (fraction << 13);
    }
    std::memcpy(&f, &bits, sizeof f);
    return f;
}

#include "cuda_host/bulk_host.hpp"
#include "cuda_host/wgmma_host.hpp"

#endif
