// Every kernel of ternary matmul against src/ref, by bits.
#include "matmul_fixture.h"

using namespace tn_test;

namespace
{

// Quantised activations as kernels take them: zeros up to the padding, scale and sum a row.
struct Activations {
    uint32_t M, K;
    size_t stride;
    std::vector<int8_t> codes;
    std::vector<float> scales;
    std::vector<int32_t> sums;
    Activations(uint32_t m, uint32_t k) : M(m), K(k), stride(TN_Q8_STRIDE(k)), codes(m * stride), scales(m), sums(m) {}
    int8_t *row(uint32_t m) { return codes.data() + m * stride; }
    void add_up()
    {
        for (uint32_t m = 0; m < M; m++) {
            sums[m] = 0;
            for (uint32_t k = 0; k < K; k++) sums[m] += row(m)[k];
        }
    }
};

enum class Fill { random, all_minus, all_plus, all_zero, codes_max, codes_min, tiny_scales, large_scales };
constexpr Fill fills[] = {Fill::random,    Fill::all_minus, Fill::all_plus,    Fill::all_zero,
                          Fill::codes_max, Fill::codes_min, Fill::tiny_scales, Fill::large_scales};

int8_t weight_of(Fill fill, Random &random)
{
    switch (fill) {
    case Fill::all_minus: return -1;
    case Fill::all_plus:
    case Fill::codes_max:
    case Fill::codes_min: return 1;
    case Fill::all_zero: return 0;
    default: return static_cast<int8_t>(random.range(-1, 1));
    }
}

int8_t code_of(Fill fill, Random &random)
{
    switch (fill) {
    case Fill::codes_max: return 127;
    case Fill::codes_min: return -127;
    default: return static_cast<int8_t>(random.range(-127, 127));
    }
}

float scale_of(Fill fill, Random &random)
{
    switch (fill) {
    // Products and results land on both sides of 2^-50.
    case Fill::tiny_scales: return tn_fl(std::abs(random.value(-28, -22)));
    case Fill::large_scales: return std::abs(random.value(20, 28));
    default: return std::abs(random.value(-12, 2));
    }
}

// The layout that a kernel reads.
tn_cpu_layout layout_of(const tn_kernel_row &row)
{
    return row.slot == TN_SLOT_matmul_ternary_t5 ? TN_CPU_LAYOUT_T5_16 : TN_CPU_LAYOUT_T2_16;
}

std::unique_ptr<Weight> make_weight(const tn_kernel_row &row, uint32_t N, uint32_t K, Fill fill, Random &random)
{
    std::vector<uint8_t> rows(size_t{N} * K);
    for (auto &v : rows) v = static_cast<uint8_t>(weight_of(fill, random));
    const tn_scale_kind kind = random.range(0, 1) ? TN_SCALE_ROW : TN_SCALE_TENSOR;
    std::vector<float> scales(kind == TN_SCALE_ROW ? N : 1);
    for (auto &s : scales) s = scale_of(fill, random);
    auto weight = std::make_unique<Weight>(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, rows, kind, scales);
    weight->pack(layout_of(row));
    return weight;
}

void run(const tn_kernel_row &row, const Weight &weight, Activations &x, uint32_t M, uint32_t first_panel, Output &out)
{
    const tn_cpu_weight &view = weight.view();
    tn_k_matmul_ternary_args args{};
    args.x = x.codes.data();
    args.x_stride = x.stride;
    args.x_scale = x.scales.data();
    args.x_sum = x.sums.data();
    args.w = view.data + first_panel * view.stride_bytes;
    args.w_scale = view.scales + first_panel * TN_T2_ROWS;
    args.M = M;
    args.N = weight.n_rows() - first_panel * TN_T2_ROWS;
    args.n_blocks = view.n_blocks;
    args.y = out.y();
    args.y_stride = out.stride();
    args.y_absmax = out.absmax();
    reinterpret_cast<tn_k_matmul_ternary_fn *>(row.function)(&args);
}

// What src/ref says of each token.
struct Expected {
    std::vector<std::vector<float>> y;
    std::vector<uint32_t> absmax;
    Expected(const Weight &weight, Activations &x)
    {
        for (uint32_t m = 0; m < x.M; m++) {
            std::vector<float> one(weight.n_rows());
            absmax.push_back(tn_ref_matmul_ternary(x.row(m), x.scales[m], reinterpret_cast<const int8_t *>(weight.rows().data()),
                                                   weight.source().scale_kind, weight.scales().data(), weight.n_rows(), weight.n_cols(),
                                                   one.data()));
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

void fill_activations(Activations &x, Fill fill, Random &random)
{
    for (uint32_t m = 0; m < x.M; m++) {
        for (uint32_t k = 0; k < x.K; k++) x.row(m)[k] = code_of(fill, random);
        x.scales[m] = scale_of(fill, random);
    }
    x.add_up();
}

class MatmulTernary : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(MatmulTernary, EqualsTheReferenceForEveryTileRemainder)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    constexpr uint32_t M_max = 17;
    for (uint32_t N : {1u, 15u, 16u, 17u, 31u, 32u, 33u, 48u, 53u}) {
        for (uint32_t K : {1u, 2u, 15u, 16u, 17u, 19u, 20u, 21u, 63u, 64u, 65u, 251u, 256u, 257u, 271u, 509u, 1031u}) {
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            Random random(N * 10007 + K);
            auto weight = make_weight(row, N, K, Fill::random, random);
            Activations x(M_max, K);
            fill_activations(x, Fill::random, random);
            const Expected expected(*weight, x);
            for (uint32_t M = 1; M <= M_max; M++) {
                Output out(M, N);
                run(row, *weight, x, M, 0, out);
                ASSERT_NO_FATAL_FAILURE(expect_same(expected, out, M, N)) << "M " << M;
            }
        }
    }
}

TEST_P(MatmulTernary, EqualsTheReferenceForExtremeValuesWithAndWithoutFlushToZero)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    // K passes several times what 16-bit partial sums hold before they must be widened.
    for (uint32_t K : {100u, 272u, 1040u, 4099u}) {
        for (Fill fill : fills) {
            SCOPED_TRACE(seed_hint() + " K " + std::to_string(K) + " fill " + std::to_string(static_cast<int>(fill)));
            Random random(K * 100 + static_cast<uint64_t>(fill));
            const uint32_t N = 37, M = 11;
            auto weight = make_weight(row, N, K, fill, random);
            Activations x(M, K);
            fill_activations(x, fill, random);
            const Expected expected(*weight, x);
            Output normal(M, N), flushed(M, N);
            run(row, *weight, x, M, 0, normal);
            with_flush_to_zero([&] { run(row, *weight, x, M, 0, flushed); });
            ASSERT_NO_FATAL_FAILURE(expect_same(expected, normal, M, N));
            ASSERT_NO_FATAL_FAILURE(expect_same(expected, flushed, M, N)) << "with FTZ and DAZ";
        }
    }
}

TEST_P(MatmulTernary, HoldsItsSumsAtTheLargestKThatTheContractAllows)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    const uint32_t K = ((1u << 24) - 1) / 127; // 127*K < 2^24
    for (Fill fill : {Fill::codes_max, Fill::codes_min}) {
        Random random(K);
        auto weight = make_weight(row, 17, K, fill, random);
        Activations x(2, K);
        fill_activations(x, fill, random);
        const Expected expected(*weight, x);
        for (uint32_t M : {1u, 2u}) {
            Output out(M, 17);
            run(row, *weight, x, M, 0, out);
            ASSERT_NO_FATAL_FAILURE(expect_same(expected, out, M, 17)) << seed_hint();
        }
    }
}

TEST_P(MatmulTernary, StartsAtAnyPanel)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    Random random(5);
    const uint32_t N = 70, K = 300, M = 9;
    auto weight = make_weight(row, N, K, Fill::random, random);
    Activations x(M, K);
    fill_activations(x, Fill::random, random);
    const Expected expected(*weight, x);
    for (uint32_t first = 0; first < 5; first++) {
        const uint32_t rest = N - first * TN_T2_ROWS;
        Output out(M, rest);
        run(row, *weight, x, M, first, out);
        EXPECT_EQ(out.broken_mark(), -1);
        for (uint32_t m = 0; m < M; m++) {
            ASSERT_EQ(std::memcmp(out.row(m), expected.y[m].data() + first * TN_T2_ROWS, rest * sizeof(float)), 0)
                << seed_hint() << " panel " << first;
        }
    }
}

TEST_P(MatmulTernary, ReportsPoisonAndNeverLowersTheMaximum)
{
    const tn_kernel_row row = GetParam();
    TN_SKIP_WITHOUT_ISA(row);
    Random random(6);
    const uint32_t N = 20, K = 64, M = 3;
    auto weight = make_weight(row, N, K, Fill::all_plus, random);
    Activations x(M, K);
    fill_activations(x, Fill::codes_max, random);
    x.scales[1] = tn_pow2(60); // 64*127 * scale: above 2^56
    x.scales[2] = 0;
    Output out(M, N);
    out.absmax()[0] = 0x7f800000u;
    run(row, *weight, x, M, 0, out);
    EXPECT_EQ(out.absmax(0), 0x7f800000u);
    EXPECT_GE(out.absmax(1), TN_ABS_BITS_2P56);
    EXPECT_EQ(out.absmax(2), Output::absmax_before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, MatmulTernary, ::testing::ValuesIn(rows_of({TN_SLOT_matmul_ternary, TN_SLOT_matmul_ternary_t5})),
                         row_name);

} // namespace
