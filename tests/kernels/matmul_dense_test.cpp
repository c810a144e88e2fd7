// Every kernel of dense matmul and of row look-ups against src/ref, by bits.
#include "matmul_fixture.h"

#include <cmath>

using namespace tn_test;

namespace
{

tn_dtype dtype_of(tn_kernel_slot slot)
{
    switch (slot) {
    case TN_SLOT_matmul_f32:
    case TN_SLOT_embed_f32: return TN_DTYPE_F32;
    case TN_SLOT_matmul_f16:
    case TN_SLOT_embed_f16: return TN_DTYPE_F16;
    case TN_SLOT_matmul_bf16:
    case TN_SLOT_embed_bf16: return TN_DTYPE_BF16;
    case TN_SLOT_matmul_q8_0:
    case TN_SLOT_embed_q8_0: return TN_DTYPE_Q8_0;
    case TN_SLOT_matmul_q4_0:
    case TN_SLOT_embed_q4_0: return TN_DTYPE_Q4_0;
    case TN_SLOT_dequant_q4_1: return TN_DTYPE_Q4_1;
    case TN_SLOT_dequant_q5_0: return TN_DTYPE_Q5_0;
    case TN_SLOT_dequant_q5_1: return TN_DTYPE_Q5_1;
    case TN_SLOT_dequant_q4_k: return TN_DTYPE_Q4_K;
    case TN_SLOT_dequant_q5_k: return TN_DTYPE_Q5_K;
    default: return TN_DTYPE_Q6_K;
    }
}
bool has_blocks_of_32(tn_dtype dtype) { return dtype == TN_DTYPE_Q8_0 || dtype == TN_DTYPE_Q4_0; }
bool is_quantised(tn_dtype dtype) { return has_blocks_of_32(dtype) || dtype == TN_DTYPE_Q6_K; }
uint32_t group_of(tn_dtype dtype) { return has_blocks_of_32(dtype) ? 32 : 256; }

std::vector<uint32_t> columns_of(tn_dtype dtype)
{
    if (has_blocks_of_32(dtype)) return {32, 64, 96, 224, 256, 288, 480, 512, 544, 1056};
    if (dtype == TN_DTYPE_Q6_K) return {256, 512, 768, 1280};
    return {1, 2, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 251, 256, 257, 509};
}

enum class Fill { random, tiny, large, extreme_codes };
constexpr Fill fills[] = {Fill::random, Fill::tiny, Fill::large, Fill::extreme_codes};

uint16_t half_of(float value) { return tn_f32_to_f16(value); }

// f16 scales of quantised blocks: random, subnormals, large.
uint16_t block_scale(Fill fill, Random &random)
{
    switch (fill) {
    case Fill::tiny: return static_cast<uint16_t>(random.range(0, 3) | (random.bits() & 0x8000u));
    case Fill::large: return half_of(random.value(12, 14));
    default: return half_of(random.value(-14, 1));
    }
}

void put16(uint8_t *dst, uint16_t v) { std::memcpy(dst, &v, sizeof v); }

void fill_row(tn_dtype dtype, uint32_t K, Fill fill, Random &random, uint8_t *row)
{
    if (dtype == TN_DTYPE_Q8_0) {
        for (uint32_t b = 0; b < K / 32; b++, row += 34) {
            put16(row, block_scale(fill, random));
            for (uint32_t i = 0; i < 32; i++) {
                row[2 + i] =
                    static_cast<uint8_t>(fill == Fill::extreme_codes ? (random.range(0, 3) ? -128 : 127) : random.range(-128, 127));
            }
        }
    } else if (dtype == TN_DTYPE_Q4_0) {
        for (uint32_t b = 0; b < K / 32; b++, row += 18) {
            put16(row, block_scale(fill, random));
            for (uint32_t i = 0; i < 16; i++)
                row[2 + i] = static_cast<uint8_t>(fill == Fill::extreme_codes ? (random.range(0, 3) ? 0x00 : 0xff) : random.bits());
        }
    } else if (dtype == TN_DTYPE_Q6_K) {
        for (uint32_t b = 0; b < K / 256; b++, row += 210) {
            const bool extreme = fill == Fill::extreme_codes;
            const uint8_t same = random.range(0, 1) ? 0xff : 0; // all codes 31 or all -32
            for (uint32_t i = 0; i < 192; i++) row[i] = extreme ? same : static_cast<uint8_t>(random.bits());
            for (uint32_t i = 0; i < 16; i++) row[192 + i] = static_cast<uint8_t>(extreme ? -128 : random.range(-128, 127));
            put16(row + 208, block_scale(fill, random));
        }
    } else {
        for (uint32_t k = 0; k < K; k++) {
            // Tiny: both sides of FL for weights (only f32 and bf16 reach there).
            const float v = fill == Fill::tiny    ? random.value(-126, -20)
                            : fill == Fill::large ? random.value(10, 14)
                                                  : random.value(-12, 2);
            if (dtype == TN_DTYPE_F32) std::memcpy(row + 4 * size_t{k}, &v, 4);
            if (dtype == TN_DTYPE_F16) put16(row + 2 * size_t{k}, half_of(v));
            if (dtype == TN_DTYPE_BF16) put16(row + 2 * size_t{k}, static_cast<uint16_t>(tn_bits(v) >> 16));
        }
    }
}

std::unique_ptr<Weight> make_weight(tn_dtype dtype, uint32_t N, uint32_t K, Fill fill, Random &random)
{
    const size_t row_bytes = tn_dtype_row_bytes(dtype, K);
    std::vector<uint8_t> rows(N * row_bytes);
    for (uint32_t n = 0; n < N; n++) fill_row(dtype, K, fill, random, rows.data() + n * row_bytes);
    auto weight = std::make_unique<Weight>(TN_WEIGHT_DENSE, dtype, N, K, rows);
    weight->pack();
    return weight;
}

// f32 rows with NaN between them, and the same quantised in groups.
struct Activations {
    uint32_t M, K, group, groups;
    size_t stride, q_stride;
    std::vector<float> x, scales;
    std::vector<int8_t> q;
    std::vector<int32_t> sums;
    Activations(uint32_t m_count, uint32_t k_count, tn_dtype dtype, Fill fill, Random &random)
        : M(m_count), K(k_count), group(group_of(dtype)), groups(k_count / group), stride(k_count + 3), q_stride(TN_Q8_STRIDE(k_count)),
          x(M * stride - 3, tn_float(0x7fc00000)), scales(M * groups), q(M * q_stride), sums(M * groups)
    {
        for (uint32_t m = 0; m < M; m++) {
            for (uint32_t k = 0; k < K; k++) {
                const float extreme = random.range(0, 3) ? 1.0f : -1.0f;
                row(m)[k] = fill == Fill::extreme_codes ? extreme
                            : fill == Fill::tiny        ? tn_fl(random.value(-50, -30))
                            : fill == Fill::large       ? random.value(20, 24)
                                                        : random.value(-8, 4);
            }
        }
        if (is_quantised(dtype)) quantise();
    }
    float *row(uint32_t m) { return x.data() + m * stride; }
    void quantise()
    {
        for (uint32_t m = 0; m < M; m++)
            tn_ref_quant_group(row(m), K, group, q.data() + m * q_stride, scales.data() + m * groups, sums.data() + m * groups);
    }
};

tn_k_matmul_dense_args args_of(const Weight &weight, Activations &x, uint32_t M, uint32_t first_row, Output &out)
{
    const tn_cpu_weight &view = weight.view();
    const uint32_t unit = view.layout == TN_CPU_LAYOUT_ROWS ? 1 : 16; // rows a stride
    tn_k_matmul_dense_args args{};
    args.x = x.x.data();
    args.x_stride = x.stride;
    args.xq = x.q.data();
    args.xq_stride = x.q_stride;
    args.xq_scale = x.scales.data();
    args.xq_sum = x.sums.data();
    args.xq_groups = x.groups;
    args.w = view.data + first_row / unit * view.stride_bytes;
    args.w_stride = view.stride_bytes;
    args.M = M;
    args.N = weight.n_rows() - first_row;
    args.K = weight.n_cols();
    args.y = out.y();
    args.y_stride = out.stride();
    args.y_absmax = out.absmax();
    return args;
}

void run(const tn_kernel_row &row, const tn_k_matmul_dense_args &args) { reinterpret_cast<tn_k_matmul_dense_fn *>(row.function)(&args); }

struct Expected {
    std::vector<std::vector<float>> y;
    std::vector<uint32_t> absmax;
    Expected(const Weight &weight, Activations &x)
    {
        for (uint32_t m = 0; m < x.M; m++) {
            std::vector<float> one(weight.n_rows());
            absmax.push_back(
                tn_ref_matmul_dense(x.row(m), weight.view().dtype, weight.rows().data(), weight.n_rows(), weight.n_cols(), one.data()));
            y.push_back(one);
        }
    }
};

void expect_same(const Expected &expected, const Output &out, uint32_t M, uint32_t N)
{
    EXPECT_EQ(out.broken_mark(), -1) << "a cell outside the output was written";
    for (uint32_t m = 0; m < M; m++) {
        for (uint32_t n = 0; n < N; n++) {
            ASSERT_EQ(tn_bits(out.row(m)[n]), tn_bits(expected.y[m][n])) << "token " << m << " row " << n;
        }
        ASSERT_EQ(out.absmax(m), std::max(expected.absmax[m], Output::absmax_before)) << "token " << m;
    }
}

class MatmulDense : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(MatmulDense, EqualsTheReferenceForEveryTileRemainder)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    constexpr uint32_t M_max = 17;
    for (uint32_t N : {1u, 2u, 3u, 4u, 5u, 15u, 16u, 17u, 33u}) {
        for (uint32_t K : columns_of(dtype)) {
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            Random random(N * 10007 + K);
            auto weight = make_weight(dtype, N, K, Fill::random, random);
            Activations x(M_max, K, dtype, Fill::random, random);
            const Expected expected(*weight, x);
            for (uint32_t M = 1; M <= M_max; M++) {
                Output out(M, N);
                run(row, args_of(*weight, x, M, 0, out));
                ASSERT_NO_FATAL_FAILURE(expect_same(expected, out, M, N)) << "M " << M;
            }
        }
    }
}

TEST_P(MatmulDense, EqualsTheReferenceForExtremeValuesWithAndWithoutFlushToZero)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    const uint32_t N = 37, M = 7;
    for (uint32_t K : columns_of(dtype)) {
        for (Fill weight_fill : fills) {
            for (Fill x_fill : fills) {
                SCOPED_TRACE(seed_hint() + " K " + std::to_string(K) + " fills " + std::to_string(static_cast<int>(weight_fill)) + " " +
                             std::to_string(static_cast<int>(x_fill)));
                Random random(K * 100 + static_cast<uint64_t>(weight_fill) * 10 + static_cast<uint64_t>(x_fill));
                auto weight = make_weight(dtype, N, K, weight_fill, random);
                Activations x(M, K, dtype, x_fill, random);
                const Expected expected(*weight, x);
                Output normal(M, N), flushed(M, N);
                run(row, args_of(*weight, x, M, 0, normal));
                with_flush_to_zero([&] { run(row, args_of(*weight, x, M, 0, flushed)); });
                ASSERT_NO_FATAL_FAILURE(expect_same(expected, normal, M, N));
                ASSERT_NO_FATAL_FAILURE(expect_same(expected, flushed, M, N)) << "with FTZ and DAZ";
            }
        }
    }
}

TEST_P(MatmulDense, StartsAtAnyRowOrPanel)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    Random random(7);
    const uint32_t N = 40, M = 6, K = columns_of(dtype).back(), step = is_quantised(dtype) ? 16 : 3;
    auto weight = make_weight(dtype, N, K, Fill::random, random);
    Activations x(M, K, dtype, Fill::random, random);
    const Expected expected(*weight, x);
    for (uint32_t first = 0; first < N; first += step) {
        Output out(M, N - first);
        run(row, args_of(*weight, x, M, first, out));
        EXPECT_EQ(out.broken_mark(), -1);
        for (uint32_t m = 0; m < M; m++) {
            ASSERT_EQ(std::memcmp(out.row(m), expected.y[m].data() + first, (N - first) * sizeof(float)), 0)
                << seed_hint() << " row " << first;
        }
    }
}

// In every lane: -fl(a*b), then a*b. Rounded twice the sum is 0; fused it is what the product lost, 2^-24.
void expect_lanes_round_twice(const tn_kernel_row &row, tn_dtype dtype, uint32_t M, uint32_t N)
{
    const float b = dtype == TN_DTYPE_F32 ? 1 + 0x1p-12f : 1 + 0x1p-7f, a = dtype == TN_DTYPE_F32 ? b : 1 + 0x1p-17f;
    const float rounded = dtype == TN_DTYPE_F32 ? 1 + 0x1p-11f : 1 + 0x1p-7f + 0x1p-17f;
    std::vector<uint8_t> rows(size_t{N} * tn_dtype_row_bytes(dtype, 64));
    for (uint32_t i = 0; i < N * 64; i++) {
        const float v = i % 64 < 32 ? 1.0f : b;
        if (dtype == TN_DTYPE_F32) std::memcpy(rows.data() + 4 * size_t{i}, &v, 4);
        if (dtype == TN_DTYPE_F16) put16(rows.data() + 2 * size_t{i}, half_of(v));
        if (dtype == TN_DTYPE_BF16) put16(rows.data() + 2 * size_t{i}, static_cast<uint16_t>(tn_bits(v) >> 16));
    }
    Weight weight(TN_WEIGHT_DENSE, dtype, N, 64, rows);
    weight.pack();
    Random random(1);
    Activations x(M, 64, dtype, Fill::random, random);
    for (uint32_t m = 0; m < M; m++) {
        for (uint32_t k = 0; k < 64; k++) x.row(m)[k] = k < 32 ? -rounded : a;
    }
    Output out(M, N);
    run(row, args_of(weight, x, M, 0, out));
    for (uint32_t m = 0; m < M; m++) {
        for (uint32_t n = 0; n < N; n++) ASSERT_EQ(tn_bits(out.row(m)[n]), 0u) << "token " << m << " row " << n;
    }
}

// Rows of codes 1 with scales 1.
std::unique_ptr<Weight> make_ones(tn_dtype dtype, uint32_t N, uint32_t K)
{
    std::vector<uint8_t> rows(N * tn_dtype_row_bytes(dtype, K));
    const size_t block_bytes = tn_dtype_get(dtype)->block_bytes;
    for (uint8_t *block = rows.data(); block < rows.data() + rows.size(); block += block_bytes) {
        if (dtype == TN_DTYPE_Q8_0) {
            put16(block, half_of(1.0f));
            std::memset(block + 2, 1, 32);
        } else if (dtype == TN_DTYPE_Q4_0) { // 1 + 8
            put16(block, half_of(1.0f));
            std::memset(block + 2, 0x99, 16);
        } else { // 1 + 32: low bits 1, high bits 2
            std::memset(block, 0x11, 128);
            std::memset(block + 128, 0xaa, 64);
            std::memset(block + 192, 1, 16);
            put16(block + 208, half_of(1.0f));
        }
    }
    auto weight = std::make_unique<Weight>(TN_WEIGHT_DENSE, dtype, N, K, rows);
    weight->pack();
    return weight;
}

// Gives group g of every token codes that add up to `sum`.
void set_group(Activations &x, uint32_t g, int32_t sum, float scale)
{
    for (uint32_t m = 0; m < x.M; m++) {
        x.sums[m * x.groups + g] = sum;
        x.scales[m * x.groups + g] = scale;
        int32_t rest = sum;
        for (uint32_t i = 0; rest != 0; i++) {
            const int32_t part = std::max(-127, std::min(127, rest));
            x.q[m * x.q_stride + g * x.group + i] = static_cast<int8_t>(part);
            rest -= part;
        }
    }
}

// Two terms of GSUM, at every two places: one exact, -fl(a*b), the other a*b = 2049 * (1+2^-13)*2^-11, which loses 2^-24.
void expect_terms_round_twice(const tn_kernel_row &row, tn_dtype dtype, uint32_t M, uint32_t N)
{
    const uint32_t groups = has_blocks_of_32(dtype) ? 16 : 3;
    auto weight = make_ones(dtype, N, groups * group_of(dtype));
    for (uint32_t exact = 0; exact < groups; exact++) {
        for (uint32_t inexact = 0; inexact < groups; inexact++) {
            if (exact == inexact) continue;
            Random random(1);
            Activations x(M, weight->n_cols(), dtype, Fill::random, random);
            std::fill(x.q.begin(), x.q.end(), int8_t{0});
            std::fill(x.sums.begin(), x.sums.end(), 0);
            set_group(x, exact, -1, 1 + 0x1p-11f + 0x1p-13f);
            set_group(x, inexact, 2049, (1 + 0x1p-13f) * 0x1p-11f);
            Output out(M, N);
            run(row, args_of(*weight, x, M, 0, out));
            for (uint32_t m = 0; m < M; m++) {
                for (uint32_t n = 0; n < N; n++) {
                    ASSERT_EQ(tn_bits(out.row(m)[n]), 0u) << "terms " << exact << " and " << inexact << " token " << m << " row " << n;
                }
            }
        }
    }
}

TEST_P(MatmulDense, RoundsEveryProductBeforeItIsAdded)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    for (uint32_t M : {1u, 2u, 7u}) {
        if (is_quantised(dtype)) {
            expect_terms_round_twice(row, dtype, M, 19);
        } else {
            expect_lanes_round_twice(row, dtype, M, 19);
        }
    }
}

TEST_P(MatmulDense, ReportsPoisonAndNeverLowersTheMaximum)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    Random random(8);
    const uint32_t N = 18, M = 3, K = 256;
    auto weight = make_weight(dtype, N, K, Fill::random, random);
    Activations x(M, K, dtype, Fill::random, random);
    for (uint32_t k = 0; k < K; k++) {
        x.row(1)[k] *= tn_pow2(80);
        x.row(2)[k] = 0;
    }
    if (is_quantised(dtype)) x.quantise();
    Output out(M, N);
    out.absmax()[0] = 0x7f800000u;
    run(row, args_of(*weight, x, M, 0, out));
    EXPECT_EQ(out.absmax(0), 0x7f800000u);
    EXPECT_GE(out.absmax(1), TN_ABS_BITS_2P56) << seed_hint();
    EXPECT_EQ(out.absmax(2), Output::absmax_before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, MatmulDense,
                         ::testing::ValuesIn(rows_of({TN_SLOT_matmul_f32, TN_SLOT_matmul_f16, TN_SLOT_matmul_bf16, TN_SLOT_matmul_q8_0,
                                                      TN_SLOT_matmul_q4_0, TN_SLOT_matmul_q6_k})),
                         row_name);

class Halves : public ::testing::TestWithParam<tn_kernel_row>
{
};

double value_of_half(uint32_t half)
{
    const int exponent = static_cast<int>(half >> 10 & 31), mantissa = static_cast<int>(half & 0x3ff);
    const double size = exponent == 0    ? std::ldexp(mantissa, -24)
                        : exponent == 31 ? (mantissa == 0 ? HUGE_VAL : std::nan(""))
                                         : std::ldexp(1024 + mantissa, exponent - 25);
    return half & 0x8000u ? -size : size;
}

// A kernel may widen normal numbers apart from the others: each half stands among ones, which are normal, and among zeros, which are not.
TEST_P(Halves, AreWidenedExactlyAllOfThemInAnyCompany)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    constexpr uint32_t N = 65536, K = 32, M = 2;
    for (uint16_t company : {0x3c00, 0x0000}) {
        for (uint32_t lane : {0u, 5u, 19u, 31u}) {
            std::vector<uint8_t> rows(size_t{N} * K * 2);
            for (uint32_t i = 0; i < N * K; i++) put16(rows.data() + 2 * size_t{i}, i % K == lane ? static_cast<uint16_t>(i / K) : company);
            Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_F16, N, K, rows);
            weight.pack();
            Random random(1);
            Activations x(M, K, TN_DTYPE_F16, Fill::random, random);
            for (uint32_t m = 0; m < M; m++) {
                for (uint32_t k = 0; k < K; k++) x.row(m)[k] = k != lane ? 0.0f : m == 0 ? 1.0f : -1.0f;
            }
            for (bool flush : {false, true}) {
                Output out(M, N);
                if (flush) {
                    with_flush_to_zero([&] { run(row, args_of(weight, x, M, 0, out)); });
                } else {
                    run(row, args_of(weight, x, M, 0, out));
                }
                for (uint32_t n = 0; n < N; n++) {
                    const double value = value_of_half(n);
                    for (uint32_t m = 0; m < M; m++) {
                        const double expected = m == 0 ? value : -value, got = out.row(m)[n];
                        ASSERT_TRUE(got == expected || (std::isnan(got) && std::isnan(expected)))
                            << "half " << n << " in lane " << lane << " token " << m << ": " << got << (flush ? " with FTZ and DAZ" : "");
                    }
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Halves, ::testing::ValuesIn(rows_of({TN_SLOT_matmul_f16})), row_name);

class Embed : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(Embed, EqualsTheReferenceForEveryRowWithAndWithoutFlushToZero)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    auto *kernel = reinterpret_cast<tn_k_embed_fn *>(row.function);
    for (uint32_t K : columns_of(dtype)) {
        for (Fill fill : fills) {
            SCOPED_TRACE(seed_hint() + " K " + std::to_string(K) + " fill " + std::to_string(static_cast<int>(fill)));
            Random random(K * 10 + static_cast<uint64_t>(fill));
            const uint32_t N = 35;
            auto weight = make_weight(dtype, N, K, fill, random);
            for (uint32_t n = 0; n < N; n++) {
                std::vector<float> expected(K);
                const uint32_t absmax = tn_ref_embed(dtype, weight->rows().data() + n * tn_dtype_row_bytes(dtype, K), K, expected.data());
                Output normal(1, K), flushed(1, K);
                EXPECT_EQ(kernel(weight->view().data, weight->view().stride_bytes, n, K, normal.y()), absmax);
                with_flush_to_zero([&] { EXPECT_EQ(kernel(weight->view().data, weight->view().stride_bytes, n, K, flushed.y()), absmax); });
                ASSERT_EQ(std::memcmp(normal.row(0), expected.data(), K * sizeof(float)), 0) << "row " << n;
                ASSERT_EQ(std::memcmp(flushed.row(0), expected.data(), K * sizeof(float)), 0) << "row " << n << " with FTZ and DAZ";
                ASSERT_EQ(normal.broken_mark(), -1);
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Embed,
                         ::testing::ValuesIn(rows_of({TN_SLOT_embed_f32, TN_SLOT_embed_f16, TN_SLOT_embed_bf16, TN_SLOT_embed_q8_0,
                                                      TN_SLOT_embed_q4_0, TN_SLOT_embed_q6_k})),
                         row_name);

class Dequant : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(Dequant, EqualsTheReferenceForEveryScaleWithAndWithoutFlushToZero)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const tn_dtype dtype = dtype_of(row.slot);
    const tn_dtype_info *info = tn_dtype_get(dtype);
    auto *kernel = reinterpret_cast<tn_k_dequant_fn *>(row.function);
    const bool offset = dtype != TN_DTYPE_Q5_0;
    for (uint32_t blocks : {1u, 2u, 3u, 9u}) {
        for (Fill fill : fills) {
            SCOPED_TRACE(seed_hint() + " blocks " + std::to_string(blocks) + " fill " + std::to_string(static_cast<int>(fill)));
            Random random(blocks * 10 + static_cast<uint64_t>(fill));
            const uint32_t K = blocks * info->block_elements;
            Bytes bytes(size_t{blocks} * info->block_bytes); // ends where the row ends: a sanitizer sees reads past it
            for (size_t i = 0; i < bytes.size(); i++)
                bytes.data()[i] = static_cast<uint8_t>(fill == Fill::extreme_codes ? (random.range(0, 1) ? 0xff : 0) : random.bits());
            for (uint32_t b = 0; b < blocks; b++) {
                put16(bytes.data() + size_t{b} * info->block_bytes, block_scale(fill, random));
                if (offset) put16(bytes.data() + size_t{b} * info->block_bytes + 2, block_scale(fill, random));
            }
            std::vector<float> expected(K);
            tn_ref_embed(dtype, bytes.data(), K, expected.data());
            Output normal(1, K), flushed(1, K);
            kernel(bytes.data(), K, normal.y());
            with_flush_to_zero([&] { kernel(bytes.data(), K, flushed.y()); });
            ASSERT_EQ(std::memcmp(normal.row(0), expected.data(), K * sizeof(float)), 0);
            ASSERT_EQ(std::memcmp(flushed.row(0), expected.data(), K * sizeof(float)), 0) << "with FTZ and DAZ";
            ASSERT_EQ(normal.broken_mark(), -1);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Dequant,
                         ::testing::ValuesIn(rows_of({TN_SLOT_dequant_q4_1, TN_SLOT_dequant_q5_0, TN_SLOT_dequant_q5_1,
                                                      TN_SLOT_dequant_q4_k, TN_SLOT_dequant_q5_k})),
                         row_name);

} // namespace
