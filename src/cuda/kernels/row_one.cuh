// NORM_QUANT and QUANT of one row into shared memory, by all 16 warps of a block. It stands in front of every product of a step of one
// token, in each of its blocks, so what counts is how long the way from x to the codes is: all of x is asked for at once, gains are there
// before, and the codes do not wait for the norm's factor, which one warp finds meanwhile.
//
// SUM wants lane l of a warp to add elements l, l + 32, .. of a block of 256, so a warp takes whole blocks: warp w blocks w, w + 16, ..
#ifndef TN_CUDA_ROW_ONE_CUH
#define TN_CUDA_ROW_ONE_CUH

#include "cuda/kernels/rows_io.cuh"
#include "cuda/kernels/warp.cuh"

enum {
    TN_ONE_WARPS = 16,
    TN_ONE_THREADS = 32 * TN_ONE_WARPS,
    TN_ONE_HELD = 2,                          // blocks of a warp that registers keep: rows of up to 8192 elements are read once
    TN_ONE_MAX = 0,                           // words of shared memory: of each warp the largest |x * gain|,
    TN_ONE_CODES = TN_ONE_MAX + TN_ONE_WARPS, // the sum of the codes, and the same of a second attempt,
    TN_ONE_SCALE = TN_ONE_CODES + 2,          // the codes' scale,
    TN_ONE_SMALL, // what the row is multiplied with where it is so small that its largest code is not 127; else 0,
    TN_ONE_SUMS,  // SUM's parts
    TN_ONE_SCRATCH = TN_ONE_SUMS + TN_CUDA_ONE_COLS_MAX / 256,
};

// A lane's 8 elements of a block, and their gains.
struct tn_one_part {
    float v[8];
    tn_u4 gains[2];
};

TN_FN void tn_one_load_gains(const tn_cuda_row_op &op, uint32_t b, tn_u4 (&gains)[2])
{
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        gains[i] = {0, 0, 0, 0};
        if (op.gains && b * 256 + i * 128 < op.n) gains[i] = tn_load16(op.gains + ((size_t)(2 * b + i) * 32 + tn_lane()) * 4);
    }
}
TN_FN void tn_one_load(const tn_cuda_row_op &op, const float *x, uint32_t b, float (&v)[8])
{
    const uint32_t first = b * 256 + tn_lane();
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[i] = first + 32 * i < op.n ? tn_load_fresh(x + first + 32 * i) : 0.0f;
}
TN_FN void tn_one_gain(const tn_cuda_row_op &op, tn_one_part &part)
{
    if (!op.gains) return;
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        part.v[4 * i] = part.v[4 * i] * tn_float(part.gains[i].x);
        part.v[4 * i + 1] = part.v[4 * i + 1] * tn_float(part.gains[i].y);
        part.v[4 * i + 2] = part.v[4 * i + 2] * tn_float(part.gains[i].z);
        part.v[4 * i + 3] = part.v[4 * i + 3] * tn_float(part.gains[i].w);
    }
}

// Stores the block's part of SUM, then `part` holds x * gain; the largest of its absolute values, and of `max`.
TN_FN uint32_t tn_one_measure(const tn_cuda_row_op &op, uint32_t b, tn_one_part &part, uint32_t max, TN_SHARED_ARG(uint32_t, scratch))
{
    if (op.op != TN_CUDA_ROW_QUANT) {
        float sum = 0.0f;
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) sum = sum + (part.v[i] * part.v[i]);
        TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2) sum = sum + tn_shfl_xor(sum, width);
        if (tn_lane() == 0 && b * 256 < op.n) scratch[TN_ONE_SUMS + b] = tn_bits(sum);
    }
    tn_one_gain(op, part);
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) max = tn_abs_bits(part.v[i]) > max ? tn_abs_bits(part.v[i]) : max;
    return max;
}

// A block's codes; their sum.
TN_FN int32_t tn_one_put(uint32_t b, uint32_t n_codes, const float (&v)[8], float factor, TN_SHARED_ARG(int8_t, codes))
{
    const uint32_t first = b * 256 + tn_lane();
    int32_t sum = 0;
    TN_UNROLL for (uint32_t i = 0; i < 8; i++)
    {
        const int8_t code = (int8_t)tn_round_int(v[i] * factor);
        if (first + 32 * i >= n_codes) continue;
        codes[first + 32 * i] = code;
        sum += code;
    }
    return sum;
}

// All codes of the warp's blocks, those beyond op.n 0, and their sum to scratch[at].
TN_FN void tn_one_quantise(const tn_cuda_row_op &op, const float *x, uint32_t n_codes, const tn_one_part (&held)[TN_ONE_HELD], float factor,
                           TN_SHARED_ARG(uint32_t, scratch), uint32_t at, TN_SHARED_ARG(int8_t, codes))
{
    int32_t sum = 0;
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) sum += tn_one_put(r * TN_ONE_WARPS + tn_warp(), n_codes, held[r].v, factor, codes);
    TN_ROLLED for (uint32_t b = TN_ONE_HELD * TN_ONE_WARPS + tn_warp(); b * 256 < n_codes; b += TN_ONE_WARPS)
    {
        tn_one_part part;
        tn_one_load(op, x, b, part.v);
        tn_one_load_gains(op, b, part.gains);
        tn_one_gain(op, part);
        sum += tn_one_put(b, n_codes, part.v, factor, codes);
    }
    sum = tn_lanes_sum(sum);
    if (tn_lane() == 0) tn_shared_add(scratch, at, (uint32_t)sum);
}

// By one warp: the norm's factor, and what follows from it.
TN_FN void tn_one_find_scale(const tn_cuda_row_op &op, float max, TN_SHARED_ARG(uint32_t, scratch))
{
    float sum = 0.0f;
    TN_ROLLED for (uint32_t b = 0; b * 256 < op.n; b++) sum = sum + tn_float(scratch[TN_ONE_SUMS + b]);
    const float mean = (sum * op.recip_n) + op.eps, r = tn_rsqrt(mean > 0x1p-100f ? mean : 0x1p-100f), scaled_max = max * r;
    const bool is_large = scaled_max >= 1e-5f;
    if (tn_lane() != 0) return;
    scratch[TN_ONE_SCALE] = tn_bits(is_large ? scaled_max * (float)(1.0 / 127.0) : (float)(1e-5 / 127.0));
    scratch[TN_ONE_SMALL] = is_large ? 0 : tn_bits(r * 12700000.0f);
}

// In front of tn_wait_previous: the gains, and zeros where sums begin.
TN_FN void tn_one_row_begin(const tn_cuda_row_op &op, tn_one_part (&held)[TN_ONE_HELD], TN_SHARED_ARG(uint32_t, scratch))
{
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) tn_one_load_gains(op, r * TN_ONE_WARPS + tn_warp(), held[r].gains);
    if (tn_thread() < 2) scratch[TN_ONE_CODES + tn_thread()] = 0;
    if (tn_thread() == 2) scratch[TN_ONE_SMALL] = 0;
}

// Behind it: the codes of row x, n_codes of them, which are there for all threads on return, as are scale and sum (tn_one_scale,
// tn_one_sum).
TN_FN void tn_one_row(const tn_cuda_row_op &op, const float *x, uint32_t n_codes, tn_one_part (&held)[TN_ONE_HELD],
                      TN_SHARED_ARG(uint32_t, scratch), TN_SHARED_ARG(int8_t, codes))
{
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) tn_one_load(op, x, r * TN_ONE_WARPS + tn_warp(), held[r].v);
    uint32_t max = 0;
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) max = tn_one_measure(op, r * TN_ONE_WARPS + tn_warp(), held[r], max, scratch);
    TN_ROLLED for (uint32_t b = TN_ONE_HELD * TN_ONE_WARPS + tn_warp(); b * 256 < op.n; b += TN_ONE_WARPS)
    {
        tn_one_part part;
        tn_one_load(op, x, b, part.v);
        tn_one_load_gains(op, b, part.gains);
        max = tn_one_measure(op, b, part, max, scratch);
    }
    max = tn_lanes_max(max);
    if (tn_lane() == 0) scratch[TN_ONE_MAX + tn_warp()] = max;
    tn_sync();
    max = tn_lanes_max(scratch[TN_ONE_MAX + tn_lane() % TN_ONE_WARPS]);
    float a = tn_float(max);
    if (op.op == TN_CUDA_ROW_QUANT) {
        a = max > tn_bits(1e-5f) ? a : 1e-5f;
        if (tn_thread() == 0) scratch[TN_ONE_SCALE] = tn_bits(a * (float)(1.0 / 127.0));
    } else if (tn_warp() == TN_ONE_WARPS - 1) {
        tn_one_find_scale(op, a, scratch);
    }
    tn_one_quantise(op, x, n_codes, held, 127.0f * tn_recip(a), scratch, TN_ONE_CODES, codes);
    tn_sync();
    if (scratch[TN_ONE_SMALL] == 0) return;
    tn_one_quantise(op, x, n_codes, held, tn_float(scratch[TN_ONE_SMALL]), scratch, TN_ONE_CODES + 1, codes);
    tn_sync();
}
TN_FN float tn_one_scale(TN_SHARED_ARG(uint32_t, scratch)) { return tn_float(scratch[TN_ONE_SCALE]); }
TN_FN int32_t tn_one_sum(TN_SHARED_ARG(uint32_t, scratch)) { return (int32_t)scratch[TN_ONE_CODES + (scratch[TN_ONE_SMALL] != 0 ? 1 : 0)]; }

#endif
