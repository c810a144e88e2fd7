// The screen's bound term by term: it holds on cases that come close to it, and with a term left out, or halved where a case reaches more
// than half of it, some case breaks it. (The rounding of the copy's own sums is left out only together with that of DOT_ROW, which is
// larger.)
#include "screen_fixture.h"

using namespace tn_test;

namespace
{

tn_cpu_kernels scalar_kernels()
{
    tn_cpu_kernels kernels;
    tn_cpu_dispatch(1u << TN_ISA_SCALAR, &kernels);
    return kernels;
}

// The bound written again, each term with a factor: |r|X, |r|E, |h|E, rounding of DOT_ROW and of GSUM, what FL makes 0.
enum { RX, RE, HE, DOT, GSUM, FLUSH, N_TERMS };
double g_factor[N_TERMS];

tn_cpu_screen_bound bound_of_factors(const tn_cpu_screen_input *in)
{
    const auto gamma = [](double n) { return n * 0x1p-24 / (1 - n * 0x1p-24); };
    const double X = in->codes, E = in->error, dot = gamma(in->n_cols / 32 + 6) * (X + E), gsum = gamma((in->n_cols + 255) / 256 + 5) * X;
    tn_cpu_screen_bound b = {};
    b.residual = (g_factor[RX] * X + g_factor[RE] * E + g_factor[DOT] * dot) * (1 + 1e-6);
    b.codes = (g_factor[HE] * E + g_factor[DOT] * dot + g_factor[GSUM] * gsum) * (1 + 1e-6);
    b.flush = g_factor[FLUSH] * 0x1p-49 * (1 + 1e-6);
    return b;
}
void all_terms() { std::fill(g_factor, g_factor + N_TERMS, 1.0); }

const float least_scale = 1e-5f * static_cast<float>(1.0 / 127.0); // of activations

// ---- cases that come close ----

// Activations that their codes hold exactly: multiples of 1.5.
float exact_x(int code) { return 1.5f * static_cast<float>(code); }

// Two rows, of which the first is the better one by little and looks worse by twice the bound: what is rounded off its weights has the
// signs of x, of the other row's the opposite ones.
HeadCase weights_between_codes()
{
    HeadCase c{"weights between codes", TN_DTYPE_F32, 32, 1024, std::vector<float>(32 * 1024, 0.0f), {}};
    const float step = 0x1p-9f;
    for (uint32_t k = 0; k < c.K; k++) {
        const bool carrier = k % 32 == 0, payer = k % 32 == 1;
        const float sign = k % 3 ? 1.0f : -1.0f, code = static_cast<float>(static_cast<int>(k * 5 % 11) - 5);
        c.x.push_back(carrier ? 0.0f : exact_x(payer ? 60 : 127) * sign);
        // The second row gains a hundredth of a step by 30 weights, and pays a step of one with a smaller factor.
        c.w[k] = carrier ? 127 * step : (code + (payer ? 0.0f : sign * 0.495f)) * step;
        c.w[c.K + k] = carrier ? 127 * step : (code + sign * (payer ? -1.0f : 0.505f)) * step;
    }
    return c;
}

// The same the other way round: weights that are held exactly, with the signs of what is rounded off the activations, and opposite ones.
HeadCase activations_between_codes()
{
    HeadCase c{"activations between codes", TN_DTYPE_F32, 32, 1024, std::vector<float>(32 * 1024, 0.0f), {}};
    for (uint32_t k = 0; k < c.K; k++) {
        const float sign = k % 2 ? 1.0f : -1.0f;
        c.x.push_back(k % 32 == 0 ? 127.0f : sign * ((k / 2) % 8 < 3 ? -0.505f : 0.495f));
        c.w[k] = k % 32 == 0 ? 0.0f : sign * 127 * 0x1p-10f;
        c.w[c.K + k] = -c.w[k];
    }
    return c;
}

// Both are rounded off, all with the same sign, and the copy holds nothing at all.
HeadCase both_between_codes()
{
    HeadCase c{"both between codes", TN_DTYPE_F32, 16, 256, {}, {}};
    for (uint32_t k = 0; k < c.K; k++) c.x.push_back(1.49f * least_scale);
    for (uint32_t n = 0; n < c.N; n++) {
        for (uint32_t k = 0; k < c.K; k++) c.w.push_back(0.49f * TN_SCREEN_SCALE_MIN * (n % 2 ? -1.0f : 1.0f));
    }
    return c;
}

// Nothing is rounded off, but each lane adds the same product until its last bits no longer fit, always in the same direction.
HeadCase sums_that_lose_bits()
{
    HeadCase c{"sums that lose bits", TN_DTYPE_F32, 256, 32 * 512, {}, {}};
    c.x.assign(c.K, exact_x(127));
    for (uint32_t n = 0; n < c.N; n++) {
        const float scale = tn_float(tn_bits(0x1p-10f) + (n * 149 + 1) * 64); // 17 bits: 127 times it is exact
        c.w.insert(c.w.end(), c.K, 127.0f * scale);
    }
    return c;
}

// Two products that cancel down to 2^-50, where FL decides otherwise for the sum than for its approximation.
HeadCase sums_near_fl()
{
    HeadCase c{"sums near FL", TN_DTYPE_F32, 1024, 64, {}, {}};
    c.x.assign(c.K, 0.0f);
    c.x[0] = c.x[32] = exact_x(127) * 0x1p-20f;
    for (uint32_t n = 0; n < c.N; n++) {
        std::vector<float> row(c.K, 0.0f);
        row[0] = tn_float(tn_bits(0x1.3p-19f) + n * 11);
        row[32] = -row[0];
        // Near the last place of the weight that makes 2^-50.
        const float wanted = 0x1p-50f / c.x[0];
        row[0] += wanted;
        c.w.insert(c.w.end(), row.begin(), row.end());
    }
    return c;
}

std::vector<HeadCase> all_cases()
{
    return {weights_between_codes(), activations_between_codes(), both_between_codes(), sums_that_lose_bits(), sums_near_fl()};
}

// The largest share of the bound that an approximation of the case is wrong by.
double worst(const HeadCase &c, tn_cpu_screen_bound_fn *bound)
{
    const ScreenedHead head(c);
    const std::vector<float> exact = whole_head(c, head);
    const tn_cpu_kernels kernels = scalar_kernels();
    const Screened s = screen(c, head, kernels, std::vector<uint32_t>(c.M(), 1), c.N, 1);
    std::vector<int8_t> codes(TN_Q8_STRIDE(c.K));
    std::vector<float> scales(c.K / 32);
    std::vector<int32_t> sums(c.K / 32);
    double share = 0;
    for (uint32_t m = 0; m < c.M(); m++) {
        kernels.quant_group(&c.x[size_t{m} * c.K], c.K, 32, codes.data(), scales.data(), sums.data());
        const tn_cpu_screen_input input = tn_cpu_screen_input_of(&c.x[size_t{m} * c.K], codes.data(), scales.data(), c.K);
        const tn_cpu_screen_bound b = bound(&input);
        for (uint32_t n = 0; n < c.N; n++) {
            const double error = std::abs(double{exact[size_t{m} * c.N + n]} - double{s.approximate[size_t{m} * c.N + n]});
            const double most = b.residual * head.residual_norm(n) + b.codes * head.copied_norm(n) + b.flush;
            if (error > 0) share = std::max(share, most > 0 ? error / most : INFINITY);
        }
    }
    return share;
}

double worst_of_all(tn_cpu_screen_bound_fn *bound)
{
    double share = 0;
    for (const HeadCase &c : all_cases()) share = std::max(share, worst(c, bound));
    return share;
}

} // namespace

TEST(ScreenBound, HoldsOnCasesThatComeClose)
{
    all_terms();
    const double least[] = {0.9, 0.9, 0.9, 0.05, 0.3}; // or the case is not what it says
    const auto cases = all_cases();
    for (size_t i = 0; i < cases.size(); i++) {
        const double share = worst(cases[i], tn_cpu_screen_bound_of);
        EXPECT_LE(share, 1) << cases[i].name;
        EXPECT_GE(share, least[i]) << cases[i].name;
        EXPECT_NEAR(worst(cases[i], bound_of_factors) / share, 1, 1e-9) << "the terms are the bound's: " << cases[i].name;
    }
}

TEST(ScreenBound, NeedsEachOfItsTerms)
{
    const struct {
        const char *name;
        std::vector<int> terms;
        double factor;
    } mutants[] = {
        {"|r|X left out", {RX}, 0},     {"|r|X halved", {RX}, 0.5},
        {"|r|E left out", {RE}, 0},     {"|r|E halved", {RE}, 0.5},
        {"|h|E left out", {HE}, 0},     {"|h|E halved", {HE}, 0.5},
        {"DOT_ROW left out", {DOT}, 0}, {"both roundings left out", {DOT, GSUM}, 0},
        {"FL left out", {FLUSH}, 0},
    };
    for (const auto &mutant : mutants) {
        all_terms();
        for (int term : mutant.terms) g_factor[term] = mutant.factor;
        EXPECT_GT(worst_of_all(bound_of_factors), 1) << mutant.name;
    }
}

// The same by its end: with such a bound the best row is lost.
TEST(ScreenBound, WithoutATermLosesTheBestRow)
{
    const struct {
        const char *name;
        HeadCase head;
        int term;
    } mutants[] = {{"|r|X", weights_between_codes(), RX}, {"|h|E", activations_between_codes(), HE}};
    for (const auto &mutant : mutants) {
        const ScreenedHead head(mutant.head);
        const std::vector<float> expected = whole_head(mutant.head, head);
        for (double factor : {1.0, 0.5, 0.0}) {
            all_terms();
            g_factor[mutant.term] = factor;
            const Screened s = screen(mutant.head, head, scalar_kernels(), {1}, mutant.head.N, 1, bound_of_factors);
            const std::string wrong = wrong_with(s.y.data(), s.absmax[0], expected.data(), mutant.head.N, 1, mutant.head.N);
            EXPECT_EQ(wrong == "", factor == 1.0) << mutant.name << " times " << factor << ": " << wrong;
        }
    }
}
