// The topology of made-up machines and of this one.
#include <gtest/gtest.h>
#include <sched.h>
#include <set>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include "base/status.h"
#include "scheduler/topology.h"
}

namespace
{

struct Machine {
    explicit Machine(const char *synthetic)
    {
        EXPECT_EQ(tn_topology_create(synthetic, &topology), TN_OK) << tn_error_last()->message;
        if (!topology) return;
        tn_topology_summarise(topology, &summary);
        uint32_t n;
        const tn_core *first = tn_topology_cores(topology, &n);
        cores.assign(first, first + n);
    }
    ~Machine() { tn_topology_destroy(topology); }
    Machine(const Machine &) = delete;
    Machine &operator=(const Machine &) = delete;
    tn_topology *topology = nullptr;
    tn_topology_summary summary = {};
    std::vector<tn_core> cores;
};

TEST(Topology, TwoSocketsWithSmtAreCountedByCoreAndOrderedByNode)
{
    Machine m("pack:2 numa:1(memory=8589934592) l3:1(size=33554432) core:4 l2:1(size=1048576) l1d:1(size=32768) pu:2");
    EXPECT_EQ(m.summary.n_packages, 2u);
    EXPECT_EQ(m.summary.n_numa_nodes, 2u);
    EXPECT_EQ(m.summary.n_cores, 8u);
    EXPECT_EQ(m.summary.n_pus, 16u);
    EXPECT_EQ(m.summary.l3_bytes, 33554432u);
    EXPECT_EQ(m.summary.l2_bytes, 1048576u);
    EXPECT_EQ(m.summary.l1d_bytes, 32768u);
    EXPECT_EQ(m.summary.memory_bytes, 2 * 8589934592u);
    ASSERT_EQ(m.cores.size(), 8u);
    for (size_t i = 0; i < 8; i++) {
        EXPECT_EQ(m.cores[i].numa_node, i / 4);
        EXPECT_EQ(m.cores[i].package, i / 4);
        EXPECT_EQ(m.cores[i].os_index, 2 * i) << "the first sibling of each core";
        EXPECT_EQ(m.cores[i].n_pus, 2u);
    }
    EXPECT_EQ(tn_topology_core_quota(m.topology), 8u);
}

TEST(Topology, SeveralNodesInOnePackageKeepTheirCoresTogether)
{
    Machine m("pack:1 numa:4 core:3 pu:1");
    EXPECT_EQ(m.summary.n_packages, 1u);
    EXPECT_EQ(m.summary.n_numa_nodes, 4u);
    ASSERT_EQ(m.cores.size(), 12u);
    for (size_t i = 0; i < 12; i++) EXPECT_EQ(m.cores[i].numa_node, i / 3);
}

TEST(Topology, InterleavedNumbersOfProcessorsAreStillOrderedByNode)
{
    // Processor 0 on the first package, 1 on the second, and so on.
    Machine m("pack:2 numa:1 core:2 pu:1(indexes=0,2,1,3)");
    ASSERT_EQ(m.cores.size(), 4u);
    std::vector<uint32_t> os;
    for (const tn_core &core : m.cores) os.push_back(core.os_index);
    EXPECT_EQ(os, (std::vector<uint32_t>{0, 2, 1, 3}));
}

TEST(Topology, ASingleCoreIsAMachine)
{
    Machine m("pu:1");
    EXPECT_EQ(m.summary.n_cores, 1u);
    EXPECT_EQ(m.summary.n_pus, 1u);
    EXPECT_EQ(m.summary.l3_bytes, 0u);
    EXPECT_EQ(tn_topology_core_quota(m.topology), 1u);
}

TEST(Topology, ThreadsAreNotBoundToAMadeUpMachine)
{
    Machine m("core:2 pu:1");
    EXPECT_EQ(tn_topology_bind(m.topology, 0), TN_UNSUPPORTED);
    EXPECT_EQ(tn_topology_bind(m.topology, 2), TN_INVALID_ARGUMENT);
}

TEST(Topology, NonsenseIsRefusedWithAnExample)
{
    tn_topology *topology = reinterpret_cast<tn_topology *>(&topology);
    EXPECT_EQ(tn_topology_create("three cores please", &topology), TN_INVALID_ARGUMENT);
    EXPECT_EQ(topology, nullptr);
    EXPECT_NE(std::string(tn_error_last()->message).find("pack:2"), std::string::npos);
    tn_topology_destroy(nullptr);
}

TEST(Topology, ThisMachineHasTheProcessorsOfThisProcess)
{
    cpu_set_t set;
    ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    Machine m(nullptr);
    EXPECT_EQ(m.summary.n_pus, static_cast<uint32_t>(CPU_COUNT(&set)));
    EXPECT_GE(m.summary.n_cores, 1u);
    EXPECT_GE(tn_topology_core_quota(m.topology), 1u);
    EXPECT_LE(tn_topology_core_quota(m.topology), m.summary.n_cores);
    EXPECT_GT(m.summary.memory_bytes, 1u << 24);
    std::set<uint32_t> os;
    for (const tn_core &core : m.cores) {
        EXPECT_TRUE(CPU_ISSET(core.os_index, &set));
        os.insert(core.os_index);
    }
    EXPECT_EQ(os.size(), m.cores.size()) << "each core once";
}

TEST(Topology, ABoundThreadMayRunOnItsCoreOnly)
{
    Machine m(nullptr);
    const tn_core core = m.cores.back();
    tn_status status = TN_INTERNAL;
    cpu_set_t set;
    std::string message;
    std::thread([&] {
        status = tn_topology_bind(m.topology, static_cast<uint32_t>(m.cores.size()) - 1);
        message = tn_error_last()->message;
        sched_getaffinity(0, sizeof set, &set);
    }).join();
    if (status == TN_UNSUPPORTED || status == TN_UNAVAILABLE) GTEST_SKIP() << "binding is not possible here: " << message;
    ASSERT_EQ(status, TN_OK) << message;
    EXPECT_TRUE(CPU_ISSET(core.os_index, &set));
    EXPECT_EQ(static_cast<uint32_t>(CPU_COUNT(&set)), core.n_pus);
}

TEST(Topology, AProcessThatIsHeldToOneProcessorSeesOneCore)
{
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer runs a thread of its own, which keeps the processors of the start: the process is not held to one";
#endif
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    {
        Machine m(nullptr);
        EXPECT_EQ(m.summary.n_cores, 1u);
        EXPECT_EQ(m.summary.n_pus, 1u);
        ASSERT_FALSE(m.cores.empty());
        EXPECT_EQ(m.cores[0].os_index, static_cast<uint32_t>(cpu));
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

} // namespace
