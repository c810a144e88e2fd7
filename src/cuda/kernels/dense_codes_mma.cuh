// Products of more than a few tokens with quantised dense weights, on integer tensor cores: a warp has 16 rows of W and all tokens of the
// block's tile, W goes from global memory to registers a block of 256 columns ahead, and the tokens' codes of two blocks are in shared
// memory or on their way there.
//
// A product of mma is the integer sum of one scale's columns: 32 of Q8_0 and Q4_0, 16 of Q6_K. What follows it is the contract's and cannot
// be left to the tensor cores: of the first two a float term each, GSUM's tree over the eight of a block; of Q6_K an integer factor, and a
// float term a block. Both signs of codes are had by a shift and a flip: 16 (code - 8) of Q4_0 and 4 (code - 32) of Q6_K are signed bytes,
// and the powers of two are taken back where that rounds nothing.
#ifndef TN_CUDA_DENSE_CODES_MMA_CUH
#define TN_CUDA_DENSE_CODES_MMA_CUH

#include "cuda/kernels/dense_tile.cuh"
#include "cuda/kernels/dense_units.cuh"

enum {
    TN_TENSOR_THREADS = TN_CUDA_DENSE_MMA_ROWS / 16 * 32,
    TN_TENSOR_STAGES = 2,
    TN_TENSOR_UNITS = 16, // of a block of a token's codes
};
// Sums of mma begin here, so that their bits are those of 1.5 * 2^23 + sum as a float: exact below 2^22, and no conversion is needed.
enum { TN_TENSOR_ORIGIN = 0x4b400000 };
#define TN_TENSOR_ORIGIN_FLOAT 0x1.8p23f

// ---- what a lane has of a block of W: rows g and g + 8 of the warp's, g = lane / 4 ----

// Q8_0, Q4_0: of group u columns 8t .. 8t + 7, t = lane % 4, as mma's left factor; scales of the groups.
struct tn_tensor_tree {
    uint32_t a[8][4];
    float d[8][2];
};
// Q6_K: of 16 columns 4t .. 4t + 3.
struct tn_tensor_q6_k {
    uint32_t a[16][2];
    int32_t factors[16][2];
    float d[2];
};

// As they lie in memory. BLOCK_UNITS: of a row and 256 columns; TOKEN_BYTES: of a token's codes in shared memory, such that the lanes of a
// warp meet all banks; WORD: what a lane reads of them at a time.
struct tn_tensor_raw_q8_0 {
    enum { BLOCK_UNITS = 17, TOKEN_BYTES = 288, N_SCALES = 8 };
    typedef uint64_t word;
    uint64_t codes[8][2];
    tn_u4 head[2];
};
struct tn_tensor_raw_q4_0 {
    enum { BLOCK_UNITS = 9, TOKEN_BYTES = 288, N_SCALES = 8 };
    typedef uint64_t word;
    uint32_t codes[8][2];
    tn_u4 head[2];
};
struct tn_tensor_raw_q6_k {
    enum { BLOCK_UNITS = 13, TOKEN_BYTES = 272, N_SCALES = 1 };
    typedef uint32_t word;
    uint32_t low[16][2];
    tn_u4 high[4][2], factors[2];
    float d[2];
};

// Where the lane's first row begins; the second is 8 units on.
struct tn_tensor_rows {
    const uint8_t *units;
    const float *scales; // Q6_K
    uint32_t n_blocks;
};
template <class Raw> TN_FN const uint8_t *tn_tensor_unit(const tn_tensor_rows &rows, uint32_t b, uint32_t u, uint32_t i)
{
    return rows.units + ((size_t)(b * Raw::BLOCK_UNITS + u) * TN_GROUP_ROWS + 8 * i) * TN_UNIT_BYTES;
}

TN_FN void tn_tensor_ask(const tn_tensor_rows &rows, uint32_t b, tn_tensor_raw_q8_0 &raw)
{
    const uint32_t t = tn_lane() % 4;
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        TN_UNROLL for (uint32_t u = 0; u < 8; u++) raw.codes[u][i] =
            tn_load8_once(tn_tensor_unit<tn_tensor_raw_q8_0>(rows, b, 2 * u + t / 2, i) + t % 2 * 8);
        raw.head[i] = tn_load16_once(tn_tensor_unit<tn_tensor_raw_q8_0>(rows, b, 16, i));
    }
}
TN_FN void tn_tensor_ask(const tn_tensor_rows &rows, uint32_t b, tn_tensor_raw_q4_0 &raw)
{
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        TN_UNROLL for (uint32_t u = 0; u < 8; u++) raw.codes[u][i] =
            tn_load4_once(tn_tensor_unit<tn_tensor_raw_q4_0>(rows, b, u, i) + tn_lane() % 4 * 4);
        raw.head[i] = tn_load16_once(tn_tensor_unit<tn_tensor_raw_q4_0>(rows, b, 8, i));
    }
}
TN_FN void tn_tensor_ask(const tn_tensor_rows &rows, uint32_t b, tn_tensor_raw_q6_k &raw)
{
    const uint32_t t = tn_lane() % 4;
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        TN_UNROLL for (uint32_t f = 0; f < 16; f++) raw.low[f][i] =
            tn_load4_once(tn_tensor_unit<tn_tensor_raw_q6_k>(rows, b, f / 2, i) + (f % 2 * 2 + t / 2) * 4);
        TN_UNROLL for (uint32_t u = 0; u < 4; u++) raw.high[u][i] = tn_load16_once(tn_tensor_unit<tn_tensor_raw_q6_k>(rows, b, 8 + u, i));
        raw.factors[i] = tn_load16_once(tn_tensor_unit<tn_tensor_raw_q6_k>(rows, b, 12, i));
        raw.d[i] = rows.scales[(size_t)b * TN_GROUP_ROWS + 8 * i];
    }
}

TN_FN uint32_t tn_tensor_word(const tn_u4 &v, uint32_t i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
TN_FN float tn_tensor_scale(const tn_u4 &head, uint32_t u) { return tn_half((uint16_t)(tn_tensor_word(head, u / 2) >> (16 * (u % 2)))); }

TN_FN tn_tensor_tree tn_tensor_unpack(const tn_tensor_raw_q8_0 &raw)
{
    tn_tensor_tree w;
    TN_UNROLL for (uint32_t j = 0; j < 16; j++)
    {
        const uint32_t u = j / 2, i = j % 2;
        w.a[u][i] = tn_copy((uint32_t)raw.codes[u][i]);
        w.a[u][2 + i] = tn_copy((uint32_t)(raw.codes[u][i] >> 32));
        w.d[u][i] = tn_tensor_scale(raw.head[i], u);
    }
    return w;
}
// 16 (code - 8), and a sixteenth of the scale.
TN_FN tn_tensor_tree tn_tensor_unpack(const tn_tensor_raw_q4_0 &raw)
{
    tn_tensor_tree w;
    TN_UNROLL for (uint32_t j = 0; j < 16; j++)
    {
        const uint32_t u = j / 2, i = j % 2;
        w.a[u][i] = ((raw.codes[u][i] << 4) & 0xf0f0f0f0u) ^ 0x80808080u;
        w.a[u][2 + i] = (raw.codes[u][i] & 0xf0f0f0f0u) ^ 0x80808080u;
        w.d[u][i] = 0.0625f * tn_tensor_scale(raw.head[i], u);
    }
    return w;
}
// 4 (code - 32): the low bits of quad t of 16 columns in bits 2 to 5 of each byte, the high ones in bits 6 and 7.
TN_FN tn_tensor_q6_k tn_tensor_unpack(const tn_tensor_raw_q6_k &raw)
{
    const uint32_t t = tn_lane() % 4, turn = t % 2 == 0 ? 2 : 30;
    tn_tensor_q6_k w;
    TN_UNROLL for (uint32_t j = 0; j < 32; j++)
    {
        const uint32_t f = j / 2, i = j % 2, low = raw.low[f][i], high = tn_tensor_word(raw.high[f / 4][i], f % 4);
        w.a[f][i] = (((low << turn) | (low >> (32 - turn))) & 0x3c3c3c3cu) | (((high << (6 - 2 * t)) & 0xc0c0c0c0u) ^ 0x80808080u);
        w.factors[f][i] = (int32_t)(int8_t)(tn_tensor_word(raw.factors[i], f / 4) >> (8 * (f % 4)));
    }
    w.d[0] = raw.d[0], w.d[1] = raw.d[1];
    return w;
}

// ---- tokens ----

// Codes of a block: [stages][tokens][TOKEN_BYTES]; scales: [stages][tokens][N_SCALES].
template <class Raw> struct tn_tensor_shared {
    TN_SHARED_ARG(typename Raw::word, codes);
    TN_SHARED_ARG(float, scales);
};
template <class Raw> TN_FN uint32_t tn_tensor_codes_at(uint32_t stage, uint32_t t, uint32_t byte)
{
    return ((stage * TN_CUDA_DENSE_MMA_TOKENS + t) * Raw::TOKEN_BYTES + byte) / (uint32_t)sizeof(typename Raw::word);
}
template <class Raw> TN_FN uint32_t tn_tensor_scales_at(uint32_t stage, uint32_t t)
{
    return (stage * TN_CUDA_DENSE_MMA_TOKENS + t) * Raw::N_SCALES;
}

// Q6_K: the scale of a block that this thread brings to shared memory, one block ahead of the codes.
TN_FN float tn_tensor_ask_scale(const tn_dense_tile &tile, uint32_t b, uint32_t n_tokens, uint32_t n_blocks)
{
    if (tn_thread() >= n_tokens || b >= n_blocks) return 0.0f;
    return tile.p.scales[(size_t)tn_tile_row(tile, tn_thread()) * tile.p.scales_stride + b];
}

// Asks for block b of the tokens' codes.
template <class Raw, uint32_t n_tokens>
TN_FN void tn_tensor_feed(const tn_dense_tile &tile, uint32_t b, float scale, const tn_tensor_shared<Raw> &x)
{
    const tn_cuda_dense_params &p = tile.p;
    TN_UNROLL for (uint32_t first = 0; first < n_tokens * TN_TENSOR_UNITS; first += TN_TENSOR_THREADS)
    {
        const uint32_t i = first + tn_thread();
        if (n_tokens * TN_TENSOR_UNITS < TN_TENSOR_THREADS && i >= n_tokens * TN_TENSOR_UNITS) break;
        const uint32_t t = i / TN_TENSOR_UNITS, byte = i % TN_TENSOR_UNITS * TN_UNIT_BYTES;
        tn_async16(x.codes, tn_tensor_codes_at<Raw>(b % TN_TENSOR_STAGES, t, byte),
                   p.codes + (size_t)tn_tile_row(tile, t) * p.codes_stride + (size_t)b * 256 + byte);
    }
    if (Raw::N_SCALES == 1) {
        if (tn_thread() < n_tokens) x.scales[tn_tensor_scales_at<Raw>(b % TN_TENSOR_STAGES, tn_thread())] = scale;
    } else if (tn_thread() < 2 * n_tokens) {
        const uint32_t t = tn_thread() / 2, first = tn_thread() % 2 * 4;
        tn_async16(x.scales, tn_tensor_scales_at<Raw>(b % TN_TENSOR_STAGES, t) + first,
                   p.scales + (size_t)tn_tile_row(tile, t) * p.scales_stride + (size_t)b * 8 + first);
    }
    tn_async_commit();
}

// ---- products ----

// Eight tokens from `first` on times a block, on top of the lane's sums: of its rows (i / 2) and tokens 2t and 2t + 1 (i % 2).
template <class Raw>
TN_FN void tn_tensor_multiply(const tn_tensor_tree &w, const tn_tensor_shared<Raw> &x, uint32_t stage, uint32_t first, float (&sums)[4])
{
    const uint32_t codes_at = tn_tensor_codes_at<Raw>(stage, first + tn_lane() / 4, tn_lane() % 4 * 8);
    const uint32_t scales_at = tn_tensor_scales_at<Raw>(stage, first + tn_lane() % 4 * 2);
    float scales[16], block[2][4];
    TN_UNROLL for (uint32_t j = 0; j < 4; j++)
    {
        const tn_u4 v = tn_shared_load16(x.scales, scales_at + 4 * j);
        TN_UNROLL for (uint32_t k = 0; k < 4; k++) scales[4 * j + k] = tn_float(tn_tensor_word(v, k));
    }
    // GSUM's tree ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). A product of scales needs no FL: those of x are at least 1e-5 / 127 and those
    // of W halves, so that it is 0 or above 2^-48 (of Q4_0 2^-52, which a sum makes 16 times as much).
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        float terms[2][4];
        TN_UNROLL for (uint32_t h = 0; h < 2; h++)
        {
            const uint32_t u = i % 2 * 2 + i / 2 + 4 * h;
            const uint64_t codes = x.codes[codes_at + 4 * u];
            const uint32_t b[2] = {(uint32_t)codes, (uint32_t)(codes >> 32)};
            int32_t d[4];
            tn_mma_ss_from(d, TN_TENSOR_ORIGIN, w.a[u], b);
            TN_UNROLL for (uint32_t k = 0; k < 4; k++) terms[h][k] =
                (tn_float((uint32_t)d[k]) - TN_TENSOR_ORIGIN_FLOAT) * (scales[k % 2 * 8 + u] * w.d[u][k / 2]);
        }
        TN_UNROLL for (uint32_t k = 0; k < 4; k++)
        {
            const float pair = terms[0][k] + terms[1][k];
            block[i / 2][k] = i % 2 == 0 ? pair : block[i / 2][k] + pair;
        }
    }
    TN_UNROLL for (uint32_t k = 0; k < 4; k++) sums[k] = sums[k] + (block[0][k] + block[1][k]);
}
template <class Raw>
TN_FN void tn_tensor_multiply(const tn_tensor_q6_k &w, const tn_tensor_shared<Raw> &x, uint32_t stage, uint32_t first, float (&sums)[4])
{
    const uint32_t codes_at = tn_tensor_codes_at<Raw>(stage, first + tn_lane() / 4, tn_lane() % 4 * 4);
    const uint32_t scales_at = tn_tensor_scales_at<Raw>(stage, first + tn_lane() % 4 * 2);
    int32_t acc[4] = {0, 0, 0, 0};
    TN_UNROLL for (uint32_t f = 0; f < 16; f++)
    {
        int32_t d[4];
        tn_mma_k16_ss(d, w.a[f], x.codes[codes_at + 4 * f]);
        TN_UNROLL for (uint32_t k = 0; k < 4; k++) acc[k] += w.factors[f][k / 2] * d[k];
    }
    const float scales[2] = {x.scales[scales_at], x.scales[scales_at + 1]};
    TN_UNROLL for (uint32_t k = 0; k < 4; k++) sums[k] = sums[k] + (float)(acc[k] / 4) * tn_fl(scales[k % 2] * w.d[k / 2]);
}

// A tile of at most 8 * n_octets tokens times the block's rows of W.
template <class Raw, uint32_t n_octets> TN_FN void tn_tensor_tile(const tn_dense_tile &tile, const tn_tensor_shared<Raw> &x)
{
    const tn_cuda_dense &weight = tile.p.w;
    constexpr uint32_t n_tokens = 8 * n_octets;
    const uint32_t last_sixteen = (weight.n_rows - 1) / 16;
    const uint32_t sixteen = tn_block_x() * (TN_CUDA_DENSE_MMA_ROWS / 16) + tn_warp();
    const uint32_t row = (sixteen < last_sixteen ? sixteen : last_sixteen) * 16 + tn_lane() / 4;
    constexpr bool is_q6_k = Raw::N_SCALES == 1;
    const tn_tensor_rows rows = {tn_quantised_row(weight, row), is_q6_k ? tn_q6_k_scale(weight, row, 0) : nullptr,
                                 weight.n_units / Raw::BLOCK_UNITS};
    float sums[n_octets][4] = {};
    Raw raw;
    tn_tensor_ask(rows, 0, raw);
    tn_tensor_feed<Raw, n_tokens>(tile, 0, is_q6_k ? tn_tensor_ask_scale(tile, 0, n_tokens, rows.n_blocks) : 0.0f, x);
    float scale = is_q6_k ? tn_tensor_ask_scale(tile, 1, n_tokens, rows.n_blocks) : 0.0f;
    TN_ROLLED for (uint32_t b = 0; b < rows.n_blocks; b++)
    {
        const auto w = tn_tensor_unpack(raw);
        if (b + 1 < rows.n_blocks) tn_tensor_ask(rows, b + 1, raw);
        tn_async_wait<0>();
        tn_sync();
        if (b + 1 < rows.n_blocks) tn_tensor_feed<Raw, n_tokens>(tile, b + 1, scale, x); // over what all warps have done with
        if (is_q6_k) scale = tn_tensor_ask_scale(tile, b + 2, n_tokens, rows.n_blocks);
        TN_UNROLL for (uint32_t o = 0; o < n_octets; o++) tn_tensor_multiply<Raw>(w, x, b % TN_TENSOR_STAGES, 8 * o, sums[o]);
    }
    if (sixteen > last_sixteen) return;
    TN_UNROLL for (uint32_t i = 0; i < 4 * n_octets; i++)
        tn_dense_store(tile, i / 4 * 8 + tn_lane() % 4 * 2 + i % 2, row + i % 4 / 2 * 8, sums[i / 4][i % 4]);
}

template <class Raw> TN_FN void tn_tensor_tiles(const tn_cuda_dense_params &p, const tn_tensor_shared<Raw> &x)
{
    const uint32_t n_rows = tn_n_rows(p.step, p.poison.is_logits), first = tn_block_y() * TN_CUDA_DENSE_MMA_TOKENS;
    if (first >= n_rows || tn_block_x() * TN_CUDA_DENSE_MMA_ROWS >= p.w.n_rows) return;
    const tn_dense_tile tile = {p, first, n_rows};
    if (n_rows - first <= 8)
        tn_tensor_tile<Raw, 1>(tile, x);
    else if (n_rows - first <= 16)
        tn_tensor_tile<Raw, 2>(tile, x);
    else if (n_rows - first <= 32)
        tn_tensor_tile<Raw, 4>(tile, x);
    else
        tn_tensor_tile<Raw, 8>(tile, x);
}

#endif
