// Where results of ternion compare go, and what of them is kept when something is wrong.
#include "compare_runs.hpp"
#include "support/quick.hpp"

#include <cmath>
#include <filesystem>

namespace
{

using cli::contains;
using cli::run;
using compare_runs::kText;
using compare_runs::quick;
using compare_runs::subject_of;

// What is read stays as it is, and nothing is measured for a file that cannot be written.
TEST(Compare, OutputsAreCheckedBeforeAnythingRuns)
{
    cli::Folder folder;
    const std::string text = folder / "text.f32", model = folder / "model.gguf", fresh = folder / "fresh", link = folder / "link";
    cli::write_file(text, kText);
    cli::write_file(model, cli::read_file(cli::default_model()));
    std::filesystem::create_symlink(model, link);
    const struct {
        std::vector<std::string> flags;
        int status;
        std::string why;
    } cases[] = {
        {{"-m", model, "-o", model}, 2, "is the model file"},
        {{"-m", model, "--report", link}, 2, "is the model file"},
        {{"-f", text, "--report", text}, 2, "is the text"},
        {{"--baseline", text, "-o", text}, 2, "is a file of --baseline"},
        {{"-o", fresh, "--report", folder / "./fresh"}, 2, "name one file"},
        {{"--report", "-"}, 2, "--report needs the name of a file"},
        {{"-o", folder / "none/x.json"}, 1, "cannot write"},
        {{"--report", folder / ""}, 1, "cannot write"},
    };
    for (const auto &c : cases) {
        std::vector<std::string> all = {"compare", "--backends", "cpu0"};
        all.insert(all.end(), c.flags.begin(), c.flags.end());
        const cli::Result result = run(all);
        cli::expect_error(result, c.status, c.why);
        EXPECT_FALSE(contains(result.err, "opening")) << "before it: " << result.err;
    }
    EXPECT_EQ(cli::read_file(text), kText);
    EXPECT_EQ(cli::read_file(model), cli::read_file(cli::default_model()));
    EXPECT_FALSE(std::filesystem::exists(fresh));
}

TEST(Compare, AFileThatCannotBeWrittenLosesNothingElse)
{
    cli::Folder folder;
    const std::string page = folder / "page.html";
    const cli::Result result = run(quick({"--backends", "cpu0", "--greedy-prompts", "0", "-o", "/dev/full", "--report", page}));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.err, "cannot write /dev/full")) << result.err;
    EXPECT_TRUE(contains(result.out, "\n| cpu0 ")) << result.out;
    EXPECT_TRUE(contains(cli::read_file(page), "</html>"));
}

TEST(Compare, FilesOfOneNameAreToldApartAndADamagedOneHasItsRow)
{
    cli::Folder folder;
    const std::string text = folder / "text", rows = folder / "rows.f32", speeds = folder / "rows.jsonl", damaged = folder / "damaged.f32";
    cli::write_file(text, kText);
    ASSERT_EQ(run({"logits", "-f", text, "-o", rows}).status, 0);
    std::string bytes = cli::read_file(rows);
    const float nan = std::nanf("");
    std::memcpy(bytes.data() + bytes.size() / 2, &nan, sizeof nan);
    cli::write_file(damaged, bytes);
    cli::write_file(speeds, "{\"build_commit\":\"x\",\"n_prompt\":512,\"n_gen\":0,\"avg_ts\":123.4,\"stddev_ts\":1.5}\n");
    const cli::Result result = run(quick({"-f", text, "--backends", "cpu0", "--greedy-prompts", "0", "--baseline", rows, "--baseline",
                                          damaged, "--baseline", speeds, "--json"}));
    EXPECT_EQ(result.status, 1);
    EXPECT_TRUE(contains(result.err, "damaged.f32, row") && contains(result.err, "1 of 4 failed")) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    const std::pair<const char *, const char *> expected[] = {{"cpu0", "ok"}, {"rows", "ok"}, {"damaged", "failed"}, {"rows (2)", "ok"}};
    for (size_t i = 0; i < 4; i++) {
        EXPECT_EQ(cli::text_of(subject_of(json, i), "name"), expected[i].first);
        EXPECT_EQ(cli::text_of(subject_of(json, i), "status"), expected[i].second);
    }
    EXPECT_TRUE(json_is_true(json_object_get(json_object_get(subject_of(json, 1), "accuracy"), "identical")));

    const cli::Result missing = run({"compare", "--backends", "cpu0", "--baseline", folder / "none.jsonl"});
    EXPECT_EQ(missing.status, 1);
    EXPECT_TRUE(contains(missing.err, "none.jsonl") && !contains(missing.err, "opening")) << missing.err;
}

TEST(Compare, TheCommandIsWholeHoweverLong)
{
    cli::Folder folder;
    const std::string text = folder / "it's", placements = std::string(1500, ' ') + "long: cpu0";
    cli::write_file(text, kText);
    const cli::Result result =
        run(quick({"-f", text, "--backends", "cpu-scalar", "--placements", placements, "--greedy-prompts", "0", "--json"}));
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    const std::string command = cli::text_of(json.get(), "command");
    EXPECT_TRUE(contains(command, "'" + placements + "'")) << command;
    EXPECT_TRUE(contains(command, "/it'\\''s'")) << command;
}

TEST(Compare, CtrlCKeepsWhatWasMeasured)
{
    cli::Folder folder;
    const std::string out = folder / "out", file = folder / "out.json";
    const pid_t child = fork();
    if (child == 0) {
        dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
        const int err = open((folder / "err").c_str(), O_WRONLY | O_CREAT, 0600);
        dup2(err, STDERR_FILENO);
        cli::become_program({{"compare", "--no-limits", "--backends", "cpu0", "-p", "0", "-n", "400", "--batch-sizes", "0", "-r", "1000",
                              "--greedy-prompts", "0", "-o", file},
                             "",
                             {}});
    }
    for (int i = 0; i < 3000 && !contains(cli::read_file(folder / "err"), "measuring speed"); i++) usleep(10000);
    kill(child, SIGINT);
    EXPECT_EQ(cli::exit_status(child), 130);
    EXPECT_TRUE(contains(cli::read_file(out), "\n| cpu0 ")) << cli::read_file(out);
    const cli::Json json = cli::parse_json(cli::read_file(file));
    EXPECT_TRUE(json_is_true(json_object_get(json_object_get(json.get(), "settings"), "interrupted")));
    EXPECT_EQ(cli::text_of(subject_of(json, 0), "status"), "ok");
    EXPECT_EQ(cli::text_of(json_object_get(subject_of(json, 0), "accuracy"), "logits_hash").size(), 16u);
    const json_t *speed = json_object_get(subject_of(json, 0), "speed");
    ASSERT_LE(json_array_size(speed), 1u);
    if (json_array_size(speed) == 0) return; // it came before the first repetition
    const size_t n = json_array_size(json_object_get(json_array_get(speed, 0), "samples"));
    EXPECT_TRUE(n >= 1 && n < 1000) << n;
}

// Names of which one is the beginning of another are two devices.
TEST(Compare, DevicesAreToldApartByTheirWholeNames)
{
    cli::Run all = {quick({"--placements", "split: cpu10,cpu1", "--greedy-prompts", "0", "--json"}), "", {{"TN_CPU_DEVICES", "11"}}};
    all.arguments.insert(all.arguments.end(), {"--backends", "cpu0"});
    const cli::Result result = run(all);
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::text_of(json_object_get(subject_of(json, 1), "device"), "name"), "cpu10, cpu1");
    EXPECT_TRUE(contains(cli::text_of(json_object_get(subject_of(json, 1), "energy"), "why"), "several devices"));
}

#ifndef __SANITIZE_ADDRESS__ // whose memory comes back late
TEST(Compare, MemoryIsThatOfTheRowWhateverElseIsMeasured)
{
    cli::Folder folder;
    cli::write_file(folder / "text", compare_runs::kText);
    const auto peak = [&folder](std::vector<std::string> flags) {
        flags.insert(flags.begin(), {"compare", "-f", folder / "text", "-q", "-p", "8", "-n", "0", "--batch-sizes", "0", "-r", "1",
                                     "--greedy-prompts", "0", "--json"});
        const cli::Json json = cli::parse_json(run(flags).out);
        const size_t last = json_array_size(json_object_get(json.get(), "subjects")) - 1;
        EXPECT_EQ(cli::text_of(subject_of(json, last), "name"), "cpu0");
        return static_cast<double>(cli::integer_of(json_object_get(subject_of(json, last), "memory"), "peak_rss_bytes"));
    };
    const double alone = peak({"--backends", "cpu0", "--no-limits"}), with_limits = peak({"--backends", "cpu0"}),
                 beside = peak({"--backends", tn_test::is_quick() ? "cpu-scalar,cpu0" : "cpu-scalar,vulkan0,cpu0", "--no-limits"});
    EXPECT_GT(alone, 0);
    EXPECT_NEAR(with_limits, alone, 0.3 * alone);
    EXPECT_NEAR(beside, alone, 0.3 * alone);
}
#endif

} // namespace
