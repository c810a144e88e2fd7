// ternion synth as its users see it.
#include "program.hpp"

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

std::vector<std::string> small(const std::string &out, std::vector<std::string> more = {})
{
    std::vector<std::string> all = {"synth",   "custom", out,          "--layers", "2",       "-d",  "256",    "--ff", "512",
                                    "--heads", "4",      "--kv-heads", "2",        "--vocab", "400", "--embd", "q8_0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

TEST(SynthCommand, MakesAModelThatRunsAndSaysWhatItIs)
{
    cli::Folder folder;
    const std::string out = folder / "out.gguf";
    cli::Result made = run(small(out, {"--seed", "42", "--type", "TQ2_0", "-c", "128", "--untied", "--json"}));
    ASSERT_EQ(made.status, 0) << made.err;
    EXPECT_TRUE(contains(made.err, "wrote " + out));
    cli::Json json = cli::parse_json(made.out);
    EXPECT_EQ(cli::integer_of(json.get(), "size"), static_cast<long long>(cli::read_file(out).size()));
    EXPECT_EQ(cli::integer_of(json.get(), "seed"), 42);
    const std::string shown = run({"show", out}).out;
    for (const char *line : {"name          synthetic custom, seed 42\n", "synthetic     random weights, seed 42\n",
                             "most weights  TQ2_0\n", "context       128\n", "vocabulary    400\n", "output head   of its own\n"})
        EXPECT_TRUE(contains(shown, line)) << line << shown;
    json = cli::parse_json(run({"show", out, "--json"}).out);
    EXPECT_TRUE(json_is_true(json_object_get(json_object_get(json.get(), "model"), "synthetic")));
    json = cli::parse_json(run({"show", "--json"}).out);
    EXPECT_TRUE(json_is_false(json_object_get(json_object_get(json.get(), "model"), "synthetic")));
    EXPECT_EQ(run({"run", "-m", out, "-p", "some text", "-n", "8", "-q"}).status, 0);
    EXPECT_EQ(run({"bench", "-m", out, "-p", "8", "-n", "4", "-r", "1", "--no-limits"}).status, 0);
}

TEST(SynthCommand, TheSeedDecides)
{
    cli::Folder folder;
    for (const char *name : {"a", "b"}) ASSERT_EQ(run(small(folder / name, {"-s", "3", "-q"})).status, 0);
    ASSERT_EQ(run(small(folder / "c", {"-s", "4", "-q"})).status, 0);
    EXPECT_EQ(cli::read_file(folder / "a"), cli::read_file(folder / "b"));
    EXPECT_NE(cli::read_file(folder / "a"), cli::read_file(folder / "c"));
}

TEST(SynthCommand, RefusesWithTheReason)
{
    cli::Folder folder;
    const std::string out = folder / "out.gguf";
    expect_error(run({"synth", "3b", out}), 1, "'blk.0.ffn_down.weight' has rows of 8640 values, and I2_S needs a multiple of 128");
    expect_error(run({"synth", "4b", out}), 1, "there is no shape '4b'; there are 2b-4t,");
    expect_error(run({"synth", "2b-4t"}), 2, "an argument is missing: SHAPE OUT.gguf");
    expect_error(run({"synth", "2b-4t", "-"}), 2, "not standard output");
    expect_error(run(small(out, {"--tied", "--untied"})), 2, "exclude each other");
    expect_error(run(small("/no/folder/out.gguf")), 1, "/no/folder/out.gguf");
    EXPECT_EQ(folder.count(), 0u);
    cli::write_file(out, "before");
    cli::Result again = run(small(out));
    expect_error(again, 1, "exists");
    EXPECT_TRUE(contains(again.err, "--overwrite"));
    EXPECT_EQ(cli::read_file(out), "before");
    EXPECT_EQ(run(small(out, {"--overwrite", "-q"})).status, 0);
}

TEST(SynthCommand, AFullDiskAndCtrlCLeaveNothing)
{
    cli::Folder folder;
    cli::Run limited = {{"synth", "2b-4t", folder / "out.gguf"}, "", {}};
    limited.file_size_max = 20000000;
    cli::Result full = cli::run(limited);
    EXPECT_EQ(full.status, 1);
    EXPECT_TRUE(contains(full.err, "free some space") && contains(full.err, "Try: df -h")) << full.err;
    EXPECT_EQ(folder.count(), 0u);

    pid_t child = fork();
    if (child == 0) cli::become_program({{"synth", "100b", folder / "out.gguf", "-q"}, "", {}});
    for (int i = 0; i < 1000 && folder.count() == 0; i++) usleep(10000);
    EXPECT_EQ(folder.count(), 1u); // the temporary file
    kill(child, SIGINT);
    EXPECT_EQ(cli::exit_status(child), 130);
    EXPECT_EQ(folder.count(), 0u);
}

} // namespace
