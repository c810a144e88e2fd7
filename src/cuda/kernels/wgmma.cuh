// Products of a warpgroup, which is four warps from a multiple of 4 on, on the tensor cores of sm_90a: in the background, of registers and
// of shared memory. The functions are to be called by all threads of a warpgroup.
//
// tn_wgmma_us: d += A B, A 64 x 32 unsigned bytes, B 32 x 64 signed bytes, d 64 x 64. Warp w has rows 16 (w % 4) and the 15 after it of A
// and d; in these a is as that of tn_mma_us, and d[4 i] to d[4 i + 3] are as its d, of columns 8 i to 8 i + 7. B's column c is 32 bytes of
// row c of what tn_wgmma_b describes: rows of 128 bytes, whose units of 16 bytes lie where tn_wgmma_unit says. b + 2 s is of bytes 32 s and
// after.
//
// Products come into being between tn_wgmma_commit, which closes a group, and a tn_wgmma_wait that leaves at most n_left groups open. Until
// then nobody may touch a group's d, its a and the rows of its B. What threads brought to shared memory is there for a product after
// tn_async_fence of these threads (behind their tn_async_wait) and a tn_sync; what they did with registers after tn_wgmma_fence. For the
// compiler, registers are to be settled between what they are for products and what else is done with them.
#ifndef TN_CUDA_WGMMA_CUH
#define TN_CUDA_WGMMA_CUH

#include "cuda/kernels/gpu.cuh"

// In a row of 8 units, where unit `unit` lies.
TN_FN uint32_t tn_wgmma_unit(uint32_t row, uint32_t unit) { return unit ^ (row & 7u); }

// As the instruction wants it: from bit 0 on the address, from bit 32 on the distance from 8 rows to the next 8, both in units of 16 bytes,
// from bit 62 on the order of units. `address`: of shared memory, a multiple of 1024.
TN_FN uint64_t tn_wgmma_descriptor(uint32_t address)
{
    const uint64_t groups_distance = 1024 / 16, by_rows_of_128 = 1, unused = 1;
    return (address & 0x3ffffu) / 16 | unused << 16 | groups_distance << 32 | by_rows_of_128 << 62;
}

#ifdef __CUDACC__

// Of the rows that begin at element i of a shared array, a multiple of 1024 bytes.
#define tn_wgmma_b(name, i) tn_wgmma_descriptor((uint32_t)__cvta_generic_to_shared(&(name)[i]))

TN_FN void tn_async_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
TN_FN void tn_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TN_FN void tn_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int n_left> TN_FN void tn_wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n_left) : "memory"); }
template <class T, uint32_t n> TN_FN void tn_wgmma_settle(T (&d)[n])
{
    _Pragma("unroll") for (uint32_t i = 0; i < n; i++) asm volatile("" : "+r"(d[i])::"memory");
}

TN_FN void tn_wgmma_us(int32_t (&d)[32], const uint32_t (&a)[4], uint64_t b)
{
    asm volatile("{ .reg .pred p; setp.eq.u32 p, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k32.s32.u8.s8 {"
                 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"
                 "%30,%31"
                 "}, {%32,%33,%34,%35}, %36, p; }"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]), "+r"(d[8]), "+r"(d[9]),
                   "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]), "+r"(d[16]), "+r"(d[17]), "+r"(d[18]),
                   "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]), "+r"(d[24]), "+r"(d[25]), "+r"(d[26]), "+r"(d[27]),
                   "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#endif

#endif
