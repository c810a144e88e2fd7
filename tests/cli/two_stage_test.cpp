// --two-stage as users meet it: the same text, what is said of it, what is refused, what bench and show tell.
#include "program.hpp"

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

// A small model with 65 MiB of f16 in its tied head, or of another type.
void make_model(const std::string &path, const std::string &embd)
{
    cli::Result made = run({"synth", "custom",     path, "--layers", "1",      "-d", "256", "--ff",   "256",    "--heads",
                            "2",     "--kv-heads", "1",  "--vocab",  "133120", "-c", "64",  "--tied", "--embd", embd});
    ASSERT_EQ(made.status, 0) << made.err;
}

std::vector<std::string> answer(const std::string &path, const std::string &two_stage, std::vector<std::string> more = {})
{
    std::vector<std::string> all = {"run", "-m", path, "-p", "a b c", "-n", "8", "--seed", "5", "--two-stage", two_stage};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

TEST(TwoStage, WritesTheSameText)
{
    cli::Folder folder;
    const std::string path = folder / "m.gguf";
    ASSERT_NO_FATAL_FAILURE(make_model(path, "f16"));
    const std::vector<std::vector<std::string>> settings = {{"--temp", "0"},
                                                            {"--temp", "1.5"},
                                                            {"--temp", "1.2", "--repeat-penalty", "1.2"},
                                                            {"--temp", "0", "--ignore-eos"},
                                                            {"--top-k", "5", "--min-p", "0.1"}};
    for (const auto &s : settings) {
        const cli::Result whole = run(answer(path, "off", s)), automatic = run(answer(path, "auto", s)),
                          verbose = run(answer(path, "on", [&] {
                              std::vector<std::string> more = s;
                              more.push_back("-v");
                              return more;
                          }()));
        ASSERT_EQ(whole.status, 0) << whole.err;
        EXPECT_FALSE(whole.out.empty());
        EXPECT_EQ(automatic.out, whole.out) << s[1];
        EXPECT_EQ(verbose.out, whole.out) << s[1];
        EXPECT_FALSE(contains(whole.err, "two stages"));
        EXPECT_TRUE(contains(automatic.err, "head  two stages: a token reads a copy of 37.58 MiB and what may win of 65.00 MiB"))
            << automatic.err;
        EXPECT_TRUE(contains(verbose.err, "two stages  8 rows of logits, ")) << verbose.err;
        EXPECT_TRUE(contains(verbose.err, " 0 rows whole")) << verbose.err;
    }
}

// Where sampling looks at every logit there is nothing to spare: no copy by default, and a reason where it was asked for.
TEST(TwoStage, IsLeftOutWhereSamplingLooksAtAllLogits)
{
    cli::Folder folder;
    const std::string path = folder / "m.gguf";
    ASSERT_NO_FATAL_FAILURE(make_model(path, "f16"));
    for (const std::vector<std::string> &s : {std::vector<std::string>{"--top-k", "0"}, {"-l", "7+1"}, {"--presence-penalty", "-0.5"}}) {
        const cli::Result automatic = run(answer(path, "auto", s));
        ASSERT_EQ(automatic.status, 0) << automatic.err;
        EXPECT_FALSE(contains(automatic.err, "two stages")) << automatic.err;
        expect_error(run(answer(path, "on", s)), 2, "would look at every logit");
    }
}

TEST(TwoStage, OfAQuantisedHeadIsAnErrorWhereItWasAskedFor)
{
    cli::Folder folder;
    const std::string path = folder / "m.gguf";
    ASSERT_NO_FATAL_FAILURE(make_model(path, "q6_k"));
    EXPECT_EQ(run(answer(path, "auto")).status, 0);
    expect_error(run(answer(path, "on", {"-q"})), 1, "is Q6_K: two stages gain only where the first one reads less");
    expect_error(run({"bench", "-m", path, "-p", "0", "-n", "1", "--two-stage", "on", "--no-limits", "-q"}), 1, "is Q6_K");
    expect_error(run({"run", "--two-stage", "yes"}), 2, "yes");
    expect_error(run({"logits", "--two-stage", "on", "-p", "a"}), 2, "two-stage");
}

TEST(TwoStage, OfBenchIsOffUnlessAskedForAndThenSaysWhatItComputed)
{
    cli::Folder folder;
    const std::string path = folder / "m.gguf";
    ASSERT_NO_FATAL_FAILURE(make_model(path, "f16"));
    const std::vector<std::string> bench = {"bench", "-m", path,          "-p",   "4",   "-n", "6",
                                            "-r",    "2",  "--no-limits", "-npl", "1,3", "-o", "json"};
    std::vector<std::string> on = bench;
    on.insert(on.end(), {"--two-stage", "auto"});
    const cli::Result off_result = run(bench), on_result = run(on);
    ASSERT_EQ(off_result.status, 0) << off_result.err;
    ASSERT_EQ(on_result.status, 0) << on_result.err;
    const cli::Json whole = cli::parse_json(off_result.out), staged = cli::parse_json(on_result.out);
    ASSERT_EQ(json_array_size(staged.get()), 4u);
    for (size_t i = 0; i < 4; i++) {
        json_t *a = json_array_get(whole.get(), i), *b = json_array_get(staged.get(), i);
        EXPECT_EQ(cli::text_of(a, "two_stage"), "off");
        EXPECT_EQ(cli::text_of(b, "two_stage"), "auto");
        EXPECT_EQ(cli::integer_of(a, "two_stage_bytes"), 0);
        EXPECT_EQ(cli::integer_of(b, "two_stage_bytes"), 133120 / 16 * (256 / 32 * 576 + 128));
        EXPECT_EQ(cli::number_of(a, "read_bytes_per_token"), cli::number_of(b, "read_bytes_per_token")) << "counted dense";
        // Replies alone want the best token: a warm-up of one step, two samples of six.
        const int64_t n_gen = cli::integer_of(b, "n_gen"), n_pl = cli::integer_of(b, "n_pl");
        EXPECT_EQ(cli::integer_of(b, "two_stage_rows"), n_gen ? (1 + 2 * 6) * n_pl : 0);
        EXPECT_EQ(cli::integer_of(b, "two_stage_whole_rows"), 0);
        if (n_gen) {
            EXPECT_GE(cli::number_of(b, "two_stage_kept_per_row"), 1);
            EXPECT_LT(cli::number_of(b, "two_stage_kept_per_row"), 133120 / 4);
        }
    }
    on.resize(on.size() - 4);
    on.insert(on.end(), {"--two-stage", "on"});
    EXPECT_TRUE(contains(run(on).out, "  2 stages |"));
}

TEST(TwoStage, ShowSaysBeforehandWhatItTakes)
{
    cli::Folder folder;
    const std::string path = folder / "m.gguf", quantised = folder / "q.gguf";
    ASSERT_NO_FATAL_FAILURE(make_model(path, "f16"));
    ASSERT_NO_FATAL_FAILURE(make_model(quantised, "q8_0"));
    EXPECT_TRUE(
        contains(run({"show", path, "--layouts"}).out, "\ntwo-stage head: 37.58 MiB more in run and chat, unless --two-stage off\n"));
    EXPECT_FALSE(contains(run({"show", quantised, "--layouts"}).out, "two-stage"));
    const cli::Result result = run({"show", path, "--layouts", "--json"});
    const cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::integer_of(json.get(), "two_stage_bytes"), 133120 / 16 * (256 / 32 * 576 + 128));
}

} // namespace
