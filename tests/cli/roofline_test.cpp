// The arithmetic behind the shares of ternion bench, against figures worked out by hand and a count token by token.
#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "roofline.h"
}

namespace
{

tn_session_costs costs_of(uint64_t ternary, uint64_t head, uint64_t other, uint64_t token, uint64_t position)
{
    tn_session_costs costs = TN_SESSION_COSTS_INIT;
    costs.ternary_bytes = ternary;
    costs.head_bytes = head;
    costs.other_bytes = other;
    costs.token_bytes = token;
    costs.kv_position_bytes = position;
    costs.ternary_products = 4 * ternary;
    costs.head_products = head;
    return costs;
}

tn_cli_bench_test test_of(uint32_t n_prompt, uint32_t n_gen, uint32_t n_depth, uint32_t n_pl, uint32_t n_batch = 2048,
                          uint32_t n_ubatch = 512)
{
    return {n_prompt, n_gen, n_depth, n_pl, n_batch, n_ubatch, 1};
}

// 2b-4t with a q6_k head, by hand: 2.08e9 ternary weights at 2 bits, and so on; one token at depth 0 sees itself.
TEST(Work, OneTokenReadsEverythingOnce)
{
    const tn_session_costs costs = costs_of(521 << 20, 269 << 20, 1 << 20, 3000, 76000);
    const tn_cli_bench_test test = test_of(0, 1, 0, 1);
    const tn_cli_work work = tn_cli_work_of(&costs, &test);
    EXPECT_EQ(work.n_tokens, 1);
    EXPECT_EQ(work.read_bytes, (521.0 + 269 + 1) * 1048576 + 3000 + 76000);
    EXPECT_EQ(work.int8_ops, 2.0 * (4.0 * 521 + 269) * 1048576);
}

TEST(Work, AReplyReadsAPositionMoreEachTime)
{
    const tn_session_costs costs = costs_of(0, 0, 0, 0, 1);
    const tn_cli_bench_test test = test_of(0, 4, 100, 1);
    EXPECT_EQ(tn_cli_work_of(&costs, &test).read_bytes, 101 + 102 + 103 + 104);
}

TEST(Work, APromptReadsWeightsOnceAStepAndTheHeadOnceACall)
{
    const tn_session_costs weights = costs_of(1, 0, 0, 0, 0), head = costs_of(0, 1, 0, 0, 0), tokens = costs_of(0, 0, 0, 1, 0);
    const tn_cli_bench_test test = test_of(1200, 0, 0, 1, 700, 300); // calls of 700 and 500, steps 300 300 100, 300 200
    EXPECT_EQ(tn_cli_work_of(&weights, &test).read_bytes, 5);
    EXPECT_EQ(tn_cli_work_of(&head, &test).read_bytes, 2);
    EXPECT_EQ(tn_cli_work_of(&tokens, &test).read_bytes, 1200);
    const tn_session_costs kv = costs_of(0, 0, 0, 0, 1);
    EXPECT_EQ(tn_cli_work_of(&kv, &test).read_bytes, 300 + 600 + 700 + 1000 + 1200);
    EXPECT_EQ(tn_cli_work_of(&weights, &test).int8_ops, 2.0 * 4 * 1200);
}

TEST(Work, SequencesTogetherReadWeightsOnceAndTheirOwnKeysEach)
{
    const tn_session_costs costs = costs_of(1000, 100, 10, 1, 1);
    const tn_cli_bench_test test = test_of(0, 2, 50, 8);
    const tn_cli_work work = tn_cli_work_of(&costs, &test);
    EXPECT_EQ(work.n_tokens, 16);
    EXPECT_EQ(work.read_bytes, 2 * (1000 + 100 + 10 + 8) + 8 * 51 + 8 * 52);
    EXPECT_EQ(work.int8_ops, 2.0 * 16 * (4000 + 100));
}

// The same by going through the tokens one by one, as session.h describes calls and steps.
double count_bytes(const tn_session_costs &costs, const tn_cli_bench_test &t)
{
    double bytes = 0;
    const uint64_t all = uint64_t{t.n_prompt} * t.n_pl;
    for (uint64_t call = 0; call < all; call += t.n_batch) {
        const uint64_t call_end = std::min<uint64_t>(call + t.n_batch, all);
        for (uint64_t step = call; step < call_end; step += t.n_ubatch) {
            const uint64_t end = std::min<uint64_t>(step + t.n_ubatch, call_end);
            bool wants = false;
            for (uint64_t i = step; i < end; i++) {
                const bool last_of_step = i + 1 == end || (i + 1) % t.n_prompt == 0,
                           last_of_call = i + 1 == call_end || (i + 1) % t.n_prompt == 0;
                wants |= last_of_call;
                bytes += static_cast<double>(costs.token_bytes);
                if (last_of_step)
                    bytes += static_cast<double>(costs.kv_position_bytes) * (t.n_depth + static_cast<double>(i % t.n_prompt) + 1);
            }
            bytes += static_cast<double>(costs.ternary_bytes + costs.other_bytes + (wants ? costs.head_bytes : 0));
        }
    }
    return bytes;
}

TEST(Work, PromptsAgreeWithACountTokenByToken)
{
    std::mt19937 random(7);
    const tn_session_costs costs = costs_of(1000003, 70001, 501, 31, 7);
    for (int i = 0; i < 300; i++) {
        const tn_cli_bench_test test =
            test_of(1 + random() % 90, 0, random() % 50, 1 + random() % 6, 1 + random() % 120, 1 + random() % 60);
        EXPECT_EQ(tn_cli_work_of(&costs, &test).read_bytes, count_bytes(costs, test))
            << test.n_prompt << " x " << test.n_pl << " -b " << test.n_batch << " -ub " << test.n_ubatch;
    }
}

TEST(Work, MoreSequencesThanAStepTakesAreCutIntoSteps)
{
    const tn_session_costs costs = costs_of(1, 0, 0, 0, 0);
    const tn_cli_bench_test test = test_of(0, 1, 0, 10, 2048, 4);
    EXPECT_EQ(tn_cli_work_of(&costs, &test).read_bytes, 3);
}

TEST(Shares, AreTimesOfTheLimitsThroughTheTime)
{
    const tn_cli_work work = {1, 800e6, 4e9};
    tn_cli_shares shares = tn_cli_shares_of(&work, 40e6, 25e9, 500e9);
    EXPECT_DOUBLE_EQ(shares.memory, 0.8); // 800 MB in 40 ms are 20 GB/s
    EXPECT_DOUBLE_EQ(shares.int8, 0.2);   // 100 Gop/s
    EXPECT_DOUBLE_EQ(shares.roofline, 0.8);
    shares = tn_cli_shares_of(&work, 40e6, 250e9, 125e9);
    EXPECT_DOUBLE_EQ(shares.roofline, 0.8) << "the products are the lower roof now";
}

TEST(Shares, OfUnknownLimitsAreUnknown)
{
    const tn_cli_work work = {1, 800e6, 4e9};
    EXPECT_LT(tn_cli_shares_of(&work, 40e6, 0, 0).memory, 0);
    EXPECT_LT(tn_cli_shares_of(&work, 40e6, 0, 1e9).roofline, 0);
    EXPECT_LT(tn_cli_shares_of(&work, 40e6, 1e9, 0).roofline, 0);
    EXPECT_GT(tn_cli_shares_of(&work, 40e6, 1e9, 0).memory, 0);
    EXPECT_LT(tn_cli_shares_of(&work, 0, 1e9, 1e9).memory, 0);
}

TEST(Limits, TheBestIsOfThatManyThreadsOrFewerAndOfAllLevels)
{
    tn_device_limit list[5] = {};
    const auto set = [&](int i, tn_limit_kind kind, uint32_t n_threads, double best) {
        list[i].kind = kind;
        list[i].n_threads = n_threads;
        list[i].best = best;
    };
    set(0, TN_LIMIT_MEMORY_READ, 1, 32e9);
    set(1, TN_LIMIT_MEMORY_READ, 2, 30e9);
    set(2, TN_LIMIT_INT8_DOT, 1, 370e9);
    set(3, TN_LIMIT_INT8_DOT, 1, 470e9);
    set(4, TN_LIMIT_INT8_DOT, 2, 940e9);
    EXPECT_EQ(tn_cli_best_limit(list, 5, TN_LIMIT_MEMORY_READ, 1), 32e9);
    EXPECT_EQ(tn_cli_best_limit(list, 5, TN_LIMIT_MEMORY_READ, 2), 32e9);
    EXPECT_EQ(tn_cli_best_limit(list, 5, TN_LIMIT_MEMORY_READ, 3), 0) << "not measured";
    EXPECT_EQ(tn_cli_best_limit(list, 5, TN_LIMIT_INT8_DOT, 1), 470e9);
    EXPECT_EQ(tn_cli_best_limit(list, 5, TN_LIMIT_INT8_DOT, 2), 940e9);
    EXPECT_EQ(tn_cli_best_limit(nullptr, 0, TN_LIMIT_INT8_DOT, 1), 0);
}

} // namespace
