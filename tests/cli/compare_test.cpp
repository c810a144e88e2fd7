// ternion compare: figures that other verbs give too, rows for what fails, and a table and an object that say the same.
#include "compare_runs.hpp"
#include "support/isa_levels.hpp"

#include <cmath>

namespace
{

using cli::contains;
using cli::run;
using compare_runs::kText;
using compare_runs::quick;
using compare_runs::subject_of;

TEST(Compare, HashAndPerplexityAreThoseOfTheTextsLogits)
{
    cli::Folder folder;
    const std::string text = folder / "text", rows_file = folder / "rows";
    cli::write_file(text, kText);
    std::string hash = run({"logits", "-f", text, "--hash"}).out;
    hash.pop_back();
    ASSERT_EQ(run({"logits", "-f", text, "-o", rows_file}).status, 0);
    std::istringstream ids(run({"tokenize", "-f", text, "--ids"}).out);
    std::vector<size_t> tokens;
    for (size_t id = 0; ids >> id;) tokens.push_back(id);
    const std::string bytes = cli::read_file(rows_file);
    const size_t n_vocab = bytes.size() / sizeof(float) / tokens.size();
    std::vector<float> rows(bytes.size() / sizeof(float));
    std::memcpy(rows.data(), bytes.data(), bytes.size());
    double nll = 0;
    size_t n = 0;
    for (size_t i = tokens.size() / 2; i + 1 < tokens.size(); i++, n++) {
        const float *row = &rows[i * n_vocab];
        double sum = 0;
        for (size_t v = 0; v < n_vocab; v++) sum += std::exp(static_cast<double>(row[v]));
        nll += std::log(sum) - static_cast<double>(row[tokens[i + 1]]);
    }

    const cli::Result result = run(quick({"-f", text, "--backends", "cpu-scalar,cpu0", "--greedy", "8", "--json"}));
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::integer_of(json_object_get(json.get(), "text"), "n_tokens"), static_cast<long long>(tokens.size()));
    EXPECT_EQ(cli::integer_of(json_object_get(json.get(), "text"), "n_scored"), static_cast<long long>(n));
    for (size_t i = 0; i < 2; i++) {
        const json_t *accuracy = json_object_get(subject_of(json, i), "accuracy");
        EXPECT_EQ(cli::text_of(accuracy, "logits_hash"), hash);
        EXPECT_NEAR(cli::number_of(accuracy, "perplexity"), std::exp(nll / static_cast<double>(n)), 1e-6);
        EXPECT_TRUE(json_is_true(json_object_get(accuracy, "identical")));
    }
    const json_t *second = json_object_get(subject_of(json, 1), "accuracy"), *greedy = json_object_get(second, "greedy");
    EXPECT_EQ(cli::number_of(second, "mean_kld"), 0);
    EXPECT_EQ(cli::number_of(second, "max_kld"), 0);
    EXPECT_EQ(cli::number_of(second, "same_top"), 1);
    EXPECT_EQ(cli::integer_of(greedy, "n_prompts"), 8);
    EXPECT_EQ(cli::integer_of(greedy, "n_agree"), 8);
    EXPECT_TRUE(json_is_null(json_object_get(json_object_get(subject_of(json, 0), "accuracy"), "mean_kld"))) << "of the reference";
}

TEST(Compare, PartsOfTheTextAreCutAndCounted)
{
    cli::Folder folder;
    const std::string text = folder / "text";
    std::string all;
    for (int i = 0; i < 6; i++) all += kText;
    cli::write_file(text, all);
    const std::vector<std::string> flags = {"-f", text, "--backends", "cpu0", "-c", "40", "--json", "--greedy-prompts", "0"};
    for (const auto &[chunks, expected] : {std::pair<const char *, long long>("3", 3), {"0", -1}}) {
        std::vector<std::string> with = flags;
        with.insert(with.end(), {"--chunks", chunks});
        const cli::Result result = run(quick(with));
        ASSERT_EQ(result.status, 0) << result.err;
        const cli::Json json = cli::parse_json(result.out);
        const json_t *what = json_object_get(json.get(), "text");
        const long long n = cli::integer_of(what, "n_chunks");
        EXPECT_TRUE(expected < 0 ? n > 3 : n == expected) << n;
        EXPECT_EQ(cli::integer_of(what, "context"), 40);
        EXPECT_EQ(cli::integer_of(what, "n_tokens"), 40 * n);
        EXPECT_EQ(cli::integer_of(what, "n_scored"), 19 * n); // of positions 20 to 38
    }
}

TEST(Compare, WithoutNamesEveryLevelOfTheCpuIsCompared)
{
    cli::Folder folder;
    cli::write_file(folder / "text", kText); // sooner computed by all levels than the text that comes with the program
    const cli::Result result = run(quick({"-f", folder / "text", "--json", "--greedy-prompts", "0"}));
    const cli::Json json = cli::parse_json(result.out);
    std::vector<std::string> expected = tn_test::isa_levels(), found;
    for (size_t i = 0; i < json_array_size(json_object_get(json.get(), "subjects")); i++) {
        const json_t *subject = subject_of(json, i);
        if (cli::text_of(subject, "name").rfind("cpu-", 0) != 0) continue; // a card
        found.push_back(cli::text_of(subject, "name").substr(4));
        EXPECT_EQ(cli::text_of(json_object_get(subject, "device"), "isa"), found.back());
        EXPECT_EQ(cli::text_of(json_object_get(subject, "accuracy"), "logits_hash"),
                  cli::text_of(json_object_get(subject_of(json, 0), "accuracy"), "logits_hash"));
    }
    EXPECT_EQ(found, expected);
}

TEST(Compare, WhatIsAbsentHasItsRowWithTheReason)
{
    const std::vector<std::string> flags = quick({"--backends", "nosuch3,cpu0,cpu-fast,vulkan77", "--greedy-prompts", "0"});
    cli::Run all = {flags, "", {{"TN_VULKAN", "off"}}};
    all.arguments.push_back("--json");
    const cli::Result result = run(all);
    EXPECT_EQ(result.status, 1);
    const cli::Json json = cli::parse_json(result.out);
    ASSERT_EQ(json_array_size(json_object_get(json.get(), "subjects")), 4u);
    const char *const names[] = {"cpu0", "cpu-fast", "vulkan77", "nosuch3"}; // the first that works is the reference
    const char *const reasons[] = {"", "fast", "vulkan", "nosuch3"};
    for (size_t i = 0; i < 4; i++) {
        const json_t *subject = subject_of(json, i);
        EXPECT_EQ(cli::text_of(subject, "name"), names[i]);
        EXPECT_EQ(cli::text_of(subject, "status"), i ? "failed" : "ok");
        if (i == 0) continue;
        EXPECT_TRUE(contains(cli::text_of(subject, "reason"), reasons[i])) << cli::text_of(subject, "reason");
        EXPECT_TRUE(json_is_null(json_object_get(subject, "accuracy")));
        EXPECT_EQ(json_array_size(json_object_get(subject, "speed")), 0u);
    }
    EXPECT_TRUE(contains(result.err, "3 of 4 failed")) << result.err;

    all.arguments.pop_back();
    const cli::Result table = run(all);
    EXPECT_EQ(table.status, 1);
    EXPECT_TRUE(contains(table.out, "\n| nosuch3 ") && contains(table.out, "\nnosuch3 failed: ")) << table.out;
}

TEST(Compare, ALevelThatTheCpuLacksIsNotAnotherOne)
{
#if defined(__x86_64__)
    const char *const other = "neon";
#else
    const char *const other = "avx2";
#endif
    const cli::Result result = run(quick({"--backends", std::string("cpu0,cpu-") + other, "--json", "--greedy-prompts", "0"}));
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(cli::text_of(subject_of(cli::parse_json(result.out), 1), "status"), "failed");
}

TEST(Compare, PlacementsAreComparedAndDescribed)
{
    cli::Run all = {quick({"--backends", "cpu0", "--placements", "split: cpu0,cpu1 -ts 1,2; --device cpu1 ;", "--placements",
                           "cpu0,cpu1 -ot blk\\.[0-4]\\.=cpu1", "--greedy-prompts", "1", "--json", "-t", "2"}),
                    "",
                    {{"TN_CPU_DEVICES", "2"}}};
    const cli::Result result = run(all);
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    const char *const names[] = {"cpu0", "split", "--device cpu1", "cpu0,cpu1 -ot blk\\.[0-4]\\.=cpu1"};
    const char *const where[] = {"cpu0: embedding, layers 0-5, head", "cpu0: embedding, layers 0-1 | cpu1: layers 2-5, head",
                                 "cpu1: embedding, layers 0-5, head", ""};
    for (size_t i = 0; i < 4; i++) {
        const json_t *subject = subject_of(json, i);
        EXPECT_EQ(cli::text_of(subject, "name"), names[i]);
        EXPECT_EQ(cli::text_of(subject, "kind"), i ? "placement" : "backend");
        EXPECT_EQ(cli::text_of(subject, "status"), "ok") << names[i];
        if (where[i][0]) {
            EXPECT_EQ(cli::text_of(subject, "placement_text"), where[i]);
        }
        EXPECT_EQ(cli::text_of(json_object_get(subject, "accuracy"), "logits_hash"),
                  cli::text_of(json_object_get(subject_of(json, 0), "accuracy"), "logits_hash"));
    }
    const json_t *parts = json_object_get(subject_of(json, 1), "placement"), *last = json_array_get(parts, 1);
    ASSERT_EQ(json_array_size(parts), 2u);
    EXPECT_EQ(cli::text_of(last, "device"), "cpu1");
    EXPECT_TRUE(json_is_false(json_object_get(last, "embedding")) && json_is_true(json_object_get(last, "head")));
    EXPECT_EQ(cli::integer_of(last, "first_layer"), 2);
    EXPECT_EQ(cli::integer_of(last, "last_layer"), 5);
    EXPECT_EQ(cli::text_of(json_object_get(subject_of(json, 1), "device"), "name"), "cpu0, cpu1");
    EXPECT_TRUE(contains(cli::text_of(json_object_get(subject_of(json, 1), "energy"), "why"), "several devices"));
}

TEST(Compare, WhatOtherProgramsWroteHasRowsThatAreNotOurs)
{
    cli::Folder folder;
    const std::string text = folder / "text", rows = folder / "theirs.f32", speeds = folder / "theirs.jsonl";
    cli::write_file(text, kText);
    ASSERT_EQ(run({"logits", "-f", text, "-o", rows}).status, 0);
    std::string bytes = cli::read_file(rows);
    bytes[bytes.size() - 2] ^= 0x40; // the last logit of the last token, which is not scored
    cli::write_file(rows, bytes);
    cli::write_file(speeds, run({"bench", "--no-limits", "-p", "8", "-n", "0", "-r", "1", "-o", "jsonl"}).out);
    const std::vector<std::string> flags = {"-f", text, "--backends", "cpu0", "--greedy-prompts", "0", "--baseline", rows};
    std::vector<std::string> both = flags;
    both.insert(both.end(), {"--baseline", speeds, "--json"});
    const cli::Result result = run(quick(both));
    ASSERT_EQ(result.status, 0) << "what is not ours may differ: " << result.err;
    const cli::Json json = cli::parse_json(result.out);
    ASSERT_EQ(json_array_size(json_object_get(json.get(), "subjects")), 3u);
    const json_t *ours = json_object_get(subject_of(json, 0), "accuracy"), *theirs = json_object_get(subject_of(json, 1), "accuracy");
    EXPECT_EQ(cli::text_of(subject_of(json, 1), "kind"), "external");
    EXPECT_TRUE(json_is_false(json_object_get(theirs, "identical")));
    EXPECT_NE(cli::text_of(theirs, "logits_hash"), cli::text_of(ours, "logits_hash"));
    EXPECT_EQ(cli::number_of(theirs, "perplexity"), cli::number_of(ours, "perplexity"));
    EXPECT_EQ(cli::number_of(theirs, "max_kld"), 0);
    EXPECT_EQ(cli::text_of(subject_of(json, 2), "kind"), "external");
    EXPECT_EQ(cli::text_of(json_array_get(json_object_get(subject_of(json, 2), "speed"), 0), "test"), "pp8");
    const cli::Result table = run(quick(flags));
    EXPECT_TRUE(contains(table.out, " (not ours) ")) << table.out;

    std::vector<std::string> fewer = flags;
    fewer.insert(fewer.end(), {"-c", "20"});
    cli::expect_error(run(quick(fewer)), 1, "it must be of the same tokens");
}

TEST(Compare, OneByOneGivesTheSameLogits)
{
    cli::Folder folder;
    cli::write_file(folder / "text", kText);
    const cli::Result result = run(quick({"-f", folder / "text", "--backends", "cpu-scalar,cpu0,nosuch1", "--one-by-one",
                                          "--greedy-prompts", "1", "--greedy", "8", "--json"}));
    EXPECT_EQ(result.status, 1);
    const cli::Json json = cli::parse_json(result.out);
    EXPECT_TRUE(json_is_false(json_object_get(json_object_get(json.get(), "settings"), "interleaved")));
    for (size_t i = 0; i < 2; i++) {
        EXPECT_EQ(cli::text_of(subject_of(json, i), "status"), "ok");
        EXPECT_EQ(json_array_size(json_object_get(subject_of(json, i), "speed")), 1u);
        EXPECT_GT(cli::integer_of(json_object_get(subject_of(json, i), "memory"), "weights_bytes"), 0);
    }
    EXPECT_EQ(cli::text_of(json_object_get(subject_of(json, 1), "accuracy"), "logits_hash"),
              cli::text_of(json_object_get(subject_of(json, 0), "accuracy"), "logits_hash"));
    EXPECT_EQ(cli::text_of(subject_of(json, 2), "status"), "failed");
}

TEST(Compare, WrongFlagsAreSaidBeforeAnythingRuns)
{
    const std::pair<std::vector<std::string>, std::string> cases[] = {
        {{"--backends", "cpu0,cpu0"}, "two subjects have the name cpu0"},
        {{"--backends", "cpu0,"}, "is no name of a device"},
        {{"--placements", "cpu0 -r 3"}, "-r says nothing of where layers run"},
        {{"--placements", "cpu0 --device cpu0"}, "names devices twice"},
        {{"--placements", "a: "}, "names no device"},
        {{"--placements", "cpu0 -ts"}, "-ts needs a value"},
        {{"--baseline", "rows.bin"}, "ends neither in .f32"},
        {{"-c", "3"}, "-c"},
        {{"--greedy", "481"}, "--greedy 481: with a prompt of 32 tokens that is more than the model's 512 positions"},
        {{"-c", "100000"}, "the model has 512 positions"},
        {{"--backends", "cpu0", "-f", "/no/such/file"}, "cannot read /no/such/file"},
        {{"--backends", "cpu0", "-p", "600"}, "pp600 does not fit"},
    };
    for (const auto &[flags, why] : cases) {
        std::vector<std::string> all = {"compare", "-q"};
        all.insert(all.end(), flags.begin(), flags.end());
        const cli::Result result = run(all);
        cli::expect_error(result, why.find("cannot") == 0 || why.find("pp600") == 0 ? 1 : 2, why);
    }
}

// ---- speed ----

class CompareSpeed : public testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        folder = new cli::Folder;
        cli::write_file(*folder / "text", kText);
        result = run({"compare",
                      "--backends",
                      "cpu-scalar,cpu0",
                      "-p",
                      "16",
                      "-n",
                      "8,4",
                      "--batch-sizes",
                      "1,3",
                      "-r",
                      "3",
                      "-o",
                      *folder / "out.json",
                      "--report",
                      *folder / "out.html",
                      "--greedy-prompts",
                      "2",
                      "--greedy",
                      "4",
                      "-f",
                      *folder / "text"});
        json = cli::parse_json(cli::read_file(*folder / "out.json")).release();
    }
    static void TearDownTestSuite()
    {
        json_decref(json);
        delete folder;
    }
    static inline cli::Folder *folder = nullptr;
    static inline cli::Result result;
    static inline json_t *json = nullptr;
};

TEST_F(CompareSpeed, MediansAndSpreadAreThoseOfTheSamples)
{
    ASSERT_EQ(result.status, 0) << result.err;
    size_t i, k;
    json_t *subject, *test;
    json_array_foreach(json_object_get(json, "subjects"), i, subject)
    {
        const std::vector<std::string> names = {"pp16", "tg8", "tg4", "b1", "b3"};
        ASSERT_EQ(json_array_size(json_object_get(subject, "speed")), names.size());
        json_array_foreach(json_object_get(subject, "speed"), k, test)
        {
            EXPECT_EQ(cli::text_of(test, "test"), names[k]);
            std::vector<double> samples;
            for (size_t s = 0; s < 3; s++) samples.push_back(json_number_value(json_array_get(json_object_get(test, "samples"), s)));
            std::sort(samples.begin(), samples.end());
            const double mean = (samples[0] + samples[1] + samples[2]) / 3;
            double squares = 0;
            for (double s : samples) squares += (s - mean) * (s - mean);
            EXPECT_GT(samples[0], 0);
            EXPECT_NEAR(cli::number_of(test, "min"), samples[0], 1e-6 * mean);
            EXPECT_NEAR(cli::number_of(test, "median"), samples[1], 1e-6 * mean);
            EXPECT_NEAR(cli::number_of(test, "max"), samples[2], 1e-6 * mean);
            EXPECT_NEAR(cli::number_of(test, "mean"), mean, 1e-6 * mean);
            EXPECT_NEAR(cli::number_of(test, "deviation"), std::sqrt(squares / 2), 1e-6 * mean);
            EXPECT_EQ(cli::number_of(test, "share_roofline"),
                      std::max(cli::number_of(test, "share_memory"), cli::number_of(test, "share_int8")));
        }
        EXPECT_EQ(cli::integer_of(json_array_get(json_object_get(subject, "speed"), 4), "n_seqs"), 3);
        EXPECT_EQ(cli::integer_of(json_array_get(json_object_get(subject, "speed"), 4), "n_gen"), 16);
    }
}

TEST_F(CompareSpeed, SharesAreOfTheLimitsThatAreSaid)
{
    // Bytes that a token reads and products that it makes, by the same figures of two subjects: only speeds and limits differ.
    double bytes[2], ops[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *subject = json_array_get(json_object_get(json, "subjects"), i), *limits = json_object_get(subject, "limits");
        const json_t *test = json_array_get(json_object_get(subject, "speed"), 1);
        bytes[i] = cli::number_of(test, "share_memory") * cli::number_of(limits, "memory_bytes_per_s") / cli::number_of(test, "median");
        ops[i] = cli::number_of(test, "share_int8") * cli::number_of(limits, "int8_ops_per_s") / cli::number_of(test, "median");
    }
    EXPECT_NEAR(ops[0] / ops[1], 1, 1e-6);
    EXPECT_NEAR(bytes[0] / bytes[1], 1, 0.1) << "packed for another level";
    EXPECT_GT(bytes[0], 1e6);
}

TEST_F(CompareSpeed, OpsHaveTheirPlaceUnderTheRoof)
{
    size_t i, k;
    json_t *subject, *op;
    json_array_foreach(json_object_get(json, "subjects"), i, subject)
    {
        double share = 0, products = 0;
        bool has_attention = false;
        json_array_foreach(json_object_get(subject, "ops"), k, op)
        {
            const std::string phase = cli::text_of(op, "phase"), name = cli::text_of(op, "op");
            EXPECT_TRUE(phase == "pp16" || phase == "tg8") << phase;
            if (phase != "tg8") continue;
            share += cli::number_of(op, "share_of_time");
            has_attention = has_attention || contains(name, "attention");
            if (!contains(name, "matmul_ternary")) continue;
            products += cli::number_of(op, "int8_ops_per_token");
            EXPECT_NEAR(cli::number_of(op, "intensity"), cli::number_of(op, "int8_ops_per_token") / cli::number_of(op, "bytes_per_token"),
                        1e-6);
        }
        EXPECT_GT(share, 0); // the rest is waiting, which on a machine with other work is most of it
        EXPECT_LE(share, 1.0001);
        EXPECT_TRUE(has_attention);
        // Six layers of q, k, v, output, gate, up and down, a product and an addition for each weight.
        EXPECT_EQ(products, 2.0 * 6 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 768));
    }
}

TEST_F(CompareSpeed, TheTableShowsTheFiguresOfTheObject)
{
    std::istringstream lines(result.out);
    std::string header, rule, line;
    std::getline(lines, header);
    std::getline(lines, rule);
    const std::vector<std::string> titles = {"backend", "PPL",         "KLD vs cpu-scalar", "max KLD", "same top",
                                             "greedy",  "logits hash", "pp16 t/s",          "tg8 t/s", "b3 t/s",
                                             "J/tok",   "% of limit",  "peak RSS"};
    size_t at = 0;
    for (const std::string &title : titles) {
        at = header.find(" " + title + " ", at);
        ASSERT_NE(at, std::string::npos) << title << " in " << header;
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *subject = json_array_get(json_object_get(json, "subjects"), i),
                     *test = json_array_get(json_object_get(subject, "speed"), 0);
        std::getline(lines, line);
        const double median = cli::number_of(test, "median");
        char speed[64];
        std::snprintf(speed, sizeof speed, " %.*f ± ", median < 100 ? 2 : 0, median);
        EXPECT_TRUE(contains(line, "| " + cli::text_of(subject, "name") + " ")) << line;
        EXPECT_TRUE(contains(line, speed)) << line << " lacks " << speed;
        EXPECT_TRUE(contains(line, cli::text_of(json_object_get(subject, "accuracy"), "logits_hash"))) << line;
    }
    EXPECT_TRUE(contains(result.out, "\ncommand  ternion compare --backends ")) << result.out;
    EXPECT_TRUE(contains(result.out, cli::text_of(json_object_get(json, "ternion"), "commit")));
}

TEST_F(CompareSpeed, MachineMemoryAndMeterAreSaid)
{
    const json_t *machine = json_object_get(json, "machine");
    EXPECT_GT(cli::number_of(machine, "load_before"), -1);
    EXPECT_GT(cli::number_of(machine, "load_after"), -1);
    EXPECT_GT(cli::integer_of(machine, "n_cores"), 0);
    EXPECT_TRUE(contains(cli::text_of(machine, "kernel"), "Linux "));
    for (const char *key : {"governor", "clock_mhz_before", "clock_mhz_after", "celsius_before", "celsius_after", "throttles_before",
                            "throttles_after", "virtual"})
        EXPECT_NE(json_object_get(machine, key), nullptr);
    EXPECT_EQ(cli::integer_of(json_object_get(json, "settings"), "warmup_runs"), 1);
    for (size_t i = 0; i < 2; i++) {
        const json_t *subject = json_array_get(json_object_get(json, "subjects"), i), *memory = json_object_get(subject, "memory");
        const json_t *energy = json_object_get(subject, "energy");
        EXPECT_GT(cli::integer_of(memory, "weights_bytes"), 3 << 20);
        EXPECT_GT(cli::integer_of(memory, "kv_bytes"), 0);
        EXPECT_GT(cli::integer_of(memory, "scratch_bytes"), 0);
        const json_t *peak = json_object_get(memory, "peak_rss_bytes"); // not known where the system does not let it begin anew
        EXPECT_TRUE(json_is_null(peak) || json_integer_value(peak) > cli::integer_of(memory, "weights_bytes"));
        const json_t *per_token =
            json_object_get(json_object_get(json_array_get(json_object_get(subject, "speed"), 1), "energy"), "joule_per_token");
        if (json_is_null(json_object_get(energy, "meter"))) {
            EXPECT_TRUE(json_is_null(per_token));
            EXPECT_EQ(cli::text_of(energy, "why").rfind("n/a: ", 0), 0u);
            EXPECT_TRUE(contains(result.out, cli::text_of(energy, "why"))) << result.out;
        } else {
            EXPECT_EQ(cli::text_of(energy, "meter"), "rapl");
        }
    }
}

TEST_F(CompareSpeed, TheReportIsWritten)
{
    const std::string page = cli::read_file(*folder / "out.html");
    EXPECT_EQ(page.rfind("<!DOCTYPE html>", 0), 0u) << page.substr(0, 80);
    EXPECT_TRUE(contains(page, "cpu-scalar"));
}

} // namespace
