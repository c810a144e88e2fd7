// Rows of the embedding, dequantised, and their codes where a product is the next to read them: one block a row. A thread takes a unit of
// floats, or 8 to 16 columns of a quantised type.
#include "cuda/kernels/dense_units.cuh"
#include "cuda/kernels/row.cuh"

// What of a step's row is wanted, and where it goes.
struct tn_embed_row {
    const tn_cuda_embed_params &p;
    float *y;
    uint32_t row, token;
};
TN_FN tn_embed_row tn_embed_row_of(const tn_cuda_embed_params &p)
{
    const uint32_t row = tn_block_x();
    return {p, tn_y_row(p.step, p.y, row), row, p.step.words[p.step.tokens + row]};
}
TN_FN float tn_embed_note(const tn_embed_row &to, float value)
{
    const float y = tn_fl(value);
    tn_mark_poison(to.p.step, to.p.poison, to.row, to.p.node, y);
    return y;
}
// Four columns from `first` on: d times each signed byte of `codes`, less `zero`. Widths of quantised types are multiples of 32.
TN_FN void tn_embed_quad(const tn_embed_row &to, uint32_t first, float d, uint32_t codes, int32_t zero)
{
    float y[4];
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) y[i] = tn_embed_note(to, d * (float)((int32_t)(int8_t)(codes >> (8 * i)) - zero));
    tn_store16(to.y + first, {tn_bits(y[0]), tn_bits(y[1]), tn_bits(y[2]), tn_bits(y[3])});
}

// Of rows of which every thread reads what it stored itself nobody need wait.
template <bool reads_own> TN_FN void tn_embed_codes(const tn_embed_row &to, TN_SHARED_ARG(uint32_t, scratch))
{
    if (to.p.behind.op == TN_CUDA_ROW_NONE) return;
    if (!reads_own) tn_sync();
    tn_row_codes(to.p.behind, to.y, to.p.codes, to.row, scratch);
}

template <class Unit> TN_FN void tn_embed_floats(const tn_cuda_embed_params &p)
{
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    if (tn_block_x() >= p.step.words[0]) return;
    const tn_embed_row to = tn_embed_row_of(p);
    const uint8_t *units = tn_float_row(p.w, to.token);
    for (uint32_t u = tn_thread(); u < p.w.n_units; u += tn_n_threads()) {
        float w[Unit::N];
        tn_unit_floats(Unit(), tn_load16(units + (size_t)u * TN_UNIT_BYTES), w);
        const uint32_t first = u / 32 * (32 * Unit::N) + u % 32;
        TN_UNROLL for (uint32_t i = 0; i < Unit::N; i++)
        {
            if (first + 32 * i < p.w.n_cols) to.y[first + 32 * i] = tn_embed_note(to, w[i]);
        }
    }
    tn_embed_codes<Unit::N == 8>(to, scratch); // 8: warp w has blocks w, w + 8, .. of 256, as tn_row_do wants it
}
TN_KERNEL(embed_f32, tn_cuda_embed_params, 256) { tn_embed_floats<tn_unit_f32>(p); }
TN_KERNEL(embed_f16, tn_cuda_embed_params, 256) { tn_embed_floats<tn_unit_f16>(p); }
TN_KERNEL(embed_bf16, tn_cuda_embed_params, 256) { tn_embed_floats<tn_unit_bf16>(p); }

// Words and halves of unit u of a quantised row.
TN_FN uint32_t tn_embed_word(const uint8_t *row, uint32_t u, uint32_t word)
{
    return reinterpret_cast<const uint32_t *>(row + (size_t)u * (TN_GROUP_ROWS * TN_UNIT_BYTES))[word];
}
TN_FN float tn_embed_half(const uint8_t *row, uint32_t u, uint32_t half)
{
    return tn_half((uint16_t)(tn_embed_word(row, u, half / 2) >> (16 * (half % 2))));
}

TN_KERNEL(embed_q8_0, tn_cuda_embed_params, 256)
{
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    if (tn_block_x() >= p.step.words[0]) return;
    const tn_embed_row to = tn_embed_row_of(p);
    const uint8_t *row = tn_quantised_row(p.w, to.token);
    for (uint32_t i = tn_thread(); 16 * i < p.w.n_cols; i += tn_n_threads()) { // unit i % 16 of block i / 16
        const uint32_t first = i / 16 * 17;
        const tn_u4 codes = tn_load16(row + (size_t)(first + i % 16) * (TN_GROUP_ROWS * TN_UNIT_BYTES));
        const float d = tn_embed_half(row, first + 16, i % 16 / 2);
        tn_embed_quad(to, 16 * i, d, codes.x, 0);
        tn_embed_quad(to, 16 * i + 4, d, codes.y, 0);
        tn_embed_quad(to, 16 * i + 8, d, codes.z, 0);
        tn_embed_quad(to, 16 * i + 12, d, codes.w, 0);
    }
    tn_embed_codes<false>(to, scratch);
}

TN_KERNEL(embed_q4_0, tn_cuda_embed_params, 256)
{
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    if (tn_block_x() >= p.step.words[0]) return;
    const tn_embed_row to = tn_embed_row_of(p);
    const uint8_t *row = tn_quantised_row(p.w, to.token);
    for (uint32_t i = tn_thread(); 8 * i < p.w.n_cols; i += tn_n_threads()) { // word i % 32 of the codes of block i / 32
        const uint32_t first = i / 32 * 9, codes = tn_embed_word(row, first + i % 32 / 4, i % 4);
        const float d = tn_embed_half(row, first + 8, i % 32 / 4);
        tn_embed_quad(to, 8 * i, d, tn_q4_0_codes(codes, 0), 8);
        tn_embed_quad(to, 8 * i + 4, d, tn_q4_0_codes(codes, 1), 8);
    }
    tn_embed_codes<false>(to, scratch);
}

TN_KERNEL(embed_q6_k, tn_cuda_embed_params, 256)
{
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    if (tn_block_x() >= p.step.words[0]) return;
    const tn_embed_row to = tn_embed_row_of(p);
    const uint8_t *row = tn_quantised_row(p.w, to.token);
    for (uint32_t i = tn_thread(); 16 * i < p.w.n_cols; i += tn_n_threads()) { // the 16 columns of factor i % 16 of block i / 16
        const uint32_t first = i / 16 * 13, f = i % 16;
        const uint32_t high = tn_embed_word(row, first + 8 + f / 4, f % 4);
        const int8_t factor = (int8_t)(tn_embed_word(row, first + 12, f / 4) >> (8 * (f % 4)));
        const float d = *tn_q6_k_scale(p.w, to.token, i / 16) * (float)factor;
        TN_UNROLL for (uint32_t q = 0; q < 4; q++)
        {
            const uint32_t low = tn_embed_word(row, first + f / 2, 2 * (f % 2) + q / 2);
            tn_embed_quad(to, 16 * i + 4 * q, d, tn_q6_k_codes(low, high, q), 32);
        }
    }
    tn_embed_codes<false>(to, scratch);
}
