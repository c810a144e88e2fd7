// The topology of made-up machines and of this one.
#include <gtest/gtest.h>
#include <sched.h>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" {
#include "base/status.h"
#include "scheduler/topology.h"
}

namespace
{

tn_topology_source source_of(const char *synthetic)
{
    tn_topology_source source = {};
    source.synthetic = synthetic;
    return source;
}

struct Machine {
    explicit Machine(const char *synthetic) : Machine(source_of(synthetic)) {}
    explicit Machine(const tn_topology_source &source)
    {
        EXPECT_EQ(tn_topology_create(&source, &topology), TN_OK) << tn_error_last()->message;
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
    tn_topology_source source = source_of("three cores please");
    EXPECT_EQ(tn_topology_create(&source, &topology), TN_INVALID_ARGUMENT);
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

tn_topology_source machine_file(const std::string &path)
{
    tn_topology_source source = {};
    source.xml = path.c_str();
    source.with_pci = true;
    return source;
}

TEST(Topology, ATwoSocketEpycHasItsNodesWithTheirMemory)
{
    Machine m("pack:2 numa:4(memory=34359738368) l3:2(size=33554432) core:4 pu:2");
    uint32_t n;
    const tn_numa_node *nodes = tn_topology_nodes(m.topology, &n);
    ASSERT_EQ(n, 8u);
    for (uint32_t i = 0; i < n; i++) {
        EXPECT_EQ(nodes[i].os_index, i);
        EXPECT_EQ(nodes[i].n_cores, 8u);
        EXPECT_EQ(nodes[i].memory_bytes, 34359738368u);
    }
    EXPECT_EQ(m.summary.n_fast_cores, 64u) << "all are of one kind";
}

TEST(Topology, AHybridLaptopsFastCoresComeFirst)
{
    const std::string path = TN_SOURCE_DIR "/tests/scheduler/machines/hybrid_laptop.xml";
    Machine m(machine_file(path));
    EXPECT_EQ(m.summary.n_cores, 12u);
    EXPECT_EQ(m.summary.n_pus, 16u);
    EXPECT_EQ(m.summary.n_fast_cores, 4u);
    EXPECT_EQ(m.summary.l3_bytes, 18u << 20);
    ASSERT_EQ(m.cores.size(), 12u);
    for (size_t i = 0; i < m.cores.size(); i++) {
        EXPECT_EQ(m.cores[i].n_pus, i < 4 ? 2u : 1u);
        EXPECT_EQ(m.cores[i].kind, i < 4 ? 1 : 0);
    }
}

TEST(Topology, EachGpuOfAServerIsAtItsNode)
{
    const std::string path = TN_SOURCE_DIR "/tests/scheduler/machines/gpu_server.xml";
    Machine m(machine_file(path));
    const char *at_node[2][4] = {{"0000:11:00.0", "0000:21:00.0", "0000:31:00.0", "0000:41:00.0"},
                                 {"0000:51:00.0", "0000:61:00.0", "0000:71:00.0", "0000:81:00.0"}};
    uint32_t node;
    for (uint32_t n = 0; n < 2; n++) {
        for (const char *bus_id : at_node[n]) {
            ASSERT_EQ(tn_topology_pci_node(m.topology, bus_id, &node), TN_OK) << tn_error_last()->message;
            EXPECT_EQ(node, n) << bus_id;
        }
    }
    EXPECT_EQ(tn_topology_pci_node(m.topology, "0000:99:00.0", &node), TN_NOT_FOUND);
    EXPECT_EQ(tn_topology_pci_node(m.topology, "nonsense", &node), TN_NOT_FOUND);
}

TEST(Topology, AGpuIsAtNoNodeThatTheProcessMayNotUse)
{
    const std::string path = TN_SOURCE_DIR "/tests/scheduler/machines/gpu_server.xml";
    tn_topology_source source = machine_file(path);
    source.cpuset = "4-7"; // the second node's
    Machine m(source);
    uint32_t node = 9, n;
    EXPECT_EQ(m.summary.n_cores, 4u);
    const tn_numa_node *nodes = tn_topology_nodes(m.topology, &n);
    ASSERT_EQ(n, 1u);
    EXPECT_EQ(nodes[0].os_index, 1u);
    EXPECT_EQ(m.cores[0].numa_node, 0u) << "an index into the nodes that are left";
    ASSERT_EQ(tn_topology_pci_node(m.topology, "0000:51:00.0", &node), TN_OK);
    EXPECT_EQ(node, 0u);
    EXPECT_EQ(tn_topology_pci_node(m.topology, "0000:11:00.0", &node), TN_NOT_FOUND);
}

TEST(Topology, ARaspberryPiIsOneNodeOfFourCores)
{
    Machine m("pack:1 numa:1(memory=4294967296) l2:1(size=524288) core:4 l1d:1(size=65536) pu:1");
    EXPECT_EQ(m.summary.n_packages, 1u);
    EXPECT_EQ(m.summary.n_numa_nodes, 1u);
    EXPECT_EQ(m.summary.n_cores, 4u);
    EXPECT_EQ(m.summary.l2_bytes, 524288u);
    EXPECT_EQ(m.summary.l3_bytes, 0u);
    EXPECT_EQ(m.summary.memory_bytes, 4294967296u);
}

TEST(Topology, ARestrictedSetOfProcessorsIsAllThatIsSeen)
{
    tn_topology_source source = source_of("pack:2 numa:1 core:4 pu:2");
    source.cpuset = "2-3,8,11"; // a core, and halves of two
    Machine m(source);
    ASSERT_EQ(m.cores.size(), 3u);
    EXPECT_EQ(m.summary.n_pus, 4u);
    EXPECT_EQ(m.cores[0].os_index, 2u);
    EXPECT_EQ(m.cores[0].n_pus, 2u);
    EXPECT_EQ(m.cores[1].os_index, 8u);
    EXPECT_EQ(m.cores[1].numa_node, 1u);
    EXPECT_EQ(m.cores[2].os_index, 11u);
    tn_topology *topology = nullptr;
    source.cpuset = "77-80";
    EXPECT_EQ(tn_topology_create(&source, &topology), TN_INVALID_ARGUMENT);
    EXPECT_EQ(topology, nullptr);
}

TEST(Topology, AFileThatIsNoMachineIsNamed)
{
    const std::string path = TN_SOURCE_DIR "/tests/scheduler/topology_test.cpp";
    tn_topology_source source = machine_file(path);
    tn_topology *topology = nullptr;
    EXPECT_EQ(tn_topology_create(&source, &topology), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find(path), std::string::npos) << tn_error_last()->message;
    source.xml = "/nowhere/at/all.xml";
    EXPECT_EQ(tn_topology_create(&source, &topology), TN_INVALID_ARGUMENT);
}

TEST(Topology, MemoryIsBoundByWholePages)
{
    Machine m(nullptr);
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    std::vector<uint8_t> bytes(64 * page, 7);
    const tn_status status = tn_topology_bind_memory(m.topology, 0, bytes.data() + 1, 20 * page);
    if (status == TN_UNSUPPORTED || status == TN_UNAVAILABLE) GTEST_SKIP() << "binding is not possible here: " << tn_error_last()->message;
    ASSERT_EQ(status, TN_OK) << tn_error_last()->message;
    for (uint8_t byte : bytes) ASSERT_EQ(byte, 7) << "pages move with what is in them";
    EXPECT_EQ(tn_topology_bind_memory(m.topology, 0, bytes.data() + 1, page), TN_OK) << "no whole page: nothing to do";
    EXPECT_EQ(tn_topology_bind_memory(m.topology, 99, bytes.data(), page), TN_INVALID_ARGUMENT);
    Machine made("numa:2 core:2 pu:1");
    EXPECT_EQ(tn_topology_bind_memory(made.topology, 1, bytes.data(), 4 * page), TN_UNSUPPORTED);
    EXPECT_EQ(tn_topology_bind_to_node(made.topology, 1), TN_UNSUPPORTED);
    EXPECT_EQ(tn_topology_bind_to_node(made.topology, 2), TN_INVALID_ARGUMENT);
}

TEST(Topology, AThreadThatIsBoundToANodeMayRunOnAllItsCores)
{
    Machine m(nullptr);
    tn_status status = TN_INTERNAL;
    cpu_set_t set;
    std::string message;
    std::thread([&] {
        status = tn_topology_bind_to_node(m.topology, 0);
        message = tn_error_last()->message;
        sched_getaffinity(0, sizeof set, &set);
    }).join();
    if (status == TN_UNSUPPORTED || status == TN_UNAVAILABLE) GTEST_SKIP() << "binding is not possible here: " << message;
    ASSERT_EQ(status, TN_OK);
    for (const tn_core &core : m.cores) {
        if (core.numa_node == 0) {
            EXPECT_TRUE(CPU_ISSET(core.os_index, &set));
        }
    }
}

} // namespace
