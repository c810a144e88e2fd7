// ternary_one by dp4a: sm_75, which has nothing else, and from sm_100 on, where binary tensor cores are gone.
#include "cuda/kernels/ternary_one.cuh"

namespace
{

// Weights are masked in place: bit pair s of a byte is the code times 4^s, and has a sum of its own.
struct tn_one_dp4a {
    struct input {
        tn_u4 of[2];
    };
    int32_t sums[2][4]; // of row g + 8r

    static TN_METHOD uint32_t place(uint32_t lane) { return lane; }
    static TN_METHOD void settle(uint32_t, TN_SHARED_ARG(int8_t, codes)) { (void)codes; }
    static TN_METHOD void lay(uint32_t i, const tn_u4 (&natural)[2], TN_SHARED_ARG(int8_t, codes))
    {
        tn_shared_store16(codes, i, natural[0]);
        tn_shared_store16(codes, i + 16, natural[1]);
    }
    static TN_METHOD uint32_t at(uint32_t k) { return k * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32; }
    static TN_METHOD input load(uint32_t at, TN_SHARED_ARG(int8_t, codes))
    {
        return {{tn_shared_load16(codes, at), tn_shared_load16(codes, at + 16)}};
    }
    TN_METHOD void add(const tn_u4 &w, const input &x)
    {
        const uint32_t words[4] = {w.x, w.y, w.z, w.w},
                       codes[8] = {x.of[0].x, x.of[0].y, x.of[0].z, x.of[0].w, x.of[1].x, x.of[1].y, x.of[1].z, x.of[1].w};
        TN_UNROLL for (uint32_t i = 0; i < 16; i++)
        {
            const uint32_t r = i % 4, s = i / 4;
            sums[r % 2][s] = tn_dp4a_us(words[r] & (TN_TILE_MASK << (2 * s)), codes[2 * s + r / 2], sums[r % 2][s]);
        }
    }
    TN_METHOD int32_t sum(uint32_t r) const { return sums[r][0] + (sums[r][1] >> 2) + (sums[r][2] >> 4) + (sums[r][3] >> 6); }
};

} // namespace

TN_TERNARY_ONE(ternary_one_dp4a, tn_one_dp4a, 1)
TN_TERNARY_ONE(ternary_one_glu_dp4a, tn_one_dp4a, 2)
