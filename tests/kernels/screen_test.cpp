// The two-stage head: whatever it leaves out is not among the best, on heads made to deceive it; and each term of its bound is needed.
#include "screen_fixture.h"
#include "support/isa_levels.hpp"

using namespace tn_test;

namespace
{

constexpr tn_dtype dtypes[] = {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16};

tn_cpu_kernels kernels_of(const std::string &level)
{
    tn_isa isa;
    tn_cpu_kernels kernels;
    EXPECT_EQ(tn_isa_parse(level.c_str(), &isa), TN_OK);
    tn_cpu_dispatch(tn_isa_set_up_to(tn_isa_available(), isa), &kernels);
    return kernels;
}
tn_cpu_kernels best_kernels() { return kernels_of(isa_levels().back()); }

// ---- heads that deceive ----

float next_to(float x, int64_t steps) { return tn_float(static_cast<uint32_t>(static_cast<int64_t>(tn_bits(x)) + steps)); }

// Activations by kind: random; an outlier in every row; tiny, below the least scale; alternating halves of a step.
std::vector<float> activations(uint32_t kind, uint32_t M, uint32_t K, Random &random)
{
    std::vector<float> x(size_t{M} * K);
    for (uint32_t m = 0; m < M; m++) {
        for (uint32_t k = 0; k < K; k++) {
            float &v = x[size_t{m} * K + k];
            v = kind == 2   ? random.value(-30, -18)
                : kind == 3 ? (k % 32 == 0 ? 127.0f : static_cast<float>(random.range(-60, 60)) + 0.49f)
                            : random.value(-6, 1);
        }
        if (kind == 1) x[size_t{m} * K + static_cast<size_t>(random.range(0, K - 1))] = random.value(8, 12);
        if (kind == 0 && m > 0) std::copy(x.begin(), x.begin() + K, x.begin() + size_t{m} * K); // the same, a little changed
        x[size_t{m} * K] = random.value(-2, 1);
    }
    return x;
}

// Heads by kind; `x` is the first row of activations.
enum { NEAR_TIES, EQUAL_ROWS, HUGE_ROWS, ZERO_ROWS, CANCELLING, HALF_STEPS, ALIGNED, TINY, NOT_FINITE, N_HEADS };

void fill_head(int kind, tn_dtype dtype, uint32_t N, uint32_t K, const std::vector<float> &x, Random &random, std::vector<float> &w)
{
    std::vector<float> base(K);
    for (float &v : base) v = random.value(-6, -1);
    w.resize(size_t{N} * K);
    for (uint32_t n = 0; n < N; n++) {
        float *row = &w[size_t{n} * K];
        for (uint32_t k = 0; k < K; k++) {
            const float sign = tn_bits(x[k]) >> 31 ? -1.0f : 1.0f, step = 0x1p-7f;
            switch (kind) {
            case NEAR_TIES:
            case EQUAL_ROWS: row[k] = base[k]; break;
            case HUGE_ROWS:
                row[k] =
                    random.value(-6, -1) * (dtype == TN_DTYPE_F16 ? (n % 5 ? 1.0f : 0x1p15f) : tn_pow2(static_cast<int32_t>(n * 7 % 70)));
                break;
            case ZERO_ROWS: row[k] = n % 3 ? 0.0f : random.value(-6, -1); break;
            case CANCELLING: row[k] = (k % 2 ? -1.0f : 1.0f) * random.value(3, 3); break;
            // What is rounded off has the sign that helps (even rows) or harms (odd rows) most: approximations rank them the wrong way.
            case HALF_STEPS:
                row[k] =
                    k % 32 == 0 ? 127.0f * step : static_cast<float>(random.range(-3, 3)) * step + sign * (n % 2 ? -0.49f : 0.49f) * step;
                break;
            case ALIGNED: row[k] = x[k] * 0.01f * (1.0f + 1e-4f * static_cast<float>(n % 13)); break;
            case TINY: row[k] = random.value(-40, -24); break;
            default: row[k] = random.value(-6, -1); break;
            }
        }
        const uint32_t at = static_cast<uint32_t>(random.range(0, K - 1));
        if (kind == NEAR_TIES)
            row[at] = next_to(row[at], (dtype == TN_DTYPE_F32 ? 1 : dtype == TN_DTYPE_F16 ? 8192 : 65536) * random.range(-2, 2));
        if (kind == NOT_FINITE && n % 17 == 3) row[at] = n % 2 ? INFINITY : NAN;
    }
}

HeadCase make_case(int kind, uint32_t x_kind, tn_dtype dtype, uint32_t N, uint32_t K, uint32_t M)
{
    Random random(static_cast<uint64_t>(kind) * 1000003 + x_kind * 10007 + static_cast<uint64_t>(dtype) * 101 + N * 7 + K + M * 3);
    HeadCase c{"head " + std::to_string(kind) + " x " + std::to_string(x_kind) + " " + tn_dtype_get(dtype)->name + " " + std::to_string(N) +
                   "x" + std::to_string(K) + " M " + std::to_string(M),
               dtype,
               N,
               K,
               {},
               activations(x_kind, M, K, random)};
    fill_head(kind, dtype, N, K, c.x, random, c.w);
    return c;
}

void expect_right(const HeadCase &c, const std::vector<float> &expected, const Screened &s, const std::vector<uint32_t> &n_top,
                  uint32_t n_top_ids)
{
    for (uint32_t m = 0; m < c.M(); m++) {
        ASSERT_EQ(wrong_with(&s.y[size_t{m} * c.N], s.absmax[m], &expected[size_t{m} * c.N], c.N, n_top[m], n_top_ids), "")
            << c.name << ", row " << m << ", the best " << n_top[m] << " of " << n_top_ids << ", " << seed_hint();
    }
}

} // namespace

TEST(Screen, KeepsTheBestWithExactValuesWhateverTheHead)
{
    const std::vector<std::string> levels = isa_levels();
    const uint32_t tops[] = {1, 2, 40, TN_SCREEN_TOP_MAX};
    uint32_t n = 0;
    for (int kind = 0; kind < N_HEADS; kind++) {
        for (uint32_t x_kind = 0; x_kind < 4; x_kind++) {
            for (tn_dtype dtype : dtypes) {
                for (uint32_t K : {32u, 288u, 1056u}) {
                    const uint32_t M = 1 + n % 4, N = 181 + 16 * (n % 3);
                    const HeadCase c = make_case(kind, x_kind, dtype, N, K, M);
                    const ScreenedHead head(c);
                    const std::vector<float> expected = whole_head(c, head);
                    const tn_cpu_kernels kernels = kernels_of(levels[n % levels.size()]);
                    std::vector<uint32_t> n_top;
                    for (uint32_t m = 0; m < M; m++) n_top.push_back(tops[(n + m) % 4]);
                    for (uint32_t n_top_ids : {N, N - 33}) {
                        const Screened s = screen(c, head, kernels, n_top, n_top_ids, 1 + n % 3);
                        ASSERT_NO_FATAL_FAILURE(expect_right(c, expected, s, n_top, n_top_ids));
                    }
                    n++;
                }
            }
        }
    }
}

TEST(Screen, OfEveryLevelAndNumberOfWorkersKeepsTheSameRows)
{
    const HeadCase c = make_case(ZERO_ROWS, 0, TN_DTYPE_F16, 203, 512, 3);
    const ScreenedHead head(c);
    const std::vector<uint32_t> n_top = {1, 5, 2};
    const Screened first = screen(c, head, kernels_of("scalar"), n_top, c.N, 1);
    EXPECT_LT(first.n_kept, 3u * c.N) << "a test that could not fail";
    for (const std::string &level : isa_levels()) {
        for (uint32_t threads : {1u, 2u, 3u, 8u}) {
            const Screened s = screen(c, head, kernels_of(level), n_top, c.N, threads);
            EXPECT_EQ(s.n_kept, first.n_kept) << level << " " << threads;
            EXPECT_EQ(std::memcmp(s.y.data(), first.y.data(), s.y.size() * sizeof(float)), 0) << level << " " << threads;
        }
    }
}

// What the whole is for: of an ordinary head few rows remain.
TEST(Screen, LeavesOutMostRowsOfARandomHead)
{
    Random random(77);
    HeadCase c{"random", TN_DTYPE_F16, 8192, 1024, {}, {}};
    const auto normal = [&] {
        float sum = 0;
        for (int i = 0; i < 12; i++) sum += static_cast<float>(random.range(0, 65535)) * 0x1p-16f;
        return sum - 6.0f;
    };
    for (uint32_t k = 0; k < c.K; k++) c.x.push_back(normal());
    for (size_t i = 0; i < size_t{c.N} * c.K; i++) c.w.push_back(normal() * 0.02f);
    const ScreenedHead head(c);
    const std::vector<float> expected = whole_head(c, head);
    for (uint32_t n_top : {1u, 40u}) {
        const Screened s = screen(c, head, best_kernels(), {n_top}, c.N, 2);
        EXPECT_EQ(wrong_with(s.y.data(), s.absmax[0], expected.data(), c.N, n_top, c.N), "") << seed_hint();
        EXPECT_LT(s.n_kept, n_top == 1 ? 200u : 1000u);
        EXPECT_GE(s.n_kept, n_top);
    }
}

TEST(Screen, StoresTheNormsOfWhatItHoldsAndOfWhatItRoundedOff)
{
    for (int kind : {NEAR_TIES, HUGE_ROWS, ZERO_ROWS, HALF_STEPS, TINY}) {
        for (tn_dtype dtype : dtypes) {
            const HeadCase c = make_case(kind, 0, dtype, 37, 96, 1);
            const ScreenedHead head(c);
            for (uint32_t n = 0; n < c.N; n++) {
                long double residual = 0, copied = 0;
                for (uint32_t k = 0; k < c.K; k++) {
                    const long double w = head.at(n, k), h = head.copied(n, k);
                    residual += (w - h) * (w - h);
                    copied += h * h;
                }
                const double r = static_cast<double>(std::sqrt(residual)), h = static_cast<double>(std::sqrt(copied));
                EXPECT_GE(head.residual_norm(n), r) << c.name << " " << n;
                EXPECT_LE(head.residual_norm(n), r * (1 + 1e-5)) << c.name << " " << n;
                EXPECT_GE(head.copied_norm(n), h) << c.name << " " << n;
                EXPECT_LE(head.copied_norm(n), h * (1 + 1e-5)) << c.name << " " << n;
            }
        }
    }
}

// Every f16 value, 32 neighbours a row: what the copy holds is near to it, and rows that are not finite are marked.
TEST(Screen, ReadsEveryHalf)
{
    HeadCase c{"halves", TN_DTYPE_F16, 2048, 32, {}, {}};
    for (uint32_t h = 0; h < 65536; h++) c.w.push_back(tn_f16_to_f32(static_cast<uint16_t>(h)));
    const ScreenedHead head(c);
    for (uint32_t n = 0; n < c.N; n++) {
        const bool is_finite = (n * 32 & 0x7c00u) != 0x7c00u;
        ASSERT_EQ(std::isinf(head.residual_norm(n)), !is_finite) << n;
        float absmax = 0;
        for (uint32_t k = 0; k < 32; k++) absmax = std::max(absmax, std::abs(head.at(n, k)));
        for (uint32_t k = 0; is_finite && k < 32; k++) {
            const double step = std::max(double{absmax} / 127, double{TN_SCREEN_SCALE_MIN});
            ASSERT_LE(std::abs(head.copied(n, k) - double{head.at(n, k)}), 0.5001 * step) << n << " " << k;
        }
    }
}

TEST(Screen, RootsAreNeverTooSmall)
{
    Random random(5);
    for (int i = 0; i < 100000; i++) {
        const double s =
            static_cast<double>(random.value(-126, 126)) * static_cast<double>(random.value(-126, 126)) * (i % 2 ? 1.0 : 1 + 1e-12);
        const double magnitude = std::abs(s), root = tn_cpu_sqrt_up(magnitude);
        const long double exact = std::sqrt(static_cast<long double>(magnitude));
        ASSERT_GE(static_cast<long double>(root), exact) << magnitude;
        ASSERT_LE(static_cast<long double>(root), exact * (1 + 0x1p-48L)) << magnitude;
    }
    EXPECT_EQ(tn_cpu_sqrt_up(0), 0);
    EXPECT_TRUE(std::isnan(tn_cpu_sqrt_up(NAN)));
    EXPECT_TRUE(std::isinf(tn_cpu_sqrt_up(INFINITY)));
}
