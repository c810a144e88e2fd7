// The forms in which ternion bench writes results: each of them has the same figures.
#include "bench_forms.hpp"

namespace
{

using cli::contains;
using cli::run;

// Tests of one run in two forms, on standard output and standard error.
cli::Result run_in(const char *form, const char *other_form)
{
    return run({"bench", "--no-limits", "-q", "-p", "8,3", "-n", "2", "-pg", "5,2", "-d", "0,40", "-r", "2", "-t", "1", "-o", form, "-oe",
                other_form});
}

TEST(BenchOutput, SqlHasTheFieldsOfJsonInItsOrder)
{
    const cli::Result result = run_in("sql", "json");
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out.rfind("CREATE TABLE IF NOT EXISTS test (\n  build_commit TEXT,\n  build_number INTEGER,\n  cpu_info TEXT,\n", 0),
              0u);
    EXPECT_TRUE(
        contains(result.out, "  two_stage_whole_rows INTEGER,\n  numerics TEXT\n);\n\nINSERT INTO test (build_commit, build_number, "));
    EXPECT_TRUE(contains(result.out, "  avg_ts REAL,\n"));
    const cli::Json rows = cli::sql_rows(result.out, "test"), json = cli::parse_json(result.err);
    ASSERT_EQ(json_array_size(rows.get()), 8u);
    cli::expect_same_rows(rows.get(), json.get());
    const json_t *row = json_array_get(rows.get(), 7);
    EXPECT_TRUE(json_is_integer(json_object_get(row, "n_prompt")) && json_is_real(json_object_get(row, "avg_ts"))) << "numbers again";
    EXPECT_TRUE(json_is_null(json_object_get(row, "memory_share"))) << "no limit was measured";
}

TEST(BenchOutput, StatementsOfTwoRunsFillOneTable)
{
    const std::string once = run({"bench", "--no-limits", "-p", "4", "-n", "0", "-r", "1", "-t", "1", "-o", "sql"}).out;
    EXPECT_EQ(json_array_size(cli::sql_rows(once + once, "test").get()), 2u);
}

TEST(BenchOutput, QuotesInNamesAreDoubled)
{
    cli::Folder folder;
    const std::string model = folder / "it's \"one\".gguf";
    ASSERT_EQ(symlink(cli::default_model().c_str(), model.c_str()), 0);
    const cli::Result result =
        run({"bench", "-m", model, "--no-limits", "-q", "-p", "4", "-n", "0", "-r", "1", "-t", "1", "-o", "sql", "-oe", "csv"});
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json sql = cli::sql_rows(result.out, "test"), csv = cli::csv_rows(result.err);
    EXPECT_EQ(cli::text_of(json_array_get(sql.get(), 0), "model_filename"), model);
    EXPECT_EQ(cli::text_of(json_array_get(csv.get(), 0), "model_filename"), model);
}

TEST(BenchOutput, CsvAndJsonLinesHaveTheFiguresOfJson)
{
    cli::Result result = run_in("csv", "json");
    ASSERT_EQ(result.status, 0) << result.err;
    cli::expect_same_rows(cli::csv_rows(result.out).get(), cli::parse_json(result.err).get());
    result = run_in("jsonl", "json");
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(json_equal(cli::jsonl_rows(result.out).get(), cli::parse_json(result.err).get())) << result.out << result.err;
}

TEST(BenchOutput, DepthStandsInTheNamesOfTheTableAndInItsField)
{
    const cli::Result result = run_in("json", "md");
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    std::istringstream lines(result.err);
    std::string line;
    std::getline(lines, line);
    EXPECT_TRUE(contains(line, " test | "));
    std::getline(lines, line);
    const std::vector<std::string> names = {"pp8", "pp3", "tg2", "pp5+tg2"};
    for (size_t i = 0; i < 8; i++) {
        const json_t *test = json_array_get(json.get(), i);
        char speed[64];
        std::getline(lines, line);
        EXPECT_TRUE(contains(line, " | " + std::string(i < 4 ? 15 - names[i].size() : 9 - names[i % 4].size(), ' ') + names[i % 4] +
                                       (i < 4 ? " |" : " @ d40 |")))
            << line;
        EXPECT_EQ(cli::integer_of(test, "n_depth"), i < 4 ? 0 : 40);
        std::snprintf(speed, sizeof speed, " %.2f ± %.2f |", cli::number_of(test, "avg_ts"), cli::number_of(test, "stddev_ts"));
        EXPECT_TRUE(contains(line, speed)) << line << speed;
    }
}

TEST(BenchOutput, OneFormMayBeNoneAndBothMayNot)
{
    const cli::Result result =
        run({"bench", "--no-limits", "-p", "4", "-n", "0", "-r", "1", "-t", "1", "-o", "none", "-oe", "jsonl", "-q"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(json_array_size(cli::jsonl_rows(result.err).get()), 1u);
    cli::expect_error(run({"bench", "-o", "none"}), 2, "-o none: then -oe must give a format");
    cli::expect_error(run({"bench", "-oe", "xml"}), 2, "-oe: 'xml' is not one of md|csv|json|jsonl|sql|none");
    cli::expect_error(run({"bench", "--profile", "-o", "sql"}), 2, "--profile: sql has no place");
    cli::expect_error(run({"bench", "--profile", "-oe", "csv"}), 2, "--profile: csv has no place");
}

TEST(BenchOutput, ProfilesFollowTheTableOnStandardErrorToo)
{
    const cli::Result result =
        run({"bench", "--no-limits", "-q", "-p", "4", "-n", "0", "-r", "1", "-t", "1", "--profile", "-o", "json", "-oe", "md"});
    ASSERT_EQ(result.status, 0);
    const size_t build = result.err.find("\nbuild: "), profile = result.err.find("\nprofile of pp4 ");
    ASSERT_NE(build, std::string::npos) << result.err;
    EXPECT_LT(build, profile);
    EXPECT_NE(profile, std::string::npos);
    EXPECT_TRUE(json_is_object(json_object_get(json_array_get(cli::parse_json(result.out).get(), 0), "profile")));
}

TEST(BenchOutput, AFullDiskIsSaid)
{
    for (const char *format : {"md", "csv", "json", "jsonl", "sql"}) {
        cli::Run full = {{"bench", "--no-limits", "-p", "4", "-n", "0", "-r", "1", "-t", "1", "-o", format}, "", {}};
        full.out_path = "/dev/full";
        const cli::Result result = cli::run(full);
        EXPECT_EQ(result.status, 1) << format;
        EXPECT_TRUE(contains(result.err, "no space is left")) << format << result.err;
    }
}

} // namespace
