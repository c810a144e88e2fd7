// Tests of synthetic models while they run: activations stay where a trained model's are, at any depth and position.
#include "synth/synth_support.hpp"

#include <cmath>

using namespace tn_test;

namespace
{

// Sums of the rows of one op over all layers, and of each layer's residual stream.
struct Statistics {
    size_t glu = 0, glu_zeros = 0;
    double out_max = 0, out_min = 1e30, rows = 0; // magnitudes of the residual stream after each layer
    std::map<std::string, std::vector<std::vector<float>>> q, k;

    static double magnitude(const float *row, size_t n)
    {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += double{row[i]} * double{row[i]};
        return std::sqrt(sum / static_cast<double>(n));
    }
    static bool ends(const std::string &op, const char *name)
    {
        const std::string tail(name);
        return op.size() >= tail.size() && op.compare(op.size() - tail.size(), tail.size(), tail) == 0;
    }
    static void row(void *user, uint32_t, uint32_t, const char *op, const float *data, size_t n)
    {
        auto *s = static_cast<Statistics *>(user);
        const std::string name = op;
        if (ends(name, "glu")) {
            s->glu += n;
            for (size_t i = 0; i < n; i++) s->glu_zeros += data[i] == 0;
        } else if (ends(name, "out")) {
            s->out_max = std::max(s->out_max, magnitude(data, n));
            s->out_min = std::min(s->out_min, magnitude(data, n));
        } else if (ends(name, ".q")) {
            s->q[name.substr(0, name.size() - 2)].emplace_back(data, data + n);
        } else if (ends(name, ".k")) {
            s->k[name.substr(0, name.size() - 2)].emplace_back(data, data + n);
        }
    }
};

// A model on its devices.
struct Runner {
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    Statistics statistics;

    Runner(const std::string &path, bool traced)
    {
        EXPECT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_message();
        EXPECT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK) << last_message();
        tn_session_params p = TN_SESSION_PARAMS_INIT;
        if (traced) p.trace = {Statistics::row, &statistics};
        p.n_logits_max = 64;
        EXPECT_EQ(tn_session_create(model, host, &p, &session), TN_OK) << last_message();
    }
    ~Runner()
    {
        tn_session_destroy(session);
        tn_model_close(model);
        tn_host_close(host);
    }
    Runner(const Runner &) = delete;
    Runner &operator=(const Runner &) = delete;

    tn_status feed(const std::vector<int32_t> &ids, size_t n_logits)
    {
        std::vector<uint8_t> wanted(ids.size(), 0);
        for (size_t i = 0; i < n_logits; i++) wanted[ids.size() - 1 - i] = 1;
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(ids.size());
        batch.tokens = ids.data();
        batch.logits = wanted.data();
        return tn_session_decode(session, &batch);
    }
};

std::vector<int32_t> some_ids(size_t n, uint32_t n_vocab)
{
    std::vector<int32_t> ids;
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        ids.push_back(static_cast<int32_t>((x >> 8) % n_vocab));
    }
    return ids;
}

double entropy(const float *logits, size_t n)
{
    double max = -1e30, sum = 0, weighted = 0;
    for (size_t i = 0; i < n; i++) max = std::max(max, double{logits[i]});
    for (size_t i = 0; i < n; i++) sum += std::exp(logits[i] - max);
    for (size_t i = 0; i < n; i++) weighted += std::exp(logits[i] - max) * (logits[i] - max);
    return std::log(sum) - weighted / sum;
}

double correlation(const float *a, const float *b, size_t n)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) ma += a[i], mb += b[i];
    ma /= static_cast<double>(n), mb /= static_cast<double>(n);
    for (size_t i = 0; i < n; i++) {
        ab += (a[i] - ma) * (b[i] - mb);
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
    }
    return ab / std::sqrt(aa * bb);
}

// How much the scores of one head's query with the keys before it vary, as attention sees them.
double score_deviation(const Statistics &s, uint32_t head_dim, uint32_t heads_a_kv)
{
    double sum = 0, squares = 0, n = 0;
    for (const auto &[layer, queries] : s.q) {
        const auto &keys = s.k.at(layer);
        for (size_t at = 0; at < queries.size(); at++) {
            for (size_t other = 0; other <= at; other++) {
                for (size_t h = 0; h < queries[at].size() / head_dim; h++) {
                    double dot = 0;
                    for (size_t i = 0; i < head_dim; i++)
                        dot += double{queries[at][h * head_dim + i]} * double{keys[other][h / heads_a_kv * head_dim + i]};
                    dot /= std::sqrt(head_dim);
                    sum += dot;
                    squares += dot * dot;
                    n++;
                }
            }
        }
    }
    return std::sqrt(squares / n - sum / n * (sum / n));
}

struct Depth {
    const char *name, *arch, *type;
    uint32_t n_layers, n_embd, n_ff, n_heads;
    bool tied;
};

class SynthRuns : public testing::TestWithParam<Depth>
{
};
INSTANTIATE_TEST_SUITE_P(Synth, SynthRuns,
                         testing::Values(Depth{"Shallow", "bitnet-b1.58", "i2_s", 1, 256, 768, 4, true},
                                         Depth{"Usual", "bitnet-b1.58", "tq1_0", 8, 768, 2048, 6, true},
                                         Depth{"Deep", "bitnet-b1.58", "tq2_0", 88, 256, 768, 4, true},
                                         Depth{"OwnHead", "bitnet-b1.58", "i2_s", 4, 512, 1024, 4, false},
                                         Depth{"Silu", "bitnet", "i2_s", 24, 384, 1024, 4, true},
                                         Depth{"Llama", "llama", "i2_s", 24, 384, 1024, 4, false}),
                         [](const auto &i) { return std::string(i.param.name); });

TEST_P(SynthRuns, ActivationsAreThoseOfATrainedModel)
{
    const Depth &d = GetParam();
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    tn_synth_params p = small_shape(path);
    p.arch = d.arch;
    p.type = d.type;
    p.n_layers = d.n_layers;
    p.n_embd = d.n_embd;
    p.n_ff = d.n_ff;
    p.n_heads = d.n_heads;
    p.head = d.tied ? TN_SYNTH_HEAD_TIED : TN_SYNTH_HEAD_OWN;
    p.n_vocab = 2000;
    ASSERT_EQ(tn_synth(&p), TN_OK) << last_message();
    Runner runner(path, true);
    const size_t n = 48;
    const std::vector<int32_t> ids = some_ids(n, p.n_vocab);
    ASSERT_EQ(runner.feed(ids, 8), TN_OK) << last_message();
    const Statistics &s = runner.statistics;

    if (std::string(d.arch) == "bitnet-b1.58") {
        const double zeros = static_cast<double>(s.glu_zeros) / static_cast<double>(s.glu);
        std::printf("%s: %.2f %% of the gates are zero\n", d.name, 100 * zeros);
        EXPECT_GT(zeros, 0.45);
        EXPECT_LT(zeros, 0.55);
    }
    const double scores = score_deviation(s, d.n_embd / d.n_heads, 1 + (d.n_heads > 2) * (d.n_heads / 2 - 1));
    std::printf("%s: scores vary by %.2f, the residual stream is %.2f to %.2f\n", d.name, scores, s.out_min, s.out_max);
    EXPECT_GT(scores, 0.8);
    EXPECT_LT(scores, 3.0);
    EXPECT_GT(s.out_min, 0.3);
    EXPECT_LT(s.out_max, 40);
    double mean_entropy = 0;
    for (uint32_t i = 0; i < 8; i++) {
        const float *row = tn_session_logits(runner.session, i);
        const double h = entropy(row, p.n_vocab);
        mean_entropy += h / 8;
        EXPECT_GT(h, 1.0);
        if (i > 0) {
            EXPECT_LT(correlation(row, tn_session_logits(runner.session, i - 1), p.n_vocab), 0.8); // positions stay apart
        }
    }
    std::printf("%s: mean entropy %.2f of %.2f nats\n", d.name, mean_entropy, std::log(p.n_vocab));
    EXPECT_GT(mean_entropy, 3.0);
    EXPECT_LT(mean_entropy, 7.0);
}

TEST(Synth, NoPositionOf4096IsPoisoned)
{
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    tn_synth_params p = small_shape(path);
    ASSERT_EQ(tn_synth(&p), TN_OK) << last_message();
    Runner runner(path, false);
    ASSERT_EQ(runner.feed(some_ids(4096, p.n_vocab), 64), TN_OK) << last_message();
    EXPECT_EQ(tn_session_seq_status(runner.session, 0), TN_OK);
    EXPECT_EQ(tn_session_seq_length(runner.session, 0), 4096u);
    for (uint32_t i = 0; i < 64; i++) {
        const double h = entropy(tn_session_logits(runner.session, i), p.n_vocab);
        EXPECT_GT(h, 1.0);
        EXPECT_LT(h, 6.3);
    }
}

} // namespace
