// Row kernels of every ISA against src/ref, by bits: all kinds of rows, all lengths, with and without flushing of subnormals.
#include "row_fixture.h"

namespace
{

using namespace tn_test;

template <typename F> F *function_of(const tn_kernel_row &row) { return reinterpret_cast<F *>(row.function); }

// The results of a kernel that writes n values of T, up to two cells beside them, and may return bits.
template <typename T> struct Result {
    Guarded<T> out;
    Guarded<float> scales;
    Guarded<int32_t> sums;
    uint32_t bits = 0;
    explicit Result(size_t n, size_t n_scales = 1) : out(n), scales(n_scales), sums(n_scales) {}
};

template <typename T>::testing::AssertionResult same(const Result<T> &got, const Result<T> &want)
{
    if (!got.out.intact() || !got.scales.intact() || !got.sums.intact()) return ::testing::AssertionFailure() << "wrote past its output";
    if (!(got.out == want.out)) return ::testing::AssertionFailure() << "element " << got.out.first_difference(want.out) << " differs";
    if (!(got.scales == want.scales)) return ::testing::AssertionFailure() << "scale " << got.scales.first_difference(want.scales);
    if (!(got.sums == want.sums)) return ::testing::AssertionFailure() << "sum " << got.sums.first_difference(want.sums);
    if (got.bits != want.bits) return ::testing::AssertionFailure() << "bits " << got.bits << ", want " << want.bits;
    return ::testing::AssertionSuccess();
}

// Runs `kernel` as the thread is and with subnormals flushed; both must give what `reference` gives.
template <typename T, typename Kernel, typename Reference>
::testing::AssertionResult matches(size_t n, size_t n_scales, Kernel kernel, Reference reference)
{
    Result<T> want(n, n_scales), plain(n, n_scales), flushed(n, n_scales);
    reference(want);
    kernel(plain);
    with_flush_to_zero([&] { kernel(flushed); });
    ::testing::AssertionResult result = same(plain, want);
    if (!result) return result;
    result = same(flushed, want);
    return result ? result : ::testing::AssertionFailure() << "with FTZ and DAZ: " << result.message();
}

// Calls `check(n, kind, random)` for every length and kind.
template <typename Check> void sweep(uint64_t stream, Check check)
{
    for (uint32_t n : row_lengths()) {
        for (int kind = 0; kind < static_cast<int>(RowKind::kinds_); kind++) {
            Random random(stream * 1000003 + n * 64 + static_cast<uint64_t>(kind));
            ::testing::AssertionResult result = check(n, static_cast<RowKind>(kind), random);
            ASSERT_TRUE(result) << "n = " << n << ", kind " << kind << "; " << seed_hint();
        }
    }
}

class QuantKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(QuantKernels, QuantEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_quant_fn>(GetParam());
    sweep(1, [&](uint32_t n, RowKind kind, Random &random) {
        std::vector<float> x = make_row(random, kind, n);
        return matches<int8_t>(
            n, 1, [&](auto &r) { kernel(x.data(), n, r.out.data(), r.scales.data(), r.sums.data()); },
            [&](auto &r) { tn_ref_quant(x.data(), n, r.out.data(), r.scales.data(), r.sums.data()); });
    });
}
INSTANTIATE_TEST_SUITE_P(Rows, QuantKernels, ::testing::ValuesIn(rows_of({TN_SLOT_quant})), row_name);

class NormQuantKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

// Gains as models have them, and others as extreme as a product of two values may be.
std::vector<float> make_gains(Random &random, uint32_t n)
{
    RowKind kind = random_kind(random);
    return make_row(random, kind == RowKind::huge ? RowKind::wide : kind, n);
}
float make_eps(Random &random)
{
    const float all[3] = {0.0f, 1e-5f, 1e-6f};
    return all[random.bits() % 3];
}

TEST_P(NormQuantKernels, NormQuantEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_norm_quant_fn>(GetParam());
    sweep(2, [&](uint32_t n, RowKind kind, Random &random) {
        std::vector<float> x = make_row(random, kind, n), gamma = make_gains(random, n);
        float eps = make_eps(random);
        return matches<int8_t>(
            n, 1, [&](auto &r) { kernel(x.data(), gamma.data(), n, eps, r.out.data(), r.scales.data(), r.sums.data()); },
            [&](auto &r) { tn_ref_norm_quant(x.data(), gamma.data(), n, eps, r.out.data(), r.scales.data(), r.sums.data()); });
    });
}
INSTANTIATE_TEST_SUITE_P(Rows, NormQuantKernels, ::testing::ValuesIn(rows_of({TN_SLOT_norm_quant})), row_name);

class NormKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(NormKernels, NormEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_norm_fn>(GetParam());
    sweep(3, [&](uint32_t n, RowKind kind, Random &random) {
        std::vector<float> x = make_row(random, kind, n), gamma = make_gains(random, n);
        float eps = make_eps(random);
        return matches<float>(
            n, 1, [&](auto &r) { r.bits = kernel(x.data(), gamma.data(), n, eps, r.out.data()); },
            [&](auto &r) { r.bits = tn_ref_norm(x.data(), gamma.data(), n, eps, r.out.data()); });
    });
    const float x[3] = {1.0f, 1.0f, 1.0f};
    float y[3];
    kernel(x, x, 3, -1.0f, y); // the mean is 3 * RN(1/3), which rounds to 1; fused with eps it would be 2^-25
    EXPECT_NEAR(y[0], 0x1p50, 0x1p28);
}
INSTANTIATE_TEST_SUITE_P(Rows, NormKernels, ::testing::ValuesIn(rows_of({TN_SLOT_norm})), row_name);

class QuantGroupKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(QuantGroupKernels, QuantGroupEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_quant_group_fn>(GetParam());
    for (uint32_t group : {32u, 64u, 128u, 256u}) {
        for (uint32_t n_groups = 1; n_groups <= 40; n_groups++) {
            Random random(4 * 1000003 + group * 64 + n_groups);
            uint32_t n = group * n_groups;
            std::vector<float> x;
            for (uint32_t g = 0; g < n_groups; g++) {
                std::vector<float> part = make_row(random, random_kind(random), group);
                x.insert(x.end(), part.begin(), part.end());
            }
            ASSERT_TRUE(matches<int8_t>(
                n, n_groups, [&](auto &r) { kernel(x.data(), n, group, r.out.data(), r.scales.data(), r.sums.data()); },
                [&](auto &r) { tn_ref_quant_group(x.data(), n, group, r.out.data(), r.scales.data(), r.sums.data()); }))
                << group << " x " << n_groups << "; " << seed_hint();
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Rows, QuantGroupKernels, ::testing::ValuesIn(rows_of({TN_SLOT_quant_group})), row_name);

class RopeKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(RopeKernels, RopeEqualsTheReferenceAlsoInPlace)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_rope_fn>(GetParam());
    for (tn_rope_pairs pairs : {TN_ROPE_HALVES, TN_ROPE_ADJACENT}) {
        for (uint32_t head_dim = 2; head_dim <= 260; head_dim += 2) {
            for (int kind = 0; kind < static_cast<int>(RowKind::kinds_); kind++) {
                Random random(5 * 1000003 + head_dim * 64 + static_cast<uint64_t>(kind));
                const uint32_t n_heads = 1 + head_dim % 3, n = n_heads * head_dim;
                std::vector<float> x = make_row(random, static_cast<RowKind>(kind), n), table(head_dim);
                for (uint32_t i = 0; i < head_dim / 2; i++) {
                    double angle = static_cast<double>(random.range(0, 40000)) * 0.1;
                    bool canary = random.range(0, 3) == 0; // both products inexact and, for canary rows, cancelling
                    table[i] = canary ? 1.0f + 0x1p-12f : static_cast<float>(std::cos(angle));
                    table[head_dim / 2 + i] = canary ? 1.0f + 0x1p-12f : static_cast<float>(std::sin(angle));
                }
                auto reference = [&](auto &r) { r.bits = tn_ref_rope(x.data(), table.data(), n_heads, head_dim, pairs, r.out.data()); };
                ASSERT_TRUE(matches<float>(
                    n, 1, [&](auto &r) { r.bits = kernel(x.data(), table.data(), n_heads, head_dim, pairs, r.out.data()); }, reference))
                    << "head_dim " << head_dim << " pairs " << pairs << " kind " << kind << "; " << seed_hint();
                ASSERT_TRUE(matches<float>(
                    n, 1,
                    [&](auto &r) {
                        std::memcpy(r.out.data(), x.data(), n * sizeof(float));
                        r.bits = kernel(r.out.data(), table.data(), n_heads, head_dim, pairs, r.out.data());
                    },
                    reference))
                    << "in place, head_dim " << head_dim << " pairs " << pairs << " kind " << kind << "; " << seed_hint();
            }
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Rows, RopeKernels, ::testing::ValuesIn(rows_of({TN_SLOT_rope})), row_name);

class QuantHeadKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(QuantHeadKernels, QuantHeadEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_quant_head_fn>(GetParam());
    sweep(6, [&](uint32_t n, RowKind kind, Random &random) {
        std::vector<float> x = make_row(random, kind, n);
        if (random.bits() % 8 == 0) x[0] = random.bits() & 1 ? 0x1p-30f : std::nextafterf(0x1p-30f, 0.0f);
        int32_t A = random.bits() & 1 ? TN_KV_A_V : tn_kv_a_qk(n);
        return matches<int16_t>(
            n, 1, [&](auto &r) { kernel(x.data(), n, A, r.out.data(), r.scales.data()); },
            [&](auto &r) { tn_ref_quant_head(x.data(), n, A, r.out.data(), r.scales.data()); });
    });
}
INSTANTIATE_TEST_SUITE_P(Rows, QuantHeadKernels, ::testing::ValuesIn(rows_of({TN_SLOT_quant_head})), row_name);

class GluKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(GluKernels, GluEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_glu_fn>(GetParam());
    tn_glu_kind glu = GetParam().slot == TN_SLOT_glu_silu ? TN_GLU_SILU : TN_GLU_RELU2;
    sweep(7, [&](uint32_t n, RowKind kind, Random &random) {
        std::vector<float> gate = make_row(random, kind, n), up = make_row(random, random_kind(random), n);
        return matches<float>(
            n, 1, [&](auto &r) { r.bits = kernel(gate.data(), up.data(), n, r.out.data()); },
            [&](auto &r) { r.bits = tn_ref_glu(glu, gate.data(), up.data(), n, r.out.data()); });
    });
}

TEST_P(GluKernels, GluEqualsTheReferenceOverTheWholeCurve)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_glu_fn>(GetParam());
    tn_glu_kind glu = GetParam().slot == TN_SLOT_glu_silu ? TN_GLU_SILU : TN_GLU_RELU2;
    const uint32_t n = 200000; // gates from -50 to 50: past both clamps of the exponent
    std::vector<float> gate(n), up(n, 1.0f);
    for (uint32_t i = 0; i < n; i++) gate[i] = (static_cast<float>(i) - 100000.0f) * 5e-4f;
    ASSERT_TRUE(matches<float>(
        n, 1, [&](auto &r) { r.bits = kernel(gate.data(), up.data(), n, r.out.data()); },
        [&](auto &r) { r.bits = tn_ref_glu(glu, gate.data(), up.data(), n, r.out.data()); }));
}

// Each input in turn is what the output overwrites.
template <typename Kernel, typename Reference>
::testing::AssertionResult matches_in_place(const std::vector<float> &a, const std::vector<float> &b, Kernel kernel, Reference reference)
{
    const auto n = static_cast<uint32_t>(a.size());
    for (bool first : {true, false}) {
        const auto in_place = [&](auto &r) {
            std::copy(first ? a.begin() : b.begin(), first ? a.end() : b.end(), r.out.data());
            r.bits = kernel(first ? r.out.data() : a.data(), first ? b.data() : r.out.data(), n, r.out.data());
        };
        const auto result = matches<float>(n, 1, in_place, [&](auto &r) { r.bits = reference(a.data(), b.data(), n, r.out.data()); });
        if (!result) return ::testing::AssertionFailure() << (first ? "over the first input: " : "over the second: ") << result.message();
    }
    return ::testing::AssertionSuccess();
}

TEST_P(GluKernels, GluMayOverwriteAnInput)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    tn_glu_kind glu = GetParam().slot == TN_SLOT_glu_silu ? TN_GLU_SILU : TN_GLU_RELU2;
    sweep(9, [&](uint32_t n, RowKind kind, Random &random) {
        const std::vector<float> gate = make_row(random, kind, n), up = make_row(random, random_kind(random), n);
        return matches_in_place(gate, up, function_of<tn_k_glu_fn>(GetParam()),
                                [&](const float *a, const float *b, uint32_t count, float *y) { return tn_ref_glu(glu, a, b, count, y); });
    });
}
INSTANTIATE_TEST_SUITE_P(Rows, GluKernels, ::testing::ValuesIn(rows_of({TN_SLOT_glu_relu2, TN_SLOT_glu_silu})), row_name);

class AddKernels : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(AddKernels, AddEqualsTheReference)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *kernel = function_of<tn_k_add_fn>(GetParam());
    sweep(8, [&](uint32_t n, RowKind kind, Random &random) {
        std::vector<float> a = make_row(random, kind, n), b = make_row(random, random_kind(random), n);
        for (uint32_t i = 0; i < n; i += 3) b[i] = -a[i] * (1.0f + static_cast<float>(random.range(0, 2)) * 0x1p-23f); // cancels nearly
        return matches<float>(
            n, 1, [&](auto &r) { r.bits = kernel(a.data(), b.data(), n, r.out.data()); },
            [&](auto &r) { r.bits = tn_ref_add(a.data(), b.data(), n, r.out.data()); });
    });
}

TEST_P(AddKernels, AddMayOverwriteAnInput)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    sweep(10, [&](uint32_t n, RowKind kind, Random &random) {
        const std::vector<float> a = make_row(random, kind, n), b = make_row(random, random_kind(random), n);
        return matches_in_place(a, b, function_of<tn_k_add_fn>(GetParam()), tn_ref_add);
    });
}
INSTANTIATE_TEST_SUITE_P(Rows, AddKernels, ::testing::ValuesIn(rows_of({TN_SLOT_add})), row_name);

class PoisonedRows : public ::testing::TestWithParam<tn_kernel_row>
{
};

uint32_t run_on(const tn_kernel_row &row, const std::vector<float> &x, const std::vector<float> &ones, float *y)
{
    auto n = static_cast<uint32_t>(x.size());
    switch (row.slot) {
    case TN_SLOT_norm: return function_of<tn_k_norm_fn>(row)(x.data(), ones.data(), n, 1e-5f, y);
    case TN_SLOT_rope: return function_of<tn_k_rope_fn>(row)(x.data(), ones.data(), 1, n, TN_ROPE_HALVES, y);
    case TN_SLOT_glu_silu: return function_of<tn_k_glu_fn>(row)(x.data(), ones.data(), n, y);
    case TN_SLOT_glu_relu2: return function_of<tn_k_glu_fn>(row)(ones.data(), x.data(), n, y); // a gate that is NaN counts as not > 0
    default: return function_of<tn_k_add_fn>(row)(x.data(), ones.data(), n, y);
    }
}

TEST_P(PoisonedRows, AreReportedWhereverTheyAre)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    for (uint32_t n : {2u, 14u, 32u, 46u, 64u, 98u}) {
        std::vector<float> ones(n, 1.0f), y(n);
        EXPECT_LT(run_on(GetParam(), ones, ones, y.data()), TN_ABS_BITS_2P56);
        for (uint32_t at = 0; at < n; at++) {
            for (float bad : {inf, -inf, nan, -nan}) {
                std::vector<float> x = ones;
                x[at] = bad;
                ASSERT_GE(run_on(GetParam(), x, ones, y.data()), TN_ABS_BITS_2P56) << bad << " at " << at << " of " << n;
            }
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Rows, PoisonedRows,
                         ::testing::ValuesIn(rows_of({TN_SLOT_norm, TN_SLOT_rope, TN_SLOT_glu_silu, TN_SLOT_glu_relu2, TN_SLOT_add})),
                         row_name);

} // namespace
