// Squared-ReLU skipping: the same bits as src/ref whatever is left out, what may be left out, and how a device decides whether to.
#include "conformance/rig.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "backend/builtin.h"
#include "cpu/cpu_program.h"
}

namespace
{

using namespace conformance;

Target target(uint32_t n_threads, const std::string &packing, const std::string &skip)
{
    return {"cpu0", &tn_cpu_backend_table, 0, n_threads, "", packing, skip};
}

constexpr uint32_t n_vocab = 40;

// Feed-forward layers of a transformer.
struct FeedForward {
    FeedForward(uint32_t width, uint32_t n_ff, uint32_t n_layers, tn_glu_kind kind, bool sub_norm, uint64_t seed = 7) : net(seed)
    {
        out = net.embed(n_vocab, width);
        net.graph->n_layers = n_layers;
        for (uint32_t i = 0; i < n_layers; i++) {
            net.layer = static_cast<int32_t>(i);
            codes_of_x = net.norm_quant(out);
            gate = net.ternary(codes_of_x, n_ff);
            up = net.ternary(codes_of_x, n_ff, TN_SCALE_ROW);
            up_weight = static_cast<uint32_t>(net.weights.size()) - 1;
            hidden = net.glu(gate, up, kind);
            out = net.sum(out, net.ternary(sub_norm ? net.norm_quant(hidden) : net.quant(hidden), width));
        }
    }
    Net net;
    uint32_t codes_of_x, gate, up, hidden, out, up_weight; // of the last layer; the weight by index
};

Step step_of(uint32_t first_token, uint32_t n_tokens)
{
    std::vector<Token> tokens;
    for (uint32_t i = 0; i < n_tokens; i++) tokens.push_back({static_cast<int32_t>((first_token + i) % n_vocab), 0, i});
    return make_step(tokens, Bounds{}, {0});
}

// A network on a device, beside what src/ref makes of each of its tokens.
class Comparison
{
  public:
    Comparison(const Target &target, const FeedForward &net, const std::vector<uint32_t> &taps = {})
        : net_(net), device_(target), packed_(device_, net.net),
          program_(device_, net.net, packed_, bounds(), 0, net.net.graph->n_nodes, TN_NONE, net.out, taps)
    {
        RefNet ref(net.net);
        for (uint32_t i = 0; i < n_vocab; i++) expected_.push_back(ref.run({static_cast<int32_t>(i), 0, 0}));
    }
    static Bounds bounds()
    {
        Bounds b;
        b.n_tokens_max = 16;
        return b;
    }
    tn_cpu_program *compiled() { return reinterpret_cast<tn_cpu_program *>(program_.get()); }
    tn_cpu_skip &skip() { return compiled()->skip; }
    uint64_t scratch_bytes() const { return device_.api().program_scratch_bytes(program_.get()); }
    Program &program() { return program_; }
    const RefRow &expected(uint32_t token) const { return expected_.at(token % n_vocab); }
    // Runs one step and compares every row and what was poisoned.
    void expect_step(uint32_t first_token, uint32_t n_tokens)
    {
        const std::vector<float> rows = program_.run(step_of(first_token, n_tokens));
        const uint32_t width = net_.net.width(net_.out);
        for (uint32_t i = 0; i < n_tokens; i++) {
            const RefRow &row = expected(first_token + i);
            ASSERT_EQ(program_.poison[i], row.poison) << "token " << i << " of " << n_tokens;
            if (row.poison) continue;
            ASSERT_EQ(std::memcmp(&rows[size_t{i} * width], row.f32.at(net_.out).data(), width * sizeof(float)), 0)
                << "token " << i << " of " << n_tokens;
        }
    }

  private:
    const FeedForward &net_;
    Device device_;
    Packed packed_;
    Program program_;
    std::vector<RefRow> expected_;
};

constexpr tn_cpu_skip_kinds both = 1u << TN_CPU_SPARSE_ROWS | 1u << TN_CPU_SPARSE_COLUMNS;

TEST(CpuSkip, GivesTheReferencesBitsForEveryNumberOfTokensAndThreads)
{
    for (const char *packing : {"t2_16", "t5_16"}) {
        for (uint32_t n_threads : {1u, 2u, 3u, 5u}) {
            SCOPED_TRACE(std::string(packing) + " " + std::to_string(n_threads));
            const FeedForward net(90, 700, 2, TN_GLU_RELU2, true); // down: one strip; up: rows that no strip divides
            const FeedForward tall(600, 100, 1, TN_GLU_RELU2, true);
            Comparison first(target(n_threads, packing, "on"), net), second(target(n_threads, packing, "on"), tall);
            for (uint32_t n_tokens = 1; n_tokens <= 10; n_tokens++) {
                ASSERT_NO_FATAL_FAILURE(first.expect_step(3 * n_tokens, n_tokens));
                ASSERT_NO_FATAL_FAILURE(second.expect_step(3 * n_tokens, n_tokens));
                EXPECT_EQ(first.skip().kinds, n_tokens <= TN_CPU_SKIP_TOKENS ? both : 0) << n_tokens;
            }
        }
    }
}

TEST(CpuSkip, LeavesOutOnlyWhatCannotBeSeen)
{
    const struct {
        const char *what;
        tn_glu_kind kind;
        bool sub_norm;
        tn_cpu_skip_kinds possible;
    } cases[] = {{"squared ReLU", TN_GLU_RELU2, true, both},
                 {"without a norm before down", TN_GLU_RELU2, false, both},
                 {"SiLU", TN_GLU_SILU, true, 0}};
    for (const auto &c : cases) {
        const FeedForward net(64, 96, 2, c.kind, c.sub_norm);
        Comparison run(target(2, "", "on"), net);
        EXPECT_EQ(run.skip().possible, c.possible) << c.what;
        ASSERT_NO_FATAL_FAILURE(run.expect_step(0, 2)) << c.what;
    }
    const FeedForward net(64, 96, 1, TN_GLU_RELU2, true);
    Comparison seen(target(2, "", "on"), net, {net.up}); // a trace shows all of up
    EXPECT_EQ(seen.skip().possible, 1u << TN_CPU_SPARSE_COLUMNS);
    ASSERT_NO_FATAL_FAILURE(seen.expect_step(0, 3));
    const std::vector<float> up = seen.program().tapped(net.up, step_of(0, 3));
    for (uint32_t i = 0; i < 3; i++)
        EXPECT_EQ(std::memcmp(&up[i * 96], seen.expected(i).f32.at(net.up).data(), 96 * sizeof(float)), 0) << "token " << i;
    Comparison off(target(2, "", "off"), net);
    EXPECT_EQ(off.skip().state, TN_CPU_SKIP_NEVER);
    EXPECT_EQ(tn_cpu_skip_copies_bytes(&off.skip()), 0u);
}

// Rows of up whose products are out of range fail their token also where their gates are not above 0: such rows are computed.
TEST(CpuSkip, HidesNoValueThatIsOutOfRange)
{
    FeedForward net(64, 96, 1, TN_GLU_RELU2, true);
    for (float &scale : net.net.weights[net.up_weight].scales) scale = 0;
    uint32_t n_poisoned = 0;
    for (uint32_t row = 0; row < 96; row += 8) {
        net.net.weights[net.up_weight].scales[row] = 0x1p55f;
        Comparison run(target(2, "", "on"), net);
        EXPECT_EQ(run.skip().possible, 1u << TN_CPU_SPARSE_COLUMNS);
        for (uint32_t token = 0; token < n_vocab; token++)
            n_poisoned += run.expected(token).poison != 0 && !(run.expected(token).f32.at(net.gate)[row] > 0);
        ASSERT_NO_FATAL_FAILURE(run.expect_step(row, 8)) << "row " << row;
        net.net.weights[net.up_weight].scales[row] = 0;
    }
    EXPECT_GT(n_poisoned, 50u) << "the case that this is about";
}

// What src/ref says of neurons that are 0 for all of tokens 0 .. n-1.
tn_cpu_skip_zeros zeros_of(const FeedForward &net, const Comparison &run, uint32_t n_tokens)
{
    const uint32_t width = net.net.width(net.hidden);
    std::vector<float> gains(width);
    std::memcpy(gains.data(), net.net.weights[net.up_weight + 1].reference(), width * sizeof(float)); // of the norm before down
    std::vector<bool> gate(width, true), code(width, true);
    for (uint32_t i = 0; i < n_tokens; i++) {
        std::vector<int8_t> q(width);
        float scale;
        int32_t sum;
        tn_ref_norm_quant(run.expected(i).f32.at(net.hidden).data(), gains.data(), width, 1e-6f, q.data(), &scale, &sum);
        for (uint32_t k = 0; k < width; k++) {
            gate[k] = gate[k] && !(run.expected(i).f32.at(net.gate)[k] > 0);
            code[k] = code[k] && q[k] == 0;
        }
    }
    return {width, static_cast<uint64_t>(std::count(gate.begin(), gate.end(), true)), width,
            static_cast<uint64_t>(std::count(code.begin(), code.end(), true))};
}

TEST(CpuSkip, CountsNeuronsThatAreZeroForAllTokensOfAStep)
{
    const FeedForward net(64, 200, 1, TN_GLU_RELU2, true);
    Comparison run(target(2, "", "on"), net);
    std::vector<uint64_t> node_ns(net.net.graph->n_nodes);
    for (uint32_t n_tokens : {1u, 2u, 5u, 8u, 9u}) {
        tn_program_stats stats = {};
        stats.node_ns = node_ns.data();
        run.compiled()->stats = &stats;
        for (int i = 0; i < 2; i++) ASSERT_NO_FATAL_FAILURE(run.expect_step(0, n_tokens));
        const tn_cpu_skip_zeros zeros = n_tokens <= 8 ? zeros_of(net, run, n_tokens) : tn_cpu_skip_zeros{};
        EXPECT_EQ(stats.n_gates, 2 * zeros.n_gates) << n_tokens;
        EXPECT_EQ(stats.n_gates_zero, 2 * zeros.n_gates_zero) << n_tokens;
        EXPECT_EQ(stats.n_codes, 2 * zeros.n_codes) << n_tokens;
        EXPECT_EQ(stats.n_codes_zero, 2 * zeros.n_codes_zero) << n_tokens;
    }
    run.compiled()->stats = nullptr;
}

// By itself a device counts for 16 steps, then tries each combination for each number of tokens, and keeps one.
TEST(CpuSkip, ADeviceCountsThenTriesThenKeepsWhatWasFastest)
{
    const FeedForward net(64, 300, 2, TN_GLU_RELU2, true);
    Comparison run(target(2, "", ""), net);
    tn_cpu_skip &skip = run.skip();
    const uint64_t before = run.scratch_bytes();
    tn_cpu_skip_zeros counted = {};
    for (uint32_t i = 0; i < 16; i++) {
        ASSERT_NO_FATAL_FAILURE(run.expect_step(0, i % 2 ? 1 : 3)); // the first token is looked at
        EXPECT_EQ(skip.state, TN_CPU_SKIP_COUNTING) << i;
        EXPECT_EQ(skip.kinds, 0u);
        counted.n_gates_zero += zeros_of(net, run, 1).n_gates_zero;
    }
    EXPECT_EQ(skip.zeros.n_gates, 16u * 2 * 300) << "of both layers";
    EXPECT_GE(skip.zeros.n_gates_zero, counted.n_gates_zero) << "the last layer's and the first one's";
    EXPECT_EQ(run.scratch_bytes(), before);
    std::vector<tn_cpu_skip_kinds> tried;
    for (uint32_t i = 0; i < 24; i++) {
        ASSERT_NO_FATAL_FAILURE(run.expect_step(i, 1));
        EXPECT_EQ(skip.state, TN_CPU_SKIP_TRYING) << i;
        tried.push_back(skip.kinds);
    }
    for (tn_cpu_skip_kinds kinds = 0; kinds <= both; kinds++) EXPECT_EQ(std::count(tried.begin(), tried.end(), kinds), 6) << kinds;
    EXPECT_GT(run.scratch_bytes(), before) << "the copies are counted";
    // Whatever the clock said is replaced: columns of down were fastest.
    for (uint32_t kinds = 0; kinds <= both; kinds++) skip.trials[0].best_ns[kinds] = kinds == 1u << TN_CPU_SPARSE_COLUMNS ? 90 : 100;
    ASSERT_NO_FATAL_FAILURE(run.expect_step(5, 1));
    EXPECT_TRUE(skip.trials[0].is_decided);
    EXPECT_EQ(skip.kinds, 1u << TN_CPU_SPARSE_COLUMNS);
    EXPECT_EQ(skip.copies[TN_CPU_SPARSE_ROWS], nullptr) << "nobody wants them any more";
    EXPECT_NE(skip.copies[TN_CPU_SPARSE_COLUMNS], nullptr);
    for (uint32_t n_tokens : {1u, 2u, 4u, 8u, 12u}) ASSERT_NO_FATAL_FAILURE(run.expect_step(1, n_tokens));
}

// What one number of tokens has given up is not there for another that tried it before.
TEST(CpuSkip, NumbersOfTokensThatAreTriedInTurnsAgreeOnTheCopies)
{
    const FeedForward net(64, 300, 1, TN_GLU_RELU2, true);
    for (const tn_cpu_sparse_kind kept : {TN_CPU_SPARSE_ROWS, TN_CPU_SPARSE_COLUMNS}) {
        Comparison run(target(2, "", ""), net);
        tn_cpu_skip &skip = run.skip();
        for (uint32_t i = 0; i < 16; i++) ASSERT_NO_FATAL_FAILURE(run.expect_step(i, 8)); // steps of several tokens alone count too
        for (uint32_t i = 0; i < 5; i++) ASSERT_NO_FATAL_FAILURE(run.expect_step(i, 2));
        ASSERT_EQ(skip.state, TN_CPU_SKIP_TRYING);
        for (uint32_t i = 0; i < 24; i++) ASSERT_NO_FATAL_FAILURE(run.expect_step(i, 1));
        const tn_cpu_skip_kinds kinds = 1u << kept;
        for (uint32_t k = 0; k <= both; k++) skip.trials[0].best_ns[k] = k == kinds ? 50 : 100;
        ASSERT_NO_FATAL_FAILURE(run.expect_step(3, 1));
        EXPECT_EQ(skip.possible, both) << "two tokens still try all";
        skip.trials[1].n_steps = 24;
        for (uint32_t k = 0; k <= both; k++) skip.trials[1].best_ns[k] = k == 0 ? 100 : 99; // gains nothing
        ASSERT_NO_FATAL_FAILURE(run.expect_step(3, 2));
        EXPECT_EQ(skip.kinds, 0u);
        EXPECT_EQ(skip.possible, kinds);
        EXPECT_EQ(skip.copies[TN_CPU_SKIP_KINDS - 1 - kept], nullptr);
        for (uint32_t i = 0; i < 30; i++) ASSERT_NO_FATAL_FAILURE(run.expect_step(i, 3)); // never what is gone
        EXPECT_EQ(skip.trials[2].kinds & ~kinds, 0u);
        for (uint32_t k = 0; k <= both; k++) skip.trials[3].best_ns[k] = k == both ? 10 : 100; // from before it went
        skip.trials[3].n_steps = 24;
        ASSERT_NO_FATAL_FAILURE(run.expect_step(1, 4));
        EXPECT_EQ(skip.kinds, 0u);
        ASSERT_NO_FATAL_FAILURE(run.expect_step(1, 1));
        EXPECT_EQ(skip.kinds, kinds);
    }
}

TEST(CpuSkip, ADeviceThatGainsNothingGivesTheMemoryBack)
{
    const FeedForward net(64, 96, 1, TN_GLU_RELU2, true);
    Comparison few_zeros(target(1, "", ""), net);
    few_zeros.skip().n_counted = 16;
    few_zeros.skip().zeros = {1000, 390, 1000, 590};
    ASSERT_NO_FATAL_FAILURE(few_zeros.expect_step(0, 1));
    EXPECT_EQ(few_zeros.skip().state, TN_CPU_SKIP_NEVER);
    EXPECT_EQ(tn_cpu_skip_copies_bytes(&few_zeros.skip()), 0u);
    Comparison no_memory(target(1, "", ""), net);
    no_memory.skip().n_counted = 16;
    no_memory.skip().zeros = {1000, 900, 1000, 950};
    no_memory.compiled()->device->memory_bytes = 1 << 20; // less than the process has
    ASSERT_NO_FATAL_FAILURE(no_memory.expect_step(0, 1));
    EXPECT_EQ(no_memory.skip().state, TN_CPU_SKIP_NEVER);
    EXPECT_EQ(tn_cpu_skip_copies_bytes(&no_memory.skip()), 0u);
    Comparison slower(target(1, "", ""), net);
    slower.skip().n_counted = 16;
    slower.skip().zeros = {1000, 500, 1000, 670};
    ASSERT_NO_FATAL_FAILURE(slower.expect_step(0, 1));
    EXPECT_GT(tn_cpu_skip_copies_bytes(&slower.skip()), 0u);
    slower.skip().trials[0].n_steps = 24;
    const uint64_t times_ns[] = {100, 99, 99, 120}; // within what a measurement may be wrong by
    std::memcpy(slower.skip().trials[0].best_ns, times_ns, sizeof times_ns);
    ASSERT_NO_FATAL_FAILURE(slower.expect_step(0, 1));
    EXPECT_EQ(slower.skip().state, TN_CPU_SKIP_NEVER);
    EXPECT_EQ(tn_cpu_skip_copies_bytes(&slower.skip()), 0u);
    ASSERT_NO_FATAL_FAILURE(slower.expect_step(2, 2));
}

TEST(CpuSkip, AnUnknownWordIsRefused)
{
    tn_cpu_share share = {};
    share.n_threads = 1;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    host.cpu_skip = "sometimes";
    tn_device *device = nullptr;
    EXPECT_EQ(tn_cpu_backend_table.device_open(&host, 0, &device), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("\"sometimes\": use auto, on or off"), std::string::npos)
        << tn_error_last()->message;
}

} // namespace
