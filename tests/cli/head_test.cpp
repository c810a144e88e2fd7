// --head as users meet it: the line that offers it, what it changes, what it refuses.
#include "program.hpp"

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

const std::string offer = "head  F16, each token reads its 65.00 MiB; --head q6_k reads 26.66 MiB";

// A small model with 65 MiB of f16 in its tied head.
void make_model(const std::string &path, const std::string &embd)
{
    cli::Result made = run({"synth", "custom",     path, "--layers", "1",      "-d", "256", "--ff",   "256",    "--heads",
                            "2",     "--kv-heads", "1",  "--vocab",  "133120", "-c", "64",  "--tied", "--embd", embd});
    ASSERT_EQ(made.status, 0) << made.err;
}

std::vector<std::string> tokens(const std::string &verb, const std::string &path, std::vector<std::string> more = {})
{
    std::vector<std::string> all = {verb, "-m", path, "-p", "a b", "-n", "3", "--temp", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

TEST(Head, ALineOffersAnotherTypeOnceWhereItIsWorthIt)
{
    cli::Folder folder;
    const std::string large = folder / "large.gguf", quantised = folder / "quantised.gguf";
    ASSERT_NO_FATAL_FAILURE(make_model(large, "f16"));
    ASSERT_NO_FATAL_FAILURE(make_model(quantised, "q6_k"));
    const std::vector<std::string> bench = {"bench", "-m", large, "-p", "4", "-n", "0", "-r", "1", "-ub", "2,4", "--no-limits"};
    EXPECT_TRUE(contains(run(tokens("run", large, {"--two-stage", "off"})).err, offer));
    const std::string err = run(bench).err;
    EXPECT_TRUE(contains(err, offer));
    EXPECT_EQ(err.find(offer), err.rfind(offer)) << "said for each of two sessions";
    EXPECT_FALSE(contains(run(tokens("run", large, {"-q"})).err, "head  "));
    EXPECT_FALSE(contains(run(tokens("run", large, {"--head", "q6_k"})).err, "head  "));
    EXPECT_FALSE(contains(run(tokens("run", quantised)).err, "head  "));
    EXPECT_FALSE(contains(run(tokens("run", cli::default_model())).err, "head  "));
    EXPECT_EQ(run(tokens("run", quantised, {"--head", "q6_k"})).out, run(tokens("run", quantised)).out);
    expect_error(run(tokens("run", quantised, {"-q", "--head", "q8_0"})), 1, "is Q6_K: making it Q8_0 would round");
}

TEST(Head, LogitsAreThoseOfTheTypeAskedFor)
{
    const auto logits = [](const std::string &head) {
        const cli::Result result = run({"logits", "--hash", "-p", "Once upon a time", "--head", head});
        EXPECT_EQ(result.status, 0) << result.err;
        return result.out;
    };
    const std::string kept = logits("keep");
    EXPECT_EQ(run({"logits", "--hash", "-p", "Once upon a time"}).out, kept);
    EXPECT_NE(logits("q8_0"), kept);
    EXPECT_NE(logits("q6_k"), kept);
    EXPECT_NE(logits("q6_k"), logits("q8_0"));
}

TEST(Head, AnUnknownTypeIsAMistakeOfUse)
{
    expect_error(run({"run", "--head", "q4_0"}), 2, "q4_0");
    EXPECT_TRUE(contains(run({"run", "--help"}).out, "--head keep|q8_0|q6_k"));
}

} // namespace
