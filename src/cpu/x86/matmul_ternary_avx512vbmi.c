// Ternary matmul over T5_16 for AVX512-VBMI, whose byte permutations look five codes up at once: tmpl/matmul_ternary_dot.h, 8 tokens x 2
// panels; one token has a body of its own.
#include "cpu/t5.h"
#include "cpu/x86/ternary_avx512vnni.h"

#define TN_T_COLS   TN_T5_COLS
#define TN_T_VECS   2u
#define TN_T_TOKENS 8u

// Codes 0 to 3 of each byte as fields of two bits; code 4 as the top field (worth 64).
typedef struct tn_packed {
    __m512i four, fifth;
} tn_packed;

static _Alignas(64) const uint8_t fields_of[128] = TN_T5_FIELDS;

// The table's two registers, which the compiler loads once a tile.
TN_K_INLINE tn_packed unpack(__m512i bytes)
{
    const __m512i low = _mm512_load_si512(fields_of), high = _mm512_load_si512(fields_of + 64);
    const __m512i four = _mm512_permutex2var_epi8(low, bytes, high);
    const __mmask64 mirrored = _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8((char)TN_T5_MIRRORED));
    // (3 v + 1 or so) / 4: its top field is v / 85.
    const __m512i thirds = _mm512_avg_epu8(bytes, _mm512_avg_epu8(bytes, _mm512_setzero_si512()));
    return (tn_packed){_mm512_mask_sub_epi8(four, mirrored, _mm512_set1_epi8((char)0xaa), four), tn_fields_in_place512(thirds, 3)};
}

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return unpack(_mm512_loadu_si512(p)); }
TN_K_INLINE tn_codes tn_codes_of(tn_packed x, const unsigned i) { return i < 4 ? tn_fields512(x.four, i) : _mm512_srli_epi16(x.fifth, 6); }

// One token: as over T2_16, fields stay in place and panels go one by one.
// 64*2*127*4 a lane and block: below 2^31 for n_blocks < 33000, more than the range of ternary matmul allows.
TN_K_INLINE void ternary_one_panel(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n)
{
    const uint8_t *w = a->w + n / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m * a->x_stride;
    __m512i acc[4], fifth = _mm512_setzero_si512();
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++) acc[i] = _mm512_setzero_si512();
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T5_COLS) {
        const tn_packed packed = tn_packed_load(w);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) acc[i] = tn_sums_dot(acc[i], tn_fields_in_place512(packed.four, i), x, i);
        fifth = tn_sums_dot(fifth, packed.fifth, x, 4);
    }
    ternary_finish(a, m, n, _mm512_add_epi32(tn_sum_of_fields512(acc), _mm512_srai_epi32(fifth, 6)));
}

TN_K_INLINE void ternary_one_token(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n0, const unsigned NV)
{
    for (unsigned p = 0; p < NV; p++) ternary_one_panel(a, m, n0 + p * TN_T2_ROWS);
}

#include "cpu/tmpl/matmul_ternary_dot.h"

void tn_k_matmul_t5_q8_8x32__avx512vbmi(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
