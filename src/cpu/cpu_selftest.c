// The self-test at open: every chosen kernel against src/ref, by bits, on small shapes with tails. A compiler, an emulator or a processor
// that bends a rule of the exact mode is refused here instead of giving other answers later.
#include "base/alloc.h"
#include "cpu/cpu_program.h"
#include "cpu/sparse_copy.h"
#include "ref/ref.h"

#include <string.h>

// Shapes: a last block, lane and panel that are not full.
enum {
    ROW_N = 300,
    GROUP_K = 512,
    TERNARY_K = 150,
    MATMUL_N = 21,
    MATMUL_M = 5,
    HEAD_DIM = 48,
    N_HEADS = 3,
    N_QUERIES = 3 * N_HEADS,
    N_POS = 150,
    N_PAGES = 2,
    VOCABULARY = MATMUL_N,
};

typedef struct bench {
    const tn_cpu_kernels *kernels;
    uint64_t random;
    float x[MATMUL_M * GROUP_K], gamma[GROUP_K], y[MATMUL_M * GROUP_K], want[MATMUL_M * GROUP_K];
    int8_t codes[MATMUL_M * GROUP_K], want_codes[MATMUL_M * GROUP_K];
    float scales[MATMUL_M * GROUP_K / 32], want_scales[MATMUL_M * GROUP_K / 32];
    int32_t sums[MATMUL_M * GROUP_K / 32], want_sums[MATMUL_M * GROUP_K / 32];
    uint32_t absmax[MATMUL_M];
    int8_t ternary[MATMUL_N * TERNARY_K];
    uint8_t dense[MATMUL_N * GROUP_K * 4]; // rows in file form
    int16_t k[N_POS * HEAD_DIM], v[N_POS * HEAD_DIM], q[N_QUERIES * HEAD_DIM];
    float k_scale[N_POS], v_scale[N_POS], q_scale[N_QUERIES];
    _Alignas(64) uint8_t kv[N_PAGES * TN_KV_BLOCK_BYTES(HEAD_DIM)];
    _Alignas(64) float attention_parts[N_PAGES * N_HEADS * TN_ATTENTION_PART(HEAD_DIM)];
    _Alignas(64) uint8_t attention_scratch[TN_ATTENTION_SCRATCH_BYTES(N_QUERIES, HEAD_DIM)];
} bench;

static uint32_t next_random(bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(b->random >> 32);
}

// Uniform in (-range, range).
static float random_float(bench *b, float range) { return ((float)(int32_t)next_random(b) * 0x1p-31f) * range; }

static void fill_inputs(bench *b)
{
    for (size_t i = 0; i < sizeof b->x / sizeof *b->x; i++) b->x[i] = random_float(b, 4.0f);
    for (size_t i = 0; i < GROUP_K; i++) b->gamma[i] = random_float(b, 2.0f);
}

static const char *const slot_names[] = {
#define SLOT_NAME(slot, type) [TN_SLOT_##slot] = #slot,
    TN_KERNEL_SLOTS(SLOT_NAME)
#undef SLOT_NAME
};

static tn_status verdict(const bench *b, tn_kernel_slot slot, bool same)
{
    if (same) return TN_OK;
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    const char *name = "not in the list";
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].function == tn_cpu_kernel_chosen(b->kernels, slot)) name = rows[i].name;
    }
    return tn_fail(TN_INTERNAL,
                   "self-test: the kernel for %s (%s) gives other bits than the reference on this machine; choose a lower level "
                   "(TN_CPU_MASK=scalar) and report it",
                   slot_names[slot], name);
}
#define VERDICT(slot, same) TN_TRY(verdict(b, TN_SLOT_##slot, (same)))

static bool same_floats(const bench *b, size_t n) { return memcmp(b->y, b->want, n * sizeof *b->y) == 0; }

static bool same_codes(const bench *b, size_t n, size_t groups)
{
    return memcmp(b->codes, b->want_codes, n) == 0 && memcmp(b->scales, b->want_scales, groups * sizeof *b->scales) == 0 &&
           memcmp(b->sums, b->want_sums, groups * sizeof *b->sums) == 0;
}

static tn_status test_quantisers(bench *b)
{
    const tn_cpu_kernels *k = b->kernels;
    k->quant(b->x, ROW_N, b->codes, b->scales, b->sums);
    tn_ref_quant(b->x, ROW_N, b->want_codes, b->want_scales, b->want_sums);
    VERDICT(quant, same_codes(b, ROW_N, 1));
    k->norm_quant(b->x, b->gamma, ROW_N, 1e-5f, b->codes, b->scales, b->sums);
    tn_ref_norm_quant(b->x, b->gamma, ROW_N, 1e-5f, b->want_codes, b->want_scales, b->want_sums);
    VERDICT(norm_quant, same_codes(b, ROW_N, 1));
    for (uint32_t group = 32; group <= 256; group *= 8) {
        k->quant_group(b->x, GROUP_K, group, b->codes, b->scales, b->sums);
        tn_ref_quant_group(b->x, GROUP_K, group, b->want_codes, b->want_scales, b->want_sums);
        VERDICT(quant_group, same_codes(b, GROUP_K, GROUP_K / group));
    }
    int16_t want[HEAD_DIM];
    float want_scale;
    k->quant_head(b->x, HEAD_DIM, tn_kv_a_qk(HEAD_DIM), b->q, b->q_scale);
    tn_ref_quant_head(b->x, HEAD_DIM, tn_kv_a_qk(HEAD_DIM), want, &want_scale);
    VERDICT(quant_head, memcmp(b->q, want, sizeof want) == 0 && memcmp(b->q_scale, &want_scale, sizeof want_scale) == 0);
    return TN_OK;
}

static tn_status test_row_ops(bench *b)
{
    const tn_cpu_kernels *k = b->kernels;
    const float *a = b->x, *c = b->x + GROUP_K;
    bool same = k->norm(a, b->gamma, ROW_N, 1e-5f, b->y) == tn_ref_norm(a, b->gamma, ROW_N, 1e-5f, b->want);
    VERDICT(norm, same && same_floats(b, ROW_N));
    same = k->glu_relu2(a, c, ROW_N, b->y) == tn_ref_glu(TN_GLU_RELU2, a, c, ROW_N, b->want);
    VERDICT(glu_relu2, same && same_floats(b, ROW_N));
    same = k->glu_silu(a, c, ROW_N, b->y) == tn_ref_glu(TN_GLU_SILU, a, c, ROW_N, b->want);
    VERDICT(glu_silu, same && same_floats(b, ROW_N));
    same = k->add(a, c, ROW_N, b->y) == tn_ref_add(a, c, ROW_N, b->want);
    VERDICT(add, same && same_floats(b, ROW_N));
    for (int pairs = TN_ROPE_HALVES; pairs <= TN_ROPE_ADJACENT; pairs++) {
        same = k->rope(a, b->gamma, N_HEADS, HEAD_DIM, (tn_rope_pairs)pairs, b->y) ==
               tn_ref_rope(a, b->gamma, N_HEADS, HEAD_DIM, (tn_rope_pairs)pairs, b->want);
        VERDICT(rope, same && same_floats(b, (size_t)N_HEADS * HEAD_DIM));
    }
    return TN_OK;
}

static tn_status read_from_memory(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    size_t row_bytes = self->kind == TN_WEIGHT_TERNARY ? self->n_cols : tn_dtype_row_bytes(self->dtype, self->n_cols);
    memcpy(dst, (const uint8_t *)self->ctx + row_bytes * row, row_bytes * n);
    return TN_OK;
}

// Returns owned.
static tn_status pack(const tn_weight_source *source, tn_cpu_layout ternary, uint8_t **out_packed, tn_cpu_weight *out_weight)
{
    *out_packed = NULL;
    tn_weight_layout layout;
    TN_TRY(tn_cpu_pack_layout(source, ternary, &layout));
    tn_status status;
    uint8_t *packed, *scratch = NULL;
    TN_TRY(tn_alloc_aligned((size_t)layout.size_bytes, 64, &packed));
    TN_TRY_GOTO(tn_alloc_aligned(tn_cpu_pack_scratch_bytes(source), 64, &scratch));
    for (uint32_t i = 0; i < tn_cpu_pack_n_groups(source); i++) TN_TRY_GOTO(tn_cpu_pack_group(source, ternary, i, packed, scratch));
    tn_free(scratch);
    tn_cpu_pack_view(source, ternary, packed, out_weight);
    *out_packed = packed;
    return TN_OK;
fail:
    tn_free(scratch);
    tn_free(packed);
    return status;
}

// The last token's products from a second copy of the weight, of which `args` lists what is wanted.
static tn_status sparse_product(bench *b, const tn_cpu_weight *w, tn_cpu_sparse_kind kind, tn_k_sparse_args *args)
{
    static_assert(MATMUL_N <= TN_SPARSE_SPAN, "one line a column");
    const tn_cpu_sparse_copy copy = {.kind = kind, .n_lines = 1, .w = *w};
    uint64_t bytes;
    uint8_t *weights;
    if (!tn_cpu_sparse_bytes(&copy, &bytes)) return tn_fail(TN_INTERNAL, "self-test: a copy's size overflows");
    TN_TRY(tn_alloc_aligned((size_t)bytes, 64, &weights));
    for (uint32_t s = 0; s < tn_cpu_sparse_n_strips(&copy); s++) tn_cpu_sparse_fill_strip(&copy, s, weights);
    _Alignas(64) int32_t sums[TN_SPARSE_SPAN];
    uint32_t absmax = 0;
    args->all.M = 1;
    args->all.w = weights;
    args->all.y_absmax = &absmax;
    args->K = TERNARY_K;
    args->n_lines = 1;
    args->sums = sums;
    memset(b->y, 0, MATMUL_N * sizeof(float));
    (kind == TN_CPU_SPARSE_ROWS ? b->kernels->sparse_rows : b->kernels->sparse_columns)(args);
    tn_free(weights);
    return TN_OK;
}

// With every third row, and with the columns whose codes are not 0. `b->want`: what the whole product gives.
static tn_status test_sparse(bench *b, const tn_cpu_weight *w, const tn_k_matmul_ternary_args *all)
{
    const uint32_t token = MATMUL_M - 1;
    const float *want = b->want + token * MATMUL_N;
    uint32_t listed[TERNARY_K + 3], n = 0;
    int8_t codes[TERNARY_K + 3];
    tn_k_sparse_args args = {.all = *all, .listed = listed};
    args.all.x_scale += token;
    args.all.x_sum += token;
    args.all.x += token * all->x_stride;
    for (uint32_t i = 0; i < MATMUL_N; i += 3) listed[args.n_listed++] = i;
    TN_TRY(sparse_product(b, w, TN_CPU_SPARSE_ROWS, &args));
    bool same = true;
    for (uint32_t i = 0; i < MATMUL_N; i++) {
        const float expected = i % 3 == 0 ? want[i] : 0;
        same = same && memcmp(&b->y[i], &expected, sizeof expected) == 0;
    }
    TN_TRY(verdict(b, TN_SLOT_sparse_rows, same));

    for (uint32_t k = 0; k < TERNARY_K; k++) {
        listed[n] = k;
        codes[n] = args.all.x[k];
        n += codes[n] != 0;
    }
    args.n_listed = n;
    for (; n % 4 != 0; n++) {
        listed[n] = 0;
        codes[n] = 0;
    }
    args.all.x = codes;
    TN_TRY(sparse_product(b, w, TN_CPU_SPARSE_COLUMNS, &args));
    return verdict(b, TN_SLOT_sparse_columns, memcmp(b->y, want, MATMUL_N * sizeof(float)) == 0);
}

static tn_status test_ternary(bench *b, tn_cpu_layout layout)
{
    const size_t stride = TN_Q8_STRIDE(TERNARY_K);
    float row_scales[MATMUL_N];
    for (size_t i = 0; i < sizeof b->ternary; i++) b->ternary[i] = (int8_t)((int32_t)(next_random(b) % 3) - 1);
    for (uint32_t i = 0; i < MATMUL_N; i++) row_scales[i] = 0.01f * (float)(i + 1);
    tn_weight_source source = {.name = "self-test",
                               .kind = TN_WEIGHT_TERNARY,
                               .n_rows = MATMUL_N,
                               .n_cols = TERNARY_K,
                               .scale_kind = TN_SCALE_ROW,
                               .scales = row_scales,
                               .read_rows = read_from_memory,
                               .ctx = b->ternary};
    uint8_t *packed;
    tn_cpu_weight w;
    TN_TRY(pack(&source, layout, &packed, &w));
    memset(b->codes, 0, sizeof b->codes);
    memset(b->absmax, 0, sizeof b->absmax);
    bool same = true;
    uint32_t want_absmax[MATMUL_M];
    for (uint32_t m = 0; m < MATMUL_M; m++) {
        tn_ref_quant(b->x + m * TERNARY_K, TERNARY_K, b->codes + m * stride, b->scales + m, b->sums + m);
        want_absmax[m] = tn_ref_matmul_ternary(b->codes + m * stride, b->scales[m], b->ternary, TN_SCALE_ROW, row_scales, MATMUL_N,
                                               TERNARY_K, b->want + m * MATMUL_N);
    }
    tn_k_matmul_ternary_args args = {.x = b->codes,
                                     .x_stride = stride,
                                     .x_scale = b->scales,
                                     .x_sum = b->sums,
                                     .w = w.data,
                                     .w_scale = w.scales,
                                     .M = MATMUL_M,
                                     .N = MATMUL_N,
                                     .n_blocks = w.n_blocks,
                                     .y = b->y,
                                     .y_stride = MATMUL_N,
                                     .y_absmax = b->absmax};
    const bool t5 = layout == TN_CPU_LAYOUT_T5_16;
    (t5 ? b->kernels->matmul_ternary_t5 : b->kernels->matmul_ternary)(&args);
    same = same_floats(b, MATMUL_M * MATMUL_N) && memcmp(b->absmax, want_absmax, sizeof want_absmax) == 0;
    tn_status status = test_sparse(b, &w, &args);
    tn_free(packed);
    TN_TRY(status);
    return verdict(b, t5 ? TN_SLOT_matmul_ternary_t5 : TN_SLOT_matmul_ternary, same);
}

typedef struct dense_case {
    tn_dtype dtype;
    uint32_t K, group; // group 0: f32 inputs
    tn_kernel_slot matmul, embed;
} dense_case;

static void put_u16(uint8_t *at, uint32_t value)
{
    const uint16_t bits = (uint16_t)value;
    memcpy(at, &bits, sizeof bits);
}

// Bits of a number of either sign with a random fraction and one of eight exponents from `exponent` on.
static uint32_t random_bits(bench *b, uint32_t fraction_bits, uint32_t exponent_bits, uint32_t exponent)
{
    const uint32_t r = next_random(b), sign = r >> 31 << (fraction_bits + exponent_bits);
    return sign | (exponent + (r >> 28 & 7)) << fraction_bits | (r & ((1u << fraction_bits) - 1));
}

// Random rows in file form: any codes, scales and numbers of ordinary size.
static void fill_dense(bench *b, tn_dtype dtype, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) b->dense[i] = (uint8_t)(next_random(b) >> 24);
    const uint32_t block_bytes = tn_dtype_get(dtype)->block_bytes;
    for (size_t at = 0; at + block_bytes <= n_bytes; at += block_bytes) {
        switch (dtype) {
        case TN_DTYPE_F32: {
            const float x = random_float(b, 0.5f);
            memcpy(b->dense + at, &x, sizeof x);
            break;
        }
        case TN_DTYPE_BF16: put_u16(b->dense + at, random_bits(b, 7, 8, 120)); break;
        case TN_DTYPE_Q6_K: put_u16(b->dense + at + block_bytes - 2, random_bits(b, 10, 5, 4)); break; // the scale comes last
        case TN_DTYPE_Q4_1:
        case TN_DTYPE_Q5_1:
        case TN_DTYPE_Q4_K:
        case TN_DTYPE_Q5_K: // a second number
            put_u16(b->dense + at + 2, random_bits(b, 10, 5, 6));
            put_u16(b->dense + at, random_bits(b, 10, 5, 4));
            break;
        default: put_u16(b->dense + at, random_bits(b, 10, 5, 8)); break;
        }
    }
}

static tn_status test_dense(bench *b, const dense_case *c)
{
    const tn_cpu_kernels *k = b->kernels;
    fill_dense(b, c->dtype, MATMUL_N * tn_dtype_row_bytes(c->dtype, c->K));
    tn_weight_source source = {.name = "self-test",
                               .kind = TN_WEIGHT_DENSE,
                               .dtype = c->dtype,
                               .n_rows = MATMUL_N,
                               .n_cols = c->K,
                               .read_rows = read_from_memory,
                               .ctx = b->dense};
    uint8_t *packed;
    tn_cpu_weight w;
    TN_TRY(pack(&source, TN_CPU_LAYOUT_T2_16, &packed, &w));
    memset(b->absmax, 0, sizeof b->absmax);
    uint32_t want_absmax[MATMUL_M];
    const uint32_t groups = c->group ? c->K / c->group : 0;
    for (uint32_t m = 0; m < MATMUL_M; m++) {
        const float *x = b->x + (size_t)m * GROUP_K;
        if (groups) {
            tn_ref_quant_group(x, c->K, c->group, b->codes + m * GROUP_K, b->scales + (size_t)m * groups, b->sums + (size_t)m * groups);
        }
        want_absmax[m] = tn_ref_matmul_dense(x, c->dtype, b->dense, MATMUL_N, c->K, b->want + m * MATMUL_N);
    }
    tn_k_matmul_dense_args args = {.x = b->x,
                                   .x_stride = GROUP_K,
                                   .xq = b->codes,
                                   .xq_stride = GROUP_K,
                                   .xq_scale = b->scales,
                                   .xq_sum = b->sums,
                                   .xq_groups = groups,
                                   .w = w.data,
                                   .w_stride = w.stride_bytes,
                                   .M = MATMUL_M,
                                   .N = MATMUL_N,
                                   .K = c->K,
                                   .y = b->y,
                                   .y_stride = MATMUL_N,
                                   .y_absmax = b->absmax};
    ((tn_k_matmul_dense_fn *)tn_cpu_kernel_chosen(k, c->matmul))(&args);
    bool same = same_floats(b, MATMUL_M * MATMUL_N) && memcmp(b->absmax, want_absmax, sizeof want_absmax) == 0;
    const uint32_t token = VOCABULARY - 2;
    tn_ref_embed(c->dtype, b->dense + token * tn_dtype_row_bytes(c->dtype, c->K), c->K, b->want);
    ((tn_k_embed_fn *)tn_cpu_kernel_chosen(k, c->embed))(w.data, w.stride_bytes, token, c->K, b->y);
    bool same_embed = same_floats(b, c->K);
    tn_free(packed);
    TN_TRY(verdict(b, c->matmul, same));
    return verdict(b, c->embed, same_embed);
}

// Keys and values of N_POS positions, plain and as the cache has them.
static void fill_kv(bench *b, const uint32_t *pages)
{
    float row[HEAD_DIM];
    for (uint32_t p = 0; p < N_POS; p++) {
        for (uint32_t d = 0; d < HEAD_DIM; d++) row[d] = random_float(b, 3.0f);
        tn_ref_quant_head(row, HEAD_DIM, tn_kv_a_qk(HEAD_DIM), b->k + p * HEAD_DIM, &b->k_scale[p]);
        for (uint32_t d = 0; d < HEAD_DIM; d++) row[d] = random_float(b, 3.0f);
        tn_ref_quant_head(row, HEAD_DIM, TN_KV_A_V, b->v + p * HEAD_DIM, &b->v_scale[p]);
        tn_cpu_kv_store(b->kv + pages[p / TN_KV_PAGE_POSITIONS] * TN_KV_BLOCK_BYTES(HEAD_DIM), HEAD_DIM, p % TN_KV_PAGE_POSITIONS,
                        b->k + p * HEAD_DIM, b->k_scale[p], b->v + p * HEAD_DIM, b->v_scale[p]);
    }
}

static tn_status test_attention(bench *b)
{
    const uint32_t pages[N_PAGES] = {1, 0};
    fill_kv(b, pages);
    // Tokens that see one page, one key of the second, and all.
    const uint32_t n_pos[] = {TN_KV_PAGE_POSITIONS, TN_KV_PAGE_POSITIONS + 1, N_POS}, last = N_QUERIES - N_HEADS;
    uint32_t want_absmax[] = {0, 0, 0}, absmax[3];
    for (uint32_t i = 0; i < N_QUERIES; i++) {
        const size_t at = (size_t)i * HEAD_DIM;
        float scale;
        tn_ref_quant_head(b->x + at, HEAD_DIM, tn_kv_a_qk(HEAD_DIM), b->q + at, &scale);
        b->q_scale[i] = tn_ref_query_scale(scale, HEAD_DIM);
        const uint32_t bits =
            tn_ref_attention(b->q + at, b->q_scale[i], b->k, b->k_scale, b->v, b->v_scale, n_pos[i / N_HEADS], HEAD_DIM, b->want + at);
        if (bits > want_absmax[i / N_HEADS]) want_absmax[i / N_HEADS] = bits;
    }
    tn_k_attention_args args = {.q = b->q,
                                .q_scale = b->q_scale,
                                .n_tokens = 3,
                                .n_q = N_HEADS,
                                .head_dim = HEAD_DIM,
                                .kv = b->kv,
                                .page_stride = TN_KV_BLOCK_BYTES(HEAD_DIM),
                                .pages = pages,
                                .n_pos = n_pos,
                                .y = b->y,
                                .y_stride = (size_t)N_HEADS * HEAD_DIM,
                                .y_absmax = absmax,
                                .scratch = b->attention_scratch};
    b->kernels->attention(&args);
    VERDICT(attention, memcmp(absmax, want_absmax, sizeof absmax) == 0 && same_floats(b, (size_t)N_QUERIES * HEAD_DIM));
    // The last token by pages.
    args.q += (size_t)last * HEAD_DIM;
    args.q_scale += last;
    args.n_tokens = 1;
    args.n_pos += 2;
    args.y += (size_t)last * HEAD_DIM;
    memset(args.y, 0, (size_t)N_HEADS * HEAD_DIM * sizeof *args.y);
    args.parts = b->attention_parts;
    for (args.n_pages = 1, args.first_page = N_PAGES; args.first_page-- > 0;) b->kernels->attention_pages(&args);
    b->kernels->attention_join(&args);
    VERDICT(attention_join, absmax[0] == want_absmax[2] && same_floats(b, (size_t)N_QUERIES * HEAD_DIM));
    return TN_OK;
}

// Rows that pass through f32: with their own kernels, for which look-ups are the definition.
static tn_status test_dequant(bench *b)
{
    static const struct {
        tn_dtype dtype;
        tn_kernel_slot slot;
    } cases[] = {{TN_DTYPE_Q4_1, TN_SLOT_dequant_q4_1},
                 {TN_DTYPE_Q5_0, TN_SLOT_dequant_q5_0},
                 {TN_DTYPE_Q5_1, TN_SLOT_dequant_q5_1},
                 {TN_DTYPE_Q4_K, TN_SLOT_dequant_q4_k},
                 {TN_DTYPE_Q5_K, TN_SLOT_dequant_q5_k}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill_dense(b, cases[i].dtype, tn_dtype_row_bytes(cases[i].dtype, GROUP_K));
        tn_ref_embed(cases[i].dtype, b->dense, GROUP_K, b->want);
        ((tn_k_dequant_fn *)tn_cpu_kernel_chosen(b->kernels, cases[i].slot))(b->dense, GROUP_K, b->y);
        TN_TRY(verdict(b, cases[i].slot, same_floats(b, GROUP_K)));
    }
    return TN_OK;
}

static tn_status test_probes(bench *b)
{
    uint64_t words[GROUP_K / 8], expected = 0;
    uint32_t sum;
    for (uint32_t i = 0; i < GROUP_K / 8; i++) expected ^= words[i] = (uint64_t)next_random(b) << 32 | next_random(b);
    VERDICT(read_stream, b->kernels->read_stream((const uint8_t *)words, sizeof words) == expected);
    const uint64_t products = b->kernels->peak_dot(2, 127, 1, &sum);
    VERDICT(peak_dot, products != 0 && sum == (uint32_t)(products * 2 * 127));
    return TN_OK;
}

static tn_status run_all(bench *b)
{
    static const dense_case cases[] = {
        {TN_DTYPE_F32, 333, 0, TN_SLOT_matmul_f32, TN_SLOT_embed_f32},
        {TN_DTYPE_F16, 333, 0, TN_SLOT_matmul_f16, TN_SLOT_embed_f16},
        {TN_DTYPE_BF16, 333, 0, TN_SLOT_matmul_bf16, TN_SLOT_embed_bf16},
        {TN_DTYPE_Q8_0, 288, 32, TN_SLOT_matmul_q8_0, TN_SLOT_embed_q8_0},
        {TN_DTYPE_Q4_0, 288, 32, TN_SLOT_matmul_q4_0, TN_SLOT_embed_q4_0},
        {TN_DTYPE_Q6_K, 512, 256, TN_SLOT_matmul_q6_k, TN_SLOT_embed_q6_k},
    };
    fill_inputs(b);
    TN_TRY(test_quantisers(b));
    TN_TRY(test_row_ops(b));
    TN_TRY(test_ternary(b, TN_CPU_LAYOUT_T2_16));
    TN_TRY(test_ternary(b, TN_CPU_LAYOUT_T5_16));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) TN_TRY(test_dense(b, &cases[i]));
    TN_TRY(test_dequant(b));
    TN_TRY(test_probes(b));
    return test_attention(b);
}

tn_status tn_cpu_selftest(const tn_cpu_kernels *kernels)
{
    bench *b;
    TN_TRY(tn_alloc_aligned(sizeof *b, 64, &b));
    b->kernels = kernels;
    b->random = 0x7465726e696f6eu;
    tn_status status = run_all(b);
    tn_free(b);
    return status;
}
