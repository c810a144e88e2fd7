// What is chosen on machines that nobody here has, as text that people can check: made-up costs of well-known machines and models.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include "scheduler/place.h"
#include "scheduler/search.h"
}

namespace
{

constexpr double kGib = 1024.0 * 1024 * 1024;

// A device by its limits: what it reads, and what it multiplies, in a second.
struct Device {
    const char *name;
    double gb_per_s, tera_ops, launch_us, memory_gib, hop_us;
};

struct Machine {
    const char *name;
    std::vector<Device> devices;
};

struct Model {
    const char *name;
    uint32_t n_layers;
    double layer_bytes, end_bytes, layer_products, head_products, kv_bytes; // a layer's; of embedding and head; of a position in a layer
    uint32_t width;
};

const std::vector<Machine> kMachines = {
    {"2-socket EPYC", {{"cpu0", 78, 3, 8, 240, 3}, {"cpu1", 77, 3, 8, 240, 3}}},
    {"hybrid laptop", {{"cpu0", 60, 1.5, 5, 12, 2}, {"vulkan0", 55, 4, 60, 8, 40}}},
    {"8-GPU server",
     {{"cuda0", 3000, 900, 6, 70, 12},
      {"cuda1", 3000, 900, 6, 70, 12},
      {"cuda2", 3000, 900, 6, 70, 12},
      {"cuda3", 3000, 900, 6, 70, 12},
      {"cuda4", 3000, 900, 6, 70, 12},
      {"cuda5", 3000, 900, 6, 70, 12},
      {"cuda6", 3000, 900, 6, 70, 12},
      {"cuda7", 3000, 900, 6, 70, 12},
      {"cpu0", 300, 8, 10, 900, 3},
      {"cpu1", 300, 8, 10, 900, 3}}},
    {"Raspberry Pi", {{"cpu0", 12, 0.08, 4, 3, 2}}},
};

const std::vector<Model> kModels = {
    {"2b-4t", 30, 17.4e6, 270e6, 69.5e6, 328e6, 2560, 2560},
    {"30b", 60, 130e6, 0.8e9, 520e6, 0.9e9, 4096, 6144},
    {"400b", 120, 900e6, 1.6e9, 3.6e9, 2e9, 8192, 16384},
};

struct Case {
    const Machine *machine;
    const Model *model;
    uint32_t n_ctx;
    std::vector<uint64_t> memory;
};

const Case &case_of(const void *ctx) { return *static_cast<const Case *>(ctx); }

double unit_ns(const void *ctx, uint32_t device, uint32_t unit, uint32_t n_tokens)
{
    const Case &c = case_of(ctx);
    const Device &d = c.machine->devices[device];
    const Model &m = *c.model;
    if (unit == 0) return 200.0 * n_tokens;
    const bool head = unit == m.n_layers + 1;
    const double bytes = head ? m.end_bytes : m.layer_bytes + m.kv_bytes * n_tokens * c.n_ctx / 2;
    const double ops = 2 * n_tokens * (head ? m.head_products : m.layer_products);
    return std::max(bytes / d.gb_per_s, ops / (d.tera_ops * 1e3)) + d.launch_us * 100;
}

double segment_ns(const void *ctx, uint32_t device) { return case_of(ctx).machine->devices[device].launch_us * 1000; }

double hop_ns(const void *ctx, uint32_t from, uint32_t to, uint32_t n_tokens)
{
    const Case &c = case_of(ctx);
    const double bytes = 4.0 * c.model->width * n_tokens;
    return (c.machine->devices[from].hop_us + c.machine->devices[to].hop_us) * 1000 + bytes / 10;
}

uint64_t unit_bytes(const void *ctx, uint32_t, uint32_t unit, uint32_t n_seqs)
{
    const Case &c = case_of(ctx);
    const bool layer = unit > 0 && unit <= c.model->n_layers;
    return static_cast<uint64_t>(layer ? c.model->layer_bytes + c.model->kv_bytes * c.n_ctx * n_seqs : c.model->end_bytes);
}

uint64_t segment_bytes(const void *, uint32_t, uint32_t n_seqs) { return 64000000 + 512000u * n_seqs; }

tn_search_problem problem_of(const Case &c, tn_search_goal goal, uint32_t n_seqs)
{
    tn_search_problem problem = {};
    problem.n_units = c.model->n_layers + 2;
    problem.n_devices = static_cast<uint32_t>(c.machine->devices.size());
    problem.n_seqs = n_seqs;
    problem.goal = goal;
    problem.margin = 0.03;
    problem.memory_bytes = c.memory.data();
    problem.ctx = &c;
    problem.unit_ns = unit_ns;
    problem.segment_ns = segment_ns;
    problem.hop_ns = hop_ns;
    problem.unit_bytes = unit_bytes;
    problem.segment_bytes = segment_bytes;
    return problem;
}

Case make_case(const Machine &machine, const Model &model, uint32_t n_ctx)
{
    Case c = {&machine, &model, n_ctx, {}};
    for (const Device &d : machine.devices) c.memory.push_back(static_cast<uint64_t>(d.memory_gib * kGib));
    return c;
}

std::string describe(const Case &c, const tn_search_plan &plan)
{
    const char *const kinds[] = {"", "replicas ", "pipeline "};
    std::vector<tn_device_desc> descs(c.machine->devices.size());
    for (size_t i = 0; i < descs.size(); i++) snprintf(descs[i].name, sizeof descs[i].name, "%s", c.machine->devices[i].name);
    std::string text = kinds[plan.kind];
    char line[4096];
    for (uint32_t r = 0; r < plan.n_replicas; r++) {
        const uint32_t *devices = plan.devices + static_cast<size_t>(r) * (c.model->n_layers + 2);
        if (plan.kind == TN_SEARCH_REPLICAS)
            snprintf(line, sizeof line, "%s x%u", descs[devices[0]].name, plan.shares[r]);
        else
            tn_place_print_from(devices, c.model->n_layers, descs.data(), nullptr, line, sizeof line);
        text += (r ? " + " : "") + std::string(line);
    }
    snprintf(line, sizeof line, "  %.4g t/s, %.4g ms, %.3g GiB", plan.tokens_per_s, plan.step_ns / 1e6,
             static_cast<double>(plan.bytes) / kGib);
    return text + line;
}

std::string all_plans()
{
    const char *const goals[] = {"latency", "throughput", "memory"};
    std::string text;
    for (const Machine &machine : kMachines) {
        for (const Model &model : kModels) {
            for (uint32_t n_seqs : {1u, 16u, 256u}) {
                for (int goal = TN_SEARCH_LATENCY; goal <= TN_SEARCH_MEMORY; goal++) {
                    const Case c = make_case(machine, model, 1024);
                    const tn_search_problem problem = problem_of(c, static_cast<tn_search_goal>(goal), n_seqs);
                    tn_search_result result;
                    const tn_status status = tn_search(&problem, &result);
                    text += std::string(machine.name) + ", " + model.name + ", " + std::to_string(n_seqs) + ", " + goals[goal] + ": ";
                    text += status == TN_OK ? describe(c, result.plans[0]) : tn_status_name(status);
                    text += "\n";
                    if (status == TN_OK) tn_search_result_deinit(&result);
                }
            }
        }
    }
    return text;
}

TEST(GoldenPlans, OfMadeUpMachinesAreAsTheyWere)
{
    std::ifstream file(TN_SOURCE_DIR "/tests/scheduler/golden_plans.txt");
    std::stringstream golden;
    golden << file.rdbuf();
    const std::string now = all_plans();
    if (now != golden.str()) std::ofstream("golden_plans.txt") << now; // beside the program, to compare and to copy
    std::istringstream lines(now);
    for (std::string was, is; std::getline(golden, was);) {
        ASSERT_TRUE(std::getline(lines, is)) << was;
        EXPECT_EQ(is, was);
    }
    EXPECT_EQ(now, golden.str());
}

} // namespace
