// Programs whose head is screened: the best logits of each row as the whole head has them, poison as it reports it, and when it is whole.
#include "conformance/rig.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

extern "C" {
#include "backend/builtin.h"
#include "cpu/screen.h"
}

namespace
{

using namespace conformance;

constexpr uint32_t n_tokens = 31, n_cols = 96;

// An embedding, a norm and a head of `n_vocab` rows.
struct HeadNet {
    HeadNet(tn_dtype dtype, uint32_t n_vocab, tn_screening screening, bool flat = false) : net(n_vocab)
    {
        const uint32_t x = net.embed(n_tokens, n_cols);
        net.layer = TN_LAYER_HEAD;
        const uint32_t normed = net.norm(net.copy(x));
        if (flat) { // no row can be told from another: all remain
            out = net.dense_of(normed, dtype, std::vector<float>(size_t(n_vocab) * n_cols, 0.25f));
        } else {
            out = net.dense(normed, n_vocab, dtype);
        }
        head = net.graph->nodes[net.graph->n_nodes - 1].weight;
        net.graph->weights[head].screening = screening;
    }
    Net net;
    uint32_t head, out;
};

Target cpu(uint32_t n_threads, const std::string &isa = "") { return {"cpu0", &tn_cpu_backend_table, 0, n_threads, isa, "", ""}; }

// Tokens [first, first + n) of one sequence; every second one's logits are wanted where `sparse`.
Step make(uint32_t first, uint32_t n, const Bounds &bounds, bool sparse, std::vector<uint32_t> tops, uint32_t n_top_ids)
{
    std::vector<Token> tokens;
    for (uint32_t i = 0; i < n; i++) tokens.push_back({static_cast<int32_t>((first + i * 5) % n_tokens), 0, i});
    Step step = make_step(tokens, bounds, {0});
    for (uint32_t i = 0; i < n; i += sparse ? 2 : 1) {
        step.logit_rows.push_back(i);
        if (!tops.empty()) step.n_top.push_back(tops[step.n_top.size() % tops.size()]);
    }
    step.n_top_ids = n_top_ids;
    return step;
}

// Compares the rows of a step with those of src/ref. Counts those that are -INFINITY.
void expect_best(const HeadNet &h, const Step &step, const std::vector<float> &got, size_t *n_gone)
{
    const uint32_t n_vocab = h.net.width(h.out);
    for (size_t r = 0; r < step.logit_rows.size(); r++) {
        const uint32_t token = step.logit_rows[r];
        const std::vector<float> want = RefNet(h.net).run({step.tokens[token], 0, step.positions[token]}).f32.at(h.out);
        const float *row = &got[r * n_vocab];
        for (uint32_t i = 0; i < n_vocab; i++) {
            ASSERT_TRUE(row[i] == want[i] || row[i] == -INFINITY) << "row " << r << " id " << i;
            *n_gone += row[i] != want[i];
        }
        std::vector<uint32_t> ids(step.n_top_ids);
        std::iota(ids.begin(), ids.end(), 0u);
        std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return want[a] > want[b]; });
        for (uint32_t i = 0; i < std::min<size_t>(step.n_top[r], ids.size()); i++)
            ASSERT_EQ(row[ids[i]], want[ids[i]]) << "row " << r << " rank " << i;
    }
}

} // namespace

TEST(ScreenedProgram, GivesTheBestOfEachRow)
{
    Bounds bounds;
    bounds.n_tokens_max = bounds.n_logits_max = 24;
    size_t n_gone = 0;
    for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) {
        for (uint32_t n_vocab : {40u, 3001u}) {
            const HeadNet h(dtype, n_vocab, TN_SCREENING_ALWAYS);
            for (uint32_t n_threads : {1u, 2u, 3u}) {
                const Device device(cpu(n_threads));
                const Packed packed(device, h.net);
                Program program(device, h.net, packed, bounds, 0, h.net.graph->n_nodes, TN_NONE, h.out);
                for (uint32_t n : {1u, 2u, 5u, 24u}) {
                    for (bool sparse : {false, true}) {
                        const Step step = make(n, n, bounds, sparse, {1, 3, 40}, n_vocab - n);
                        ASSERT_NO_FATAL_FAILURE(expect_best(h, step, program.run(step), &n_gone));
                    }
                }
                EXPECT_GT(program.screen_stats.n_rows, 0u);
                EXPECT_EQ(program.screen_stats.n_whole, 0u);
            }
        }
    }
    EXPECT_GT(n_gone, 100000u) << "a test that could not fail";
}

TEST(ScreenedProgram, CountsWhatItComputed)
{
    Bounds bounds;
    const HeadNet h(TN_DTYPE_F16, 999, TN_SCREENING_ALWAYS);
    const Device device(cpu(2));
    const Packed packed(device, h.net);
    Program program(device, h.net, packed, bounds, 0, h.net.graph->n_nodes, TN_NONE, h.out);
    const std::vector<float> rows = program.run(make(3, 5, bounds, false, {1}, 999));
    EXPECT_EQ(program.screen_stats.n_rows, 5u);
    EXPECT_EQ(program.screen_stats.n_kept,
              static_cast<uint64_t>(std::count_if(rows.begin(), rows.end(), [](float y) { return y != -INFINITY; })));
}

// A row that is wanted whole, more rows or candidates than the screen has room for, or no n_top at all.
TEST(ScreenedProgram, ComputesTheHeadWholeWhereItMust)
{
    Bounds bounds;
    bounds.n_tokens_max = bounds.n_logits_max = TN_SCREEN_TOKENS_MAX + 1;
    const HeadNet h(TN_DTYPE_F16, 555, TN_SCREENING_ALWAYS);
    const Device device(cpu(2));
    const Packed packed(device, h.net);
    Program program(device, h.net, packed, bounds, 0, h.net.graph->n_nodes, TN_NONE, h.out);
    const auto whole = [](const std::vector<float> &rows) { return std::count(rows.begin(), rows.end(), -INFINITY) == 0; };
    EXPECT_FALSE(whole(program.run(make(0, TN_SCREEN_TOKENS_MAX, bounds, false, {TN_SCREEN_TOP_MAX}, 555))))
        << "a test that could not fail";
    EXPECT_TRUE(whole(program.run(make(0, 2, bounds, false, {}, 0))));
    EXPECT_TRUE(whole(program.run(make(0, 6, bounds, false, {1, 1, 0}, 555))));
    EXPECT_EQ(program.screen_stats.n_whole, 0u) << "nobody asked for the best alone";
    EXPECT_TRUE(whole(program.run(make(0, 2, bounds, false, {TN_SCREEN_TOP_MAX + 1}, 555))));
    EXPECT_TRUE(whole(program.run(make(0, TN_SCREEN_TOKENS_MAX + 1, bounds, false, {1}, 555))));
    EXPECT_EQ(program.screen_stats.n_whole, 2u + TN_SCREEN_TOKENS_MAX + 1);
    // A trace of the logits has them all.
    Program traced(device, h.net, packed, bounds, 0, h.net.graph->n_nodes, TN_NONE, h.out, {h.out});
    EXPECT_TRUE(whole(traced.run(make(0, 2, bounds, false, {1}, 555))));
}

TEST(ScreenedProgram, WhereMostRowsRemainAutoRestsAndLooksAgain)
{
    Bounds bounds;
    for (tn_screening screening : {TN_SCREENING_AUTO, TN_SCREENING_ALWAYS}) {
        const HeadNet h(TN_DTYPE_F16, 64, screening, true);
        const Device device(cpu(2));
        const Packed packed(device, h.net);
        Program program(device, h.net, packed, bounds, 0, h.net.graph->n_nodes, TN_NONE, h.out);
        size_t n_gone = 0;
        const uint32_t n_steps = 4 + 256 + 1 + 256 + 1;
        for (uint32_t i = 0; i < n_steps; i++) {
            const Step step = make(i, 1, bounds, false, {1}, 64);
            ASSERT_NO_FATAL_FAILURE(expect_best(h, step, program.run(step), &n_gone));
        }
        EXPECT_EQ(n_gone, 0u);
        EXPECT_EQ(program.screen_stats.n_rows, screening == TN_SCREENING_AUTO ? 4u + 1 + 1 : n_steps);
        EXPECT_EQ(program.screen_stats.n_rows + program.screen_stats.n_whole, n_steps);
    }
}

// Rows of the head that leave the range are reported for the same tokens as by the whole head, at the same node.
TEST(ScreenedProgram, ReportsPoisonAsTheWholeHeadDoes)
{
    Bounds bounds;
    for (float large : {0x1p70f, 0x1p57f, INFINITY, NAN}) {
        HeadNet h(TN_DTYPE_BF16, 700, TN_SCREENING_ALWAYS);
        Weight &w = h.net.weights[h.head];
        // One weight of one row: multiplied by each token's own value.
        const uint32_t bits = tn_bits(large);
        const uint16_t half = static_cast<uint16_t>(bits >> 16);
        memcpy(&w.file[(size_t(333) * n_cols + 7) * 2], &half, 2);
        const Device device(cpu(2));
        const Packed packed(device, h.net);
        Program program(device, h.net, packed, bounds, 0, h.net.graph->n_nodes, TN_NONE, h.out);
        uint32_t n_poisoned = 0, n_sound = 0;
        for (uint32_t first = 0; first < n_tokens; first++) {
            for (uint32_t n : {1u, 4u}) {
                program.run(make(first, n, bounds, false, {}, 0));
                const std::vector<uint32_t> whole = program.poison;
                program.run(make(first, n, bounds, false, {1}, 700));
                ASSERT_EQ(program.poison, whole) << large << " token " << first;
                for (uint32_t p : whole) (p ? n_poisoned : n_sound)++;
            }
        }
        EXPECT_GT(n_poisoned, 0u) << large;
        if (large == 0x1p57f) {
            EXPECT_GT(n_sound, 0u) << "some tokens should stay below the limit";
        }
    }
}
