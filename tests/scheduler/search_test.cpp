// The search against brute force on random machines and models, and what it says where nothing fits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
#include "base/status.h"
#include "scheduler/search.h"
#include "scheduler/search_internal.h"
}

namespace
{

constexpr double kNever = INFINITY;

// A made-up machine and model. Times of a step: a floor and a part that grows with its tokens.
struct Made {
    uint32_t n_units = 0, n_devices = 0, n_seqs = 1;
    std::vector<double> floors, slopes;      // [device][unit]
    std::vector<double> factors;             // [device][unit] of the floor, while others that share memory work; none: nobody shares any
    std::vector<char> shares;                // [device]
    std::vector<double> segments, hops;      // [device], [device][device]
    std::vector<uint64_t> weights, kv;       // [device][unit], [unit] a sequence
    std::vector<uint64_t> scratches, memory; // [device]

    [[nodiscard]] size_t at(uint32_t device, uint32_t unit) const { return static_cast<size_t>(device) * n_units + unit; }
    double falling = 0; // of the slope: what each further sequence makes all of them take longer

    [[nodiscard]] double unit_ns(uint32_t device, uint32_t unit, uint32_t n) const
    {
        return floors[at(device, unit)] + slopes[at(device, unit)] * n * (1 + falling * n);
    }
    [[nodiscard]] double shared_ns(uint32_t device, uint32_t unit, uint32_t n) const
    {
        return floors[at(device, unit)] * factors[at(device, unit)] + slopes[at(device, unit)] * n;
    }
    // In a plan where `busy` of the devices that share memory work at the same time.
    [[nodiscard]] double unit_ns(uint32_t device, uint32_t unit, uint32_t n, uint32_t busy) const
    {
        return busy >= 2 && shares[device] ? std::max(shared_ns(device, unit, n), unit_ns(device, unit, n)) : unit_ns(device, unit, n);
    }
    [[nodiscard]] uint32_t sharing(uint32_t device) const { return shares.empty() ? 0 : static_cast<uint32_t>(shares[device]); }
    [[nodiscard]] double hop_ns(uint32_t from, uint32_t to, uint32_t n) const
    {
        return hops[static_cast<size_t>(from) * n_devices + to] * (1 + 0.01 * n);
    }
    [[nodiscard]] uint64_t unit_bytes(uint32_t device, uint32_t unit, uint32_t n) const { return weights[at(device, unit)] + kv[unit] * n; }
};

const Made &made(const void *ctx) { return *static_cast<const Made *>(ctx); }

tn_search_problem problem_of(const Made &m, tn_search_goal goal, double margin = 0)
{
    tn_search_problem p = {};
    p.n_units = m.n_units;
    p.n_devices = m.n_devices;
    p.n_seqs = m.n_seqs;
    p.goal = goal;
    p.margin = margin;
    p.memory_bytes = m.memory.data();
    p.ctx = &m;
    p.unit_ns = [](const void *ctx, uint32_t d, uint32_t u, uint32_t n) { return made(ctx).unit_ns(d, u, n); };
    p.segment_ns = [](const void *ctx, uint32_t d) { return made(ctx).segments[d]; };
    p.hop_ns = [](const void *ctx, uint32_t a, uint32_t b, uint32_t n) { return made(ctx).hop_ns(a, b, n); };
    p.unit_bytes = [](const void *ctx, uint32_t d, uint32_t u, uint32_t n) { return made(ctx).unit_bytes(d, u, n); };
    p.segment_bytes = [](const void *ctx, uint32_t d, uint32_t) { return made(ctx).scratches[d]; };
    if (m.shares.empty()) return p;
    static_assert(sizeof(bool) == sizeof(char));
    p.shares_memory = reinterpret_cast<const bool *>(m.shares.data());
    p.shared_unit_ns = [](const void *ctx, uint32_t d, uint32_t u, uint32_t n) { return made(ctx).shared_ns(d, u, n); };
    return p;
}

// Random, with alike devices, devices that lack an op, and memory that is sometimes short.
Made random_machine(std::mt19937 &rng)
{
    auto whole = [&](uint32_t low, uint32_t high) { return std::uniform_int_distribution<uint32_t>(low, high)(rng); };
    auto real = [&](double low, double high) { return std::uniform_real_distribution<double>(low, high)(rng); };
    Made m;
    m.n_units = whole(1, 8) + 2;
    m.n_devices = whole(1, 4);
    m.n_seqs = whole(0, 2) == 0 ? 1 : whole(2, 9);
    const bool sharing = whole(0, 4) > 0;
    m.hops.assign(static_cast<size_t>(m.n_devices) * m.n_devices, 0);
    const double hop = real(0, 400);
    const bool one_hop = whole(0, 1) == 0;
    for (double &h : m.hops) h = one_hop ? hop : real(0, 400);
    for (uint32_t u = 0; u < m.n_units; u++) m.kv.push_back(whole(0, 40));
    for (uint32_t d = 0; d < m.n_devices; d++) {
        const bool twin = d > 0 && whole(0, 2) == 0;
        const double speed = real(0.2, 3);
        for (uint32_t u = 0; u < m.n_units; u++) {
            const bool lacks = !twin && whole(0, 60) == 0;
            m.floors.push_back(twin ? m.floors[m.at(d - 1, u)] : lacks ? kNever : speed * real(10, 200));
            m.slopes.push_back(twin ? m.slopes[m.at(d - 1, u)] : speed * real(0, 60));
            m.weights.push_back(twin ? m.weights[m.at(d - 1, u)] : whole(50, 300));
            // Below 1 it is that the devices' own times count.
            if (sharing) m.factors.push_back(twin && whole(0, 3) ? m.factors[m.at(d - 1, u)] : real(0.9, 1.8));
        }
        if (sharing) m.shares.push_back(twin ? m.shares[d - 1] : whole(0, 3) > 0);
        m.segments.push_back(twin ? m.segments[d - 1] : real(0, 50));
        m.scratches.push_back(twin ? m.scratches[d - 1] : whole(0, 100));
        m.memory.push_back(twin ? m.memory[d - 1] : whole(0, 2) ? 100000 : whole(200, 3000));
    }
    return m;
}

struct Best {
    double cost = kNever; // of the goal, smaller is better
    void offer(double c) { cost = std::min(cost, c); }
};

// All ways to cut the units over devices, each used once at most; two stages or more.
void brute_pipelines(const Made &m, tn_search_goal goal, Best &best)
{
    const uint32_t lanes_max = goal == TN_SEARCH_THROUGHPUT ? std::min(m.n_seqs, m.n_devices + 2) : 1;
    std::vector<uint32_t> devices, ends;
    std::function<void(uint32_t, uint32_t)> cut = [&](uint32_t begin, uint32_t used) {
        if (begin == m.n_units) {
            if (devices.size() < 2) return;
            double bytes = 0;
            for (size_t s = 0, u = 0; s < devices.size(); s++) {
                uint64_t held = m.scratches[devices[s]];
                for (; u < ends[s]; u++) held += m.unit_bytes(devices[s], static_cast<uint32_t>(u), m.n_seqs);
                if (held > m.memory[devices[s]]) return;
                bytes += static_cast<double>(held);
            }
            for (uint32_t lanes = 1; lanes <= lanes_max; lanes++) {
                const uint32_t n = (m.n_seqs - 1) / lanes + 1;
                double sum = 0, slowest = 0;
                uint32_t busy = 0;
                for (uint32_t d : devices) busy += lanes > 1 ? m.sharing(d) : 0;
                for (size_t s = 0, u = 0; s < devices.size(); s++) {
                    double ns = m.segments[devices[s]] + (s ? m.hop_ns(devices[s - 1], devices[s], n) : 0);
                    for (; u < ends[s]; u++) ns += m.unit_ns(devices[s], static_cast<uint32_t>(u), n, busy);
                    sum += ns;
                    slowest = std::max(slowest, ns);
                }
                if (std::isinf(sum)) return;
                if (goal == TN_SEARCH_MEMORY)
                    best.offer(bytes);
                else
                    best.offer(std::max(sum, lanes * slowest));
            }
            return;
        }
        for (uint32_t d = 0; d < m.n_devices; d++) {
            if (used >> d & 1) continue;
            for (uint32_t end = begin + 1; end <= m.n_units; end++) {
                devices.push_back(d);
                ends.push_back(end);
                cut(end, used | 1u << d);
                devices.pop_back();
                ends.pop_back();
            }
        }
    };
    cut(0, 0);
}

double whole_ns(const Made &m, uint32_t d, uint32_t n, uint32_t busy = 0)
{
    double ns = m.segments[d];
    uint64_t bytes = m.scratches[d];
    for (uint32_t u = 0; u < m.n_units; u++) {
        ns += m.unit_ns(d, u, n, busy);
        bytes += m.unit_bytes(d, u, n);
    }
    return bytes > m.memory[d] ? kNever : ns;
}

// All ways to share the sequences; two devices or more.
void brute_replicas(const Made &m, tn_search_goal goal, Best &best)
{
    if (goal == TN_SEARCH_MEMORY || m.n_seqs < 2) return;
    std::vector<uint32_t> shares(m.n_devices, 0);
    std::function<void(uint32_t, uint32_t)> share = [&](uint32_t d, uint32_t left) {
        if (d == m.n_devices) {
            uint32_t used = 0, busy = 0;
            double slowest = 0;
            for (uint32_t i = 0; i < m.n_devices; i++) {
                used += shares[i] > 0;
                busy += shares[i] > 0 ? m.sharing(i) : 0;
            }
            if (left || used < 2) return;
            for (uint32_t i = 0; i < m.n_devices; i++) {
                if (shares[i] == 0) continue;
                slowest = std::max(slowest, whole_ns(m, i, shares[i], busy));
            }
            best.offer(slowest);
            return;
        }
        for (shares[d] = 0; shares[d] <= left; shares[d]++) share(d + 1, left - shares[d]);
        shares[d] = 0;
    };
    share(0, m.n_seqs);
}

void brute_alone(const Made &m, tn_search_goal goal, Best &best)
{
    for (uint32_t d = 0; d < m.n_devices; d++) {
        const double ns = whole_ns(m, d, m.n_seqs);
        if (std::isinf(ns)) continue;
        uint64_t bytes = m.scratches[d];
        for (uint32_t u = 0; u < m.n_units; u++) bytes += m.unit_bytes(d, u, m.n_seqs);
        best.offer(goal == TN_SEARCH_MEMORY ? static_cast<double>(bytes) : ns);
    }
}

double cost_of(const Made &m, const tn_search_plan &plan, tn_search_goal goal)
{
    if (goal == TN_SEARCH_MEMORY) return static_cast<double>(plan.bytes);
    return goal == TN_SEARCH_LATENCY ? plan.step_ns : m.n_seqs * 1e9 / plan.tokens_per_s;
}

// A plan must keep to its own word: every unit runs, devices hold what they get, times and bytes are those of its devices.
void check_plan(const Made &m, const tn_search_plan &plan)
{
    std::vector<uint64_t> held(m.n_devices, 0);
    uint32_t n_seqs = 0;
    double slowest_step = 0;
    std::vector<bool> used(m.n_devices, false);
    for (size_t i = 0; i < static_cast<size_t>(plan.n_replicas) * m.n_units; i++) used[plan.devices[i]] = true;
    uint32_t busy = 0;
    for (uint32_t d = 0; d < m.n_devices; d++) busy += used[d] && (plan.n_replicas > 1 || plan.n_lanes > 1) ? m.sharing(d) : 0;
    EXPECT_EQ(plan.is_shared, busy >= 2);
    for (uint32_t r = 0; r < plan.n_replicas; r++) {
        const uint32_t *devices = plan.devices + static_cast<size_t>(r) * m.n_units;
        const uint32_t share = plan.shares[r], n = (share - 1) / plan.n_lanes + 1;
        double sum = 0, slowest = 0;
        n_seqs += share;
        uint32_t n_stages = 0;
        for (uint32_t u = 0; u < m.n_units; n_stages++) {
            const uint32_t d = devices[u];
            ASSERT_LT(d, m.n_devices);
            ASSERT_EQ(held[d], 0u) << "a device has two runs of units";
            double ns = m.segments[d] + (u ? m.hop_ns(devices[u - 1], d, n) : 0);
            held[d] += m.scratches[d];
            for (; u < m.n_units && devices[u] == d; u++) {
                ns += m.unit_ns(d, u, n, busy);
                held[d] += m.unit_bytes(d, u, share);
            }
            sum += ns;
            slowest = std::max(slowest, ns);
        }
        const double step = std::max(sum, plan.n_lanes * slowest);
        slowest_step = std::max(slowest_step, step);
        EXPECT_EQ(n_stages >= 2, plan.kind == TN_SEARCH_PIPELINE);
        if (plan.kind == TN_SEARCH_PIPELINE) {
            EXPECT_NEAR(plan.bubble, 1 - plan.n_lanes * sum / (n_stages * step), 1e-9);
        }
    }
    EXPECT_EQ(n_seqs, m.n_seqs);
    EXPECT_EQ(plan.n_replicas >= 2, plan.kind == TN_SEARCH_REPLICAS);
    uint64_t bytes = 0;
    for (uint32_t d = 0; d < m.n_devices; d++) {
        EXPECT_EQ(plan.device_bytes[d], held[d]);
        if (plan.missing_bytes == 0) {
            EXPECT_LE(held[d], m.memory[d]);
        }
        bytes += held[d];
    }
    EXPECT_EQ(plan.bytes, bytes);
    if (plan.cannot_run) return;
    EXPECT_NEAR(plan.step_ns, slowest_step, 1e-9 * slowest_step);
    EXPECT_NEAR(plan.tokens_per_s, m.n_seqs * 1e9 / slowest_step, 1e-6 * plan.tokens_per_s);
}

const tn_search_plan *find(const tn_search_result &result, tn_search_kind kind)
{
    for (uint32_t i = 0; i < result.n_plans; i++) {
        if (result.plans[i].kind == kind) return &result.plans[i];
    }
    return nullptr;
}

TEST(Search, EqualsBruteForceOnRandomMachines)
{
    std::mt19937 rng(20261126);
    int n_pipelines = 0, n_replicas = 0, n_none = 0, n_shared = 0;
    for (int i = 0; i < 10000; i++) {
        SCOPED_TRACE(i);
        const Made m = random_machine(rng);
        const auto goal = static_cast<tn_search_goal>(i % 3);
        const tn_search_problem problem = problem_of(m, goal);
        Best alone, replicas, pipelines;
        brute_alone(m, goal, alone);
        brute_replicas(m, goal, replicas);
        brute_pipelines(m, goal, pipelines);
        const double least = std::min({alone.cost, replicas.cost, pipelines.cost});
        tn_search_result result;
        const tn_status status = tn_search(&problem, &result);
        if (std::isinf(least)) {
            n_none++;
            ASSERT_TRUE(status == TN_OUT_OF_MEMORY || status == TN_UNSUPPORTED) << tn_error_last()->message;
            continue;
        }
        ASSERT_EQ(status, TN_OK) << tn_error_last()->message;
        EXPECT_NEAR(cost_of(m, result.plans[0], goal), least, 1e-9 * least);
        for (uint32_t p = 0; p < result.n_plans; p++) {
            check_plan(m, result.plans[p]);
            if (p) {
                EXPECT_FALSE(result.plans[p].missing_bytes == 0 && !result.plans[p].cannot_run &&
                             cost_of(m, result.plans[p], goal) < least * (1 - 1e-9));
            }
        }
        const tn_search_plan *pipeline = find(result, TN_SEARCH_PIPELINE), *shared = find(result, TN_SEARCH_REPLICAS);
        ASSERT_EQ(pipeline != nullptr, !std::isinf(pipelines.cost));
        if (pipeline) {
            EXPECT_NEAR(cost_of(m, *pipeline, goal), pipelines.cost, 1e-9 * pipelines.cost);
        }
        ASSERT_EQ(shared != nullptr, !std::isinf(replicas.cost));
        if (shared) {
            EXPECT_NEAR(cost_of(m, *shared, goal), replicas.cost, 1e-9 * replicas.cost);
        }
        n_pipelines += result.plans[0].kind == TN_SEARCH_PIPELINE;
        n_replicas += result.plans[0].kind == TN_SEARCH_REPLICAS;
        n_shared += result.plans[0].is_shared;
        tn_search_result_deinit(&result);
        if (HasFailure()) return;
    }
    // The machines are such that every outcome occurs.
    EXPECT_GT(n_pipelines, 500);
    EXPECT_GT(n_replicas, 500);
    EXPECT_GT(n_none, 50);
    EXPECT_GT(n_shared, 500);
}

// `n` devices of the given speeds that hold everything.
Made even_machine(uint32_t n_layers, const std::vector<double> &speeds, uint32_t n_seqs)
{
    Made m;
    m.n_units = n_layers + 2;
    m.n_devices = static_cast<uint32_t>(speeds.size());
    m.n_seqs = n_seqs;
    m.hops.assign(speeds.size() * speeds.size(), 10);
    m.kv.assign(m.n_units, 1);
    for (double speed : speeds) {
        for (uint32_t u = 0; u < m.n_units; u++) {
            m.floors.push_back(1000 / speed);
            m.slopes.push_back(0);
            m.weights.push_back(100);
        }
        m.segments.push_back(5);
        m.scratches.push_back(10);
        m.memory.push_back(1 << 30);
    }
    return m;
}

TEST(Search, MoreDevicesMustGainMoreThanTheMargin)
{
    Made m = even_machine(30, {100, 2}, 128); // the second takes one sequence, which is 1 % less for the first
    for (size_t i = 0; i < m.slopes.size(); i++) m.slopes[i] = m.floors[i];
    tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT, 0.05);
    tn_search_result result;
    ASSERT_EQ(tn_search(&problem, &result), TN_OK);
    EXPECT_EQ(result.plans[0].kind, TN_SEARCH_ONE);
    EXPECT_EQ(result.plans[0].devices[0], 0u);
    tn_search_result_deinit(&result);
    problem.margin = 0;
    ASSERT_EQ(tn_search(&problem, &result), TN_OK);
    EXPECT_NE(result.plans[0].kind, TN_SEARCH_ONE);
    tn_search_result_deinit(&result);
}

TEST(Search, EightAlikeDevicesAreOneKind)
{
    Made m = even_machine(80, {4, 4, 4, 4, 4, 4, 4, 4, 1, 1}, 64);
    for (uint32_t d = 0; d < 8; d++) m.memory[d] = 2500; // a third of the model each
    const tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT);
    tn_search_result result;
    ASSERT_EQ(tn_search(&problem, &result), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(result.plans[0].kind, TN_SEARCH_PIPELINE);
    for (uint32_t p = 0; p < result.n_plans; p++) check_plan(m, result.plans[p]);
    tn_search_result_deinit(&result);
}

// What a device does in a second falls with its sequences where each has more to read than the one before it.
TEST(Search, ReplicasThatSlowDownWithTheirSequencesAreSharedByRate)
{
    for (const uint32_t n_seqs : {16u, 4096u}) {
        Made m = even_machine(30, {20, 20, 1}, n_seqs);
        for (size_t i = 0; i < m.slopes.size(); i++) {
            m.slopes[i] = m.floors[i];
            m.floors[i] = 0;
        }
        m.falling = 0.5;
        const tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT);
        tn_search_result result;
        ASSERT_EQ(tn_search(&problem, &result), TN_OK);
        const tn_search_plan *replicas = find(result, TN_SEARCH_REPLICAS);
        ASSERT_NE(replicas, nullptr);
        check_plan(m, *replicas);
        EXPECT_NEAR(replicas->shares[0], replicas->shares[1], 1);
        if (replicas->n_replicas == 3) { // steps grow as the square: the slow one is done in time with less than a fourth of the others'
            EXPECT_LE(4 * replicas->shares[2], replicas->shares[0]);
        }
        tn_search_result_deinit(&result);
    }
}

// Where a step takes as long for one sequence as for many, shares are by rate all the same, and no device is used in vain.
TEST(Search, SharesAreByRateWhereTheStepDoesNotTell)
{
    Made m = even_machine(30, {10, 5, 1}, 16);
    tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT);
    tn_search_result result;
    ASSERT_EQ(tn_search(&problem, &result), TN_OK);
    const tn_search_plan *replicas = find(result, TN_SEARCH_REPLICAS);
    ASSERT_NE(replicas, nullptr);
    ASSERT_EQ(replicas->n_replicas, 2u);
    EXPECT_EQ(replicas->shares[0], 11u);
    EXPECT_EQ(replicas->shares[1], 5u);
    tn_search_result_deinit(&result);
}

TEST(Search, SharesAreInProportion)
{
    uint32_t shares[3];
    const double ns_each[] = {1, 1, 20};
    const uint32_t most[] = {2, 100, 100};
    tn_search_share(ns_each, nullptr, 3, 16, shares);
    EXPECT_EQ(std::vector<uint32_t>(shares, shares + 3), (std::vector<uint32_t>{8, 7, 1}));
    tn_search_share(ns_each, nullptr, 3, 2, shares);
    EXPECT_EQ(std::vector<uint32_t>(shares, shares + 3), (std::vector<uint32_t>{1, 1, 0})) << "fewer than there are to share";
    tn_search_share(ns_each, most, 3, 16, shares);
    EXPECT_EQ(std::vector<uint32_t>(shares, shares + 3), (std::vector<uint32_t>{2, 13, 1}));
    tn_search_share(ns_each, nullptr, 3, 4100000000u, shares);
    EXPECT_EQ(shares[0] + shares[1] + shares[2], 4100000000u);
    EXPECT_NEAR(shares[2] / 4.1e9, 1 / 41.0, 2e-3);
}

// Two devices that read the same memory are slower together: whether they pay is a matter of how much.
TEST(Search, DevicesThatShareMemoryAreNotPromisedWhatTheyDoAlone)
{
    Made m = even_machine(30, {1, 1}, 2);
    tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT, 0.03);
    tn_search_result result;
    for (size_t i = 0; i < m.slopes.size(); i++) m.slopes[i] = m.floors[i];
    ASSERT_EQ(tn_search(&problem, &result), TN_OK);
    EXPECT_EQ(result.plans[0].kind, TN_SEARCH_REPLICAS);
    EXPECT_FALSE(result.plans[0].is_shared);
    const double promised = result.plans[0].tokens_per_s;
    tn_search_result_deinit(&result);
    m.shares = {1, 1};
    for (const double factor : {1.5, 3.0}) { // of the floor: a token takes 2.5 and 4 units of time in place of 2; alone 3 for both
        m.factors.assign(m.floors.size(), factor);
        problem = problem_of(m, TN_SEARCH_THROUGHPUT, 0.03);
        ASSERT_EQ(tn_search(&problem, &result), TN_OK);
        EXPECT_EQ(result.plans[0].kind, factor < 2 ? TN_SEARCH_REPLICAS : TN_SEARCH_ONE);
        const tn_search_plan *replicas = find(result, TN_SEARCH_REPLICAS);
        ASSERT_NE(replicas, nullptr);
        EXPECT_TRUE(replicas->is_shared);
        EXPECT_NEAR(replicas->tokens_per_s / promised, 2 / (1 + factor), 1e-3);
        check_plan(m, *replicas);
        tn_search_result_deinit(&result);
    }
}

TEST(Search, SaysWhatIsMissingWhereNothingFits)
{
    Made m = even_machine(4, {1, 2}, 1);
    m.memory = {300, 200};
    tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT);
    tn_search_result result;
    EXPECT_EQ(tn_search(&problem, &result), TN_OUT_OF_MEMORY);
    EXPECT_NE(strstr(tn_error_last()->message, "shorter context"), nullptr) << tn_error_last()->message;
    EXPECT_EQ(result.plans, nullptr);
    m.floors.assign(m.floors.size(), kNever);
    EXPECT_EQ(tn_search(&problem, &result), TN_UNSUPPORTED);
    problem.n_devices = 0;
    EXPECT_EQ(tn_search(&problem, &result), TN_INVALID_ARGUMENT);
}

// Of devices that all differ the fastest ones make the pipeline; no device alone and no replica is lost.
TEST(Search, PipelinesOfTooManyKindsAreOfTheFastest)
{
    std::vector<double> speeds;
    for (int i = 1; i <= 16; i++) speeds.push_back(i);
    const Made m = even_machine(30, speeds, 16);
    for (const tn_search_goal goal : {TN_SEARCH_LATENCY, TN_SEARCH_THROUGHPUT, TN_SEARCH_MEMORY}) {
        const tn_search_problem problem = problem_of(m, goal);
        tn_search_result result;
        ASSERT_EQ(tn_search(&problem, &result), TN_OK) << tn_error_last()->message;
        for (uint32_t p = 0; p < result.n_plans; p++) check_plan(m, result.plans[p]);
        EXPECT_EQ(result.n_plans, goal == TN_SEARCH_MEMORY ? 17u : 18u);
        EXPECT_GT(result.effort.n_left_out, 8u);
        EXPECT_LT(result.effort.n_left_out, 14u);
        const tn_search_plan *pipeline = find(result, TN_SEARCH_PIPELINE);
        ASSERT_NE(pipeline, nullptr);
        for (uint32_t u = 0; u < m.n_units; u++) EXPECT_GE(pipeline->devices[u], result.effort.n_left_out);
        tn_search_result_deinit(&result);
    }
}

// Eight devices that differ by noise: the work stays what a few milliseconds are enough for.
TEST(Search, TheWorkForUnlikeDevicesHasABound)
{
    std::mt19937 rng(8);
    std::uniform_real_distribution<double> jitter(0.98, 1.02);
    uint64_t alike_cells = 0;
    for (const bool is_alike : {true, false}) {
        std::vector<double> speeds;
        for (int i = 0; i < 8; i++) speeds.push_back(is_alike ? 4 : 4 * jitter(rng));
        Made m = even_machine(30, speeds, 64);
        for (size_t i = 0; i < m.slopes.size(); i++) m.slopes[i] = m.floors[i] / 10;
        const tn_search_problem problem = problem_of(m, TN_SEARCH_THROUGHPUT);
        tn_search_result result;
        ASSERT_EQ(tn_search(&problem, &result), TN_OK);
        EXPECT_EQ(result.effort.n_left_out, is_alike ? 0u : 3u);
        EXPECT_GT(result.effort.n_cells, 1000u);
        EXPECT_LT(result.effort.n_cells, is_alike ? 50000u : 1000000u);
        if (is_alike) alike_cells = result.effort.n_cells;
        EXPECT_GE(result.effort.n_cells, alike_cells);
        const tn_search_plan *replicas = find(result, TN_SEARCH_REPLICAS);
        ASSERT_NE(replicas, nullptr);
        EXPECT_EQ(replicas->n_replicas, 8u);
        tn_search_result_deinit(&result);
    }
}

// What no few devices hold is searched over all that a search can take.
TEST(Search, ModelsThatNeedManyUnlikeDevicesArePlaced)
{
    Made m = even_machine(30, {1, 2, 3, 4, 5, 6, 7, 8}, 1);
    m.memory.assign(8, 10 + 101 * 5); // five units
    const tn_search_problem problem = problem_of(m, TN_SEARCH_LATENCY);
    tn_search_result result;
    ASSERT_EQ(tn_search(&problem, &result), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(result.plans[0].kind, TN_SEARCH_PIPELINE);
    EXPECT_EQ(result.effort.n_left_out, 0u);
    check_plan(m, result.plans[0]);
    EXPECT_EQ(result.plans[0].device_bytes[0], 0u) << "seven of them hold it, without the slowest";
    tn_search_result_deinit(&result);
}

} // namespace
