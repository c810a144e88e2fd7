// Meters of energy: RAPL's counters from a made-up folder, NVML from a made-up library.
#include "program.hpp"

extern "C" {
#include "energy.h"
}

namespace
{

class Rapl : public testing::Test
{
  protected:
    void domain(const std::string &name, const std::string &label, const std::string &joule, const std::string &range = "1000000")
    {
        const std::string here = root + "/" + name;
        mkdir(root.c_str(), 0755);
        mkdir(here.c_str(), 0755);
        cli::write_file(here + "/name", label + "\n");
        cli::write_file(here + "/energy_uj", joule + "\n");
        cli::write_file(here + "/max_energy_range_uj", range + "\n");
    }
    void set(const std::string &name, const std::string &joule) { cli::write_file(root + "/" + name + "/energy_uj", joule + "\n"); }
    double read()
    {
        double joule = -1;
        EXPECT_TRUE(tn_cli_energy_read(&energy, &joule));
        return joule;
    }
    void TearDown() override { tn_cli_energy_close(&energy); }

    cli::Folder folder;
    std::string root = folder / "powercap";
    tn_cli_energy energy = {};
};

TEST_F(Rapl, PackagesAreSummedAndPartsOfThemAreNot)
{
    domain("intel-rapl:0", "package-0", "500000");
    domain("intel-rapl:1", "package-1", "100");
    domain("intel-rapl:0:0", "core", "7");
    domain("intel-rapl:0:1", "dram", "7");
    domain("dtpm", "package-2", "7");
    tn_cli_energy_open_rapl(&energy, root.c_str());
    ASSERT_STREQ(energy.meter, "rapl") << energy.why;
    EXPECT_EQ(energy.n_domains, 2u);
    EXPECT_DOUBLE_EQ(read(), 0);
    set("intel-rapl:0", "750000");
    set("intel-rapl:1", "100100");
    set("intel-rapl:0:0", "900000");
    EXPECT_DOUBLE_EQ(read(), 0.35);
    set("intel-rapl:0", "750001");
    EXPECT_DOUBLE_EQ(read(), 0.350001);
}

TEST_F(Rapl, ACounterThatBeganAnewGoesOnWhereItEnded)
{
    domain("intel-rapl:0", "package-0", "999990");
    tn_cli_energy_open_rapl(&energy, root.c_str());
    set("intel-rapl:0", "15");
    EXPECT_DOUBLE_EQ(read(), 25e-6);
    set("intel-rapl:0", "16");
    EXPECT_DOUBLE_EQ(read(), 26e-6);
}

TEST_F(Rapl, ACounterThatVanishesOrFallsWithoutARangeGivesNoFigure)
{
    double joule;
    domain("intel-rapl:0", "package-0", "999990", "");
    tn_cli_energy_open_rapl(&energy, root.c_str());
    ASSERT_STREQ(energy.meter, "rapl");
    set("intel-rapl:0", "15");
    EXPECT_FALSE(tn_cli_energy_read(&energy, &joule));
    unlink((root + "/intel-rapl:0/energy_uj").c_str());
    EXPECT_FALSE(tn_cli_energy_read(&energy, &joule));
}

TEST_F(Rapl, WithoutCountersItSaysSo)
{
    double joule;
    tn_cli_energy_open_rapl(&energy, root.c_str());
    EXPECT_EQ(energy.meter, nullptr);
    EXPECT_TRUE(cli::contains(energy.why, "n/a: the system has no RAPL counters")) << energy.why;
    EXPECT_FALSE(tn_cli_energy_read(&energy, &joule));
    domain("intel-rapl:0", "psys", "1");
    tn_cli_energy_open_rapl(&energy, root.c_str());
    EXPECT_EQ(energy.meter, nullptr);
    EXPECT_TRUE(cli::contains(energy.why, "no counter of a whole package")) << energy.why;
}

TEST_F(Rapl, WhatOnlyTheAdministratorMayReadIsSaidWithTheCommand)
{
    domain("intel-rapl:0", "package-0", "1");
    domain("intel-rapl:1", "package-1", "1");
    ASSERT_EQ(chmod((root + "/intel-rapl:1/energy_uj").c_str(), 0), 0);
    ASSERT_EQ(chmod((folder / ".").c_str(), 0755), 0);
    const uid_t me = geteuid();
    const bool changed = me == 0 && seteuid(65534) == 0; // whom file modes hold for
    tn_cli_energy_open_rapl(&energy, root.c_str());
    if (changed) {
        ASSERT_EQ(seteuid(me), 0);
    }
    EXPECT_EQ(energy.meter, nullptr) << "a part of the packages is no sum";
    EXPECT_TRUE(cli::contains(energy.why, "only the administrator")) << energy.why;
    EXPECT_EQ(std::string(energy.enable), "sudo chmod a+r " + root + "/intel-rapl:*/energy_uj");
}

TEST(Nvml, TellsWhatTheCardTook)
{
    tn_cli_energy energy;
    double joule = -1;
    tn_cli_energy_open_nvml(&energy, TN_FAKE_NVML, "0000:01:00.0");
    ASSERT_STREQ(energy.meter, "nvml") << energy.why;
    EXPECT_TRUE(tn_cli_energy_read(&energy, &joule));
    EXPECT_DOUBLE_EQ(joule, 1.5);
    EXPECT_TRUE(tn_cli_energy_read(&energy, &joule));
    EXPECT_DOUBLE_EQ(joule, 3);
    tn_cli_energy_close(&energy);
    EXPECT_FALSE(tn_cli_energy_read(&energy, &joule));
}

TEST(Nvml, WhatIsMissingIsSaid)
{
    const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
        {{"/no/such/libnvidia-ml.so.1", "0000:01:00.0"}, "/no/such/libnvidia-ml.so.1 is not installed"},
        {{TN_FAKE_NVML, "0000:02:00.0"}, "does not know the card"},
        {{TN_FAKE_NVML, "0000:01:00.1"}, "does not count its energy"},
        {{"libm.so.6", "0000:01:00.0"}, "too old"},
    };
    for (const auto &[given, why] : cases) {
        tn_cli_energy energy;
        tn_cli_energy_open_nvml(&energy, given.first.c_str(), given.second.c_str());
        EXPECT_EQ(energy.meter, nullptr) << why;
        EXPECT_EQ(std::string(energy.why).rfind("n/a: ", 0), 0u) << energy.why;
        EXPECT_TRUE(cli::contains(energy.why, why)) << energy.why;
        tn_cli_energy_close(&energy);
    }
}

} // namespace
