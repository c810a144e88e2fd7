// ternary_one on binary tensor cores, which count the ones of A and B (sm_80 to sm_90).
//
// A code of a row is 8 bits, and so the row is the 8 columns of B: column n is bit n of all codes. A tile's words are A as they are: a
// weight's two bits stand side by side, at an even place and the odd one behind it, so the even places of B have the codes' bits and the
// odd ones 0 in one product, and the other way round in a second one, which counts twice. So no weight is ever unpacked.
//
// Codes of 32 columns lie as 8 words, those of rows g of a tile's lane: with h the half (0 or 1) of 8 columns 8s + 4h + j, word 2q + h has
// bit 2q + r of code (s, j) at bit 8j + 2s + r.
#include "cuda/kernels/ternary_one.cuh"

namespace
{

constexpr uint32_t EVEN = 0x55555555u;

// Four words of four codes each, and for bits 2q and 2q + 1 of the codes word q: in each byte, pair q of word s is exchanged with pair s of
// word q.
TN_FN void tn_one_transpose(uint32_t (&words)[4])
{
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        const uint32_t a = words[i], b = words[i + 2];
        words[i] = (a & 0x0f0f0f0fu) | ((b << 4) & 0xf0f0f0f0u);
        words[i + 2] = ((a >> 4) & 0x0f0f0f0fu) | (b & 0xf0f0f0f0u);
    }
    TN_UNROLL for (uint32_t i = 0; i < 4; i += 2)
    {
        const uint32_t a = words[i], b = words[i + 1];
        words[i] = (a & 0x33333333u) | ((b << 2) & 0xccccccccu);
        words[i + 1] = ((a >> 2) & 0x33333333u) | (b & 0xccccccccu);
    }
}
// Where word 2q + h of the 32 columns from i on lies: of a column block words of one q side by side, so that lanes that read one each meet
// all banks.
TN_FN uint32_t tn_one_word_at(uint32_t i, uint32_t q, uint32_t h)
{
    return i / TN_CUDA_TILE_COLS * TN_CUDA_TILE_COLS + q * 32 + i % TN_CUDA_TILE_COLS / 32 * 8 + h * 4;
}

struct tn_one_bmma {
    typedef uint64_t input;  // words 2q and 2q + 1 of the lane's columns, q = g / 2
    int32_t even[4], odd[4]; // as mma leaves them

    // Codes (s, j) of half h as the transposition takes them: 16 bytes of a half side by side.
    static TN_METHOD uint32_t place(uint32_t lane) { return lane / 4 % 2 * 16 + lane / 8 * 4 + lane % 4; }
    static TN_METHOD void settle(uint32_t b, TN_SHARED_ARG(int8_t, codes))
    {
        const uint32_t at = b * 256 + tn_lane() * 16, i = at / 32 * 32, h = tn_lane() % 2;
        const bool is_mine = tn_lane() < 16;
        uint32_t words[4] = {0, 0, 0, 0};
        tn_sync_warp();
        if (is_mine) {
            const tn_u4 v = tn_shared_load16(codes, at);
            words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
        }
        tn_sync_warp();
        tn_one_transpose(words);
        TN_UNROLL for (uint32_t q = 0; q < 4; q++)
        {
            if (is_mine) tn_shared_store4(codes, tn_one_word_at(i, q, h), words[q]);
        }
    }
    static TN_METHOD void lay(uint32_t i, const tn_u4 (&natural)[2], TN_SHARED_ARG(int8_t, codes))
    {
        const uint32_t words[2][4] = {{natural[0].x, natural[0].z, natural[1].x, natural[1].z},
                                      {natural[0].y, natural[0].w, natural[1].y, natural[1].w}};
        TN_UNROLL for (uint32_t h = 0; h < 2; h++)
        {
            uint32_t of[4] = {words[h][0], words[h][1], words[h][2], words[h][3]};
            tn_one_transpose(of);
            TN_UNROLL for (uint32_t q = 0; q < 4; q++) tn_shared_store4(codes, tn_one_word_at(i, q, h), of[q]);
        }
    }
    static TN_METHOD uint32_t at(uint32_t k) { return tn_one_word_at(k * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32, tn_lane() / 8, 0); }
    static TN_METHOD input load(uint32_t at, TN_SHARED_ARG(int8_t, codes)) { return tn_shared_load8(codes, at); }
    TN_METHOD void add(const tn_u4 &w, input x)
    {
        const uint32_t a[4] = {w.x, w.y, w.z, w.w}, bit = tn_lane() / 4 % 2;
        const uint32_t at_even[2] = {((uint32_t)x >> bit) & EVEN, ((uint32_t)(x >> 32) >> bit) & EVEN};
        const uint32_t at_odd[2] = {at_even[0] << 1, at_even[1] << 1};
        tn_bmma(even, a, at_even);
        tn_bmma(odd, a, at_odd);
    }
    // Columns 2t and 2t + 1; bit 7 of a code counts -128.
    TN_METHOD int32_t sum(uint32_t r) const
    {
        const uint32_t t = tn_lane() % 4;
        const int32_t low = even[2 * r] + 2 * odd[2 * r], high = even[2 * r + 1] + 2 * odd[2 * r + 1];
        return (low + (t == 3 ? -2 : 2) * high) * (1 << (2 * t));
    }
};

} // namespace

TN_TERNARY_ONE(ternary_one_bmma, tn_one_bmma, 1)
TN_TERNARY_ONE(ternary_one_glu_bmma, tn_one_bmma, 2)
