// ternion bench on a CUDA device (the stand-in): its own limits, and shares of them.
#include "cli/bench_limits.hpp"

namespace
{

cli::Result bench(std::vector<std::string> more, const std::string &options = "")
{
    std::vector<std::string> arguments = {"bench", "-r", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const cli::Result result = cli::run(cli::Run{arguments, "", {{"TN_CUDA_LIBRARY", TN_STAND_IN}, {"TN_CUDA_HOST", options}}});
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
}

TEST(CudaBench, SharesAreOfTheDevicesOwnLimits)
{
    for (const char *options : {"", "capability=75"}) {
        // A number of threads is of CPUs, and changes nothing.
        const cli::Json json =
            cli::parse_json(bench({"-p", "8", "-n", "2", "-t", "2", "--device", "cuda:host", "-o", "json"}, options).out);
        ASSERT_EQ(json_array_size(json.get()), 2u);
        size_t i = 0;
        json_t *test = nullptr;
        json_array_foreach(json.get(), i, test)
        {
            const json_t *limits = json_object_get(test, "limits");
            ASSERT_EQ(json_array_size(limits), options[0] ? 2u : 3u);
            EXPECT_EQ(cli::text_of(json_array_get(limits, 0), "level"), "cuda:host");
            EXPECT_EQ(cli::text_of(json_array_get(limits, 1), "level"), "dp4a");
            EXPECT_EQ(cli::text_of(json_array_get(limits, json_array_size(limits) - 1), "level"), options[0] ? "dp4a" : "mma");
            EXPECT_EQ(cli::number_of(json_array_get(limits, 0), "theoretical"), 8e9); // 64 bits, twice at 500 MHz
            EXPECT_GT(cli::best_of_limits(test, "memory_read"), 0);
            EXPECT_GT(cli::best_of_limits(test, "int8_dot"), 0);
            cli::expect_limits_fit(test);
        }
    }
}

TEST(CudaBench, TheTableHasTheColumnsAndTheLimitsBelowIt)
{
    const std::string table = bench({"-p", "0", "-n", "2", "-npl", "1,3", "--device", "cuda:host"}).out;
    EXPECT_TRUE(cli::contains(table, "   GB/s |  % mem | % int8 | % roof |\n")) << table;
    EXPECT_TRUE(cli::contains(table, "\nmemory read cuda:host  ")) << table;
    EXPECT_TRUE(cli::contains(table, " GB/s; by data sheet 8.0\n")) << table;
    EXPECT_TRUE(cli::contains(table, "\nint8 dot    mma        ")) << table;
    EXPECT_TRUE(cli::contains(table, " Gop/s; by data sheet 32768.0\n")) << table;
}

TEST(CudaBench, AModelOnTwoDevicesHasNoShares)
{
    const cli::Json json = cli::parse_json(bench({"-p", "4", "-n", "0", "--device", "cuda:host", "-ngl", "3", "-o", "json"}).out);
    const json_t *test = json_array_get(json.get(), 0);
    EXPECT_EQ(cli::text_of(test, "backends"), "CPU,CUDA");
    for (const char *field : {"limits", "memory_share", "int8_share", "roofline_share"})
        EXPECT_TRUE(json_is_null(json_object_get(test, field))) << field;
    EXPECT_GT(cli::number_of(test, "read_bytes_per_s"), 0);
}

} // namespace
