// The largest |x * gain| of a row, by which its codes are made: left by the kernel that stores the row, in parts, in any of 32 words, for
// the one that quantises it, which so need not go over the row before it begins.
#ifndef TN_CUDA_LARGEST_CUH
#define TN_CUDA_LARGEST_CUH

#include "cuda/kernels/warp.cuh"

// The gain of element n (cuda_pack.h, FLOATS).
TN_FN float tn_largest_gain(const tn_cuda_largest &to, uint32_t n)
{
    return to.gains ? to.gains[n / 128 * 128 + n % 32 * 4 + n / 32 % 4] : 1.0f;
}
// That of a part of the row, as the bits of a float; `word`: one that few others use.
TN_FN void tn_leave_largest(const tn_cuda_largest &to, uint32_t word, uint32_t bits)
{
    tn_atomic_max(to.words + word % TN_CUDA_LARGEST_WORDS, bits);
}
// A lane's word; the largest of a warp's is the row's.
TN_FN uint32_t tn_load_largest(const uint32_t *words) { return tn_load_fresh(words + tn_lane()); }

#endif
