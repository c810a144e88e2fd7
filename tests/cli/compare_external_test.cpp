// Files of other programs, for comparisons: what is taken from rows of llama-bench, which rows and logits are refused, and with what words.
#include "program.hpp"
#include "support/fail_alloc.hpp"

#include <cmath>
#include <limits>

extern "C" {
#include "compare_external.h"
#include "verbs.h"

extern const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_];
const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {}; // messages name a verb where there is one
}

namespace
{

using cli::contains;
using cli::Json;

// As llama-bench -o jsonl prints a row, but for what is given.
std::string row(const std::string &n_threads, int n_prompt, int n_gen, const std::string &results)
{
    return R"({"build_commit": "3a8d2e5", "build_number": 4938, "cpu_info": "AMD Ryzen 9 3900 12-Core Processor", "gpu_info": "", )"
           R"("backends": "CPU", "model_filename": "models/bitnet.gguf", "model_type": "bitnet 2B TQ2_0 - 2.06 bpw ternary", )"
           R"("model_size": 1187801280, "model_n_params": 2412820480, "n_batch": 2048, "n_ubatch": 512, "n_threads": )" +
           n_threads +
           R"(, "cpu_mask": "0x0", "cpu_strict": false, "poll": 50, "type_k": "f16", "type_v": "f16", "n_gpu_layers": 99, )"
           R"("split_mode": "layer", "main_gpu": 0, "no_kv_offload": false, "flash_attn": false, "tensor_split": "0.00", )"
           R"("use_mmap": true, "embeddings": false, "n_prompt": )" +
           std::to_string(n_prompt) + ", \"n_gen\": " + std::to_string(n_gen) + R"(, "n_depth": 0, "test_time": "2026-07-06T10:00:00Z", )" +
           results + "}\n";
}

const char pp_results[] = R"("avg_ns": 5333333, "stddev_ns": 10526, "avg_ts": 96.0, "stddev_ts": 2.5, "samples_ns": [ 5, 6, 4 ],)"
                          R"("samples_ts": [ 99.5, 93.25, 95.25 ])";
const char tg_results[] = R"("avg_ts": 10.0, "stddev_ts": 1.0, "samples_ts": [ 9.0, 11.0 ])";

struct Read {
    int rc = 0;
    std::string said;
    Json subjects{json_array(), json_decref};
};

Read read_rows(const std::string &bytes, const std::string &name = "other.jsonl")
{
    cli::Folder folder;
    Read read;
    cli::write_file(folder / name, bytes);
    testing::internal::CaptureStderr();
    read.rc = tn_cli_external_bench_read((folder / name).c_str(), read.subjects.get());
    read.said = testing::internal::GetCapturedStderr();
    return read;
}

std::string word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "(none)";
}

double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : std::numeric_limits<double>::quiet_NaN();
}

TEST(ExternalBench, RowsOfOneSettingAreOneSubject)
{
    const Read read = read_rows(row("12", 512, 0, pp_results) + "\n" + row("12", 0, 128, tg_results));
    ASSERT_EQ(read.rc, 0) << read.said;
    ASSERT_EQ(json_array_size(read.subjects.get()), 1u);
    const json_t *subject = json_array_get(read.subjects.get(), 0), *device = json_object_get(subject, "device");
    EXPECT_EQ(word(subject, "name"), "other");
    EXPECT_EQ(word(subject, "kind"), "external");
    EXPECT_EQ(word(subject, "status"), "ok");
    EXPECT_EQ(word(device, "name"), "CPU");
    EXPECT_EQ(word(device, "description"), "AMD Ryzen 9 3900 12-Core Processor");
    EXPECT_EQ(number(device, "n_threads"), 12);
    EXPECT_EQ(word(json_object_get(subject, "source"), "build_commit"), "3a8d2e5");
    EXPECT_EQ(word(json_object_get(subject, "source"), "model_type"), "bitnet 2B TQ2_0 - 2.06 bpw ternary");
    EXPECT_TRUE(json_is_null(json_object_get(subject, "accuracy")));
    const json_t *speeds = json_object_get(subject, "speed"), *pp = json_array_get(speeds, 0), *tg = json_array_get(speeds, 1);
    ASSERT_EQ(json_array_size(speeds), 2u);
    EXPECT_EQ(word(pp, "test"), "pp512");
    EXPECT_EQ(word(pp, "unit"), "t/s");
    EXPECT_EQ(number(pp, "median"), 95.25);
    EXPECT_EQ(number(pp, "mean"), 96.0);
    EXPECT_EQ(number(pp, "deviation"), 2.5);
    EXPECT_EQ(number(pp, "min"), 93.25);
    EXPECT_EQ(number(pp, "max"), 99.5);
    EXPECT_EQ(number(pp, "n_seqs"), 1);
    EXPECT_EQ(json_number_value(json_array_get(json_object_get(pp, "samples"), 0)), 99.5) << "in the file's order";
    EXPECT_EQ(word(tg, "test"), "tg128");
    EXPECT_EQ(number(tg, "median"), 10.0) << "the mean of the two in the middle";
    EXPECT_TRUE(json_is_null(json_object_get(tg, "share_memory")));
}

TEST(ExternalBench, EachSettingIsASubjectNamedByWhatDiffers)
{
    const Read read = read_rows(row("12", 512, 0, pp_results) + row("4", 512, 0, pp_results) + row("12", 0, 128, tg_results));
    ASSERT_EQ(read.rc, 0) << read.said;
    ASSERT_EQ(json_array_size(read.subjects.get()), 2u);
    const json_t *first = json_array_get(read.subjects.get(), 0), *second = json_array_get(read.subjects.get(), 1);
    EXPECT_EQ(word(first, "name"), "other, n_threads=12");
    EXPECT_EQ(word(second, "name"), "other, n_threads=4");
    EXPECT_EQ(json_array_size(json_object_get(first, "speed")), 2u);
    EXPECT_EQ(json_array_size(json_object_get(second, "speed")), 1u);
}

// What llama-bench -ncmoe, --poll, --cpu-strict, --no-op-offload and --prio write.
TEST(ExternalBench, SettingsThatFewUseMakeSubjectsToo)
{
    for (const char *key : {"n_cpu_moe", "poll", "cpu_strict", "no_op_offload", "prio", "no_host", "use_direct_io"}) {
        std::string rows;
        for (const char *value : {"0", "4"})
            rows += std::string("{\"n_prompt\": 512, \"n_gen\": 0, \"avg_ts\": 1, \"") + key + "\": " + value + "}\n";
        const Read read = read_rows(rows);
        ASSERT_EQ(read.rc, 0) << read.said;
        ASSERT_EQ(json_array_size(read.subjects.get()), 2u) << key;
        EXPECT_EQ(word(json_array_get(read.subjects.get(), 1), "name"), std::string("other, ") + key + "=4");
    }
}

TEST(ExternalBench, ManySettingsOrTestsAreRefused)
{
    const auto rows_of = [](int n, const char *key) {
        std::string rows;
        for (int i = 0; i < n; i++)
            rows += "{\"n_gen\": 0, \"avg_ts\": 1, \"n_prompt\": 1, \"" + std::string(key) + "\": " + std::to_string(i) + "}\n";
        return rows;
    };
    const Read most = read_rows(rows_of(64, "n_threads"));
    EXPECT_EQ(most.rc, 0) << most.said;
    EXPECT_EQ(json_array_size(most.subjects.get()), 64u);
    const Read more = read_rows(rows_of(10000, "n_threads"));
    EXPECT_EQ(more.rc, 1);
    EXPECT_TRUE(contains(more.said, "line 65: there are rows of more than 64 different settings")) << more.said;
    std::string tests;
    for (int i = 1; i <= 257; i++) tests += "{\"n_gen\": 0, \"avg_ts\": 1, \"n_prompt\": " + std::to_string(i) + "}\n";
    const Read crowded = read_rows(tests);
    EXPECT_EQ(crowded.rc, 1);
    EXPECT_TRUE(contains(crowded.said, "line 257: there are more than 256 tests of one setting")) << crowded.said;
}

TEST(ExternalBench, TestsHaveTheNamesOfOurBench)
{
    const std::string rest = R"("n_gen": 32, "n_depth": 100, "n_pl": 4, "avg_ts": 1, "memory_share": 0.5})";
    const Read read = read_rows("{\"n_prompt\": 16, " + rest + "\n{\"n_prompt\": 0, " + rest);
    ASSERT_EQ(read.rc, 0) << read.said;
    const json_t *speeds = json_object_get(json_array_get(read.subjects.get(), 0), "speed"), *speed = json_array_get(speeds, 0);
    EXPECT_EQ(word(speed, "test"), "pp16+tg32 @ d100 pl4");
    EXPECT_EQ(word(json_array_get(speeds, 1), "test"), "tg32 @ d100 pl4");
    EXPECT_EQ(number(speed, "n_seqs"), 4);
    EXPECT_EQ(number(speed, "share_memory"), 0.5);
    EXPECT_EQ(number(speed, "mean"), 1);
    EXPECT_TRUE(json_is_null(json_object_get(speed, "median"))) << "no samples, no median";
    EXPECT_TRUE(json_is_null(json_object_get(speed, "deviation")));
}

TEST(ExternalBench, OurBenchWritesRowsThatAreTaken)
{
    const cli::Result bench = cli::run({"bench", "--no-limits", "-q", "-p", "8", "-n", "2", "-r", "2", "-t", "1", "-o", "jsonl"});
    ASSERT_EQ(bench.status, 0) << bench.err;
    const Read read = read_rows(bench.out, "machine.jsonl");
    ASSERT_EQ(read.rc, 0) << read.said;
    ASSERT_EQ(json_array_size(read.subjects.get()), 1u);
    const json_t *speeds = json_object_get(json_array_get(read.subjects.get(), 0), "speed");
    EXPECT_EQ(word(json_array_get(speeds, 0), "test"), "pp8");
    EXPECT_EQ(word(json_array_get(speeds, 1), "test"), "tg2");
    EXPECT_EQ(json_array_size(json_object_get(json_array_get(speeds, 0), "samples")), 2u);
}

TEST(ExternalBench, WrongRowsAreNamedByTheirLine)
{
    const std::string good = row("12", 512, 0, pp_results);
    const std::pair<std::string, const char *> cases[] = {
        {good + "{\"n_prompt\": \n", "line 2: this is no JSON"},
        {good + "\n\n[1]\n", "line 4: an object"},
        {"[\n  {\n", "line 1: this is the form of -o json, a list over many lines"},
        {good + "7\n", "line 2: an object"},
        {good + good, "line 2: this is pp512 once more, with the settings of line 1"},
        {"{\"n_gen\": 1, \"avg_ts\": 1}\n", "line 1: there is no 'n_prompt'"},
        {"{\"n_prompt\": 1, \"avg_ts\": 1}\n", "line 1: there is no 'n_gen'"},
        {"{\"n_prompt\": -1, \"n_gen\": 1, \"avg_ts\": 1}\n", "'n_prompt' must be a whole number from 0 to 2147483647"},
        {"{\"n_prompt\": 4294967296, \"n_gen\": 1, \"avg_ts\": 1}\n", "'n_prompt' must be a whole number"},
        {"{\"n_prompt\": 1.5, \"n_gen\": 1, \"avg_ts\": 1}\n", "'n_prompt' must be a whole number"},
        {"{\"n_prompt\": \"512\", \"n_gen\": 1, \"avg_ts\": 1}\n", "'n_prompt' must be a whole number"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"n_pl\": 0, \"avg_ts\": 1}\n", "'n_pl' must be a whole number from 1"},
        {"{\"n_prompt\": 0, \"n_gen\": 0, \"avg_ts\": 1}\n", "'n_prompt' and 'n_gen' are both 0"},
        {"{\"n_prompt\": 1, \"n_gen\": 0}\n", "neither 'samples_ts' nor 'avg_ts'"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"avg_ts\": -3}\n", "'avg_ts' must be a number from 0 to 1e+15"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"samples_ts\": [1e308, 1.7e308]}\n", "'samples_ts' must be a number from 0 to 1e+15"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"avg_ts\": 1.1e15}\n", "'avg_ts' must be a number from 0 to 1e+15"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"avg_ts\": 1, \"stddev_ts\": \"x\"}\n", "'stddev_ts' must be a number"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"samples_ts\": {}}\n", "'samples_ts' must be a list"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"samples_ts\": [1, null]}\n", "sample 2 of 'samples_ts' must be a number"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"samples_ts\": [1, true]}\n", "'samples_ts' must be a number"},
        {"{\"n_prompt\": 1, \"n_gen\": 0, \"samples_ts\": [1e999]}\n", "line 1: this is no JSON"},
        {"{\"n_prompt\": 1, \"n_prompt\": 2, \"n_gen\": 0, \"avg_ts\": 1}\n", "line 1: this is no JSON: duplicate object key"},
        {"\xff\xfe{}\n", "line 1: this is no JSON"},
        {good + std::string(2 << 20, ' ') + "x\n", "line 2: it has more than 1048576 bytes"},
        {std::string(100000, '[') + "\n", "line 1: this is the form of -o json"},
        {"", "has no rows"},
        {"\n \n", "has no rows"},
    };
    for (const auto &[bytes, words] : cases) {
        const Read read = read_rows(bytes);
        EXPECT_EQ(read.rc, 1) << words;
        EXPECT_TRUE(contains(read.said, words)) << read.said << words;
        EXPECT_EQ(cli::count_lines(read.said), 1u) << read.said;
        EXPECT_EQ(json_array_size(read.subjects.get()), 0u) << words;
    }
}

TEST(ExternalBench, AFileThatCannotBeReadIsSaid)
{
    cli::Folder folder;
    Json subjects{json_array(), json_decref};
    testing::internal::CaptureStderr();
    EXPECT_EQ(tn_cli_external_bench_read((folder / "missing.jsonl").c_str(), subjects.get()), 1);
    EXPECT_EQ(tn_cli_external_bench_read((folder / "").c_str(), subjects.get()), 1);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(contains(said, "cannot open")) << said;
    EXPECT_TRUE(contains(said, "cannot read")) << said;
}

TEST(ExternalBench, WithoutMemoryNothingIsAppended)
{
    using tn_test::FailMode;
    cli::Folder folder;
    const std::string path = folder / "other.jsonl";
    cli::write_file(path, row("12", 512, 0, pp_results) + row("4", 512, 0, pp_results));
    for (const FailMode mode : {FailMode::once, FailMode::forever}) {
        long failures = 0;
        for (long nth = 1;; nth++) {
            tn_cli_json_begin();
            Json subjects{json_array(), json_decref};
            testing::internal::CaptureStderr();
            tn_test::FailAlloc fail(nth, mode);
            const int rc = tn_cli_external_bench_read(path.c_str(), subjects.get());
            const long failed = fail.failed();
            const std::string said = testing::internal::GetCapturedStderr();
            EXPECT_EQ(json_array_size(subjects.get()), rc == 0 ? 2u : 0u) << nth;
            if (failed == 0) {
                EXPECT_EQ(rc, 0) << said;
                break;
            }
            failures++;
            EXPECT_EQ(rc, 1) << nth;
            EXPECT_TRUE(contains(said, "no memory is left")) << nth << said;
        }
        EXPECT_GT(failures, 100);
    }
    tn_cli_json_begin();
}

TEST(ExternalKind, IsByTheEndOfTheName)
{
    EXPECT_EQ(tn_cli_external_kind_of("a/b.jsonl"), TN_EXTERNAL_BENCH);
    EXPECT_EQ(tn_cli_external_kind_of("b.x.f32"), TN_EXTERNAL_LOGITS);
    for (const char *name : {"", ".f32", ".jsonl", "a.json", "a.f32.xz", "f32"})
        EXPECT_EQ(tn_cli_external_kind_of(name), TN_EXTERNAL_UNKNOWN);
}

std::string floats(const std::vector<float> &values)
{
    std::string bytes;
    for (const float value : values) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        for (int i = 0; i < 4; i++) bytes += static_cast<char>(bits >> 8 * i & 0xff);
    }
    return bytes;
}

struct Logits {
    Logits(const std::string &bytes, uint32_t n_vocab)
    {
        cli::write_file(path, bytes);
        testing::internal::CaptureStderr();
        rc = tn_cli_external_logits_open(path.c_str(), n_vocab, &logits);
        said = testing::internal::GetCapturedStderr();
    }
    ~Logits() { tn_cli_external_logits_close(logits); }
    Logits(const Logits &) = delete;
    Logits &operator=(const Logits &) = delete;
    std::string row_error(uint64_t i)
    {
        const float *row = nullptr;
        testing::internal::CaptureStderr();
        const int status = tn_cli_external_logits_row(logits, i, &row);
        const std::string text = testing::internal::GetCapturedStderr();
        EXPECT_EQ(status, 1) << i;
        EXPECT_EQ(row, nullptr);
        return text;
    }
    cli::Folder folder;
    const std::string path = folder / "engine.f32";
    tn_cli_external_logits *logits = nullptr;
    int rc = 0;
    std::string said;
};

TEST(ExternalLogits, HasItsRowsInAnyOrder)
{
    Logits file(floats({1, -2.5f, 3e-40f, 4, 5, -0.0f}), 3);
    ASSERT_EQ(file.rc, 0) << file.said;
    EXPECT_EQ(tn_cli_external_logits_count(file.logits), 2u);
    const float *row = nullptr;
    for (const uint64_t i : {1u, 0u, 1u}) {
        ASSERT_EQ(tn_cli_external_logits_row(file.logits, i, &row), 0);
        EXPECT_EQ(std::vector<float>(row, row + 3), i == 0 ? std::vector<float>({1, -2.5f, 3e-40f}) : std::vector<float>({4, 5, -0.0f}));
    }
    Json subject{tn_cli_external_logits_subject(file.logits), json_decref};
    EXPECT_EQ(word(subject.get(), "name"), "engine");
    EXPECT_EQ(word(subject.get(), "kind"), "external");
    EXPECT_EQ(json_array_size(json_object_get(subject.get(), "speed")), 0u);
    EXPECT_EQ(number(json_object_get(subject.get(), "source"), "n_rows"), 2);
    EXPECT_TRUE(contains(file.row_error(2), "has 2 rows, and row 2 is wanted"));
}

TEST(ExternalLogits, ASizeThatIsNoWholeRowsIsRefused)
{
    for (const size_t n : {1u, 11u, 13u, 16u}) {
        Logits file(std::string(n, '\0'), 3);
        EXPECT_EQ(file.rc, 1);
        EXPECT_EQ(file.logits, nullptr);
        EXPECT_TRUE(contains(file.said, "no whole rows of 3 f32 logits (12 bytes each)")) << file.said;
    }
    EXPECT_TRUE(contains(Logits("", 3).said, "is empty"));
    EXPECT_TRUE(contains(Logits(floats({1}), 0).said, "no vocabulary"));
}

TEST(ExternalLogits, WhatIsNotFiniteIsRefusedWithItsPlace)
{
    Logits file(floats({1, 2, 3, 4, std::nanf(""), 6, 7, 8, -std::numeric_limits<float>::infinity()}), 3);
    const float *row = nullptr;
    ASSERT_EQ(tn_cli_external_logits_row(file.logits, 0, &row), 0);
    EXPECT_TRUE(contains(file.row_error(1), "row 1: the logit of token 1 is no number (NaN)"));
    EXPECT_TRUE(contains(file.row_error(2), "row 2: the logit of token 2 is infinite"));
}

TEST(ExternalLogits, AFileThatShrinksIsSaid)
{
    Logits file(floats({1, 2, 3, 4, 5, 6}), 3);
    ASSERT_EQ(file.rc, 0);
    ASSERT_EQ(truncate(file.path.c_str(), 16), 0);
    EXPECT_TRUE(contains(file.row_error(1), "became shorter while it was read, in row 1"));
}

TEST(ExternalLogits, FoldersAndMissingFilesAreSaid)
{
    cli::Folder folder;
    tn_cli_external_logits *logits = nullptr;
    testing::internal::CaptureStderr();
    EXPECT_EQ(tn_cli_external_logits_open((folder / "").c_str(), 3, &logits), 1);
    EXPECT_EQ(tn_cli_external_logits_open((folder / "missing.f32").c_str(), 3, &logits), 1);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(contains(said, "no ordinary file")) << said;
    EXPECT_TRUE(contains(said, "cannot open")) << said;
    EXPECT_EQ(logits, nullptr);
}

// bitnet.cpp's logits for a prompt, and what that engine said is the most probable token at each of its positions.
TEST(ExternalLogits, AnotherEnginesLogitsHaveItsArgmax)
{
    const char *given = std::getenv("TN_TEST_DATA");
    const std::string data = given ? given : TN_SOURCE_DIR "/../shared/data";
    const std::string packed = data + "/oracle/bitnet.tiny.I2_S.logits.f32.xz", told = data + "/oracle/bitnet.tiny.I2_S.tokens.txt.xz";
    cli::Folder folder;
    const std::string command =
        "xz -dc '" + packed + "' > '" + (folder / "l.f32") + "' && xz -dc '" + told + "' > '" + (folder / "t") + "'";
    if (!cli::exists(packed) || std::system(command.c_str()) != 0) GTEST_SKIP() << "there is no " << packed << ", or no xz";
    std::istringstream tokens(cli::read_file(folder / "t"));
    std::string line;
    while (std::getline(tokens, line) && !contains(line, "argmax at each prompt position")) {}
    tn_cli_external_logits *logits = nullptr;
    ASSERT_EQ(tn_cli_external_logits_open((folder / "l.f32").c_str(), 2048, &logits), 0);
    ASSERT_EQ(tn_cli_external_logits_count(logits), 24u);
    for (uint64_t i = 0; i < 24; i++) {
        const float *row = nullptr;
        long wanted = -1;
        ASSERT_TRUE(static_cast<bool>(tokens >> wanted));
        ASSERT_EQ(tn_cli_external_logits_row(logits, i, &row), 0);
        EXPECT_EQ(std::max_element(row, row + 2048) - row, wanted) << i;
    }
    tn_cli_external_logits_close(logits);
}

} // namespace
