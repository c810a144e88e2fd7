// Batched tests of ternion bench: the columns and fields of llama-batched-bench, and figures that follow from the times beside them.
#include "bench_forms.hpp"
#include "support/quick.hpp"

#include <cmath>

namespace
{

using cli::contains;
using cli::expect_error;
using cli::integer_of;
using cli::number_of;
using cli::run;

const char *const header = "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |";
const char *const rule = "|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|";

struct Batch {
    bool shared;
    long long pp, tg, pl, depth;
    long long n_prompts() const { return shared ? pp : pl * pp; }
    long long n_kv() const { return shared ? pp + pl * tg : pl * (pp + tg); }
};

std::vector<std::string> with(std::vector<std::string> command, const std::vector<std::string> &more)
{
    command.insert(command.end(), more.begin(), more.end());
    return command;
}

std::vector<double> numbers_of(const std::string &row)
{
    std::vector<double> numbers;
    std::istringstream cells(row);
    std::string cell;
    std::getline(cells, cell, '|');
    while (std::getline(cells, cell, '|')) numbers.push_back(std::stod(cell));
    return numbers;
}

// Whether `rate` is n through a time that rounds to `seconds` with three digits behind the point; the rate itself has two.
void expect_rate(double rate, double n, double seconds)
{
    EXPECT_GE(rate, n / (seconds + 0.00051) - 0.01);
    if (seconds > 0.001) {
        EXPECT_LE(rate, n / (seconds - 0.00051) + 0.01);
    }
}

void expect_row(const std::string &line, const Batch &b)
{
    SCOPED_TRACE(line);
    const std::vector<double> row = numbers_of(line);
    ASSERT_GE(row.size(), 10u);
    EXPECT_EQ(row[0], b.pp);
    EXPECT_EQ(row[1], b.tg);
    EXPECT_EQ(row[2], b.pl);
    EXPECT_EQ(row[3], b.n_kv());
    expect_rate(row[5], static_cast<double>(b.n_prompts()), row[4]);
    expect_rate(row[7], static_cast<double>(b.pl * b.tg), row[6]);
    expect_rate(row[9], static_cast<double>(b.n_kv()), row[8]);
    EXPECT_NEAR(row[8], row[4] + row[6], 0.0016);
}

// Every combination, the number of sequences changing first.
std::vector<Batch> combinations(bool shared, const std::vector<long long> &depths, const std::vector<long long> &pps,
                                const std::vector<long long> &tgs, const std::vector<long long> &pls)
{
    std::vector<Batch> all;
    for (long long depth : depths) {
        for (long long pp : pps) {
            for (long long tg : tgs) {
                for (long long pl : pls) all.push_back({shared, pp, tg, pl, depth});
            }
        }
    }
    return all;
}

TEST(BenchBatched, TheTableIsLlamaBatchedBenchs)
{
    for (bool shared : {false, true}) {
        std::vector<std::string> command = {"bench", "-npp", "40,9", "-ntg", "3,12", "-npl", "1,2,5", "-t", "1"};
        if (shared) command.push_back("-pps");
        const cli::Result result = run(command);
        ASSERT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(result.err, "");
        std::istringstream lines(result.out);
        std::string line;
        std::getline(lines, line);
        EXPECT_EQ(line.rfind("model = bitnet-b1.58 5.78 M I2_S, size = 3.29 MiB, backend = CPU", 0), 0u) << line;
        std::getline(lines, line);
        EXPECT_EQ(line, std::string("n_kv_max = ") + (shared ? "100" : "260") + ", n_batch = 2048, n_ubatch = 512, is_pp_shared = " +
                            (shared ? "1" : "0") + ", n_gpu_layers = -1, n_threads = 1, n_threads_batch = 1");
        std::getline(lines, line);
        EXPECT_EQ(line, "");
        std::getline(lines, line);
        EXPECT_EQ(line, header);
        std::getline(lines, line);
        EXPECT_EQ(line, rule);
        for (const Batch &b : combinations(shared, {0}, {40, 9}, {3, 12}, {1, 2, 5})) {
            std::getline(lines, line);
            EXPECT_EQ(line.size(), std::strlen(header));
            expect_row(line, b);
        }
        std::getline(lines, line);
        EXPECT_EQ(line, "");
        std::getline(lines, line);
        EXPECT_EQ(line.rfind("build: ", 0), 0u) << line;
    }
}

TEST(BenchBatched, TheFieldsAreLlamaBatchedBenchsAndAddUp)
{
    const std::vector<std::string> names = {
        "n_kv_max", "n_batch", "n_ubatch", "is_pp_shared", "n_gpu_layers", "n_threads", "n_threads_batch", "pp",     "tg", "pl",
        "n_kv",     "t_pp",    "speed_pp", "t_tg",         "speed_tg",     "t",         "speed",           "n_depth"};
    for (bool shared : {false, true}) {
        std::vector<std::string> command = {"bench", "-npp", "70,9", "-ntg", "4",  "-npl", "1,3", "-d", "0,130", "-r",
                                            "4",     "-t",   "1,2",  "-ub",  "32", "-b",   "64",  "-o", "json"};
        if (shared) command.push_back("--prompt-shared");
        const cli::Result result = run(command);
        ASSERT_EQ(result.status, 0) << result.err;
        const cli::Json json = cli::parse_json(result.out);
        const std::vector<Batch> batches = combinations(shared, {0, 130}, {70, 9}, {4}, {1, 3});
        ASSERT_EQ(json_array_size(json.get()), 2 * batches.size());
        for (size_t i = 0; i < 2 * batches.size(); i++) {
            const Batch &b = batches[i % batches.size()];
            const json_t *test = json_array_get(json.get(), i);
            std::vector<std::string> first = cli::names_of(test);
            first.resize(names.size());
            EXPECT_EQ(first, names);
            EXPECT_EQ(integer_of(test, "n_kv_max"), shared ? 130 + 70 + 3 * 4 : 3 * (130 + 70 + 4)) << "positions of -d are there too";
            EXPECT_EQ(integer_of(test, "n_batch"), 64);
            EXPECT_EQ(integer_of(test, "n_ubatch"), 32);
            EXPECT_EQ(integer_of(test, "is_pp_shared"), shared);
            EXPECT_EQ(integer_of(test, "n_threads"), i < batches.size() ? 1 : 2);
            EXPECT_EQ(integer_of(test, "n_threads_batch"), integer_of(test, "n_threads"));
            EXPECT_EQ(integer_of(test, "pp"), b.pp);
            EXPECT_EQ(integer_of(test, "tg"), b.tg);
            EXPECT_EQ(integer_of(test, "pl"), b.pl);
            EXPECT_EQ(integer_of(test, "n_depth"), b.depth);
            EXPECT_EQ(integer_of(test, "n_kv"), b.n_kv());
            for (const auto &[time, samples] : {std::pair("t_pp", "samples_pp_ns"), std::pair("t_tg", "samples_tg_ns")}) {
                std::vector<double> ns;
                for (size_t k = 0; k < json_array_size(json_object_get(test, samples)); k++)
                    ns.push_back(json_number_value(json_array_get(json_object_get(test, samples), k)));
                ASSERT_EQ(ns.size(), 4u);
                std::sort(ns.begin(), ns.end());
                EXPECT_GT(ns[0], 0);
                EXPECT_NEAR(number_of(test, time), (ns[1] + ns[2]) / 2 * 1e-9, 1e-11) << "the median";
            }
            EXPECT_NEAR(number_of(test, "t"), number_of(test, "t_pp") + number_of(test, "t_tg"), 1e-11);
            const auto expect_speed = [&](const char *speed, const char *time, long long n) {
                EXPECT_NEAR(number_of(test, speed) * number_of(test, time), static_cast<double>(n), 1e-6 * static_cast<double>(n)) << speed;
            };
            expect_speed("speed_pp", "t_pp", b.n_prompts());
            expect_speed("speed_tg", "t_tg", b.pl * b.tg);
            expect_speed("speed", "t", b.n_kv());
        }
    }
}

TEST(BenchBatched, AllFormsHaveTheSameFigures)
{
    const std::vector<std::string> tests = {"bench", "-q", "-npp", "20,8", "-ntg", "2", "-npl", "1,3", "-pps", "-t", "1"};
    const auto run_in = [&](const char *form) { return run(with(tests, {"-o", form, "-oe", "json"})); };
    const cli::Result sql = run_in("sql"), csv = run_in("csv"), lines = run_in("jsonl"), table = run_in("md");
    EXPECT_EQ(sql.out.rfind("CREATE TABLE IF NOT EXISTS batched_test (\n  n_kv_max INTEGER,\n  n_batch INTEGER,\n", 0), 0u) << sql.out;
    EXPECT_TRUE(contains(sql.out, "\n  t_pp REAL,\n"));
    const cli::Json rows = cli::sql_rows(sql.out, "batched_test");
    cli::expect_same_rows(rows.get(), cli::parse_json(sql.err).get());
    EXPECT_TRUE(json_is_real(json_object_get(json_array_get(rows.get(), 0), "speed")));
    EXPECT_EQ(csv.out.rfind("n_kv_max,n_batch,n_ubatch,is_pp_shared,", 0), 0u) << csv.out;
    cli::expect_same_rows(cli::csv_rows(csv.out).get(), cli::parse_json(csv.err).get());
    EXPECT_TRUE(json_equal(cli::jsonl_rows(lines.out).get(), cli::parse_json(lines.err).get())) << lines.out << lines.err;
    const cli::Json json = cli::parse_json(table.err);
    for (size_t i = 0; i < 4; i++) {
        char cell[64];
        std::snprintf(cell, sizeof cell, " %8.3f | %8.2f |\n", number_of(json_array_get(json.get(), i), "t"),
                      number_of(json_array_get(json.get(), i), "speed"));
        EXPECT_TRUE(contains(table.out, cell)) << table.out << cell;
    }
    EXPECT_EQ(cli::run(with(tests, {"--output-format", "jsonl"})).status, 0) << "as llama-batched-bench spells it";
}

TEST(BenchBatched, DepthIsAColumnWhereItIsAskedFor)
{
    const cli::Result result = run({"bench", "-npp", "8", "-ntg", "2", "-npl", "2", "-d", "0,33", "-t", "1"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, std::string(header) + "      D |\n" + rule + "--------|\n")) << result.out;
    const size_t at = result.out.find(rule) + std::strlen(rule) + 10;
    std::istringstream lines(result.out.substr(at));
    for (double depth : {0, 33}) {
        std::string line;
        std::getline(lines, line);
        expect_row(line, {false, 8, 2, 2, 0});
        EXPECT_EQ(numbers_of(line).at(10), depth);
    }
}

// A page has 128 positions.
TEST(BenchBatched, ASharedPromptTakesItsPagesOnce)
{
    const auto kv_bytes = [](const std::vector<std::string> &flags) {
        const std::vector<std::string> tests = {"bench", "-ntg", "100", "-npl", "4", "-t", "1", "--no-warmup", "-o", "json"};
        const cli::Result result = run(with(tests, flags));
        EXPECT_EQ(result.status, 0) << result.err;
        return integer_of(json_array_get(cli::parse_json(result.out).get(), 0), "kv_bytes");
    };
    const long long page = kv_bytes({"-npp", "20"}) / 4; // 120 positions
    EXPECT_EQ(kv_bytes({"-npp", "256"}), 4 * 3 * page);
    EXPECT_EQ(kv_bytes({"-npp", "256", "-pps"}), (2 + 4 * 1) * page);
    EXPECT_EQ(kv_bytes({"-npp", "200", "-pps"}), (2 + 4 * 2) * page) << "the second page is copied, and 300 positions need a third";
    EXPECT_EQ(kv_bytes({"-npp", "150", "-d", "106", "-pps"}), (2 + 4 * 1) * page) << "what lies before the prompt is shared too";
}

// A run has the memory of its largest test, so small runs are the hard ones.
TEST(BenchBatched, NoTestRunsOutOfPages)
{
    for (const char *shared : {"-q", "-pps"}) {
        for (const char *lengths : {"0", "127", "128"}) {
            for (const char *sequences : {"1", "3,1,4"}) {
                if (tn_test::is_quick() && (std::string(lengths) != "128" || std::string(sequences) == "1")) continue;
                const cli::Result result =
                    run({"bench", "-npp", lengths, "-ntg", "1,130,2", "-npl", sequences, "-t", "1", "-o", "jsonl", shared});
                ASSERT_EQ(result.status, 0) << lengths << " " << sequences << result.err;
            }
        }
        const cli::Result result = run({"bench", "-npp", "0,128,200", "-ntg", "0-1,60", "-npl", "3,2", "-d", "0,128,131", "-ub", "100",
                                        "-r", tn_test::is_quick() ? "1" : "2", "-t", "1", "-o", "jsonl", shared});
        ASSERT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(cli::count_lines(result.out), 3u * (3 * 3 - 1) * 2) << "nothing of nothing is no test";
    }
}

TEST(BenchBatched, WithoutAPromptOrAReplyASpeedIsNothing)
{
    const cli::Json json = cli::parse_json(run({"bench", "-npp", "0,8", "-ntg", "0,2", "-t", "1", "-o", "json"}).out);
    ASSERT_EQ(json_array_size(json.get()), 3u);
    EXPECT_EQ(number_of(json_array_get(json.get(), 0), "speed_pp"), 0);
    EXPECT_GT(number_of(json_array_get(json.get(), 0), "speed_tg"), 0);
    EXPECT_GT(number_of(json_array_get(json.get(), 1), "speed_pp"), 0);
    EXPECT_EQ(number_of(json_array_get(json.get(), 1), "speed_tg"), 0);
}

TEST(BenchBatched, WhatIsNotGivenIsLlamaBenchs)
{
    const json_t *test = nullptr;
    const cli::Json only_prompts = cli::parse_json(run({"bench", "-npp", "8", "-t", "1", "-o", "json"}).out);
    ASSERT_EQ(json_array_size(only_prompts.get()), 1u);
    test = json_array_get(only_prompts.get(), 0);
    EXPECT_EQ(integer_of(test, "tg"), 128);
    EXPECT_EQ(integer_of(test, "pl"), 1);
    EXPECT_EQ(json_array_size(json_object_get(test, "samples_pp_ns")), 1u) << "one run";
    expect_error(run({"bench", "-ntg", "8", "-t", "1"}), 1, "a sequence of 520 positions (-npp 512, -ntg 8, -d 0)");
}

TEST(BenchBatched, TestsThatPassTheLimitAreLeftOutWithANote)
{
    const std::vector<std::string> tests = {"bench", "-c", "300",  "-b",      "2048", "-ub", "512", "-npp", "100",
                                            "-ntg",  "10", "-npl", "1,2,4,3", "-t",   "1",   "-o",  "json"};
    const cli::Result result = run(tests), quiet = run(with(tests, {"-q"})), shared = run(with(tests, {"-pps"}));
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err,
              "ternion bench: 2 of 4 tests take more than the 300 positions of -c and are left out; the first: PP 100, TG 10, B 4 "
              "takes 440\n");
    EXPECT_EQ(quiet.err, "");
    EXPECT_EQ(shared.err, "");
    const cli::Json some = cli::parse_json(result.out), all = cli::parse_json(shared.out);
    ASSERT_EQ(json_array_size(some.get()), 2u);
    EXPECT_EQ(integer_of(json_array_get(some.get(), 1), "pl"), 2);
    EXPECT_EQ(integer_of(json_array_get(some.get(), 0), "n_kv_max"), 300);
    EXPECT_EQ(json_array_size(all.get()), 4u);
    EXPECT_EQ(integer_of(json_array_get(cli::parse_json(run(with(tests, {"-d", "180"})).out).get(), 0), "pl"), 1) << "290 positions";
    expect_error(run(with(tests, {"-d", "191"})), 1, "no test fits into the 300 positions of -c: the first one takes 301");
}

TEST(BenchBatched, WhatCannotBeIsRefusedBeforeAnythingRuns)
{
    expect_error(run({"bench", "-npp", "8,500", "-ntg", "13"}), 1, "a sequence of 513 positions (-npp 500, -ntg 13, -d 0)");
    expect_error(run({"bench", "-npp", "8", "-ntg", "8", "-d", "497", "-o", "json"}), 1, "context of 512");
    expect_error(run({"bench", "-npp", "1073741824", "-ntg", "1073741824", "-npl", "4096", "-d", "1073741824"}), 1, "3221225472 positions");
    expect_error(run({"bench", "-npp", "0", "-ntg", "0"}), 2, "no test is left: give -npp or -ntg");
    expect_error(run({"bench", "-npp", "8", "-p", "8"}), 2, "-npp and -ntg make other tests than -p");
    expect_error(run({"bench", "-ntg", "8", "-pg", "8,8"}), 2, "-npp and -ntg make other tests than -p");
    expect_error(run({"bench", "-npp", "8", "--profile"}), 2, "--profile: there is none");
    expect_error(run({"bench", "-pps", "-npl", "4"}), 2, "-pps: only the tests of -npp and -ntg");
    expect_error(run({"bench", "-c", "512"}), 2, "-c: only the tests of -npp and -ntg");
    expect_error(run({"bench", "-npp", "8", "-npl", "0"}), 2, "-npl: ");
    expect_error(run({"bench", "-npp", "-1"}), 2, "-npp: ");
    expect_error(run({"bench", "-npp", "8,x"}), 2, "-npp: 'x' is neither a number nor a range");
    expect_error(run({"bench", "-npp", "1-4000", "-ntg", "1-4000"}), 2, "too many tests: 16000000");
    expect_error(run({"bench", "-npp", "8", "-fa", "on"}), 2, "attention has one form");
    expect_error(run({"bench", "-npp", "8", "--device", "gpu7", "-o", "json"}), 1, "gpu7");
}

TEST(BenchBatched, ProgressNamesTestsAndRuns)
{
    const cli::Result result = run({"bench", "-npp", "8", "-ntg", "2", "-npl", "1,2", "-r", "2", "-t", "1", "--progress"});
    EXPECT_EQ(result.err, "ternion bench: test 1 of 2, warm-up 1\nternion bench: test 1 of 2, run 1\nternion bench: test 1 of 2, run 2\n"
                          "ternion bench: test 2 of 2, warm-up 1\nternion bench: test 2 of 2, run 1\nternion bench: test 2 of 2, run 2\n");
}

// Each copy of the model has its share of the sequences; the memory is that of all.
TEST(BenchBatched, CopiesOfTheModelShareTheSequences)
{
    const std::vector<std::string> tests = {"bench", "-npp", "8",    "-ntg",     "2",         "-npl", "1,2,5", "-t",
                                            "2",     "-o",   "json", "--device", "cpu0,cpu1", "-r",   "2"};
    const cli::Result shared = run(cli::Run{with(tests, {"--replicas"}), "", {{"TN_CPU_DEVICES", "2"}}});
    const cli::Result alone = run({"bench", "-npp", "8", "-ntg", "2", "-npl", "3", "-t", "2", "-o", "json"});
    ASSERT_EQ(shared.status, 0) << shared.err;
    ASSERT_EQ(alone.status, 0) << alone.err;
    const cli::Json all = cli::parse_json(shared.out), one = cli::parse_json(alone.out);
    ASSERT_EQ(json_array_size(all.get()), 3u);
    const long long pls[] = {1, 2, 5};
    for (size_t i = 0; i < 3; i++) {
        const json_t *test = json_array_get(all.get(), i);
        EXPECT_EQ(integer_of(test, "pl"), pls[i]);
        EXPECT_EQ(integer_of(test, "n_kv"), pls[i] * 10);
        EXPECT_EQ(integer_of(test, "n_replicas"), 2);
        EXPECT_EQ(integer_of(test, "kv_bytes"), 2 * integer_of(json_array_get(one.get(), 0), "kv_bytes"));
        EXPECT_GT(number_of(test, "speed_pp"), 0);
        EXPECT_GT(number_of(test, "speed_tg"), 0);
    }
    EXPECT_EQ(integer_of(json_array_get(one.get(), 0), "n_replicas"), 1);
    expect_error(run({"bench", "-p", "4", "-n", "0", "--replicas", "--device", "cpu0,cpu1"}), 2, "-npp and -ntg have sequences to share");
    expect_error(run({"bench", "-npp", "4", "--replicas"}), 2, "--replicas: on which devices?");
}

TEST(BenchBatched, AnArrayIsClosedEvenWhereALaterTestFails)
{
    cli::Run few = {{"bench", "-npp", "4", "-ntg", "1", "-t", "2,1", "-o", "json"}, "", {{"TN_CPU_DEVICES", "2"}}};
    const cli::Result result = cli::run(few);
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(json_array_size(cli::parse_json(result.out).get()), 1u);
}

} // namespace
