// Limits of control groups, from made-up /proc and /sys trees.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

extern "C" {
#include "scheduler/cgroup.h"
}

namespace
{

namespace fs = std::filesystem;

class Cgroup : public testing::Test
{
  protected:
    Cgroup()
    {
        std::string name = (fs::temp_directory_path() / "ternion-cgroup-XXXXXX").string();
        if (mkdtemp(name.data())) root = name;
    }
    ~Cgroup() override { fs::remove_all(root); }
    void put(const std::string &path, const std::string &text)
    {
        fs::create_directories((root / path).parent_path());
        std::ofstream(root / path) << text;
    }
    tn_cgroup_limits read() { return tn_cgroup_read(root.c_str()); }
    fs::path root;
};

TEST_F(Cgroup, NothingToReadLimitsNothing)
{
    tn_cgroup_limits limits = read();
    EXPECT_EQ(limits.memory_bytes, 0u);
    EXPECT_EQ(limits.n_cpus, 0u);
}

TEST_F(Cgroup, Version2LimitsByTheTightestAncestorAndRoundsProcessorsUp)
{
    put("proc/self/cgroup", "0::/outer/inner\n");
    put("sys/fs/cgroup/outer/inner/memory.max", "max\n");
    put("sys/fs/cgroup/outer/memory.max", "1073741824\n");
    put("sys/fs/cgroup/outer/inner/cpu.max", "250000 100000\n");
    put("sys/fs/cgroup/outer/cpu.max", "max 100000\n");
    tn_cgroup_limits limits = read();
    EXPECT_EQ(limits.memory_bytes, 1073741824u);
    EXPECT_EQ(limits.n_cpus, 3u);
}

TEST_F(Cgroup, Version2InsideAContainerReadsTheMountsTop)
{
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "536870912\n");
    put("sys/fs/cgroup/cpu.max", "50000 100000\n");
    tn_cgroup_limits limits = read();
    EXPECT_EQ(limits.memory_bytes, 536870912u);
    EXPECT_EQ(limits.n_cpus, 1u);
}

TEST_F(Cgroup, AGroupOutsideOfTheNamespaceFallsBackToTheMountsTop)
{
    put("proc/self/cgroup", "0::/../../other\n");
    put("sys/fs/cgroup/memory.max", "123456789\n");
    EXPECT_EQ(read().memory_bytes, 123456789u);
}

TEST_F(Cgroup, Version1ReadsItsControllersAndKnowsItsWayOfSayingNoLimit)
{
    put("proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n3:cpuset:/job\n");
    put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2147483648\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "400000\n");
    put("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    tn_cgroup_limits limits = read();
    EXPECT_EQ(limits.memory_bytes, 2147483648u);
    EXPECT_EQ(limits.n_cpus, 4u);
}

TEST_F(Cgroup, CpusetIsNotTakenForCpu)
{
    put("proc/self/cgroup", "3:cpuset:/job\n");
    put("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(read().n_cpus, 0u);
}

TEST_F(Cgroup, GarbageLimitsNothing)
{
    put("proc/self/cgroup", "no colons\n::\n0:\n0::/a\n");
    put("sys/fs/cgroup/a/memory.max", "lots\n");
    put("sys/fs/cgroup/a/cpu.max", "100000 0\n");
    tn_cgroup_limits limits = read();
    EXPECT_EQ(limits.memory_bytes, 0u);
    EXPECT_EQ(limits.n_cpus, 0u);
}

} // namespace
