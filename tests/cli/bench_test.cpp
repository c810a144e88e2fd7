// ternion bench: the columns and fields of llama-bench, and figures that agree with each other.
#include "bench_limits.hpp"

#include <cmath>

namespace
{

using cli::contains;
using cli::run;

TEST(Bench, TheTableHasLlamaBenchsColumns)
{
    cli::Result result = run({"bench", "--no-limits", "-p", "16", "-n", "4", "-r", "2", "-t", "1"});
    ASSERT_EQ(result.status, 0) << result.err;
    std::istringstream lines(result.out);
    std::string header, rule, pp, tg;
    std::getline(lines, header);
    std::getline(lines, rule);
    std::getline(lines, pp);
    std::getline(lines, tg);
    std::string columns;
    for (char c : header) {
        if (c != ' ') columns += c;
    }
    EXPECT_EQ(columns, "|model|size|params|backend|threads|test|t/s|");
    EXPECT_EQ(header.size(), rule.size());
    EXPECT_EQ(rule.find_first_not_of("|-: "), std::string::npos) << rule;
    EXPECT_TRUE(contains(pp, " pp16 |") && contains(pp, " CPU ") && contains(pp, " ± ")) << pp;
    EXPECT_TRUE(contains(tg, " tg4 |")) << tg;
    EXPECT_EQ(pp.size(), header.size() + 1) << "the sign has two bytes";
    EXPECT_EQ(result.err, "");
}

TEST(Bench, TheFieldsOfJsonAreLlamaBenchsAndAddUp)
{
    cli::Result result = run(
        {"bench", "--no-limits", "-p", "16", "-n", "0", "-pg", "8,2", "-d", "0,5", "-r", "3", "-t", "1-2", "-ub", "8-16*2", "-o", "json"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    ASSERT_EQ(json_array_size(json.get()), 2u * 2u * 2u * 2u);
    size_t i = 0;
    json_t *test = nullptr;
    json_array_foreach(json.get(), i, test)
    {
        for (const char *key : {"build_commit", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "test_time"}) {
            cli::text_of(test, key);
        }
        for (const char *key : {"build_number", "model_size", "model_n_params", "n_batch", "n_ubatch", "n_threads", "n_gpu_layers",
                                "n_prompt", "n_gen", "n_depth", "avg_ns", "stddev_ns"}) {
            cli::integer_of(test, key);
        }
        const json_t *ns = json_object_get(test, "samples_ns"), *ts = json_object_get(test, "samples_ts");
        ASSERT_EQ(json_array_size(ns), 3u);
        ASSERT_EQ(json_array_size(ts), 3u);
        double sum = 0, sum_ts = 0;
        const double tokens = cli::number_of(test, "n_prompt") + cli::number_of(test, "n_gen");
        for (size_t k = 0; k < 3; k++) {
            const double sample = json_number_value(json_array_get(ns, k)), rate = json_number_value(json_array_get(ts, k));
            EXPECT_GT(sample, 0);
            EXPECT_NEAR(rate, tokens * 1e9 / sample, rate * 1e-9);
            sum += sample;
            sum_ts += rate;
        }
        EXPECT_NEAR(cli::number_of(test, "avg_ns"), sum / 3, 1);
        EXPECT_NEAR(cli::number_of(test, "avg_ts"), sum_ts / 3, sum_ts * 1e-9);
    }
    const json_t *last = json_array_get(json.get(), 15);
    EXPECT_EQ(cli::integer_of(last, "n_threads"), 2);
    EXPECT_EQ(cli::integer_of(last, "n_ubatch"), 16);
    EXPECT_EQ(cli::integer_of(last, "n_depth"), 5);
    EXPECT_EQ(cli::integer_of(last, "n_prompt"), 8);
    EXPECT_EQ(cli::integer_of(last, "n_gen"), 2);
}

TEST(Bench, CsvAndJsonLinesHaveOneLineForEachTest)
{
    const std::vector<std::string> tests = {"bench", "--no-limits", "-p", "8,16", "-n", "2", "-r", "1", "-t", "1", "--no-warmup", "-o"};
    std::vector<std::string> csv = tests, lines = tests;
    csv.push_back("csv");
    lines.push_back("jsonl");
    const std::string table = run(csv).out;
    EXPECT_EQ(cli::count_lines(table), 4u) << table;
    EXPECT_EQ(table.rfind("build_commit,build_number,cpu_info,gpu_info,backends,model_filename,model_type,", 0), 0u);
    EXPECT_TRUE(contains(table, ",n_prompt,n_gen,n_depth,test_time,avg_ns,stddev_ns,avg_ts,stddev_ts,n_pl,"));
    EXPECT_TRUE(contains(table, ",memory_share,int8_share,roofline_share,two_stage,two_stage_bytes,two_stage_rows,"));
    EXPECT_TRUE(contains(table, ",\"\",\"\",\"\",\"off\",\"0\",\"0\",")) << "shares of limits that were not measured are empty: " << table;
    std::istringstream results(run(lines).out);
    size_t n = 0;
    for (std::string line; std::getline(results, line); n++) cli::text_of(cli::parse_json(line).get(), "model_type");
    EXPECT_EQ(n, 3u);
}

TEST(Bench, ShowsAColumnForWhatVaries)
{
    const std::string table = run({"bench", "--no-limits", "-p", "8", "-n", "0", "-r", "1", "-ub", "4,8", "-t", "1", "-d", "3"}).out;
    EXPECT_TRUE(contains(table, "| n_ubatch |"));
    EXPECT_TRUE(contains(table, " pp8 @ d3 |")) << table;
}

TEST(Bench, SaysWhatRunsWhenAsked)
{
    cli::Result result = run({"bench", "-p", "8", "-n", "0", "-r", "2", "-t", "1", "--cpu-isa", "scalar", "--progress"});
    EXPECT_TRUE(contains(result.err, "measuring the machine\n"));
    EXPECT_TRUE(contains(result.err, "test 1 of 1, warm-up 1\n"));
    EXPECT_TRUE(contains(result.err, "test 1 of 1, run 2\n"));
}

// The default model: 6 layers, width 256, 4096 tokens, an f16 head; what it costs is known.
TEST(Bench, TheMachinesLimitsAreMeasuredFirstAndSharesAddUp)
{
    cli::Result result = run({"bench", "-p", "16", "-n", "4", "-r", "3", "-t", "1,2", "-o", "json"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    ASSERT_EQ(json_array_size(json.get()), 4u);
    size_t i = 0;
    json_t *test = nullptr;
    json_array_foreach(json.get(), i, test)
    {
        size_t k = 0;
        json_t *limit = nullptr;
        bool here = false;
        json_array_foreach(json_object_get(test, "limits"), k, limit)
        {
            here = here || cli::integer_of(limit, "n_threads") == cli::integer_of(test, "n_threads");
        }
        EXPECT_TRUE(here);
        EXPECT_GT(cli::best_of_limits(test, "memory_read"), 0);
        EXPECT_GT(cli::best_of_limits(test, "int8_dot"), 0);
        cli::expect_limits_fit(test);
        const double seconds = cli::number_of(test, "median_ns") * 1e-9;
        const double tokens = cli::number_of(test, "n_prompt") + cli::number_of(test, "n_gen");
        const double bytes = cli::number_of(test, "read_bytes_per_token") * tokens;
        EXPECT_NEAR(cli::number_of(test, "median_ts"), tokens / seconds, 1e-6 * tokens / seconds);
        EXPECT_GT(json_array_size(json_object_get(test, "kernels")), 10u);
        EXPECT_EQ(cli::text_of(json_object_get(test, "options"), "-t"), "1,2");
        EXPECT_NE(cli::text_of(test, "ternary_layout"), "");
        EXPECT_EQ(cli::text_of(test, "head_layout"), "rows");
        if (cli::integer_of(test, "n_gen")) {
            EXPECT_GT(bytes / tokens, 4096 * 256 * 2 + 4.7e6 * 1.6 / 8);
            EXPECT_LT(bytes / tokens, 4096 * 256 * 2 + 4.8e6 * 2 / 8 + 1e5);
        }
    }
}

TEST(Bench, TheTableShowsSharesAndTheLimitsBelowIt)
{
    cli::Result result = run({"bench", "-p", "16", "-n", "2", "-r", "1", "-t", "1", "-npl", "1,3", "--cpu-isa", "scalar"});
    ASSERT_EQ(result.status, 0) << result.err;
    std::istringstream lines(result.out);
    std::string header, rule, row;
    std::getline(lines, header);
    std::getline(lines, rule);
    std::getline(lines, row);
    EXPECT_TRUE(contains(header, " t/s |   GB/s |  % mem | % int8 | % roof |")) << header;
    EXPECT_EQ(header.size(), rule.size());
    EXPECT_EQ(row.size(), header.size() + 1);
    EXPECT_TRUE(contains(result.out, " tg2 pl3 |")) << result.out;
    EXPECT_TRUE(contains(result.out, "\nmemory read scalar ")) << result.out;
    EXPECT_TRUE(contains(result.out, "\nint8 dot    scalar ")) << result.out;
}

TEST(Bench, OnlyDevicesThatTakePartAreDescribed)
{
    cli::Run two = {{"bench", "--no-limits", "-p", "4", "-n", "0", "-r", "1", "-t", "2", "-o", "json"}, "", {{"TN_CPU_DEVICES", "2"}}};
    cli::Run both = two;
    both.arguments.insert(both.arguments.end(), {"--device", "cpu0,cpu1"});
    cli::Json of_one = cli::parse_json(cli::run(two).out), of_both = cli::parse_json(cli::run(both).out);
    const size_t n = json_array_size(json_object_get(json_array_get(of_one.get(), 0), "kernels"));
    EXPECT_GT(n, 10u);
    EXPECT_EQ(json_array_size(json_object_get(json_array_get(of_both.get(), 0), "kernels")), 2 * n);
}

// A limit is of one device: what several ran has no share of it.
TEST(Bench, LimitsAreOfTheOneDeviceThatRunsTheModel)
{
    const std::vector<std::string> tests = {"bench", "-p", "4", "-n", "0", "-r", "1", "-t", "2", "-o"};
    const auto run_on = [&](const char *device, const char *format) {
        std::vector<std::string> arguments = tests;
        arguments.insert(arguments.end(), {format, "--device", device});
        const cli::Result result = cli::run(cli::Run{arguments, "", {{"TN_CPU_DEVICES", "2"}}});
        EXPECT_EQ(result.status, 0) << result.err;
        return result.out;
    };
    const cli::Json one = cli::parse_json(run_on("cpu1", "json")), both = cli::parse_json(run_on("cpu0,cpu1", "json"));
    const json_t *of_one = json_array_get(one.get(), 0), *of_both = json_array_get(both.get(), 0);
    EXPECT_GT(cli::best_of_limits(of_one, "memory_read"), 0);
    cli::expect_limits_fit(of_one);
    for (const char *field : {"limits", "memory_share", "int8_share", "roofline_share", "memory_limit_bytes_per_s"})
        EXPECT_TRUE(json_is_null(json_object_get(of_both, field))) << field;
    EXPECT_TRUE(contains(run_on("cpu1", "md"), "  GB/s |  % mem | % int8 |"));
    const std::string table = run_on("cpu0,cpu1", "md");
    for (const char *of_limits : {"% mem", "% int8", "% roof", "memory read", "int8 dot"})
        EXPECT_FALSE(contains(table, of_limits)) << of_limits << "\n" << table;
}

TEST(Bench, SequencesTogetherCountAllTheirTokens)
{
    cli::Result result =
        run({"bench", "--no-limits", "-p", "5", "-n", "3", "-npl", "1,4", "-d", "7,2", "-r", "2", "-t", "1", "-o", "json"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    ASSERT_EQ(json_array_size(json.get()), 8u);
    size_t i = 0;
    json_t *test = nullptr;
    json_array_foreach(json.get(), i, test)
    {
        const int64_t n_pl = cli::integer_of(test, "n_pl");
        EXPECT_EQ(n_pl, i / 2 % 2 ? 4 : 1);
        EXPECT_EQ(cli::integer_of(test, "n_depth"), i < 4 ? 7 : 2);
        const double tokens = static_cast<double>(n_pl) * (cli::number_of(test, "n_prompt") + cli::number_of(test, "n_gen"));
        const double ns = json_number_value(json_array_get(json_object_get(test, "samples_ns"), 0));
        const double rate = json_number_value(json_array_get(json_object_get(test, "samples_ts"), 0));
        EXPECT_NEAR(rate, tokens * 1e9 / ns, rate * 1e-9);
        EXPECT_TRUE(json_is_null(json_object_get(test, "limits")));
        EXPECT_TRUE(json_is_null(json_object_get(test, "memory_share")));
    }
    cli::expect_error(run({"bench", "-npl", "0"}), 2, "-npl");
}

TEST(Bench, AProfileSaysWhereTheTimeGoes)
{
    const std::vector<std::string> tests = {"bench", "--no-limits", "-p", "8", "-n", "3", "-r", "2", "-t", "2", "--profile", "-o"};
    std::vector<std::string> table = tests, json_tests = tests;
    table.push_back("md");
    table.push_back("-v");
    json_tests.push_back("json");
    cli::Result text = run(table);
    ASSERT_EQ(text.status, 0) << text.err;
    for (const char *part : {"\nprofile of pp8 on 2 threads: ", "\nprofile of tg3 on 2 threads: ", "6 tokens in 6 steps",
                             "\nmatmul_ternary  ffn_down ", "  rows\n", "\nbarriers ", " a step, ", "\nbetween steps ",
                             "\nlayer           embedding ", "\nlayer           5 ", "\nlayer           head "}) {
        EXPECT_TRUE(contains(text.out, part)) << part << text.out;
    }
    EXPECT_LT(text.out.find("\nbuild: "), text.out.find("profile of")) << "the table of results is whole";
    cli::Json json = cli::parse_json(run(json_tests).out);
    ASSERT_EQ(json_array_size(json.get()), 2u);
    const json_t *test = json_array_get(json.get(), 1), *profile = json_object_get(test, "profile");
    EXPECT_EQ(cli::integer_of(profile, "n_steps"), 6);
    double sum = cli::number_of(profile, "barrier_wait_ns"), layers = 0, bytes = 0, samples = 0, ternary_nodes = 0;
    size_t i = 0;
    json_t *item = nullptr;
    json_array_foreach(json_object_get(profile, "ops"), i, item)
    {
        sum += cli::number_of(item, "ns");
        bytes += cli::number_of(item, "weight_bytes");
        if (cli::text_of(item, "op") == "matmul_ternary") ternary_nodes += cli::number_of(item, "n_nodes");
    }
    EXPECT_EQ(ternary_nodes, 7 * 6);
    json_array_foreach(json_object_get(profile, "layer_ns"), i, item) layers += json_number_value(item);
    json_array_foreach(json_object_get(test, "samples_ns"), i, item) samples += json_number_value(item);
    EXPECT_EQ(json_array_size(json_object_get(profile, "layer_ns")), 6u + 2u);
    EXPECT_EQ(layers + cli::number_of(profile, "barrier_wait_ns"), sum);
    EXPECT_LE(sum, cli::number_of(profile, "step_ns"));
    EXPECT_LE(cli::number_of(profile, "step_ns"), samples) << "the warm-up is no part of it";
    EXPECT_NEAR(bytes, cli::number_of(test, "read_bytes_per_token"), 0.05 * bytes) << "keys and values are few here";
    cli::expect_error(run({"bench", "--profile", "-o", "csv"}), 2, "csv");
}

TEST(Bench, AProfileCountsWhatIsSkipped)
{
    std::vector<std::string> tests = {"bench", "--no-limits", "-p",        "0",  "-n",   "5",      "-r", "2",
                                      "-t",    "2",           "--profile", "-o", "json", "--skip", "on"};
    const cli::Json with = cli::parse_json(run(tests).out);
    const json_t *profile = json_object_get(json_array_get(with.get(), 0), "profile");
    EXPECT_EQ(cli::integer_of(profile, "n_gates"), 2 * 5 * 6 * 768) << "neurons of 6 layers";
    EXPECT_EQ(cli::integer_of(profile, "n_codes"), cli::integer_of(profile, "n_gates"));
    EXPECT_GT(cli::number_of(profile, "n_gates_zero"), 0.3 * cli::number_of(profile, "n_gates"));
    EXPECT_GE(cli::number_of(profile, "n_codes_zero"), cli::number_of(profile, "n_gates_zero"));
    EXPECT_LT(cli::number_of(profile, "n_codes_zero"), cli::number_of(profile, "n_codes"));
    tests.resize(tests.size() - 2);
    const cli::Json without = cli::parse_json(run(tests).out);
    EXPECT_EQ(cli::integer_of(json_object_get(json_array_get(without.get(), 0), "profile"), "n_gates"), 0) << "bench skips only if told to";
    tests[12] = "md";
    tests.insert(tests.end(), {"--skip", "on"});
    EXPECT_TRUE(contains(run(tests).out, "\nskipped: ")) << run(tests).out;
    cli::expect_error(run({"bench", "--skip", "maybe"}), 2, "--skip");
}

TEST(Bench, SkippingChangesNoLogit)
{
    const std::vector<std::string> logits = {"logits", "--hash", "-p", "Once upon a time there was"};
    const std::string whole = run(logits).out;
    for (const char *skip : {"on", "off", "auto"}) {
        for (const char *ubatch : {"1", "3", "512"}) {
            std::vector<std::string> command = logits;
            command.insert(command.end(), {"--skip", skip, "-ub", ubatch});
            EXPECT_EQ(run(command).out, whole) << skip << " " << ubatch;
        }
    }
}

TEST(Bench, RefusesATestThatDoesNotFit)
{
    cli::expect_error(run({"bench", "-p", "513", "-n", "0"}), 1, "513 positions");
    cli::expect_error(run({"bench", "-p", "0", "-n", "500", "-d", "13"}), 1, "513 positions");
}

TEST(Bench, WhatCannotBePlacedIsSaidBeforeAnythingIsPrinted)
{
    cli::expect_error(run({"bench", "-p", "4", "-n", "0", "--device", "gpu7"}), 1, "gpu7");
    cli::expect_error(run({"bench", "-p", "4", "-n", "0", "-o", "json", "--device", "gpu7"}), 1, "gpu7");
}

TEST(Bench, AnArrayIsClosedEvenWhereALaterTestFails)
{
    cli::Run few = {{"bench", "--no-limits", "-p", "4", "-n", "0", "-r", "1", "-t", "2,1", "-o", "json"}, "", {{"TN_CPU_DEVICES", "2"}}};
    cli::Result result = cli::run(few);
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(json_array_size(cli::parse_json(result.out).get()), 1u);
}

} // namespace
