// Temperatures and throttle counts of a made-up system: which sensors are the processors', and what is not known.
#include "program.hpp"

#include <filesystem>

extern "C" {
#include "thermal.h"
}

namespace
{

class Thermal : public testing::Test
{
  protected:
    void put(const std::string &path, const std::string &line)
    {
        std::filesystem::create_directories(std::filesystem::path(folder / path).parent_path());
        cli::write_file(folder / path, line + "\n");
    }
    void sensor(const std::string &place, const std::string &name, const std::vector<std::string> &temperatures)
    {
        put("class/hwmon/" + place + "/name", name);
        for (size_t i = 0; i < temperatures.size(); i++)
            put("class/hwmon/" + place + "/temp" + std::to_string(i + 1) + "_input", temperatures[i]);
    }
    void zone(int i, const std::string &type, const std::string &temperature)
    {
        const std::string place = "class/thermal/thermal_zone" + std::to_string(i);
        put(place + "/type", type);
        put(place + "/temp", temperature);
    }
    // -1000: not known.
    double celsius() const
    {
        double value = 0;
        return tn_cli_thermal_celsius(root.c_str(), &value) ? value : -1000;
    }
    long long throttles() const
    {
        uint64_t count = 0;
        return tn_cli_thermal_throttles(root.c_str(), &count) ? static_cast<long long>(count) : -1;
    }
    cli::Folder folder;
    const std::string root = folder / "";
};

TEST_F(Thermal, ASystemWithoutSensorsKnowsNothing)
{
    EXPECT_EQ(celsius(), -1000);
    EXPECT_EQ(throttles(), -1);
}

TEST_F(Thermal, TheWarmestOfTheProcessorsCounts)
{
    sensor("hwmon0", "nvme", {"91000"});
    sensor("hwmon3", "coretemp", {"41000", "63500", "40000"});
    sensor("hwmon10", "k10temp", {"52125"});
    zone(0, "x86_pkg_temp", "99000");
    EXPECT_EQ(celsius(), 63.5);
}

TEST_F(Thermal, ZonesStandInForSensors)
{
    sensor("hwmon0", "acpitz", {"27800"});
    zone(0, "acpitz", "27800");
    EXPECT_EQ(celsius(), -1000) << "that is the board's";
    zone(1, "cpu-thermal", "48312");
    zone(12, "x86_pkg_temp", "45000");
    EXPECT_EQ(celsius(), 48.312);
}

TEST_F(Thermal, WhatIsNoTemperatureIsLeftOut)
{
    sensor("hwmon0", "coretemp", {"", "x", "-128000", "255000"});
    EXPECT_EQ(celsius(), -1000);
    sensor("hwmon1", "coretemp", {"-3000"});
    EXPECT_EQ(celsius(), -3);
}

TEST_F(Thermal, ThrottlesAreThoseOfCoresAndPackages)
{
    put("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3");
    put("devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "40");
    put("devices/system/cpu/cpu11/thermal_throttle/core_throttle_count", "500");
    put("devices/system/cpu/cpufreq/thermal_throttle/core_throttle_count", "6000");
    EXPECT_EQ(throttles(), 543);
}

} // namespace
