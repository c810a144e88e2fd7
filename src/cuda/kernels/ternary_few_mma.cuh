// Ternary matrices times up to 64 rows of codes on the tensor cores, at the pace of the weights.
//
// A team of 1, 2, 4 or 8 warps has two row tiles (32 rows of a matrix, or with GLU 16 of gate and the same of up) and shares their columns,
// warp by warp; a block is 8 warps, so 8 to 1 teams over the same columns. Weights do not depend on the step: those of the first column
// blocks are on their way to shared memory, and the rest to L2, before the kernel knows its input. The codes of all rows follow in stages,
// one a column block of each warp, in the swizzle of ternary_many_mma. What the warps of a team have summed meets in shared memory.
//
// Where ternary_join is behind it integer sums are stored, and grid z may split the columns.
#ifndef TN_CUDA_TERNARY_FEW_MMA_CUH
#define TN_CUDA_TERNARY_FEW_MMA_CUH

#include "cuda/kernels/ternary_store.cuh"
#include "cuda/kernels/ternary_tile.cuh"

enum {
    TN_FEW_WARPS = 8,
    TN_FEW_STAGES = TN_CUDA_FEW_STAGES,
    TN_FEW_TILE_WORDS = 128,                                   // of 16 x 128 weights
    TN_FEW_AHEAD_WORDS = TN_FEW_WARPS * 2 * TN_FEW_TILE_WORDS, // weights of a column block of each warp
    TN_FEW_SUM_STRIDE = TN_CUDA_FEW_SUM_STRIDE,                // of a row of codes: 4 more than 32, so that mma's lanes meet all banks
};

// This warp's place, and its two row tiles.
struct tn_few_place {
    uint32_t split, n_splits, team;
    bool is_glu;
    uint32_t matrix, row;      // of the matrix: the first of 32 (GLU: of 16) rows; what is beyond it is not stored
    const uint8_t *weights[2]; // this lane's bytes of column block 0
    uint32_t k_begin, k_end;   // column blocks of this block
    uint32_t n_steps;          // column blocks of a warp
    uint32_t turn;             // of the column blocks: blocks begin with different ones, since all of them read the same codes at a time
};
TN_FN uint32_t tn_few_groups(const tn_cuda_matrix &matrix) { return (matrix.n_rows + 31) / 32; }
TN_FN const uint8_t *tn_few_weights(const tn_cuda_matrix &matrix, uint32_t tile, uint32_t n_blocks)
{
    const uint32_t last = (matrix.n_rows - 1) / TN_CUDA_TILE_ROWS;
    return matrix.w + (size_t)(tile < last ? tile : last) * n_blocks * 512 + tn_lane() * 16;
}
TN_FN tn_few_place tn_few_place_of(const tn_cuda_ternary_params &p, uint32_t warp)
{
    tn_few_place place;
    place.n_splits = 1u << p.log2_split;
    place.split = warp & (place.n_splits - 1);
    place.team = warp >> p.log2_split;
    place.is_glu = p.behind >= TN_CUDA_BEHIND_RELU2;
    uint32_t group = tn_block_x() * (TN_FEW_WARPS >> p.log2_split) + place.team;
    place.matrix = 0;
    if (place.is_glu) {
        place.row = group * 16;
        TN_UNROLL for (uint32_t j = 0; j < 2; j++) place.weights[j] = tn_few_weights(p.matrices[j], group, p.n_blocks);
    } else {
        const uint32_t n_0 = tn_few_groups(p.matrices[0]), n_1 = n_0 + tn_few_groups(p.matrices[1]);
        place.matrix = group < n_0 || p.n_matrices == 1 ? 0 : group < n_1 || p.n_matrices == 2 ? 1 : 2;
        group -= place.matrix == 0 ? 0 : place.matrix == 1 ? n_0 : n_1;
        place.row = group * 32;
        TN_UNROLL for (uint32_t j = 0; j < 2; j++) place.weights[j] = tn_few_weights(p.matrices[place.matrix], 2 * group + j, p.n_blocks);
    }
    place.k_begin = tn_block_z() * p.part_blocks;
    place.k_end = place.k_begin + p.part_blocks < p.n_blocks ? place.k_begin + p.part_blocks : p.n_blocks;
    place.n_steps = (place.k_end - place.k_begin + place.n_splits - 1) >> p.log2_split;
    place.turn = tn_block_x() % place.n_steps;
    return place;
}
// The first column block of a step, and this warp's; k_end or more: it has none.
TN_FN uint32_t tn_few_first_column(const tn_few_place &place, uint32_t step)
{
    const uint32_t turned = step + place.turn;
    return place.k_begin + (turned < place.n_steps ? turned : turned - place.n_steps) * place.n_splits;
}
TN_FN uint32_t tn_few_column(const tn_few_place &place, uint32_t step) { return tn_few_first_column(place, step) + place.split; }

// ---- weights ----

TN_FN uint32_t tn_few_ahead_at(uint32_t slot, uint32_t j)
{
    return slot * TN_FEW_AHEAD_WORDS + (tn_warp() * 2 + j) * TN_FEW_TILE_WORDS + tn_lane() * 4;
}
TN_FN void tn_few_ask_weights(const tn_few_place &place, uint32_t step, uint32_t slot, TN_SHARED_ARG(uint32_t, words))
{
    const uint32_t k = tn_few_column(place, step);
    if (step >= place.n_steps || k >= place.k_end) return;
    TN_UNROLL for (uint32_t j = 0; j < 2; j++) tn_async16(words, tn_few_ahead_at(slot, j), place.weights[j] + (size_t)k * 512);
}
TN_FN void tn_few_begin(const tn_cuda_ternary_params &p, const tn_few_place &place, TN_SHARED_ARG(uint32_t, words))
{
    TN_ROLLED for (uint32_t step = 0; step < p.n_ahead; step++) tn_few_ask_weights(place, step, step, words);
    tn_async_commit();
    if (tn_lane() % 8 != 0) return; // of lines of 128 bytes one each
    TN_ROLLED for (uint32_t step = p.n_ahead; step < place.n_steps; step++)
    {
        const uint32_t k = tn_few_column(place, step);
        if (k >= place.k_end) continue;
        TN_UNROLL for (uint32_t j = 0; j < 2; j++) tn_ask_l2(place.weights[j] + (size_t)k * 512);
    }
}

// ---- codes: [stage][split][row][8 units of 16 bytes, those of odd rows exchanged in pairs] ----

template <uint32_t n_octets> TN_FN uint32_t tn_few_stage_words(const tn_few_place &place) { return place.n_splits * n_octets * 256; }

// What this thread brings to a stage: a unit of one row of codes, or of that and the row 32 further, of each n-th split. Rows that the step
// lacks are its last one, or the first in memory: nothing of them is stored.
template <uint32_t n_octets> struct tn_few_feed {
    enum { ROWS = 8 * n_octets, PASSES = n_octets == 8 ? 2 : 1, SPLITS = ROWS < 32 ? 32 / ROWS : 1 };
    const int8_t *from[PASSES]; // of the first column block
    uint32_t split, to;         // its first split; where the unit lies in split 0
};
template <uint32_t n_octets> TN_FN tn_few_feed<n_octets> tn_few_feed_of(const tn_cuda_codes &codes, uint32_t n_rows)
{
    typedef tn_few_feed<n_octets> feed;
    const uint32_t unit = tn_thread() % 8, row = tn_thread() / 8 % feed::ROWS;
    feed made;
    made.split = tn_thread() / 8 / feed::ROWS;
    made.to = row * 32 + (unit ^ (row & 1u)) * 4;
    TN_UNROLL for (uint32_t i = 0; i < feed::PASSES; i++)
    {
        const uint32_t last = n_rows > 0 ? n_rows - 1 : 0, there = row + 32 * i < last ? row + 32 * i : last;
        made.from[i] = codes.at + (size_t)there * codes.stride_bytes + unit * 16;
    }
    return made;
}
template <uint32_t n_octets>
TN_FN void tn_few_ask_codes(const tn_few_feed<n_octets> &feed, const tn_few_place &place, uint32_t step, uint32_t stage_at,
                            TN_SHARED_ARG(uint32_t, words))
{
    typedef tn_few_feed<n_octets> sizes;
    if (step >= place.n_steps) return;
    const uint32_t first = tn_few_first_column(place, step);
    TN_ROLLED for (uint32_t i = feed.split; i < place.n_splits; i += sizes::SPLITS)
    {
        const uint32_t split = (i + tn_block_x()) & (place.n_splits - 1), k = first + split;
        if (k >= place.k_end) continue;
        TN_UNROLL for (uint32_t j = 0; j < sizes::PASSES; j++)
            tn_async16(words, stage_at + (split * sizes::ROWS + 32 * j) * 32 + feed.to, feed.from[j] + (size_t)k * TN_CUDA_TILE_COLS);
    }
}

// ---- products ----

template <uint32_t n_octets> struct tn_few_sums {
    int32_t d[2][n_octets][4]; // [tile][8 rows of codes][of mma]
};

// A column block: this lane's weights times all rows of codes, of which its first one begins at `row_at`.
template <uint32_t n_octets>
TN_FN void tn_few_multiply(const tn_u4 (&w)[2], uint32_t row_at, TN_SHARED_ARG(uint32_t, words), tn_few_sums<n_octets> &sums)
{
    TN_UNROLL for (uint32_t half = 0; half < 2; half++)
    {
        const uint32_t unit = (tn_lane() % 4 * 2 + half) ^ (tn_lane() / 4 & 1u);
        uint32_t a[2][2][4];
        TN_UNROLL for (uint32_t j = 0; j < 2; j++)
        {
            TN_UNROLL for (uint32_t s = 0; s < 2; s++) tn_tile_step(w[j], 2 * half + s, TN_TILE_MASK, a[j][s]);
        }
        TN_UNROLL for (uint32_t octet = 0; octet < n_octets; octet++)
        {
            const tn_u4 v = tn_shared_load16(words, row_at + unit * 4 + octet * 256);
            const uint32_t b[2][2] = {{v.x, v.y}, {v.z, v.w}};
            TN_UNROLL for (uint32_t s = 0; s < 2; s++)
            {
                TN_UNROLL for (uint32_t j = 0; j < 2; j++) tn_mma_us(sums.d[j][octet], a[j][s], b[s]);
            }
        }
    }
}

// All steps. A slot of weights and a stage of codes are asked for anew one step after they were read, behind that step's barrier.
template <uint32_t n_octets>
TN_FN void tn_few_loop(const tn_cuda_ternary_params &p, const tn_few_place &place, uint32_t n_rows, TN_SHARED_ARG(uint32_t, words),
                       tn_few_sums<n_octets> &sums)
{
    const uint32_t stages_at = p.n_ahead * TN_FEW_AHEAD_WORDS, stage_words = tn_few_stage_words<n_octets>(place);
    const uint32_t row_at = stages_at + (place.split * 8 * n_octets + tn_lane() / 4) * 32;
    const tn_few_feed<n_octets> feed = tn_few_feed_of<n_octets>(p.codes, n_rows);
    TN_UNROLL for (uint32_t step = 0; step < TN_FEW_STAGES; step++)
    {
        tn_few_ask_codes<n_octets>(feed, place, step, stages_at + step * stage_words, words);
        tn_async_commit();
    }
    uint32_t slot = 0, slot_before = 0, stage = 0, stage_before = 0; // words of stages
    TN_ROLLED for (uint32_t step = 0; step < place.n_steps; step++)
    {
        if (step == 0)
            tn_async_wait<TN_FEW_STAGES - 1>();
        else
            tn_async_wait<TN_FEW_STAGES - 2>();
        tn_sync();
        if (step > 0) {
            tn_few_ask_weights(place, step - 1 + p.n_ahead, slot_before, words);
            tn_few_ask_codes<n_octets>(feed, place, step - 1 + TN_FEW_STAGES, stages_at + stage_before, words);
            tn_async_commit();
        }
        if (tn_few_column(place, step) < place.k_end) {
            const tn_u4 w[2] = {tn_shared_load16(words, tn_few_ahead_at(slot, 0)), tn_shared_load16(words, tn_few_ahead_at(slot, 1))};
            tn_few_multiply<n_octets>(w, row_at + stage, words, sums);
        }
        slot_before = slot;
        slot = slot + 1 < p.n_ahead ? slot + 1 : 0;
        stage_before = stage;
        stage = stage + stage_words < TN_FEW_STAGES * stage_words ? stage + stage_words : 0;
    }
}

// ---- sums: of each warp [row of codes][32 rows of the tiles, 4 unused] ----

template <uint32_t n_octets> TN_FN void tn_few_put(const tn_few_sums<n_octets> &sums, TN_SHARED_ARG(uint32_t, words))
{
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4, at = (tn_warp() * 8 * n_octets + 2 * t) * TN_FEW_SUM_STRIDE + g;
    TN_UNROLL for (uint32_t i = 0; i < 8 * n_octets; i++)
    {
        const uint32_t of_mma = i % 4, octet = i / 4 % n_octets, j = i / 4 / n_octets;
        words[at + (8 * octet + of_mma % 2) * TN_FEW_SUM_STRIDE + j * 16 + of_mma / 2 * 8] = (uint32_t)sums.d[j][octet][of_mma];
    }
}
// Rows of codes of a lane at a time: their loads are under way together.
enum { TN_FEW_TOKENS = 4 };
// Of the team's warps together: row `row` of the tiles (of 32) times rows first, first + step, .. of the codes, as far as there is room.
template <uint32_t n_octets>
TN_FN void tn_few_add_up(const tn_few_place &place, uint32_t first, uint32_t step, uint32_t row, TN_SHARED_ARG(uint32_t, words),
                         int32_t (&sums)[TN_FEW_TOKENS])
{
    enum { ROWS = 8 * n_octets };
    uint32_t at = (place.team * place.n_splits * ROWS + first) * TN_FEW_SUM_STRIDE + row, of[TN_FEW_TOKENS];
    TN_UNROLL for (uint32_t i = 0; i < TN_FEW_TOKENS; i++)
    {
        sums[i] = 0;
        of[i] = first + i * step < ROWS ? i * step * TN_FEW_SUM_STRIDE : 0;
    }
    for (uint32_t s = 0; s < place.n_splits; s++, at += ROWS * TN_FEW_SUM_STRIDE) {
        TN_UNROLL for (uint32_t i = 0; i < TN_FEW_TOKENS; i++) sums[i] += (int32_t)words[at + of[i]];
    }
}

TN_FN uint32_t tn_few_row(const tn_few_place &place) { return place.row + tn_lane() % (place.is_glu ? 16 : 32); }

// What outputs need beside sums, in shared memory, so that it is there when the product is: scales of each lane's row of the weights, with
// GLU of gate and of up, and of each row of codes scale and sum.
struct tn_few_scales {
    TN_SHARED_ARG(float, weights); // [2][256]
    TN_SHARED_ARG(float, codes);
    TN_SHARED_ARG(int32_t, code_sums);
};
TN_FN void tn_few_weight_scales(const tn_cuda_ternary_params &p, const tn_few_place &place, const tn_few_scales &scales)
{
    const uint32_t n = tn_few_row(place);
    if (n >= p.matrices[place.matrix].n_rows) return;
    scales.weights[tn_thread()] = tn_ternary_weight_scale(p.matrices[place.matrix], n);
    if (place.is_glu) scales.weights[256 + tn_thread()] = tn_ternary_weight_scale(p.matrices[1], n);
}
TN_FN tn_ternary_row tn_few_row_of(const tn_cuda_ternary_params &p, const tn_cuda_matrix &matrix, const tn_ternary_row &first,
                                   uint32_t token, const tn_few_scales &scales)
{
    const float *add = first.add ? first.add + (size_t)token * p.add.stride : nullptr;
    return {token, scales.codes[token], scales.code_sums[token], first.y + (size_t)token * matrix.y.stride, add};
}

template <uint32_t n_octets>
TN_FN void tn_few_store_glu(const tn_cuda_ternary_params &p, const tn_few_place &place, uint32_t n_rows, const tn_few_scales &scales,
                            TN_SHARED_ARG(uint32_t, words))
{
    const uint32_t n = tn_few_row(place), row = tn_lane() % 16, step = 2 * place.n_splits;
    if (n >= p.matrices[0].n_rows) return;
    const float w_scales[2] = {scales.weights[tn_thread()], scales.weights[256 + tn_thread()]};
    const tn_ternary_row origin = tn_ternary_row_of(p, p.matrices[0], 0, 0.0f, 0);
    TN_ROLLED for (uint32_t first = 2 * place.split + tn_lane() / 16; first < n_rows; first += TN_FEW_TOKENS * step)
    {
        int32_t gates[TN_FEW_TOKENS], ups[TN_FEW_TOKENS];
        tn_few_add_up<n_octets>(place, first, step, row, words, gates);
        tn_few_add_up<n_octets>(place, first, step, 16 + row, words, ups);
        TN_UNROLL for (uint32_t i = 0; i < TN_FEW_TOKENS; i++)
        {
            const uint32_t token = first + i * step;
            const int32_t accs[2] = {gates[i], ups[i]};
            if (token < n_rows) tn_ternary_store_glu(p, tn_few_row_of(p, p.matrices[0], origin, token, scales), n, w_scales, accs);
        }
    }
}

template <uint32_t n_octets>
TN_FN void tn_few_store(const tn_cuda_ternary_params &p, const tn_few_place &place, uint32_t n_rows, const tn_few_scales &scales,
                        TN_SHARED_ARG(uint32_t, words))
{
    const tn_cuda_matrix &matrix = p.matrices[place.matrix];
    const uint32_t n = tn_few_row(place), step = place.n_splits;
    if (n >= matrix.n_rows) return;
    const float w_scale = scales.weights[tn_thread()];
    const tn_ternary_row origin = tn_ternary_row_of(p, matrix, 0, 0.0f, 0);
    TN_ROLLED for (uint32_t first = place.split; first < n_rows; first += TN_FEW_TOKENS * step)
    {
        float residuals[TN_FEW_TOKENS];
        int32_t accs[TN_FEW_TOKENS];
        TN_UNROLL for (uint32_t i = 0; i < TN_FEW_TOKENS; i++)
        {
            const uint32_t token = first + i * step;
            residuals[i] = origin.add && token < n_rows ? origin.add[(size_t)token * p.add.stride + n] : 0.0f;
        }
        tn_few_add_up<n_octets>(place, first, step, tn_lane(), words, accs);
        TN_UNROLL for (uint32_t i = 0; i < TN_FEW_TOKENS; i++)
        {
            const uint32_t token = first + i * step;
            if (token < n_rows)
                tn_ternary_store(p, matrix, tn_few_row_of(p, matrix, origin, token, scales), n, w_scale, accs[i], residuals[i]);
        }
    }
}

// Sums of this block's columns, for ternary_join.
template <uint32_t n_octets>
TN_FN void tn_few_store_part(const tn_cuda_ternary_params &p, const tn_few_place &place, uint32_t n_rows, TN_SHARED_ARG(uint32_t, words))
{
    const uint32_t n = tn_few_row(place), step = place.n_splits;
    if (n >= p.matrices[0].n_rows) return;
    TN_ROLLED for (uint32_t first = place.split; first < n_rows; first += TN_FEW_TOKENS * step)
    {
        int32_t accs[TN_FEW_TOKENS];
        tn_few_add_up<n_octets>(place, first, step, tn_lane(), words, accs);
        TN_UNROLL for (uint32_t i = 0; i < TN_FEW_TOKENS; i++)
        {
            if (first + i * step < n_rows) tn_ternary_part(p, first + i * step, tn_block_z())[n] = (uint32_t)accs[i];
        }
    }
}

// The kernel for up to 8 * n_octets rows of codes.
template <uint32_t n_octets>
TN_FN void tn_ternary_few_mma(const tn_cuda_ternary_params &p, TN_SHARED_ARG(uint32_t, words), const tn_few_scales &scales)
{
    const uint32_t n_rows = tn_n_rows(p.step, p.poison.is_logits);
    const tn_few_place place = tn_few_place_of(p, tn_warp());
    tn_few_begin(p, place, words);
    tn_few_weight_scales(p, place, scales);
    tn_wait_previous();
    if (tn_thread() < n_rows) {
        scales.codes[tn_thread()] = p.codes.scales[tn_thread()];
        scales.code_sums[tn_thread()] = p.codes.sums[tn_thread()];
    }
    tn_few_sums<n_octets> sums = {};
    tn_few_loop<n_octets>(p, place, n_rows, words, sums);
    tn_sync(); // weights and codes have been read
    tn_few_put<n_octets>(sums, words);
    tn_sync();
    const tn_few_place late = tn_few_place_of(p, tn_late<800>(tn_warp())); // registers of the loop are for its sums
    if (p.partials)
        tn_few_store_part<n_octets>(p, late, n_rows, words);
    else if (late.is_glu)
        tn_few_store_glu<n_octets>(p, late, n_rows, scales, words);
    else
        tn_few_store<n_octets>(p, late, n_rows, scales, words);
}

#endif
