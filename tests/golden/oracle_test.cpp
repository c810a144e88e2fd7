// Against models that share no code and no arithmetic with ternion: the real-number model in float64, and another engine.
#include "support/run_model.hpp"

#include <cmath>
#include <cstring>

using namespace tn_test;

namespace
{

float half_to_float(uint16_t h)
{
    const int exponent = (h >> 10) & 31, mantissa = h & 1023;
    float value =
        exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24) : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    if (exponent == 31) value = INFINITY;
    return h & 0x8000 ? -value : value;
}

std::vector<double> log_softmax(const float *z, size_t n)
{
    double max = z[0], sum = 0;
    for (size_t i = 1; i < n; i++) max = std::max(max, static_cast<double>(z[i]));
    for (size_t i = 0; i < n; i++) sum += std::exp(z[i] - max);
    std::vector<double> out(n);
    for (size_t i = 0; i < n; i++) out[i] = z[i] - max - std::log(sum);
    return out;
}

// What make_oracle.py wrote.
struct oracle {
    uint32_t n_ids = 0, n_vocab = 0, stride = 1;
    std::vector<int32_t> ids;
    std::vector<double> next_logprob;
    std::vector<uint16_t> logprobs; // [ceil(n_ids / stride)][n_vocab]
};

oracle read_oracle()
{
    oracle o;
    std::ifstream file(source_dir() + "/tests/data/golden/oracle_default.bin", std::ios::binary);
    uint32_t head[3] = {0, 0, 1};
    file.read(reinterpret_cast<char *>(head), sizeof head);
    o.n_ids = head[0], o.n_vocab = head[1], o.stride = head[2];
    o.ids.resize(o.n_ids);
    o.next_logprob.resize(o.n_ids ? o.n_ids - 1 : 0);
    o.logprobs.resize(size_t(o.n_ids + o.stride - 1) / o.stride * o.n_vocab);
    file.read(reinterpret_cast<char *>(o.ids.data()), std::streamsize(o.ids.size() * 4));
    file.read(reinterpret_cast<char *>(o.next_logprob.data()), std::streamsize(o.next_logprob.size() * 8));
    file.read(reinterpret_cast<char *>(o.logprobs.data()), std::streamsize(o.logprobs.size() * 2));
    if (!file) o.n_ids = 0;
    return o;
}

} // namespace

TEST(Oracle, TheExactModeStaysCloseToTheRealNumberModel)
{
    const oracle o = read_oracle();
    ASSERT_GE(o.n_ids, 300u);
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(default_model(), o.ids, {}, &result));
    ASSERT_EQ(result.n_vocab, o.n_vocab);
    double kl_sum = 0, nll = 0, nll_oracle = 0;
    uint32_t n_kl = 0;
    for (uint32_t t = 0; t < o.n_ids; t++) {
        const auto logp = log_softmax(result.logits.data() + size_t(t) * o.n_vocab, o.n_vocab);
        if (t + 1 < o.n_ids) {
            nll -= logp[static_cast<size_t>(o.ids[t + 1])];
            nll_oracle -= o.next_logprob[t];
        }
        if (t % o.stride) continue;
        double kl = 0;
        for (uint32_t v = 0; v < o.n_vocab; v++) {
            const double p = half_to_float(o.logprobs[size_t(t / o.stride) * o.n_vocab + v]);
            kl += std::exp(p) * (p - logp[v]);
        }
        kl_sum += kl;
        n_kl++;
    }
    const double ratio = std::exp((nll - nll_oracle) / (o.n_ids - 1));
    RecordProperty("mean_kl", std::to_string(kl_sum / n_kl));
    RecordProperty("perplexity_ratio", std::to_string(ratio));
    EXPECT_LT(kl_sum / n_kl, 5e-4);
    EXPECT_GT(kl_sum / n_kl, -1e-4);
    EXPECT_NEAR(ratio, 1.0, 0.002);
}

class OtherEngine : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        const std::string packed = shared_data("oracle/tiny.b158.I2_S.gguf.xz");
        if (!exists(packed)) GTEST_SKIP() << "the other engine's file is not there: set TN_TEST_DATA (looked for " << packed << ")";
        model = std::string(TN_BINARY_DIR) + "/other_engine.gguf";
        const std::string command = "xz -dc '" + packed + "' > '" + model + "'";
        ASSERT_EQ(std::system(command.c_str()), 0) << "xz-utils is needed to unpack " << packed;
    }
    std::string model;
};

TEST_F(OtherEngine, ItsFileHasTheContractsBits)
{
    const golden g = read_golden("oracle_tiny.golden");
    ASSERT_EQ(g.ids.size(), 24u);
    run_options options;
    options.traced = true;
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(model, g.ids, options, &result));
    for (const auto &[op, digest] : g.ops) EXPECT_EQ(result.op_hashes[op], digest) << op;
    EXPECT_EQ(result.digest(), g.logits);
}

TEST_F(OtherEngine, ItsLogitsAgreeWithinTheDocumentedTolerance)
{
    const golden g = read_golden("oracle_tiny.golden");
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(model, g.ids, {}, &result));
    ASSERT_EQ(result.n_vocab, 2048u);
    const std::string raw = std::string(TN_BINARY_DIR) + "/other_engine.f32";
    const std::string command = "xz -dc '" + shared_data("oracle/bitnet.tiny.I2_S.logits.f32.xz") + "' > '" + raw + "'";
    ASSERT_EQ(std::system(command.c_str()), 0);
    std::vector<float> theirs(24 * 2048);
    std::ifstream(raw, std::ios::binary).read(reinterpret_cast<char *>(theirs.data()), std::streamsize(theirs.size() * sizeof(float)));
    for (size_t t = 0; t < 24; t++) {
        double ab = 0, aa = 0, bb = 0, dd = 0;
        for (size_t v = 0; v < 2048; v++) {
            const double a = result.logits[t * 2048 + v], b = theirs[t * 2048 + v];
            ab += a * b, aa += a * a, bb += b * b, dd += (a - b) * (a - b);
        }
        EXPECT_GE(ab / std::sqrt(aa * bb), 0.998) << "position " << t;
        EXPECT_LE(std::sqrt(dd / 2048), 0.06) << "position " << t;
    }
}
