// The table of a comparison: what its cells say of figures that are there, and of those that are not.
#include "program.hpp"

#include <algorithm>

extern "C" {
#include "compare.h"
}

namespace
{

using cli::contains;

// What is printed for subjects, given as JSON.
std::string table_of(const std::string &subjects)
{
    const cli::Json json = cli::parse_json(R"({"subjects": [)" + subjects + "]}");
    testing::internal::CaptureStdout();
    EXPECT_EQ(tn_cli_compare_print_table(json.get()), 0);
    fflush(stdout);
    return testing::internal::GetCapturedStdout();
}

std::string with_speed(const std::string &name, const std::string &fields)
{
    return R"({"name": ")" + name + R"(", "kind": "external", "status": "ok", "speed": [{"test": "tg8", )" + fields + "}]}";
}

std::string line_of(const std::string &table, const std::string &begin)
{
    std::istringstream lines(table);
    std::string line;
    while (std::getline(lines, line) && line.rfind(begin, 0) != 0) {}
    return line;
}

TEST(CompareTable, TheMeanStandsWhereThereIsNoMedian)
{
    const std::string table = table_of(with_speed("a", R"("median": null, "mean": 123.4, "deviation": 1.5)") + "," +
                                       with_speed("b", R"("median": 20.25, "mean": 21.5, "deviation": 1.5)"));
    EXPECT_TRUE(contains(line_of(table, "| a "), " 123 \u00b1 2 (mean) |")) << table;
    EXPECT_TRUE(contains(line_of(table, "| b "), " 20.25 \u00b1 1.50 |")) << table;
}

TEST(CompareTable, WhatIsNotKnownIsNotZero)
{
    const std::string table = table_of(with_speed("a", R"("median": null, "mean": null, "deviation": 1.5)") + "," +
                                       with_speed("b", R"("median": 137.75, "mean": 137.75, "deviation": null)"));
    EXPECT_FALSE(contains(line_of(table, "| a "), "0")) << table;
    EXPECT_FALSE(contains(line_of(table, "| a "), "\u00b1")) << table;
    EXPECT_TRUE(contains(line_of(table, "| b "), " 138 |")) << table << "one run has no deviation";
}

TEST(CompareTable, AShareOfMemoryAloneIsNamed)
{
    const std::string table = table_of(with_speed("a", R"("median": 1, "share_memory": 0.106, "share_roofline": null)") + "," +
                                       with_speed("b", R"("median": 1, "share_memory": 0.106, "share_roofline": 0.207)"));
    EXPECT_TRUE(contains(line_of(table, "| a "), " 10.6 (memory) |")) << table;
    EXPECT_TRUE(contains(line_of(table, "| b "), " 20.7 |")) << table;
}

TEST(CompareTable, HeatIsSaidWhereItIsKnown)
{
    const auto printed = [](const std::string &machine) {
        const cli::Json json = cli::parse_json(R"({"subjects": [], "machine": {)" + machine + "}}");
        testing::internal::CaptureStdout();
        EXPECT_EQ(tn_cli_compare_print_table(json.get()), 0);
        fflush(stdout);
        return testing::internal::GetCapturedStdout();
    };
    EXPECT_FALSE(contains(printed(R"("celsius_before": null, "throttles_before": null, "throttles_after": null)"), "heat"));
    const std::string warm = printed(R"("celsius_before": 41.4, "celsius_after": 67.6, "throttles_before": 7, "throttles_after": 8)");
    EXPECT_TRUE(contains(warm, "\nheat     41 °C before, 68 °C after\ncaution  heat slowed the processors down 1 time under way\n"))
        << warm;
}

TEST(CompareTable, NamesOfOthersKeepTheColumnsInTheirPlaces)
{
    const std::string table = table_of(with_speed("a\\u001b[2Jb\\u00e4", R"("median": 1)") + "," + with_speed("plain", R"("median": 1)") +
                                       "," + with_speed(std::string(39, 'x') + "\u00e4\u00e4", R"("median": 1)"));
    EXPECT_TRUE(contains(table, "| a\\x1b[2Jb\u00e4 (not ours) ")) << table;
    EXPECT_TRUE(contains(table, "| " + std::string(37, 'x') + "... (not ours) ")) << table;
    std::istringstream lines(table);
    std::string line;
    std::vector<std::ptrdiff_t> widths; // of whole lines, on a terminal
    while (std::getline(lines, line) && line.rfind('|', 0) == 0) {
        widths.push_back(std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
    }
    EXPECT_EQ(widths, std::vector<std::ptrdiff_t>(5, widths.front())) << table;
}

} // namespace
