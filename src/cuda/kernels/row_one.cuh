// NORM_QUANT and QUANT of one row into shared memory, by the warps of a block that work. It stands in front of every product of a step of
// one token, in each of its blocks, so what counts is how long the way from x to the codes is, in instructions of a warp: all of x is asked
// for at once, gains are there before, and so is what codes are made with where the kernel that stored x has left its largest value; the
// norm's factor they do not wait for: the warp that does not work finds it while the others multiply.
//
// SUM wants lane l of a warp to add elements l, l + 32, .. of a block of 256, so a warp takes whole blocks: warp w blocks w, w + 15, ..
#ifndef TN_CUDA_ROW_ONE_CUH
#define TN_CUDA_ROW_ONE_CUH

#include "cuda/kernels/largest.cuh"
#include "cuda/kernels/rows_io.cuh"

enum {
    TN_ONE_WORKERS = 15,                            // warps, and behind them one with errands
    TN_ONE_THREADS = 32 * (TN_ONE_WORKERS + 1),     // of a block
    TN_ONE_HELD = 2,                                // blocks of a warp that registers keep: rows of up to 7680 elements are read once
    TN_ONE_SUMS = 0,                                // words of shared memory: SUM's parts, with zeros to a multiple of 8,
    TN_ONE_MAX = TN_CUDA_ONE_COLS_MAX / 256,        // of each warp the largest |x * gain|,
    TN_ONE_CODES = TN_ONE_MAX + TN_ONE_WORKERS + 1, // the sum of the codes,
    TN_ONE_SCALE,                                   // their scale,
    TN_ONE_SMALL, // what a row is multiplied with that is so small that its largest code is not 127; else 0
    TN_ONE_SCRATCH,
};

TN_FN bool tn_one_works() { return tn_warp() < TN_ONE_WORKERS; }
// The warp's blocks begin with number tn_one_block(0); of a warp that does not work none is in any row.
TN_FN uint32_t tn_one_block(uint32_t r) { return tn_one_works() ? r * TN_ONE_WORKERS + tn_warp() : TN_CUDA_ONE_COLS_MAX / 256; }

// A lane's 8 elements of a block, and what their squares add up to.
struct tn_one_part {
    float v[8], squares;
    tn_u4 gains[2];
};
// Where its elements that are wanted end, counted in 32s from the lane's first one; 8 in whole blocks.
TN_FN uint32_t tn_one_n_there(uint32_t b, uint32_t n)
{
    const uint32_t first = b * 256 + tn_lane();
    return first >= n ? 0 : (n - first + 31) / 32;
}

TN_FN void tn_one_load_gains(const tn_cuda_row_op &op, uint32_t b, tn_u4 (&gains)[2])
{
    const float *at = op.gains + (size_t)b * 256 + tn_lane() * 4;
    gains[0] = gains[1] = {0, 0, 0, 0};
    if (!op.gains || b * 256 >= op.n) return;
    gains[0] = tn_load16(at);
    if (b * 256 + 128 < op.n) gains[1] = tn_load16(at + 128);
}
TN_FN void tn_one_load(const tn_cuda_row_op &op, const float *x, uint32_t b, float (&v)[8])
{
    const float *at = x + b * 256 + tn_lane();
    if (b * 256 + 256 <= op.n) {
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[i] = tn_load_fresh(at + 32 * i);
    } else {
        const uint32_t n = tn_one_n_there(b, op.n);
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[i] = i < n ? tn_load_fresh(at + 32 * i) : 0.0f;
    }
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

// Then `part` holds x * gain; the largest of its absolute values, and of `max`.
TN_FN uint32_t tn_one_measure(const tn_cuda_row_op &op, tn_one_part &part, uint32_t max)
{
    float sum = 0.0f;
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) sum = sum + (part.v[i] * part.v[i]);
    part.squares = sum;
    tn_one_gain(op, part);
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) max = tn_abs_bits(part.v[i]) > max ? tn_abs_bits(part.v[i]) : max;
    return max;
}
// Stores the block's part of SUM, which QUANT has no use for.
TN_FN void tn_one_give_squares(uint32_t b, float sum, TN_SHARED_ARG(uint32_t, scratch))
{
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2) sum = sum + tn_shfl_xor(sum, width);
    if (tn_lane() == 0) scratch[TN_ONE_SUMS + b] = tn_bits(sum);
}

// A block's codes, as the form wants them; their sum, modulo 2^32 since codes of a row that is done again may be any numbers. There is room
// for the whole block, whose elements that are not there are 0.
template <class Form> TN_FN uint32_t tn_one_put(uint32_t b, const float (&v)[8], float factor, TN_SHARED_ARG(int8_t, codes))
{
    const uint32_t first = b * 256 + Form::place(tn_lane());
    int32_t code[8];
    uint32_t sum = 0;
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) code[i] = tn_round_int(v[i] * factor);
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) codes[first + 32 * i] = (int8_t)code[i];
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) sum += (uint32_t)code[i];
    Form::settle(b, codes);
    return sum;
}

// The codes of the warp's blocks from its `first`-th on, which are read again, on top of the sum of the others; with has_squares their
// parts of SUM are there already.
template <class Form>
TN_FN void tn_one_quantise_read(const tn_cuda_row_op &op, const float *x, uint32_t first, bool has_squares, float factor, uint32_t sum,
                                TN_SHARED_ARG(uint32_t, scratch), TN_SHARED_ARG(int8_t, codes))
{
    TN_ROLLED for (uint32_t b = tn_one_block(first); b * 256 < op.n; b += TN_ONE_WORKERS)
    {
        tn_one_part part;
        tn_one_load(op, x, b, part.v);
        tn_one_load_gains(op, b, part.gains);
        tn_one_measure(op, part, 0);
        if (!has_squares) tn_one_give_squares(b, part.squares, scratch);
        sum += tn_one_put<Form>(b, part.v, factor, codes);
    }
    sum = tn_lanes_sum(sum);
    if (tn_lane() == 0) tn_shared_add(scratch, TN_ONE_CODES, sum);
}
// All codes of the warp's blocks, those beyond op.n 0, and their sum.
template <class Form>
TN_FN void tn_one_quantise(const tn_cuda_row_op &op, const float *x, const tn_one_part (&held)[TN_ONE_HELD], bool has_squares, float factor,
                           TN_SHARED_ARG(uint32_t, scratch), TN_SHARED_ARG(int8_t, codes))
{
    uint32_t sum = 0;
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++)
    {
        const uint32_t b = tn_one_block(r);
        if (b * 256 >= op.n) continue;
        tn_one_give_squares(b, held[r].squares, scratch);
        sum += tn_one_put<Form>(b, held[r].v, factor, codes);
    }
    tn_one_quantise_read<Form>(op, x, TN_ONE_HELD, has_squares, factor, sum, scratch, codes);
}

// In front of tn_wait_previous: the gains, and zeros where sums begin, which are there for others behind a tn_sync.
TN_FN void tn_one_row_begin(const tn_cuda_row_op &op, tn_one_part (&held)[TN_ONE_HELD], TN_SHARED_ARG(uint32_t, scratch))
{
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) tn_one_load_gains(op, tn_one_block(r), held[r].gains);
    const uint32_t b = ((op.n - 1) / 256 & ~7u) + tn_thread(); // of the last 8 sums
    if (tn_thread() < 8 && b * 256 >= op.n) scratch[TN_ONE_SUMS + b] = 0;
    if (tn_thread() == 8) scratch[TN_ONE_CODES] = 0;
    if (tn_thread() == 9) scratch[TN_ONE_SMALL] = 0;
}

TN_FN float tn_one_largest(const tn_cuda_row_op &op, uint32_t bits)
{
    return op.op == TN_CUDA_ROW_QUANT && bits < tn_bits(1e-5f) ? 1e-5f : tn_float(bits);
}
// Behind it: the blocks that are held, and the largest |x * gain|, which codes are made with: left by the kernel that stored x, or found by
// going over all of the row, of which the parts of SUM that are not held are there then.
TN_FN float tn_one_take(const tn_cuda_row_op &op, const float *x, const uint32_t *left, tn_one_part (&held)[TN_ONE_HELD])
{
    const uint32_t of_lane = tn_load_largest(left);
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) tn_one_load(op, x, tn_one_block(r), held[r].v);
    const uint32_t max = tn_lanes_max(of_lane);
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) tn_one_measure(op, held[r], 0);
    return tn_one_largest(op, max);
}
TN_FN float tn_one_find(const tn_cuda_row_op &op, const float *x, tn_one_part (&held)[TN_ONE_HELD], TN_SHARED_ARG(uint32_t, scratch))
{
    uint32_t max = 0;
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) tn_one_load(op, x, tn_one_block(r), held[r].v);
    TN_UNROLL for (uint32_t r = 0; r < TN_ONE_HELD; r++) max = tn_one_measure(op, held[r], max);
    TN_ROLLED for (uint32_t b = tn_one_block(TN_ONE_HELD); b * 256 < op.n; b += TN_ONE_WORKERS)
    {
        tn_one_part part;
        tn_one_load(op, x, b, part.v);
        tn_one_load_gains(op, b, part.gains);
        max = tn_one_measure(op, part, max);
        tn_one_give_squares(b, part.squares, scratch);
    }
    max = tn_lanes_max(max);
    if (tn_lane() == 0) scratch[TN_ONE_MAX + tn_warp()] = max;
    tn_sync();
    return tn_one_largest(op, tn_lanes_max(scratch[TN_ONE_MAX + tn_lane() % (TN_ONE_WORKERS + 1)]));
}

// By one warp, while the others go on: the codes' scale, from the largest |x * gain|, and what small rows are multiplied with instead.
TN_FN void tn_one_find_scale(const tn_cuda_row_op &op, float max, TN_SHARED_ARG(uint32_t, scratch))
{
    if (op.op == TN_CUDA_ROW_QUANT) {
        if (tn_lane() == 0) scratch[TN_ONE_SCALE] = tn_bits(max * (float)(1.0 / 127.0));
        return;
    }
    float sum = 0.0f;
    tn_u4 next[2] = {tn_shared_load16(scratch, TN_ONE_SUMS), tn_shared_load16(scratch, TN_ONE_SUMS + 4)};
    TN_ROLLED for (uint32_t b = 0; b * 256 < op.n; b += 8)
    {
        const uint32_t parts[8] = {next[0].x, next[0].y, next[0].z, next[0].w, next[1].x, next[1].y, next[1].z, next[1].w};
        if (b * 256 + 2048 < op.n) {
            next[0] = tn_shared_load16(scratch, TN_ONE_SUMS + b + 8);
            next[1] = tn_shared_load16(scratch, TN_ONE_SUMS + b + 12);
        }
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) sum = sum + tn_float(parts[i]);
    }
    const float mean = (sum * op.recip_n) + op.eps, r = tn_rsqrt(mean > 0x1p-100f ? mean : 0x1p-100f), scaled_max = max * r;
    const bool is_large = scaled_max >= 1e-5f;
    if (tn_lane() != 0) return;
    scratch[TN_ONE_SCALE] = tn_bits(is_large ? scaled_max * (float)(1.0 / 127.0) : (float)(1e-5 / 127.0));
    scratch[TN_ONE_SMALL] = is_large ? 0 : tn_bits(r * 12700000.0f);
}

#endif
