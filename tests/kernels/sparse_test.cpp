// Products with listed rows and columns against src/ref, by bits, over copies made from panels of both layouts; and the copies themselves
// against a naive restatement of the layouts in kernel.h.
#include "matmul_fixture.h"

extern "C" {
#include "cpu/sparse_copy.h"
}

#include <algorithm>

using namespace tn_test;

namespace
{

constexpr tn_cpu_layout panel_layouts[] = {TN_CPU_LAYOUT_T2_16, TN_CPU_LAYOUT_T5_16};

std::unique_ptr<Weight> make_weight(uint32_t N, uint32_t K, tn_cpu_layout layout, Random &random, int value = 2)
{
    std::vector<uint8_t> rows(size_t{N} * K);
    for (auto &v : rows) v = static_cast<uint8_t>(static_cast<int8_t>(value == 2 ? random.range(-1, 1) : value));
    std::vector<float> scales(N);
    for (auto &s : scales) s = std::abs(random.value(-12, 2));
    auto weight = std::make_unique<Weight>(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, rows, TN_SCALE_ROW, scales);
    weight->pack(layout);
    return weight;
}

// A copy in strips of n_lines * 256 rows, filled last strip first.
struct Copy {
    tn_cpu_sparse_copy desc;
    std::unique_ptr<Bytes> bytes;
    Copy(const Weight &weight, tn_cpu_sparse_kind kind, uint32_t n_lines) : desc{kind, n_lines, weight.view()}
    {
        uint64_t size = 0;
        EXPECT_TRUE(tn_cpu_sparse_bytes(&desc, &size));
        bytes = std::make_unique<Bytes>(size);
        for (uint32_t s = tn_cpu_sparse_n_strips(&desc); s-- > 0;) tn_cpu_sparse_fill_strip(&desc, s, bytes->data());
    }
    const uint8_t *data() const { return bytes->data(); }
};

unsigned code_at(const Weight &weight, uint32_t n, uint32_t k)
{
    return static_cast<unsigned>(static_cast<int8_t>(weight.rows()[size_t{n} * weight.n_cols() + k]) + 1);
}

struct Token {
    std::vector<int8_t> codes;
    float scale;
    int32_t sum = 0;
    // `zeros`: percent of the codes.
    Token(uint32_t K, int zeros, Random &random) : codes(TN_Q8_STRIDE(K)), scale(std::abs(random.value(-12, 2)))
    {
        for (uint32_t k = 0; k < K; k++) {
            if (random.range(0, 99) >= zeros) codes[k] = static_cast<int8_t>(random.range(-127, 127));
            sum += codes[k];
        }
    }
    void fill(uint32_t K, int8_t code)
    {
        std::fill_n(codes.begin(), K, code);
        sum = static_cast<int32_t>(K) * code;
    }
};

std::vector<float> expected_of(const Weight &weight, const Token &token)
{
    std::vector<float> y(weight.n_rows());
    (void)tn_ref_matmul_ternary(token.codes.data(), token.scale, reinterpret_cast<const int8_t *>(weight.rows().data()),
                                weight.source().scale_kind, weight.scales().data(), weight.n_rows(), weight.n_cols(), y.data());
    return y;
}

tn_k_sparse_args args_of(const Weight &weight, const Copy &copy, const Token &token, Output &out)
{
    tn_k_sparse_args args{};
    args.all.x = token.codes.data();
    args.all.x_scale = &token.scale;
    args.all.x_sum = &token.sum;
    args.all.w = copy.data();
    args.all.w_scale = weight.view().scales;
    args.all.M = 1;
    args.all.N = weight.n_rows();
    args.all.y = out.y();
    args.all.y_absmax = out.absmax();
    args.K = weight.n_cols();
    return args;
}

uint32_t absmax_of(const std::vector<float> &y, const std::vector<uint32_t> &rows)
{
    uint32_t bits = Output::absmax_before;
    for (uint32_t row : rows) bits = std::max(bits, tn_bits(y[row]) & 0x7fffffffu);
    return bits;
}

// ---- the copies ----

TEST(SparseCopy, HoldsEveryCodeWhereTheLayoutsSay)
{
    for (tn_cpu_layout layout : panel_layouts) {
        for (uint32_t N : {1u, 16u, 19u, 255u, 256u, 257u, 530u}) {
            for (uint32_t K : {1u, 3u, 16u, 20u, 63u, 65u, 255u, 257u, 640u}) {
                const uint32_t n_lines = 1 + K % 3, strip = 256 * n_lines;
                SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
                Random random(N * 1000 + K);
                const auto weight = make_weight(N, K, layout, random);
                const Copy rows(*weight, TN_CPU_SPARSE_ROWS, n_lines), columns(*weight, TN_CPU_SPARSE_COLUMNS, n_lines);
                ASSERT_EQ(rows.bytes->size(), size_t{N} * ((K + 255) / 256 * 64));
                ASSERT_EQ(columns.bytes->size(), size_t{(N + strip - 1) / strip} * K * n_lines * 64);
                for (uint32_t n = 0; n < N; n++) {
                    for (uint32_t k = 0; k < K; k++) {
                        const uint8_t in_row = rows.data()[size_t{n} * ((K + 255) / 256 * 64) + k / 256 * 64 + k % 64];
                        ASSERT_EQ(in_row >> (2 * (k % 256 / 64)) & 3u, code_at(*weight, n, k)) << "row " << n << " column " << k;
                        const uint32_t in = n % 256, l = in % 16 / 4, b = in % 64 / 16, d = in % 4, p = in / 64;
                        const uint8_t in_column =
                            columns.data()[((size_t{n / strip} * K + k) * n_lines + n % strip / 256) * 64 + 16 * l + 4 * b + d];
                        ASSERT_EQ(in_column >> (2 * p) & 3u, code_at(*weight, n, k)) << "row " << n << " column " << k;
                    }
                }
            }
        }
    }
}

// ---- rows ----

class SparseRows : public ::testing::TestWithParam<tn_kernel_row>
{
};

void expect_rows(const tn_kernel_row &row, const Weight &weight, const Token &token, const std::vector<uint32_t> &listed)
{
    const Copy copy(weight, TN_CPU_SPARSE_ROWS, 1);
    const std::vector<float> expected = expected_of(weight, token);
    for (const bool flushed : {false, true}) {
        Output out(1, weight.n_rows());
        tn_k_sparse_args args = args_of(weight, copy, token, out);
        args.listed = listed.data();
        args.n_listed = static_cast<uint32_t>(listed.size());
        const auto call = [&] { reinterpret_cast<tn_k_sparse_fn *>(row.function)(&args); };
        if (flushed) {
            with_flush_to_zero(call);
        } else {
            call();
        }
        EXPECT_EQ(out.broken_mark(), -1);
        for (uint32_t n = 0; n < weight.n_rows(); n++) {
            const bool is_listed = std::binary_search(listed.begin(), listed.end(), n);
            ASSERT_EQ(tn_bits(out.row(0)[n]), is_listed ? tn_bits(expected[n]) : Output::mark) << "row " << n << " flushed " << flushed;
        }
        ASSERT_EQ(out.absmax(0), absmax_of(expected, listed));
    }
}

TEST_P(SparseRows, EqualTheReferenceAndLeaveTheOthersAlone)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    for (uint32_t K : {1u, 63u, 64u, 65u, 128u, 191u, 192u, 193u, 255u, 256u, 257u, 321u, 1031u}) {
        for (uint32_t n_listed = 0; n_listed <= 21; n_listed++) {
            SCOPED_TRACE(seed_hint() + " K " + std::to_string(K) + " listed " + std::to_string(n_listed));
            Random random(K * 100 + n_listed);
            const uint32_t N = 70;
            std::vector<uint32_t> rows(N);
            for (uint32_t n = 0; n < N; n++) rows[n] = n;
            for (uint32_t i = 0; i < n_listed; i++) std::swap(rows[i], rows[static_cast<size_t>(random.range(i, N - 1))]);
            rows.resize(n_listed);
            std::sort(rows.begin(), rows.end());
            const auto weight = make_weight(N, K, panel_layouts[n_listed % 2], random);
            ASSERT_NO_FATAL_FAILURE(expect_rows(GetParam(), *weight, Token(K, 20, random), rows));
        }
    }
}

TEST_P(SparseRows, HoldTheirSumsAtTheLargestKThatTheContractAllows)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    const uint32_t K = ((1u << 24) - 1) / 127;
    for (int value : {-1, 1}) {
        for (int code : {-127, 127}) {
            Random random(K);
            const auto weight = make_weight(3, K, TN_CPU_LAYOUT_T2_16, random, value);
            Token token(K, 0, random);
            token.fill(K, static_cast<int8_t>(code));
            ASSERT_NO_FATAL_FAILURE(expect_rows(GetParam(), *weight, token, {0, 1, 2})) << value << " times " << code;
        }
    }
}

TEST_P(SparseRows, ReportPoison)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    Random random(9);
    const auto weight = make_weight(5, 64, TN_CPU_LAYOUT_T2_16, random, 1);
    const Copy copy(*weight, TN_CPU_SPARSE_ROWS, 1);
    Token token(64, 0, random);
    token.fill(64, 127);
    token.scale = tn_pow2(70);
    Output out(1, 5);
    tn_k_sparse_args args = args_of(*weight, copy, token, out);
    const uint32_t listed[] = {3};
    args.listed = listed;
    args.n_listed = 1;
    reinterpret_cast<tn_k_sparse_fn *>(GetParam().function)(&args);
    EXPECT_GE(out.absmax(0), TN_ABS_BITS_2P56);
}

INSTANTIATE_TEST_SUITE_P(Kernels, SparseRows, ::testing::ValuesIn(rows_of({TN_SLOT_sparse_rows})), row_name);

// ---- columns ----

class SparseColumns : public ::testing::TestWithParam<tn_kernel_row>
{
};

// All strips, with the columns listed whose codes are not 0, or more of them.
void expect_columns(const tn_kernel_row &row, const Weight &weight, const Token &token, bool list_zeros, uint32_t n_lines)
{
    const Copy copy(weight, TN_CPU_SPARSE_COLUMNS, n_lines);
    const uint32_t strip = 256 * n_lines;
    Bytes sums(strip * sizeof(int32_t));
    const std::vector<float> expected = expected_of(weight, token);
    std::vector<uint32_t> listed, all_rows(weight.n_rows());
    std::vector<int8_t> codes;
    for (uint32_t k = 0; k < weight.n_cols(); k++) {
        if (token.codes[k] == 0 && !(list_zeros && k % 3 == 0)) continue;
        listed.push_back(k);
        codes.push_back(token.codes[k]);
    }
    for (uint32_t n = 0; n < weight.n_rows(); n++) all_rows[n] = n;
    const auto n_listed = static_cast<uint32_t>(listed.size());
    listed.resize((n_listed + 3) / 4 * 4, weight.n_cols() - 1);
    codes.resize(listed.size());
    for (const bool flushed : {false, true}) {
        Output out(1, weight.n_rows());
        for (uint32_t s = 0; s < tn_cpu_sparse_n_strips(&copy.desc); s++) {
            tn_k_sparse_args args = args_of(weight, copy, token, out);
            args.all.x = codes.data();
            args.all.w += tn_cpu_sparse_strip_bytes(&copy.desc) * s;
            args.all.w_scale += strip * s;
            args.all.y += strip * s;
            args.all.N = std::min(strip, weight.n_rows() - strip * s);
            args.n_lines = n_lines;
            args.sums = reinterpret_cast<int32_t *>(sums.data());
            args.listed = listed.data();
            args.n_listed = n_listed;
            const auto call = [&] { reinterpret_cast<tn_k_sparse_fn *>(row.function)(&args); };
            if (flushed) {
                with_flush_to_zero(call);
            } else {
                call();
            }
        }
        EXPECT_EQ(out.broken_mark(), -1);
        for (uint32_t n = 0; n < weight.n_rows(); n++)
            ASSERT_EQ(tn_bits(out.row(0)[n]), tn_bits(expected[n])) << "row " << n << " flushed " << flushed;
        ASSERT_EQ(out.absmax(0), absmax_of(expected, all_rows));
    }
}

TEST_P(SparseColumns, EqualTheReferenceWhateverIsZero)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    for (uint32_t N : {1u, 15u, 16u, 33u, 64u, 65u, 100u, 255u, 256u, 257u, 400u, 1000u}) {
        for (uint32_t K : {1u, 2u, 3u, 4u, 5u, 64u, 131u, 300u}) {
            for (int zeros : {0, 50, 83, 100}) {
                SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K) + " zeros " + std::to_string(zeros));
                Random random(N * 100000 + K * 100 + static_cast<uint32_t>(zeros));
                const auto weight = make_weight(N, K, panel_layouts[K % 2], random);
                ASSERT_NO_FATAL_FAILURE(expect_columns(GetParam(), *weight, Token(K, zeros, random), K % 4 == 1, 1 + N / 16 % 3));
            }
        }
    }
}

TEST_P(SparseColumns, HoldTheirSumsAtTheLargestKThatTheContractAllows)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    const uint32_t K = ((1u << 24) - 1) / 127;
    for (int value : {-1, 1}) {
        for (int code : {-127, 127}) {
            Random random(K);
            const auto weight = make_weight(70, K, TN_CPU_LAYOUT_T2_16, random, value);
            Token token(K, 0, random);
            token.fill(K, static_cast<int8_t>(code));
            ASSERT_NO_FATAL_FAILURE(expect_columns(GetParam(), *weight, token, false, 1)) << value << " times " << code;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, SparseColumns, ::testing::ValuesIn(rows_of({TN_SLOT_sparse_columns})), row_name);

} // namespace
