// Candidates of one kind: eight equal GPUs as they measure, no two alike, and yet one kind.
#include <cstdio>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "runtime/placement_alike.h"
}

namespace
{

constexpr uint32_t kDevices = 8;
constexpr uint64_t kGib = 1 << 30;

tn_cost_table make_table(double speed)
{
    tn_cost_table table;
    tn_cost_table_init(&table);
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        table.ns[TN_COST_SUBMIT][k] = 2000 / speed;
        table.ns[TN_COST_LAYER][k] = 1000 * (k + 1) / speed;
    }
    return table;
}

struct Gpus {
    explicit Gpus(const std::string &name) : descs(kDevices), is_set(kDevices)
    {
        works[1].unit = works[2].unit = TN_COST_UNIT_LAYER;
        works[0].unit = TN_COST_UNIT_EMBED;
        works[3].unit = TN_COST_UNIT_HEAD;
        for (uint32_t i = 0; i < kDevices; i++) {
            snprintf(descs[i].name, sizeof descs[i].name, "%s%u", name.c_str(), i);
            snprintf(descs[i].description, sizeof descs[i].description, "Some GPU");
            descs[i].memory_bytes = 80 * kGib;
            tables.push_back(make_table(100 * (1 + 0.02 * ((i * 5) % 8) / 8)));
            tables[i].measured_at_s = 1000 + i;
            memory.push_back(70 * kGib + i * 1000);
            places.push_back(i);
        }
    }
    // How many have the times of the first then.
    uint32_t unify()
    {
        tn_graph graph = {};
        graph.n_layers = 2;
        tn_placement_choice choice = {};
        choice.graph = &graph;
        choice.n_seqs = 16;
        choice.n_ctx = 512;
        choice.n_devices = kDevices;
        choice.works = works;
        choice.tables = tables.data();
        choice.memory_bytes = memory.data();
        choice.devices = places.data();
        tn_placement_unify(descs.data(), reinterpret_cast<const bool *>(is_set.data()), &choice);
        uint32_t same = 0;
        for (const tn_cost_table &table : tables) same += memcmp(table.ns, tables[0].ns, sizeof table.ns) == 0;
        return same;
    }
    std::vector<tn_device_desc> descs;
    std::vector<uint8_t> is_set;
    std::vector<tn_cost_table> tables;
    std::vector<uint64_t> memory;
    std::vector<uint32_t> places;
    tn_cost_work works[4] = {};
};

TEST(PlacementAlike, DevicesOfOneKindHaveTheTimesAndMemoryOfOne)
{
    Gpus gpus("cuda");
    EXPECT_EQ(gpus.unify(), kDevices);
    for (uint32_t i = 0; i < kDevices; i++) {
        EXPECT_EQ(gpus.memory[i], 70 * kGib);
        EXPECT_EQ(gpus.tables[i].measured_at_s, 1000 + i) << "each was measured at its own time";
    }
}

TEST(PlacementAlike, MemoryThatTheUserSetOrThatDiffersMuchIsKept)
{
    Gpus gpus("cuda");
    gpus.is_set[3] = 1;
    gpus.memory[3] = 69 * kGib;
    gpus.memory[5] = 40 * kGib;
    gpus.unify();
    EXPECT_EQ(gpus.memory[3], 69 * kGib);
    EXPECT_EQ(gpus.memory[4], 70 * kGib);
    EXPECT_EQ(gpus.memory[5], 40 * kGib);
}

TEST(PlacementAlike, UnlikeDevicesKeepTheirTimes)
{
    Gpus gpus("cuda");
    gpus.tables[6] = make_table(50); // half as fast, whatever the reason is
    snprintf(gpus.descs[7].description, sizeof gpus.descs[7].description, "Another GPU");
    snprintf(gpus.descs[5].driver, sizeof gpus.descs[5].driver, "another driver");
    snprintf(gpus.descs[4].name, sizeof gpus.descs[4].name, "vulkan0");
    EXPECT_EQ(gpus.unify(), kDevices - 4);
    EXPECT_EQ(Gpus("cpu").unify(), 1u) << "CPU devices are parts of one machine, which may differ";
}

} // namespace
