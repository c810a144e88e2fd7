// A lane's 16 bytes of a tile of ternary weights (cuda_pack.h): word r is what mma.m16n8k32 wants in register r of A, of four k steps of 32
// columns, two bits each.
#ifndef TN_CUDA_TERNARY_TILE_CUH
#define TN_CUDA_TERNARY_TILE_CUH

#include "cuda/kernels/gpu.cuh"

enum { TN_TILE_BYTES = 512 };
constexpr uint32_t TN_TILE_MASK = 0x03030303u;

// A of k step s, 0..3. Of rows g (registers 0 and 2) and g + 8 (1 and 3); with the lane's 32 columns as words of 4, registers 0 and 1 meet
// word 2s, and 2 and 3 meet word 2s + 1.
TN_FN void tn_tile_step(const tn_u4 &w, uint32_t s, uint32_t mask, uint32_t (&a)[4])
{
    const uint32_t words[4] = {w.x, w.y, w.z, w.w};
    TN_UNROLL for (uint32_t r = 0; r < 4; r++) a[r] = (words[r] >> (2 * s)) & mask;
}

#endif
