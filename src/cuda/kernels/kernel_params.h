// What each kernel is given, one struct by value, read by device code and by C alike. Pointers are device addresses, 64 bits on every side;
// "row" is a row of the value (a token of the step, or a wanted row of logits). Sizes of rows count elements unless their name says bytes.
//
// Grids have 2^31 - 1 blocks along x and 65535 along y and z at most: rows of a step, of which there may be more, are counted along x.
//
// Shapes that hold everywhere: f32 rows begin at multiples of 16 bytes (strides are multiples of 4). Code rows (int8, natural order) have a
// stride that is a multiple of 128 bytes, and zeros from n to there. Grids are as large as the launch's largest step; blocks find out from
// the step in device memory that they have nothing to do.
#ifndef TN_CUDA_KERNEL_PARAMS_H
#define TN_CUDA_KERNEL_PARAMS_H

#include <stdint.h>

#ifdef __cplusplus
#define TN_PART(name) name
#define TN_CONSTEXPR  constexpr
#else
#define TN_PART(name) struct name
#define TN_CONSTEXPR
#endif
// A device address. In C it is a number; device code gets the pointer.
#ifdef TN_DEVICE_CODE
#define TN_AT(type) type *
#else
#define TN_AT(type) uint64_t
#endif

// How kernels are cut; grids follow from these.
enum {
    TN_CUDA_TILE_ROWS = 16, // of a ternary tile (cuda_pack.h), and
    TN_CUDA_TILE_COLS = 128,
    TN_CUDA_ONE_COLS_MAX = 131072,           // of ternary_one's rows
    TN_CUDA_ONE_ROW_TILES = 16,              // of a block of ternary_one at most; with GLU of gate and as many of up
    TN_CUDA_FEW_TOKENS = 8,                  // of ternary_few_dp4a at most, and
    TN_CUDA_FEW_TOKENS_MMA = 64,             // of ternary_few_mma
    TN_CUDA_FEW_STAGES = 3,                  // of codes in shared memory, of ternary_few_mma
    TN_CUDA_FEW_SUM_STRIDE = 36,             // words of a row of codes' sums of a warp, of the same
    TN_CUDA_FEW_PARTS_MAX = 3,               // of the columns, of the same, where ternary_join is behind it
    TN_CUDA_MANY_ROWS = 128,                 // of a block of ternary_many: of one matrix, with GLU half of them gate's and half up's
    TN_CUDA_MANY_TOKENS = 64,                // of the same
    TN_CUDA_WGMMA_ROWS = 256,                // of a block of ternary_many_wgmma, in the same way, and
    TN_CUDA_WGMMA_TOKENS = 64,               // of the same
    TN_CUDA_WGMMA_STAGES = 6,                // column blocks in its shared memory
    TN_CUDA_ATTENTION_TOKENS = 16,           // of a block of attention_tile and attention_tile_mma
    TN_CUDA_ATTENTION_MMA_DIM = 128,         // dims of a head of attention_tile_mma at most
    TN_CUDA_ATTENTION_TILE_KV_BYTES = 32768, // of attention_tile_mma: keys of a chunk, or values, in dynamic shared memory
    TN_CUDA_ATTENTION_TILE_ROWS = 64,        // query heads of a row tile of attention_tile_mma
    TN_CUDA_ATTENTION_PART_FLOATS = 8320,    // that a block of attention_tile_mma leaves of a row tile and a chunk
    TN_CUDA_ROPE_HEADS = 4,                  // of a block of rope_append
    TN_CUDA_DENSE_FLOAT_ROWS = 32,           // of a block of dense_f32, _f16, _bf16
    TN_CUDA_DENSE_CODE_ROWS = 256,           // of a block of dense_q8_0, _q4_0, _q6_k
    TN_CUDA_DENSE_GRID_Y = 8,                // blocks of dense_* over tokens at most: they walk on with that stride
    TN_CUDA_DENSE_TOKENS = 8,                // of a block of dense_*
    TN_CUDA_DENSE_MMA_ROWS = 128,            // of a block of dense_*_mma, and
    TN_CUDA_DENSE_MMA_TOKENS = 64,
    TN_CUDA_DENSE_FAST_ROWS = 128, // of a block of dense_*_fast_mma, and
    TN_CUDA_DENSE_FAST_TOKENS = 32,
    TN_CUDA_ELEMENTS = 1024,    // of a row, of a block of element and copy_rows
    TN_CUDA_PAGE_PART = 16384,  // bytes of a page, of a block of copy_pages
    TN_CUDA_LARGEST_WORDS = 32, // of a row's largest |x * gain|, which may be in any of them
    TN_CUDA_RANK_MAX = 128,     // candidates of a row of logits that rank ranks at most: tn_device.ranking_max
    TN_CUDA_RANK_GROUPS = 1024, // of a row of logits at most: of 128 logits, or a multiple
};

// The step in device memory, and where its arrays lie in it, in words (tn_step_layout). Behind its n_words words lie the addresses of the
// submit's input and output, as two 64-bit numbers at word `addresses`, a multiple of 2.
struct tn_cuda_step {
    TN_AT(const uint32_t) words; // begins with tn_step
    uint32_t copies, logit_rows, n_top, tokens, positions, seqs, page_table, n_seq_pages, addresses;
};

// Whose poison a row is: the smallest node that stored a value not below 2^56 stays in poison[token], which begins as UINT32_MAX.
struct tn_cuda_poison {
    TN_AT(uint32_t) of_tokens; // [n_tokens]
    uint32_t is_logits;        // rows are wanted rows of logits: row r is token step[logit_rows + r]
};

// f32 rows. y of outputs: where `at` is 0 the rows are the submit's output, dense (address at step.addresses + 2), and `stride` is its
// width.
struct tn_cuda_rows {
    TN_AT(float) at;
    uint32_t stride;
};

// A row's int8 codes with scale and sum.
struct tn_cuda_codes {
    TN_AT(int8_t) at;
    uint32_t stride_bytes; // a multiple of 128; zeros from n to there
    TN_AT(float) scales;   // [rows]
    TN_AT(int32_t) sums;   // [rows]
    // Not in their natural order, but as ternary_many_wgmma wants them: of 128 columns, column 32t + 8s + 4h + j is byte 32s + 16h + 4t +
    // j.
    uint32_t is_permuted;
};

// A dense weight as packed (cuda_pack.h).
struct tn_cuda_dense {
    TN_AT(const uint8_t) at;
    uint32_t n_rows, n_cols;
    uint32_t n_units;          // of 16 bytes, of a row
    TN_AT(const float) scales; // Q6_K: f32 scales, [group of 32 rows][block of 256][32]; else 0
    uint32_t n_blocks;         // Q6_K: of 256 columns, of a row
};

// begin: takes the step from the host (`host`: pinned memory as the device sees it), sets the poison, and the words of rows' largest
// values. One block.
struct tn_cuda_begin_params {
    TN_PART(tn_cuda_step) step;
    TN_AT(const uint32_t) host; // the same words, the addresses included
    TN_AT(uint32_t) poison;
    uint32_t n_poison;       // limits.n_tokens
    TN_AT(uint32_t) largest; // words that begin as 0 (tn_cuda_largest), of which there are
    uint32_t n_largest;
};

// end: gives the poison of the step's tokens to the host. One block.
struct tn_cuda_end_params {
    TN_PART(tn_cuda_step) step;
    TN_AT(const uint32_t) poison;
    TN_AT(uint32_t) host;
};

// What NORM, NORM_QUANT and QUANT do to a row: of a kernel of their own, of a product's prologue, or of its epilogue.
enum { TN_CUDA_ROW_NONE = 0, TN_CUDA_ROW_NORM = 1, TN_CUDA_ROW_NORM_QUANT = 2, TN_CUDA_ROW_QUANT = 3 };
struct tn_cuda_row_op {
    uint32_t op; // TN_CUDA_ROW_*
    uint32_t n;
    TN_AT(const float) gains; // f32 in the order of packed floats (cuda_pack.h); 0 for QUANT
    float eps, recip_n;       // RN(1/n)
};

// Where a kernel leaves the largest |x * gain| of the row that it stores, for the one that makes the row's codes. Steps of one token.
struct tn_cuda_largest {
    TN_AT(uint32_t) words;    // [TN_CUDA_LARGEST_WORDS], 0 when the step begins; 0: it is not wanted
    TN_AT(const float) gains; // as of tn_cuda_row_op; 0: all are 1
};

// embed_*: tokens -> f32 rows, and of those, where `behind` is NORM_QUANT or QUANT, codes. Grid x: rows.
struct tn_cuda_embed_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_dense) w;
    TN_PART(tn_cuda_rows) y;
    TN_PART(tn_cuda_poison) poison;
    uint32_t node;
    TN_PART(tn_cuda_row_op) behind;
    TN_PART(tn_cuda_codes) codes; // of `behind`
};

// row: one block a row of x. NORM: y. Else: codes.
// row_many: the same but for NORM. Grid x: any number of blocks, which walk over the rows.
struct tn_cuda_row_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_row_op) row;
    TN_PART(tn_cuda_rows) x, y;
    TN_PART(tn_cuda_codes) codes;
    TN_PART(tn_cuda_poison) poison;
    uint32_t node;
    uint32_t n_teams; // row_many: rows that a block has at once (tn_cuda_row_many_teams)
};
// row_many's n_teams for rows of n elements; 0: such rows are not for it.
static inline uint32_t tn_cuda_row_many_teams(uint32_t n)
{
    if (n % 256 != 0 || n > 32 * 256) return 0;
    return n <= 12 * 256 ? 2 : 1;
}

// quant_group: codes and scales of a row for quantised dense weights. One block a row. Codes, scales and sums are 0 from n to the next
// multiple of 256 elements.
struct tn_cuda_group_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_rows) x;
    uint32_t n, is_logits;
    uint32_t group;     // 32 or 256 elements a scale
    uint32_t sum_group; // elements a sum: 32 (for groups of 32) or 16 (for groups of 256)
    TN_AT(int8_t) codes;
    TN_AT(float) scales;
    TN_AT(int32_t) sums;
    uint32_t codes_stride, scales_stride, sums_stride;
};

// One of up to three ternary matrices over the same input: tiles at `w`, then what it stores.
struct tn_cuda_matrix {
    TN_AT(const uint8_t) w;
    TN_AT(const float) scales; // 1 or n_rows
    uint32_t per_row;          // a scale a row
    uint32_t n_rows;
    TN_PART(tn_cuda_rows) y; // of the last matrix stored; with ADD or GLU the first matrix's y is theirs
    uint32_t node;
};

// What follows a product in the same kernel.
enum { TN_CUDA_BEHIND_NOTHING = 0, TN_CUDA_BEHIND_ADD = 1, TN_CUDA_BEHIND_RELU2 = 2, TN_CUDA_BEHIND_SILU = 3 };

// ternary_*: y = W q.
//   ternary_one      one token: matrix-vector product; `before` may make the codes from x in the prologue, redundantly in each block. Grid
//                    x: blocks, of which each takes every grid'th row tile of all matrices (tn_cuda_ternary_one_grid at least, since a
//                    block takes so many at most); more than there are row tiles have nothing to do.
//                    ternary_one_F for NOTHING and ADD, ternary_one_glu_F for RELU2 and SILU; F: bmma, or dp4a where there is no bmma
//   ternary_few_dp4a up to 8 tokens; the last block to finish does `row` over the outputs. Grid x: any number of blocks, which walk
//                    over the row tiles of all matrices
//   ternary_fewN_mma up to N tokens. Grid x: tn_cuda_ternary_few_blocks; z: parts of the columns, n_parts
//   ternary_join     behind ternary_few_mma of one matrix: adds up parts, does what is behind the product, and `row`. Grid x: rows
//   ternary_many     more: tiles of TN_CUDA_MANY_ROWS x TN_CUDA_MANY_TOKENS. Grid x: blocks of rows, matrix after matrix (GLU: of both at
//                    once); y: of tokens; z: parts of the columns, whose sums meet in `partials`
//   ternary_many_wgmma  the same, of codes that are permuted: tiles of TN_CUDA_WGMMA_ROWS x TN_CUDA_WGMMA_TOKENS; grid z: 1
struct tn_cuda_ternary_params {
    TN_PART(tn_cuda_step) step;
    uint32_t n_cols, n_blocks;    // n_blocks: of 128 columns
    TN_PART(tn_cuda_codes) codes; // the input; with `before` not used
    TN_PART(tn_cuda_row_op) before;
    TN_PART(tn_cuda_rows) x;             // of `before`
    TN_AT(const uint32_t) x_largest;     // one: of x, as the kernel that stored it left it; 0: nobody has
    TN_PART(tn_cuda_largest) next;       // one: of the output
    TN_PART(tn_cuda_matrix) matrices[3]; // n_rows 0: there is none. GLU: [0] gate, [1] up
    uint32_t n_matrices;
    uint32_t behind; // TN_CUDA_BEHIND_*
    uint32_t behind_node;
    TN_PART(tn_cuda_rows) add; // ADD: the other operand
    TN_PART(tn_cuda_poison) poison;
    TN_PART(tn_cuda_row_op) row; // over the output (of the first matrix's y); op NONE: there is none
    TN_PART(tn_cuda_codes) row_codes;
    TN_AT(uint32_t) counter; // of blocks that finished, 0 between launches; many: one a tile, where grid z splits the columns
    uint32_t log2_split;     // few: warps of a block that share a tile's columns, as a power of two, at most 3
    // one: row tiles of each block, and how many blocks have one more; rounds, the column blocks of each, of the last one what is left, and
    // 2^32 / round_blocks, rounded up
    uint32_t n_each, n_rest, n_rounds, round_blocks, by_blocks;
    uint32_t n_pieces, piece_blocks; // one: of a row tile, with one round; of the last one what is left (tn_cuda_ternary_one_piece)
    uint32_t n_ahead; // few_mma: column blocks of weights that a warp has in shared memory or under way, at least 3 or all it has
    // Sums of parts of the columns. many, where grid z splits them: 0 between launches (tn_cuda_ternary_many_partials). few_mma, where
    // ternary_join is behind it, else 0: [token][part][tn_cuda_ternary_part_words].
    TN_AT(uint32_t) partials;
    uint32_t n_parts;     // few_mma: grid z, and
    uint32_t part_blocks; // column blocks of a part, of the last one what is left
};

// Row tiles of a ternary matrix.
static inline uint32_t tn_cuda_row_tiles(uint32_t n_rows) { return n_rows / TN_CUDA_TILE_ROWS + (n_rows % TN_CUDA_TILE_ROWS != 0); }
// ternary_one: dynamic shared memory: the codes of a row, in whole blocks of 256 columns, and the tiles of n_places rounds of n_parts parts
// (row tiles; with GLU of gate and of up); and what its own arrays take beside it at most.
static inline uint64_t tn_cuda_ternary_one_shared_bytes(uint32_t n_blocks, uint32_t n_places, uint32_t n_parts, uint32_t round_blocks)
{
    return ((uint64_t)n_blocks + n_blocks % 2) * TN_CUDA_TILE_COLS + (uint64_t)n_places * n_parts * round_blocks * 512;
}
enum { TN_CUDA_ONE_OWN_SHARED_BYTES = 4352 };
// Its grid for n_row_tiles row tiles (of all matrices; with GLU of gate alone): a block a multiprocessor, or as many as it takes.
static inline uint32_t tn_cuda_ternary_one_grid(uint32_t n_row_tiles, uint32_t n_sms)
{
    const uint32_t n_least = n_row_tiles / TN_CUDA_ONE_ROW_TILES + (n_row_tiles % TN_CUDA_ONE_ROW_TILES != 0);
    const uint32_t n = n_row_tiles < n_sms ? n_row_tiles : n_sms;
    return n > n_least ? n : n_least;
}
// Its round_blocks for n_parts parts of a block: all n_blocks in one round where they fit into half of what a block can have
// (shared_bytes), so that the next kernel's blocks fit in beside them; else as many as fit there twice; at least 1.
static inline uint32_t tn_cuda_ternary_one_round(uint32_t n_parts, uint32_t n_blocks, uint32_t shared_bytes)
{
    const uint32_t half = shared_bytes / 2;
    const uint64_t own = tn_cuda_ternary_one_shared_bytes(n_blocks, 0, 0, 0) + TN_CUDA_ONE_OWN_SHARED_BYTES;
    if (tn_cuda_ternary_one_shared_bytes(n_blocks, 1, n_parts, n_blocks) + TN_CUDA_ONE_OWN_SHARED_BYTES <= half) return n_blocks;
    const uint64_t n_fit = half > own ? (half - own) / tn_cuda_ternary_one_shared_bytes(0, 2, n_parts, 1) : 0;
    return n_fit > 1 ? (uint32_t)n_fit : 1;
}
// Its piece_blocks: pieces of 10 KiB at most, as even as they go. Two of them in each of an H200's 132 blocks are what its memory brings in
// the 0.6 us that it takes to answer.
static inline uint32_t tn_cuda_ternary_one_piece(uint32_t n_blocks)
{
    const uint32_t n_pieces = (n_blocks + 19) / 20;
    return (n_blocks + n_pieces - 1) / n_pieces;
}
// Its by_blocks, by which the device divides what is below 2^32 / round_blocks; of 1 not.
static inline uint32_t tn_cuda_ternary_one_by_blocks(uint32_t round_blocks) { return round_blocks > 1 ? UINT32_MAX / round_blocks + 1 : 0; }
// The log2_split with the shortest way through n_tiles row tiles (of all matrices; with GLU of gate alone) of n_blocks column blocks for
// the warps of n_grid blocks; of equal ones the least, which spares sums across warps.
static inline uint32_t tn_cuda_ternary_log2_split(uint32_t n_tiles, uint32_t n_blocks, uint32_t n_grid)
{
    uint32_t best = 0;
    uint64_t best_steps = UINT64_MAX;
    for (uint32_t s = 0; s <= 3; s++) {
        const uint64_t n_teams = (uint64_t)n_grid << (3 - s);
        const uint64_t steps = ((n_tiles + n_teams - 1) / n_teams) * ((n_blocks + (1u << s) - 1) >> s);
        if (steps < best_steps) best = s, best_steps = steps;
    }
    return best;
}

// ternary_few_mma: two row tiles of a matrix, or with GLU of gate and of up, are a group; a block has 8 / split of them. Grid x for
// n_groups of all matrices, and its dynamic shared memory for up to n_tokens tokens (8, 16, 32 or 64).
static inline uint32_t tn_cuda_ternary_few_groups(uint32_t n_rows, uint32_t behind)
{
    const uint32_t n_each = behind >= TN_CUDA_BEHIND_RELU2 ? TN_CUDA_TILE_ROWS : 2 * TN_CUDA_TILE_ROWS;
    return n_rows / n_each + (n_rows % n_each != 0);
}
static inline uint32_t tn_cuda_ternary_few_blocks(uint32_t n_groups, uint32_t log2_split)
{
    const uint32_t n_teams = 8u >> log2_split;
    return n_groups / n_teams + (n_groups % n_teams != 0);
}
static inline uint32_t tn_cuda_ternary_few_shared_bytes(uint32_t n_tokens, uint32_t log2_split, uint32_t n_ahead)
{
    const uint32_t loop = n_ahead * 8192 + TN_CUDA_FEW_STAGES * (n_tokens << log2_split) * TN_CUDA_TILE_COLS;
    const uint32_t sums = 8 * n_tokens * TN_CUDA_FEW_SUM_STRIDE * 4;
    return loop > sums ? loop : sums;
}
// Words of a part of a token's sums: of a row of `partials`, [token][part].
static inline uint32_t tn_cuda_ternary_part_words(uint32_t n_rows) { return tn_cuda_row_tiles(n_rows) * TN_CUDA_TILE_ROWS; }

// Grid x of a matrix (GLU: of both) in blocks of n_block_rows.
static inline uint32_t tn_cuda_ternary_blocks_of(uint32_t n_block_rows, uint32_t n_rows, uint32_t behind)
{
    const uint32_t n_each = behind >= TN_CUDA_BEHIND_RELU2 ? n_block_rows / 2 : n_block_rows;
    return n_rows / n_each + (n_rows % n_each != 0);
}
static inline uint32_t tn_cuda_ternary_many_blocks(uint32_t n_rows, uint32_t behind)
{
    return tn_cuda_ternary_blocks_of(TN_CUDA_MANY_ROWS, n_rows, behind);
}
static inline uint32_t tn_cuda_ternary_wgmma_blocks(uint32_t n_rows, uint32_t behind)
{
    return tn_cuda_ternary_blocks_of(TN_CUDA_WGMMA_ROWS, n_rows, behind);
}
// Grid z for n_tiles blocks (grid x * y) of n_blocks column blocks on n_sms multiprocessors: parts of at least 4 column blocks, since sums
// that meet cost about as much, none of them empty, and no more blocks than two a multiprocessor.
static inline uint32_t tn_cuda_ternary_many_parts(uint64_t n_tiles, uint32_t n_blocks, uint32_t n_sms)
{
    const uint64_t n_fit = 2 * (uint64_t)n_sms / n_tiles;
    const uint32_t n_worth = n_blocks / 4;
    const uint32_t n = n_fit < n_worth ? (uint32_t)n_fit : n_worth;
    if (n <= 1) return 1;
    const uint32_t n_each = (n_blocks + n - 1) / n;
    return (n_blocks + n_each - 1) / n_each;
}
// Words of `partials` for a grid with z above 1.
static inline uint64_t tn_cuda_ternary_many_partials(uint32_t grid_x, uint32_t grid_y)
{
    return (uint64_t)grid_x * grid_y * (TN_CUDA_MANY_ROWS * TN_CUDA_MANY_TOKENS);
}

// ternary_many_wgmma: dynamic shared memory: of each stage codes and packed weights, then scales and sums of the codes, scales of the rows.
enum {
    TN_CUDA_WGMMA_SHARED_BYTES = TN_CUDA_WGMMA_STAGES * (TN_CUDA_WGMMA_TOKENS + TN_CUDA_WGMMA_ROWS / 4) * TN_CUDA_TILE_COLS +
                                 TN_CUDA_WGMMA_TOKENS * 8 + TN_CUDA_WGMMA_ROWS * 4
};

// Turning a head and quantising it for the KV cache.
struct tn_cuda_rope {
    uint32_t head_dim, is_adjacent; // pairs (2i, 2i+1), else halves
    TN_AT(const float) table;       // [n_ctx][head_dim]; 0: nothing is turned
    uint32_t n_q, n_kv;             // heads
    TN_PART(tn_cuda_rows) q, k, v;  // inputs
    uint32_t q_node, k_node;        // k_node 0: keys are appended as they are
    uint32_t a_qk;                  // A of q and k
    float recip_a_qk;               // RN(1/A)
};

// One layer's KV cache; page p begins at page_bytes * p. In a page, for each KV head: keys [128][head_dim] int16, values as pairs of
// positions [64][head_dim][2] int16, key scales [128] f32, value scales [128] f32.
struct tn_cuda_kv {
    TN_AT(uint8_t) at;
    uint64_t page_bytes;
    uint32_t n_pages;
};

// rope_append: RoPE of q to qy, RoPE of k and append of k and v. Grid x: rows; y: groups of TN_CUDA_ROPE_HEADS of the heads of q, of k, of
// v, as far as there are any.
struct tn_cuda_rope_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_rope) rope;
    TN_PART(tn_cuda_rows) qy;
    TN_PART(tn_cuda_kv) kv;
    TN_PART(tn_cuda_poison) poison;
};
// Whether rope_many, a block a token, does the same: grid x: rows. Its rows are none of the submit's.
static inline uint32_t tn_cuda_rope_many_fits(uint32_t head_dim, uint32_t is_adjacent)
{
    return !is_adjacent && (head_dim == 32 || head_dim == 64 || head_dim == 128 || head_dim == 256);
}

// attention_*: y = attention of q over the pages of the token's sequence.
//   attention_split  few tokens: grid x: splits, y: KV heads, z: tokens. A split works on chunks split, split + n_splits, ..; the last
//                    block of a (token, KV head) to finish combines all chunks in their order
//   attention_one    the same for one token, with RoPE, quantisation and append (`rope`) in front
//   attention_one_mma  the same on tensor cores, for heads of multiples of 8 and up to 128 dims; with the whole chunk in dynamic shared
//                    memory (TN_CUDA_ATTENTION_CHUNK_BYTES)
//   attention_few_mma  tokens that share nothing, on tensor cores, for such heads: grid x: tiles of TN_CUDA_ATTENTION_TOKENS tokens times
//                    n_shares, y: KV heads, z: splits; with a chunk in dynamic shared memory too
//   attention_tile   many tokens: grid x: tiles of TN_CUDA_ATTENTION_TOKENS tokens, y: KV heads, z: blocks that share a tile's tokens
//   attention_tile_mma  tiles of one sequence on tensor cores, for heads of up to 128 dims: their row tiles, of TN_CUDA_ATTENTION_TILE_ROWS
//                    query heads of one KV head each. With `partials` each has a block that begins it, those without one do what is left
//                    of the longest, and what blocks find of a row tile meets there; grid x: the blocks that run at once. Without each
//                    block has a row tile; grid x: as many
// Tokens of one sequence share what attention_tile_mma reads; others do not, and are better off with blocks of their own: two launches,
// attention_tile_mma for the tiles of one sequence and attention_few_mma (or attention_tile) for those of several, are the fastest for any
// step.
enum { TN_CUDA_ATTENTION_CHUNK_BYTES = 65536 }; // keys and values of a chunk, of a head of 128 dims
enum { TN_CUDA_TILES_ALL = 0, TN_CUDA_TILES_OF_ONE = 1, TN_CUDA_TILES_OF_SEVERAL = 2 };
struct tn_cuda_attention_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_rope) rope; // of attention_one; of the others head_dim, a_qk and recip_a_qk
    uint32_t n_heads, n_kv_heads;
    TN_PART(tn_cuda_rows) q; // turned already; not of attention_one
    TN_PART(tn_cuda_rows) y;
    TN_PART(tn_cuda_largest) next; // attention_one_mma: of y
    TN_PART(tn_cuda_kv) kv;
    TN_PART(tn_cuda_poison) poison;
    uint32_t node;
    uint32_t n_splits, n_chunks_max; // chunks of a sequence at most: limits.n_seq_pages
    TN_AT(float)
    partials;                       // [tokens][n_heads][n_chunks_max][head_dim + 4]: o, then l, m (int32), two words unused
                                    // attention_tile_mma: [row tiles][n_chunks_max][TN_CUDA_ATTENTION_PART_FLOATS], or 0
    TN_AT(uint32_t) counters;       // [tokens][n_kv_heads], 0 between launches; attention_tile_mma: [row tiles]
    float recip_a_v, log2e_by_sqrt; // RN(1/4095), RN(log2 e / sqrt(head_dim))
    uint32_t tiles;                 // attention_tile*, attention_few_mma: TN_CUDA_TILES_*, of so many sequences; the others are left out
    uint32_t n_shares;              // attention_few_mma: blocks that share a tile's tokens
    uint32_t values_at;             // attention_tile_mma: where values lie in dynamic shared memory, in 16 bytes: behind keys, or 0: in
                                    // their place
};

// attention_tile_mma: row tiles of a tile, of all KV heads.
static inline uint32_t tn_cuda_attention_row_tiles(uint32_t n_heads, uint32_t n_kv_heads)
{
    const uint32_t n_rows = TN_CUDA_ATTENTION_TOKENS * (n_heads / n_kv_heads);
    return n_kv_heads * ((n_rows + TN_CUDA_ATTENTION_TILE_ROWS - 1) / TN_CUDA_ATTENTION_TILE_ROWS);
}

// dense_*: y = x W^T. See each kernel for its grid.
struct tn_cuda_dense_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_dense) w;
    TN_PART(tn_cuda_rows) x;   // types of floats
    TN_AT(const int8_t) codes; // quantised types: of quant_group
    TN_AT(const float) scales;
    TN_AT(const int32_t) sums;
    uint32_t codes_stride, scales_stride, sums_stride;
    TN_PART(tn_cuda_rows) y;
    TN_PART(tn_cuda_poison) poison;
    uint32_t node;
};

// element: ADD or GLU. Grid x: rows, y: groups of elements.
struct tn_cuda_element_params {
    TN_PART(tn_cuda_step) step;
    uint32_t n, op; // TN_CUDA_BEHIND_ADD, _RELU2, _SILU
    TN_PART(tn_cuda_rows) a, b, y;
    TN_PART(tn_cuda_poison) poison;
    uint32_t node;
};

// copy_rows: x -> y. Grid x: rows, y: groups of elements. x.at 0: the submit's input (address at step.addresses), dense rows.
struct tn_cuda_copy_params {
    TN_PART(tn_cuda_step) step;
    uint32_t n;
    TN_PART(tn_cuda_rows) x, y;
    uint32_t is_logits; // how many rows there are
    uint32_t by_logits; // row r is row step[logit_rows + r] of x
};

// copy_pages: grid x: parts of a page, y: layers. Loops over the step's copies.
struct tn_cuda_pages_params {
    TN_PART(tn_cuda_step) step;
    TN_AT(uint8_t) kv;
    uint64_t page_bytes, layer_bytes;
};

// rank_groups, rank: the n_top best logits of each row in order (logit descending, id ascending). Grid x: rows; of rank_groups y: 32 groups
// a block, of those that p.n logits have (tn_cuda_rank_blocks).
struct tn_cuda_rank_params {
    TN_PART(tn_cuda_step) step;
    TN_PART(tn_cuda_rows) x; // logits; at 0: the submit's output
    TN_AT(uint32_t) groups;  // [rows][TN_CUDA_RANK_GROUPS]: what rank_groups leaves
    uint32_t n;              // of a row
    uint32_t top_max;        // at most TN_CUDA_RANK_MAX; more wanted than this: the row is not ranked, and its count is 0
    TN_AT(uint32_t) counts;  // host [n_logits]
    TN_AT(uint32_t) ids;     // host [n_logits][top_max]
    TN_AT(float) logits;     // host [n_logits][top_max]
};
static inline uint32_t tn_cuda_rank_blocks(uint32_t n)
{
    const uint32_t n_groups = n / 128 + (n % 128 != 0);
    return n_groups < TN_CUDA_RANK_GROUPS ? (n_groups + 31) / 32 : TN_CUDA_RANK_GROUPS / 32;
}

// probe_read: reads 16-byte units, for measuring bandwidth. probe_dot: dp4a, or mma, for measuring arithmetic.
struct tn_cuda_probe_params {
    TN_AT(const uint8_t) at;
    uint64_t n_units;
    uint32_t n_rounds;
    TN_AT(uint32_t) sink; // written where the sum is of no likely value, so that reads are not removed
};

#endif
