// Cores to CPU devices, on made-up machines.
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "base/status.h"
#include "runtime/host_near.h"
#include "runtime/host_shares.h"
}

namespace
{

struct Shares {
    Shares(const tn_topology_source &source, uint32_t n_devices, uint32_t n_threads, bool no_bind = false)
    {
        EXPECT_EQ(tn_topology_create(&source, &topology), TN_OK) << tn_error_last()->message;
        status = topology ? tn_host_shares_create(topology, n_devices, n_threads, no_bind, &shares) : TN_INTERNAL;
        if (status != TN_OK) message = tn_error_last()->message;
    }
    Shares(const char *synthetic, uint32_t n_devices, uint32_t n_threads, bool no_bind = false)
        : Shares(made_up(synthetic), n_devices, n_threads, no_bind)
    {
    }
    ~Shares()
    {
        tn_host_shares_deinit(&shares);
        tn_topology_destroy(topology);
    }
    Shares(const Shares &) = delete;
    Shares &operator=(const Shares &) = delete;
    static tn_topology_source made_up(const char *synthetic)
    {
        tn_topology_source source = {};
        source.synthetic = synthetic;
        return source;
    }
    // "0-3 x4" a device: cores and threads.
    [[nodiscard]] std::string text() const
    {
        std::string all;
        for (uint32_t i = 0; i < shares.n; i++) {
            const tn_share_cores &c = shares.cores[i];
            all +=
                (i ? " | " : "") + std::to_string(c.first) + "-" + std::to_string(c.first + c.n - 1) + " x" + std::to_string(c.n_threads);
            EXPECT_EQ(shares.shares[i].n_threads, c.n_threads);
            EXPECT_EQ(shares.shares[i].bind_ctx, &c);
        }
        return all;
    }
    tn_topology *topology = nullptr;
    tn_host_shares shares = {};
    tn_status status = TN_OK;
    std::string message;
};

const char kTwoSockets[] = "pack:2 numa:1(memory=8589934592) core:4 pu:2";

TEST(HostShares, OneDeviceHasAllCores)
{
    Shares s(kTwoSockets, 1, 0);
    EXPECT_EQ(s.text(), "0-7 x8");
    EXPECT_EQ(s.shares.shares[0].memory_bytes, 2 * 8589934592u);
    EXPECT_NE(s.shares.shares[0].bind_memory, nullptr) << "its rows lie on both nodes";
}

TEST(HostShares, EachNodeCanBeADevice)
{
    Shares s(kTwoSockets, TN_CPU_DEVICES_NUMA, 0);
    EXPECT_EQ(s.text(), "0-3 x4 | 4-7 x4");
    for (uint32_t i = 0; i < 2; i++) {
        EXPECT_EQ(s.shares.shares[i].memory_bytes, 8589934592u);
        EXPECT_EQ(s.shares.shares[i].bind_memory, nullptr) << "all its cores are at one node";
    }
}

TEST(HostShares, NodesOfOnePackageAreDevicesToo)
{
    Shares s("pack:1 numa:4(memory=1073741824) core:3 pu:1", TN_CPU_DEVICES_NUMA, 0);
    EXPECT_EQ(s.text(), "0-2 x3 | 3-5 x3 | 6-8 x3 | 9-11 x3");
}

TEST(HostShares, AMachineOfOneNodeIsOneDevice)
{
    Shares s("core:4 pu:1", TN_CPU_DEVICES_NUMA, 0);
    EXPECT_EQ(s.text(), "0-3 x4");
    EXPECT_EQ(s.shares.shares[0].bind_memory, nullptr);
}

TEST(HostShares, NodesWithoutCoresOfTheirOwnAreNoDevices)
{
    Shares fast("pack:1 [numa(memory=8589934592)] [numa(memory=68719476736)] core:2 pu:1", TN_CPU_DEVICES_NUMA, 0);
    EXPECT_EQ(fast.text(), "0-1 x2");
    EXPECT_EQ(fast.shares.shares[0].memory_bytes, 8589934592u);
    EXPECT_EQ(Shares("pack:2 [numa] [numa] core:1 pu:1", TN_CPU_DEVICES_NUMA, 0).text(), "0-0 x1 | 1-1 x1");
}

TEST(HostShares, SlowCoresHaveThreadsOnlyWhereTheyAreAskedFor)
{
    const std::string path = TN_SOURCE_DIR "/tests/scheduler/machines/hybrid_laptop.xml";
    tn_topology_source source = {};
    source.xml = path.c_str();
    EXPECT_EQ(Shares(source, 1, 0).text(), "0-3 x4");
    EXPECT_EQ(Shares(source, 2, 0).text(), "0-1 x2 | 2-3 x2");
    EXPECT_EQ(Shares(source, 1, 12).text(), "0-11 x12");
}

TEST(HostShares, FewerThreadsThanCoresAreBoundNowhere)
{
    Shares s(kTwoSockets, 1, 3);
    EXPECT_EQ(s.text(), "0-7 x3");
    EXPECT_EQ(s.shares.shares[0].bind_memory, nullptr) << "nobody knows where its threads run";
    EXPECT_EQ(s.shares.shares[0].bind(s.shares.shares[0].bind_ctx, 0), TN_OK) << "nothing is bound, so a made-up machine does not matter";
    Shares free(kTwoSockets, 1, 0, true);
    EXPECT_EQ(free.shares.shares[0].bind, nullptr);
    EXPECT_EQ(free.shares.shares[0].bind_memory, nullptr);
}

TEST(HostNear, AThreadsNodeIsTheOneThatItsGpuIsAt)
{
    const std::string path = TN_SOURCE_DIR "/tests/scheduler/machines/gpu_server.xml";
    tn_topology_source pci = {}, all = {}, second = {};
    pci.xml = all.xml = second.xml = path.c_str();
    pci.with_pci = true;
    const Shares with_pci(pci, 1, 0), whole(all, 1, 0);
    uint32_t n_nodes, node = 99;
    const tn_numa_node *nodes = tn_topology_nodes(whole.topology, &n_nodes);
    ASSERT_EQ(n_nodes, 2u);
    EXPECT_TRUE(tn_near_node(with_pci.topology, "0000:41:00.0", whole.topology, &node));
    EXPECT_EQ(node, 0u);
    EXPECT_TRUE(tn_near_node(with_pci.topology, "0000:81:00.0", whole.topology, &node));
    EXPECT_EQ(node, 1u);
    EXPECT_FALSE(tn_near_node(with_pci.topology, "0000:99:00.0", whole.topology, &node)) << "there is no such device";
    EXPECT_FALSE(tn_near_node(whole.topology, "0000:81:00.0", whole.topology, &node)) << "nobody has looked for PCI devices";

    uint32_t n_cores;
    tn_topology_cores(whole.topology, &n_cores);
    ASSERT_EQ(n_cores % 2, 0u);
    const std::string half = std::to_string(n_cores / 2) + "-" + std::to_string(n_cores - 1);
    second.cpuset = half.c_str();
    const Shares restricted(second, 1, 0);
    nodes = tn_topology_nodes(restricted.topology, &n_nodes);
    ASSERT_EQ(n_nodes, 1u) << half;
    ASSERT_EQ(nodes[0].os_index, 1u);
    EXPECT_TRUE(tn_near_node(with_pci.topology, "0000:81:00.0", restricted.topology, &node));
    EXPECT_EQ(node, 0u) << "an index into the nodes that are left";
    EXPECT_FALSE(tn_near_node(with_pci.topology, "0000:41:00.0", restricted.topology, &node)) << "the process may not use its node";
}

TEST(HostShares, WhatCannotBeSharedIsRefused)
{
    EXPECT_EQ(Shares("core:2 pu:1", 3, 2).status, TN_INVALID_ARGUMENT);
    EXPECT_EQ(Shares("core:2 pu:1", 1, 5000).status, TN_INVALID_ARGUMENT);
    Shares more("core:2 pu:1", 3, 0);
    EXPECT_EQ(more.status, TN_OK) << more.message;
    EXPECT_EQ(more.shares.n, 3u);
}

} // namespace
