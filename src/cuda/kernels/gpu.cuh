// The words that kernels are written in, and nothing else of CUDA: by nvcc they are the GPU's own instructions, by a host compiler the
// emulation of tests/cuda_host, which runs the same bodies with threads as fibers and watches shared memory. A kernel is
//
//     TN_KERNEL(name, params_struct, threads) { ... p.field ... }
//
// From sm_90 on a kernel may begin while the one before is still running (programmatic dependent launch). TN_KERNEL lets the next one begin
// and waits for the one before, then comes the body. TN_KERNEL_EARLY lets the next one begin too, but its body waits itself
// (tn_wait_previous, by every thread, once), and may do in front of that what no kernel of the step has part in: read weights, the step,
// and keys and values of earlier positions, and bring them to registers and shared memory. Nothing is stored in global memory before.
//
// Rules: no threadIdx or __shared__ but by these words; shared memory through TN_SHARED arrays alone, element by element or by the 16-byte
// accesses below; whatever a thread reads there that another wrote has tn_sync (or, in a warp, tn_sync_warp) between; collectives are met
// by all 32 lanes of a warp, tn_sync by all threads that have not returned... which is all of them: no thread returns before the last
// tn_sync of its block. Floats by + - * alone, every one of them rounded (nvcc runs with --fmad=false -ftz=false, and the cubins are looked
// through for fused ones); kernels with _fast in their names may use tn_fma and tn_mma_tf32 too.
#ifndef TN_CUDA_GPU_CUH
#define TN_CUDA_GPU_CUH

#define TN_DEVICE_CODE
#include "cuda/kernels/kernel_params.h"

// What a host compiler and nvcc share.
typedef struct tn_u4 {
    uint32_t x, y, z, w;
} tn_u4;

#ifdef __CUDACC__

#define TN_FN     static __device__ __forceinline__
#define TN_METHOD __device__ __forceinline__

// The next kernel of a graph may begin; this one goes on when the one before has ended, and all it stored is seen.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
TN_FN void tn_start_next() { asm volatile("griddepcontrol.launch_dependents;"); }
TN_FN void tn_wait_previous() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#else
TN_FN void tn_start_next() {}
TN_FN void tn_wait_previous() {}
#endif
#define TN_KERNEL_ENTRY(name, params, before_body, ...)                                                                                    \
    TN_FN void tn_body_##name(const params &p);                                                                                            \
    extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const __grid_constant__ params p)                                       \
    {                                                                                                                                      \
        before_body;                                                                                                                       \
        tn_body_##name(p);                                                                                                                 \
    }                                                                                                                                      \
    TN_FN void tn_body_##name(const params &p)
#define TN_KERNEL(name, params, threads) TN_KERNEL_ENTRY(name, params, (tn_start_next(), tn_wait_previous()), threads)
// A kernel whose blocks are to share a multiprocessor: at least n_blocks of them, which bounds the registers.
#define TN_KERNEL_BLOCKS(name, params, threads, n_blocks)                                                                                  \
    TN_KERNEL_ENTRY(name, params, (tn_start_next(), tn_wait_previous()), threads, n_blocks)
#define TN_KERNEL_EARLY(name, params, threads, n_blocks) TN_KERNEL_ENTRY(name, params, tn_start_next(), threads, n_blocks)
// The first of a graph: the next one begins when it has ended, behind a plain edge.
#define TN_KERNEL_FIRST(name, params, threads) TN_KERNEL_ENTRY(name, params, (void)0, threads)

// An array in shared memory, of the block; not zero at first. TN_SHARED_ARG is how functions take one.
#define TN_SHARED(type, name, n)  __shared__ __align__(16) type name[n]
#define TN_SHARED_ARG(type, name) type *name
// The array whose size the launch gives (shared_bytes); one a kernel. _AT: at a multiple of `align`, in kernels without other arrays.
#define TN_SHARED_DYNAMIC(type, name) TN_SHARED_DYNAMIC_AT(type, name, 16)
#define TN_SHARED_DYNAMIC_AT(type, name, align)                                                                                            \
    extern __shared__ __align__(align)                                                                                                     \
    uint8_t tn_dynamic_[];                                                                                                                 \
    type *name = reinterpret_cast<type *>(tn_dynamic_)

TN_FN uint32_t tn_thread() { return threadIdx.x; }
TN_FN uint32_t tn_n_threads() { return blockDim.x; }
TN_FN uint32_t tn_lane() { return threadIdx.x & 31u; }
TN_FN uint32_t tn_warp() { return threadIdx.x >> 5; }
TN_FN uint32_t tn_block_x() { return blockIdx.x; }
TN_FN uint32_t tn_block_y() { return blockIdx.y; }
TN_FN uint32_t tn_block_z() { return blockIdx.z; }
TN_FN uint32_t tn_grid_x() { return gridDim.x; }
TN_FN uint32_t tn_grid_y() { return gridDim.y; }
TN_FN uint32_t tn_grid_z() { return gridDim.z; }

TN_FN void tn_sync() { __syncthreads(); }
TN_FN void tn_sync_warp() { __syncwarp(); }
// True for all threads of the block where `value` is for one of them; a tn_sync too.
TN_FN bool tn_sync_or(bool value) { return __syncthreads_or(value); }
// What this thread stored in global memory is seen by other blocks before what it stores or adds after.
TN_FN void tn_fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

TN_FN uint32_t tn_shfl(uint32_t v, uint32_t lane) { return __shfl_sync(0xffffffffu, v, lane); }
TN_FN int32_t tn_shfl(int32_t v, uint32_t lane) { return __shfl_sync(0xffffffffu, v, lane); }
TN_FN float tn_shfl(float v, uint32_t lane) { return __shfl_sync(0xffffffffu, v, lane); }
TN_FN uint32_t tn_shfl_xor(uint32_t v, uint32_t mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
TN_FN int32_t tn_shfl_xor(int32_t v, uint32_t mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
TN_FN float tn_shfl_xor(float v, uint32_t mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
TN_FN uint32_t tn_ballot(bool v) { return __ballot_sync(0xffffffffu, v); }

// Atomics, relaxed; the old value. In shared memory too (name, index).
TN_FN uint32_t tn_atomic_add(uint32_t *at, uint32_t v) { return atomicAdd(at, v); }
TN_FN uint32_t tn_atomic_min(uint32_t *at, uint32_t v) { return atomicMin(at, v); }
TN_FN uint32_t tn_atomic_max(uint32_t *at, uint32_t v) { return atomicMax(at, v); }
#define tn_shared_add(name, i, v) atomicAdd(&(name)[i], v)
#define tn_shared_max(name, i, v) atomicMax(&(name)[i], v)

// 16 bytes of global memory, aligned, through L1, never before tn_wait_previous where that stands in front; of weights, which are read once
// and may be asked for at any time, 16, 8 and 4; stored.
TN_FN tn_u4 tn_load16(const void *at)
{
    tn_u4 v;
    asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at));
    return v;
}
TN_FN tn_u4 tn_load16_once(const void *at)
{
    tn_u4 v;
    asm("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at));
    return v;
}
TN_FN uint64_t tn_load8_once(const void *at)
{
    uint64_t v;
    asm("ld.global.nc.L1::no_allocate.L2::128B.u64 %0, [%1];" : "=l"(v) : "l"(at));
    return v;
}
TN_FN uint32_t tn_load4_once(const void *at)
{
    uint32_t v;
    asm("ld.global.nc.L1::no_allocate.L2::128B.u32 %0, [%1];" : "=r"(v) : "l"(at));
    return v;
}
// Brings 128 aligned bytes of global memory to L2.
TN_FN void tn_ask_l2(const void *at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }
// What other blocks of the same launch may have stored (after a fence and a counter): never from a stale cache.
TN_FN tn_u4 tn_load16_fresh(const void *at)
{
    tn_u4 v;
    asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at) : "memory");
    return v;
}
TN_FN float tn_load_fresh(const float *at)
{
    float v;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(at) : "memory");
    return v;
}
TN_FN uint32_t tn_load_fresh(const uint32_t *at)
{
    uint32_t v;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
    return v;
}
TN_FN void tn_store16(void *at, tn_u4 v) { *reinterpret_cast<uint4 *>(at) = make_uint4(v.x, v.y, v.z, v.w); }
// Element i of a shared array, and what follows it to 16 bytes; aligned.
#define tn_shared_load16(name, i)     tn_shared_load16_at(&(name)[i])
#define tn_shared_store16(name, i, v) tn_store16(&(name)[i], v)
TN_FN tn_u4 tn_shared_load16_at(const void *at)
{
    const uint4 v = *reinterpret_cast<const uint4 *>(at);
    return {v.x, v.y, v.z, v.w};
}
// The same of 4 bytes, and of 8 read.
#define tn_shared_store4(name, i, v) (*reinterpret_cast<uint32_t *>(&(name)[i]) = (v))
#define tn_shared_load8(name, i)     (*reinterpret_cast<const uint64_t *>(&(name)[i]))
// Global to shared memory, 16 bytes, in the background: seen by the thread that asked after tn_async_wait, by others after a tn_sync behind
// it. A commit closes a group; the wait leaves at most n_left groups open. Before sm_80 the copy is made at once.
#if __CUDA_ARCH__ >= 800
#define tn_async16(name, i, from)                                                                                                          \
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(&(name)[i])), "l"(from)     \
                 : "memory")
TN_FN void tn_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int n_left> TN_FN void tn_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(n_left) : "memory"); }
#else
#define tn_async16(name, i, from) tn_store16(&(name)[i], tn_load16(from))
TN_FN void tn_async_commit() {}
template <int n_left> TN_FN void tn_async_wait() {}
#endif

// c + four products of bytes: unsigned codes in a, signed in b; both signed.
TN_FN int32_t tn_dp4a_us(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
TN_FN int32_t tn_dp4a_ss(uint32_t a, uint32_t b, int32_t c) { return __dp4a((int32_t)a, (int32_t)b, c); }
// c + a's two signed halves times two signed bytes of b: bytes 0 and 1, or 2 and 3.
TN_FN int32_t tn_dp2a_lo(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp2a.lo.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
TN_FN int32_t tn_dp2a_hi(uint32_t a, uint32_t b, int32_t c)
{
    int32_t d;
    asm("dp2a.hi.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
TN_FN uint32_t tn_prmt(uint32_t a, uint32_t b, uint32_t selector) { return __byte_perm(a, b, selector); }
// The larger of two numbers, or the one that is no NaN.
TN_FN float tn_max(float a, float b) { return fmaxf(a, b); }
TN_FN float tn_abs(float v) { return fabsf(v); }

// d += A B: A 16 x 32 unsigned bytes, B 32 x 8 signed bytes, d 16 x 8, of a warp. With g = lane / 4, t = lane % 4: a[0] row g, k 4t..4t+3;
// a[1] row g + 8; a[2] row g, k 16 + 4t..; a[3] row g + 8, k 16 + 4t..; b[0] column g, k 4t..; b[1] column g, k 16 + 4t..; d[0], d[1] row
// g, columns 2t, 2t + 1; d[2], d[3] row g + 8. (mma_s8: A signed.) Devices from sm_80 on.
TN_FN void tn_mma_us(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
TN_FN void tn_mma_ss(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// A signed, B unsigned; both unsigned.
TN_FN void tn_mma_su(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
TN_FN void tn_mma_uu(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// d += ones of A B: A 16 x 256 bits, B 256 x 8, d 16 x 8: a[0] row g, k 32t..32t + 31; a[1] row g + 8; a[2] row g, k 128 + 32t..; a[3] row
// g + 8, k 128 + 32t..; b[0] column g, k 32t..; b[1] column g, k 128 + 32t..; d as above. Devices from sm_80 to sm_90: later ones have a
// function in its place.
TN_FN void tn_bmma(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
#if __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ < 1000
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// mma_ss with all of d from `origin` on, and with 16 for 32: a[0] row g, k 4t..; a[1] row g + 8; b column g, k 4t..; d from 0 on.
TN_FN void tn_mma_ss_from(int32_t d[4], int32_t origin, const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(origin));
#else
    d[0] = d[1] = d[2] = d[3] = origin;
#endif
}
TN_FN void tn_mma_k16_ss(int32_t d[4], const uint32_t a[2], uint32_t b)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b), "r"(0));
#else
    d[0] = d[1] = d[2] = d[3] = 0;
#endif
}

// In fast numerics alone: a * b + c, rounded once; and d += A B of floats whose lower 13 bits are 0, A 16 x 8, B 8 x 8, d 16 x 8: a[0] row
// g, k t; a[1] row g + 8; a[2] row g, k t + 4; a[3] row g + 8, k t + 4; b[0] column g, k t; b[1] column g, k t + 4; d as above. How sums
// are rounded is the device's.
#define TN_TF32_BITS 0xffffe000u
TN_FN float tn_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
TN_FN void tn_mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// f16 bits to f32, subnormals kept.
TN_FN float tn_half(uint16_t h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

// A copy, of which the compiler does not know that it is one, so that it is made once: words that mma takes from registers side by side
// would else be brought there for each product anew.
TN_FN uint32_t tn_copy(uint32_t v)
{
    asm volatile("lop3.b32 %0, %0, %0, %0, 0xf0;" : "+r"(v));
    return v;
}

// The same address, of which the compiler knows nothing: what is loaded from there is not loaded early, for several branches at once.
TN_FN const uint8_t *tn_opaque(const uint8_t *at)
{
    asm volatile("" : "+l"(at));
    return at;
}

// Compilers for sm_100 and later make early whatever can be made before a long loop, and keep it in registers through the loop, until these
// do not do and are spilled. There what is wanted behind the loop, or seldom in it, is made again: from values of which the compiler knows
// nothing before (tn_late), and by the other of two ways where a kernel has them (TN_MAKES_EARLY). Elsewhere code is the same without.
#ifdef __CUDA_ARCH__
constexpr uint32_t TN_ARCH = __CUDA_ARCH__;
#else
constexpr uint32_t TN_ARCH = 0;
#endif
constexpr bool TN_MAKES_EARLY = TN_ARCH >= 1000;
template <uint32_t from_arch = 1000> TN_FN uint32_t tn_late(uint32_t v)
{
    if (TN_ARCH >= from_arch) asm volatile("" : "+r"(v));
    return v;
}

#define TN_UNROLL _Pragma("unroll")
#define TN_ROLLED _Pragma("unroll 1") // rarely long: instructions are fetched too

#else
#include "cuda_host/gpu_host.hpp" // tests/cuda_host
#endif

// Long copies from global to shared memory in the background, by all threads of the block together: into `to` from byte `at` on, n_bytes;
// sizes and addresses are multiples of 16. The threads for which tn_bulk_is_mine holds make `arrival` and begin them, with one
// tn_bulk_expect, which says how many bytes come in all; what came is there for all threads behind tn_bulk_wait, which all call, and a
// tn_sync. `arrival`: a word for each set of copies that may be under way, made by tn_bulk_init, which is followed by a tn_sync before
// anybody waits; `parity` of a set is 0, then 1, then 0 again. Between two sets of a word, and between what threads do with the bytes and
// copies to them, lies a tn_sync. From sm_90 on one thread, `thread`, gives them to the copy engine, elsewhere each thread copies its part.
// tn_bulk_wait_mine is for the asking thread where nobody else has to wait: elsewhere that is nothing, for tn_bulk_wait waits for all sets.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
TN_FN uint32_t tn_shared_address(const void *at) { return (uint32_t)__cvta_generic_to_shared(at); }
TN_FN bool tn_bulk_is_mine(uint32_t thread = 0) { return tn_thread() == thread; }
TN_FN void tn_bulk_init(uint64_t *arrival, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(tn_shared_address(arrival + i)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
TN_FN void tn_bulk_expect(uint64_t *arrival, uint32_t i, uint32_t n_bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(tn_shared_address(arrival + i)), "r"(n_bytes) : "memory");
}
TN_FN void tn_bulk_copy(int8_t *to, uint32_t at, const uint8_t *from, uint32_t n_bytes, uint64_t *arrival, uint32_t i)
{
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(tn_shared_address(to + at)),
        "l"(from), "r"(n_bytes), "r"(tn_shared_address(arrival + i))
        : "memory");
}
TN_FN void tn_bulk_wait(uint64_t *arrival, uint32_t i, uint32_t parity)
{
    asm volatile("{\n"
                 ".reg .pred has_come;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 has_come, [%0], %1;\n"
                 "@!has_come bra again;\n"
                 "}" ::"r"(tn_shared_address(arrival + i)),
                 "r"(parity)
                 : "memory");
}
TN_FN void tn_bulk_wait_mine(uint64_t *arrival, uint32_t i, uint32_t parity) { tn_bulk_wait(arrival, i, parity); }
#else
// Of a long copy this thread's part. (By a host compiler the words themselves are the emulation's, which has devices of both kinds.)
TN_FN void tn_bulk_copy_part(TN_SHARED_ARG(int8_t, to), uint32_t at, const uint8_t *from, uint32_t n_bytes)
{
    for (uint32_t i = tn_thread() * 16; i < n_bytes; i += tn_n_threads() * 16) tn_async16(to, at + i, from + i);
}
#ifdef __CUDACC__
TN_FN bool tn_bulk_is_mine(uint32_t = 0) { return true; }
TN_FN void tn_bulk_init(uint64_t *, uint32_t) {}
TN_FN void tn_bulk_expect(uint64_t *, uint32_t, uint32_t) {}
TN_FN void tn_bulk_copy(int8_t *to, uint32_t at, const uint8_t *from, uint32_t n_bytes, uint64_t *, uint32_t)
{
    tn_bulk_copy_part(to, at, from, n_bytes);
}
TN_FN void tn_bulk_wait(uint64_t *, uint32_t, uint32_t)
{
    tn_async_commit();
    tn_async_wait<0>();
}
TN_FN void tn_bulk_wait_mine(uint64_t *, uint32_t, uint32_t) {}
#endif
#endif

// exact_math.h's functions, in device code.
#include "base/exact_math.h"

#endif
