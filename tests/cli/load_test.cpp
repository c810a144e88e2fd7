// What a load costs and keeps: peak memory, and packed weights in a folder.
#include "program.hpp"

#include <thread>

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

std::vector<std::string> model_of(const std::string &out, const char *embd)
{
    return {"synth", "custom",     out, "--layers", "6",     "-d", "1024", "--ff",   "4096", "--heads",
            "8",     "--kv-heads", "4", "--vocab",  "60000", "-c", "512",  "--embd", embd,   "-q"};
}

cli::Result generate(const std::string &model, const std::string &cache)
{
    return run({"run", "-m", model, "-p", "a", "-n", "2", "--temp", "0", "-t", "2", "--json", "-v", "--pack-cache", cache});
}

// The highest resident memory is packed weights, KV cache and 64 MiB at most, though the file is as large as the weights.
TEST(Load, PeakMemoryIsTheWeightsOnce)
{
    if (!TN_COUNTS_MEMORY) GTEST_SKIP() << "a sanitizer or an emulator has memory of its own in the peak";
    for (const char *embd : {"f16", "q6_k"}) {
        cli::Folder folder;
        const std::string model = folder / "m.gguf";
        ASSERT_EQ(run(model_of(model, embd)).status, 0);
        std::this_thread::sleep_for(std::chrono::milliseconds(2100)); // younger files are not kept
        std::string text;
        for (const char *cache : {"off", "first", "second"}) {
            SCOPED_TRACE(std::string(embd) + " " + cache);
            const cli::Result result = generate(model, cache[0] == 'o' ? "off" : folder / "cache");
            ASSERT_EQ(result.status, 0) << result.err;
            cli::Json json = cli::parse_json(result.out);
            const json_t *memory = json_object_get(json.get(), "memory");
            const auto bytes = [&](const char *name) { return json_integer_value(json_object_get(memory, name)); };
            EXPECT_GT(bytes("weights_bytes"), 64 << 20) << "else the bound says little";
            EXPECT_LE(bytes("peak_rss_bytes"), bytes("weights_bytes") + bytes("kv_bytes") + (64 << 20));
            const std::string now = json_string_value(json_object_get(json.get(), "text"));
            EXPECT_TRUE(text.empty() || now == text);
            text = now;
            const char *said = json_string_value(json_object_get(memory, "pack_cache"));
            EXPECT_STREQ(said, cache[0] == 'o' ? "none" : cache[0] == 'f' ? "written" : "mapped") << result.err;
        }
    }
}

TEST(Load, ThePackCacheIsWhereFlagsAndEnvironmentSay)
{
    cli::Folder folder;
    expect_error(run({"run", "-p", "a", "-n", "1", "--pack-cache", "of"}), 2, "say on, off, or a folder with a slash");
    expect_error(run(cli::Run{{"run", "-p", "a", "-n", "1"}, "", {{"TERNION_CACHE_MAX", "many"}}}), 2, "TERNION_CACHE_MAX is 'many'");
    const std::string model = folder / "m.gguf", cache = folder / "xdg";
    ASSERT_EQ(run(model_of(model, "f16")).status, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2100));
    const std::vector<std::string> arguments = {"run", "-m", model, "-p", "a", "-n", "1"};
    EXPECT_TRUE(contains(run(cli::Run{arguments, "", {{"XDG_CACHE_HOME", cache}, {"TERNION_CACHE", "off"}}}).err, "weights + "));
    EXPECT_NE(access(cache.c_str(), F_OK), 0);
    EXPECT_TRUE(contains(run(cli::Run{arguments, "", {{"XDG_CACHE_HOME", cache}}}).err, "weights now in the pack cache + "));
    EXPECT_TRUE(contains(run(cli::Run{arguments, "", {{"XDG_CACHE_HOME", cache}}}).err, "weights from the pack cache + "));
    EXPECT_EQ(access((cache + "/ternion").c_str(), F_OK), 0);
    // A limit on the size of files, which would end the process by a signal, is seen before.
    const cli::Result limited = run(cli::Run{arguments, "", {{"XDG_CACHE_HOME", cache + "2"}}, "", 1 << 20});
    EXPECT_EQ(limited.status, 0) << limited.err;
    EXPECT_TRUE(contains(limited.err, "not in the pack cache (-v)"));
}

} // namespace
