// ternion plan, and the choice as other verbs show it: devices are measured with little time, so figures are rough and forms are tested.
#include "program.hpp"

#include <map>

namespace
{

using cli::contains;
using cli::expect_error;
using cli::integer_of;
using cli::number_of;
using cli::text_of;

// Two CPU devices, measured once for all tests.
class Plan : public ::testing::Test
{
  protected:
    static void SetUpTestSuite() { folder_ = std::make_unique<cli::Folder>(); }
    static void TearDownTestSuite() { folder_.reset(); }
    static cli::Result run(std::vector<std::string> arguments, const std::string &n_devices = "2", const std::string &input = "")
    {
        arguments.insert(arguments.end(), {"-t", "2", "--pack-cache", *folder_ / "costs"});
        return cli::run(cli::Run{std::move(arguments), input, {{"TN_CPU_DEVICES", n_devices}, {"TN_VULKAN", "off"}, {"TN_CUDA", "off"}}});
    }
    static cli::Result plan(const std::vector<std::string> &more, const std::string &n_devices = "2")
    {
        std::vector<std::string> all = {"plan", "--calibrate-ms", "50"};
        all.insert(all.end(), more.begin(), more.end());
        return run(all, n_devices);
    }
    static cli::Json plan_json(std::vector<std::string> more, const std::string &n_devices = "2")
    {
        more.push_back("--json");
        const cli::Result result = plan(more, n_devices);
        EXPECT_EQ(result.status, 0) << result.err;
        return cli::parse_json(result.out);
    }
    static const json_t *options(const cli::Json &json) { return json_object_get(json.get(), "options"); }

  private:
    static std::unique_ptr<cli::Folder> folder_;
};
std::unique_ptr<cli::Folder> Plan::folder_;

TEST_F(Plan, TellsDevicesChoiceAlternativesAndWhatWouldChangeIt)
{
    const cli::Result result = plan({"--batch", "16", "--ctx", "256"});
    ASSERT_EQ(result.status, 0) << result.err;
    for (const char *part : {"model     ternion-tales-6m  I2_S", "asked     16 sequences of 256 positions, for throughput",
                             "devices   cpu0 ", " cpu1 ", " t/s of 1 ", " t/s of 16 ", "may use ", "measured ", "choice    ", "predicted ",
                             "rejected  ", "changes   ", "--what-if cpu", "=off: "})
        EXPECT_TRUE(contains(result.out, part)) << part << "\n" << result.out;
    const cli::Json json = plan_json({"--batch", "16", "--ctx", "256"});
    EXPECT_EQ(integer_of(json.get(), "n_seqs"), 16);
    EXPECT_EQ(integer_of(json.get(), "n_ctx"), 256);
    EXPECT_EQ(text_of(json.get(), "goal"), "throughput");
    EXPECT_GT(number_of(json.get(), "planning_ms"), 0);
    ASSERT_EQ(json_array_size(json_object_get(json.get(), "devices")), 2u);
    for (size_t i = 0; i < 2; i++) {
        const json_t *device = json_array_get(json_object_get(json.get(), "devices"), i);
        EXPECT_EQ(text_of(device, "name"), "cpu" + std::to_string(i));
        EXPECT_GT(number_of(device, "tokens_per_second_one"), 0);
        EXPECT_GT(number_of(device, "tokens_per_second"), 0);
        EXPECT_GT(integer_of(device, "measured_at"), 1700000000);
        EXPECT_GT(integer_of(device, "memory_bytes"), 1 << 20);
        EXPECT_TRUE(json_is_null(json_object_get(device, "numa_node")));
    }
    ASSERT_EQ(json_array_size(options(json)), 4u);
    for (size_t i = 0; i < 4; i++) {
        const json_t *option = json_array_get(options(json), i);
        EXPECT_EQ(json_is_true(json_object_get(option, "chosen")), i == 0);
        EXPECT_TRUE(json_is_true(json_object_get(option, "fits")));
        EXPECT_EQ(text_of(option, "reason").empty(), i == 0);
        EXPECT_GT(number_of(option, "tokens_per_second"), 0);
        EXPECT_GT(integer_of(option, "bytes"), 3000000);
        EXPECT_GE(number_of(option, "sharing_loss"), 0);
        EXPECT_LT(number_of(option, "sharing_loss"), 1);
        EXPECT_EQ(text_of(option, "kind") == "replicas", contains(text_of(option, "plan"), "cpu0 x"));
    }
    EXPECT_EQ(text_of(json_array_get(options(json), 0), "plan"), text_of(json.get(), "plan"));
}

TEST_F(Plan, WhatChangesItIsWhatAskingAgainSays)
{
    const cli::Json json = plan_json({"--batch", "8", "--ctx", "256"});
    const json_t *changes = json_object_get(json.get(), "changes");
    ASSERT_GT(json_array_size(changes), 0u);
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *change = json_array_get(changes, i), *choice = json_object_get(change, "choice");
        std::vector<std::string> again = {"--ctx", "256"};
        const bool assumed = !json_is_null(json_object_get(change, "what_if"));
        const std::string flag = assumed ? "" : text_of(change, "flag");
        if (assumed) again.insert(again.end(), {"--what-if", text_of(change, "what_if")});
        if (flag.rfind("--goal ", 0) == 0) again.insert(again.end(), {"--goal", flag.substr(7)});
        again.insert(again.end(), {"--batch", flag.rfind("--batch ", 0) == 0 ? flag.substr(8) : "8"});
        const cli::Json asked = plan_json(again);
        EXPECT_EQ(text_of(asked.get(), "plan"), text_of(choice, "plan")) << i;
        EXPECT_NEAR(number_of(json_array_get(options(asked), 0), "tokens_per_second"), number_of(choice, "tokens_per_second"), 0.01);
    }
}

TEST_F(Plan, AssumptionsAreTakenAndSaidOfMemoryToo)
{
    const cli::Result result = plan({"--what-if", "cpu1.mem=2M", "--what-if", "cpu0.speed=2"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, ", as if cpu1.mem=2M,cpu0.speed=2\n")) << result.out;
    EXPECT_TRUE(contains(result.out, "choice    cpu0: embedding, layers 0-5, head\n")) << result.out;
    EXPECT_TRUE(contains(result.out, "cpu1 has 2")) << result.out;
    EXPECT_TRUE(contains(result.out, "changes   cpu1 lacks ")) << result.out;
    EXPECT_TRUE(contains(result.out, "; with --what-if cpu1.mem=")) << result.out;
    expect_error(plan({"--what-if", "gpu0.mem=4G"}), 1, "there is no device gpu0; devices here: cpu0, cpu1");
    expect_error(plan({"--what-if", "cpu0.mem"}), 1, "'cpu0.mem' cannot be assumed");
    expect_error(plan({"--what-if", "cpu0.spede=2"}), 1, "spede is no figure of a device: write mem or speed");
    expect_error(plan({"--what-if", ""}), 2, "--what-if: assume something");
    expect_error(plan({"--what-if", std::string(3000, 'a')}), 2, "--what-if: that is too much at once");
    expect_error(plan({"--what-if", "cpu0=off,cpu1=off"}), 1, "no device is left to choose");
    expect_error(plan({"--mem-limit", "cpu0=1M,cpu1=1M"}), 1, "the model with its KV cache fits no device");
    expect_error(plan({"-c", "100000"}), 2, "-c 100000: the model has 512 positions");
    expect_error(plan({"--batch", "0"}), 2, "--batch: 0 is out of range");
    expect_error(plan({"-m", "/none.gguf"}), 1, "/none.gguf");
}

TEST_F(Plan, WhatHasNoEffectOrContradictsItselfIsRefused)
{
    expect_error(plan({"--device", "cpu1", "--mem-limit", "cpu0=1G"}), 2,
                 "--mem-limit cpu0: it is not among the devices to choose from: name it with --device");
    expect_error(plan({"--device", "cpu1", "--what-if", "cpu0.mem=1G"}), 2, "--what-if cpu0: it is not among the devices to choose from");
    expect_error(plan({"--what-if", "cpu0=off", "--what-if", "cpu0.speed=2"}), 2,
                 "--what-if: cpu0=off and cpu0.speed=2 are not both so: leave one of them out");
    expect_error(plan({"--what-if", "cpu1.mem=4GiB,cpu0.mem=1G, cpu1.mem=1G"}), 2, "cpu1.mem=4GiB and  cpu1.mem=1G are not both so");
    expect_error(plan({"--mem-limit", "cpu0=1G,cpu0=2G"}), 1, "cpu0 has two limits of memory");
    expect_error(plan({"-ts", "1,1"}), 2, "-ts: plan says what would be chosen, and predicts nothing that is forced: measure that with");
    expect_error(plan({"-ngl", "3"}), 2, "-ngl: plan says what would be chosen");
    EXPECT_EQ(plan({"--device", "cpu0,cpu1", "--mem-limit", "cpu1=1GiB", "--what-if", "cpu0.mem=1G,cpu0.speed=2"}).status, 0);
}

TEST_F(Plan, WhatIsForcedWithoutEffectIsSaid)
{
    const std::vector<std::string> words = {"run", "-p", "Once", "-n", "1", "--temp", "0"};
    const auto run_with = [&words](const std::vector<std::string> &more) {
        std::vector<std::string> all = words;
        all.insert(all.end(), more.begin(), more.end());
        const cli::Result result = run(all);
        EXPECT_EQ(result.status, 0) << result.err;
        return result.err;
    };
    const std::string no_gpu = "warning: -ngl: there is no GPU that can be used, so its layers are on the CPU";
    const std::string nothing = "leaves it nothing of the model";
    for (const char *layers : {"99", "1", "all"}) EXPECT_TRUE(contains(run_with({"-ngl", layers}), no_gpu)) << layers;
    EXPECT_TRUE(contains(run_with({"-ngl", "0", "--device", "cpu1"}), "warning: --device cpu1: -ngl " + nothing));
    EXPECT_TRUE(contains(run_with({"-ts", "1,0", "--device", "cpu0,cpu1"}), "warning: --device cpu1: -ts " + nothing));
    const std::vector<std::vector<std::string>> silent = {
        {"-ngl", "0"}, {"-ngl", "auto"}, {"-ngl", "2", "--device", "cpu1"}, {"-ts", "1,1", "--device", "cpu0,cpu1"}};
    for (const std::vector<std::string> &more : silent) EXPECT_FALSE(contains(run_with(more), "warning: -")) << more[1];
}

TEST_F(Plan, WhatIsMeasuredAndNotKeptIsSaid)
{
    const auto with_cache = [](const char *verb, const std::vector<std::string> &more, const char *cache) {
        std::vector<std::string> all = {verb, "--calibrate-ms", "1", "--pack-cache", cache, "-t", "1"};
        all.insert(all.end(), more.begin(), more.end());
        return cli::run(cli::Run{std::move(all), "", {{"TN_CPU_DEVICES", "1"}, {"TN_VULKAN", "off"}, {"TN_CUDA", "off"}}});
    };
    const cli::Result off = with_cache("devices", {"--calibrate"}, "off");
    EXPECT_EQ(off.status, 0) << off.err;
    EXPECT_TRUE(contains(off.err, "warning: what is measured is shown, but not kept, since no folder is used for it (--pack-cache)"))
        << off.err;
    const cli::Result nowhere = with_cache("devices", {"--calibrate"}, "/proc/nowhere");
    EXPECT_EQ(nowhere.status, 0) << nowhere.err;
    EXPECT_TRUE(contains(nowhere.err, "warning: what was measured of cpu0 is not kept, so that the next start measures again: "))
        << nowhere.err;
    const cli::Result planned = with_cache("plan", {}, "off");
    EXPECT_EQ(planned.status, 0) << planned.err;
    EXPECT_TRUE(contains(planned.err, "warning: what was measured is not kept, since no folder is used for it (--pack-cache)"))
        << planned.err;
}

TEST_F(Plan, OfOneDeviceSaysThatThereIsNothingToChoose)
{
    const cli::Result result = plan({}, "1");
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "choice    cpu0: embedding, layers 0-5, head\n")) << result.out;
    EXPECT_TRUE(contains(result.out, "cpu0 is the only device that can be used: there is nothing to choose\n")) << result.out;
    EXPECT_FALSE(contains(result.out, "rejected"));
    const cli::Result named = plan({"--device", "cpu1"});
    EXPECT_TRUE(contains(named.out, "cpu1 is the only device that can be used")) << named.out;
}

TEST_F(Plan, OfSeveralNodesSaysHowTheyBecomeDevices)
{
    const char *const note = "changes   with TN_CPU_DEVICES=numa in the environment: each of the 2 NUMA nodes could be a device";
    cli::Run made = {{"plan", "--calibrate-ms", "50", "-t", "2", "--pack-cache", "off"},
                     "",
                     {{"TN_VULKAN", "off"}, {"TN_CUDA", "off"}, {"HWLOC_SYNTHETIC", "pack:2 numa:1(memory=8589934592) core:1 pu:1"}}};
    const cli::Result result = cli::run(made);
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, note)) << result.out;
    made.environment.emplace_back("TN_CPU_DEVICES", "numa");
    const cli::Result nodes = cli::run(made);
    ASSERT_EQ(nodes.status, 0) << nodes.err;
    EXPECT_TRUE(contains(nodes.out, " cpu1 ")) << nodes.out;
    EXPECT_FALSE(contains(nodes.out, "TN_CPU_DEVICES")) << nodes.out;
}

TEST_F(Plan, WithoutMeasuringSaysWhatIsNotKnown)
{
    const cli::Result result = cli::run(cli::Run{{"plan", "--no-calibrate", "--pack-cache", "off", "-t", "2"},
                                                 "",
                                                 {{"TN_CPU_DEVICES", "2"}, {"TN_VULKAN", "off"}, {"TN_CUDA", "off"}}});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "n/a t/s")) << result.out;
    EXPECT_TRUE(contains(result.out, "predicted n/a: no device was measured, so the first is taken")) << result.out;
    EXPECT_TRUE(contains(result.out, "choice    cpu0: embedding, layers 0-5, head\n")) << result.out;
}

TEST_F(Plan, RunShowsTheChoiceAndWhatCameOfIt)
{
    ASSERT_EQ(plan({}).status, 0); // measures
    const cli::Result result = run({"run", "-p", "Once upon a time", "-n", "8", "--temp", "0", "-v"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.err, "head  (predicted ")) << result.err;
    EXPECT_TRUE(contains(result.err, "plan  reply predicted ")) << result.err;
    const cli::Json json = cli::parse_json(run({"run", "-p", "Once upon a time", "-n", "8", "--temp", "0", "--json"}).out);
    const json_t *prediction = json_object_get(json.get(), "prediction");
    EXPECT_GT(number_of(prediction, "predicted_tokens_per_second"), 0);
    EXPECT_GT(number_of(prediction, "measured_tokens_per_second"), 0);
    const cli::Result forced =
        run({"run", "-p", "Once upon a time", "-n", "8", "--temp", "0", "-v", "--device", "cpu1,cpu0", "-ts", "1,5"});
    EXPECT_TRUE(contains(forced.err, "plan  cpu1: embedding, layer 0 | cpu0: layers 1-5, head\n")) << forced.err;
    EXPECT_FALSE(contains(forced.err, "predicted")) << forced.err;
    EXPECT_EQ(forced.out, result.out) << "the same text wherever it is computed";
    const cli::Result moved =
        run({"run", "-p", "Once upon a time", "-n", "8", "--temp", "0", "-ot", "blk\\.[1-2]{1,1}\\.=cpu1,^output\\.|token_embd=cpu0"});
    EXPECT_TRUE(contains(moved.err, "layers 1-2 | cpu0: layers 3-5, head\n")) << moved.err;
    EXPECT_EQ(moved.out, result.out);
}

// The answers of a batch by custom_id.
std::map<std::string, std::string> answers_in(const std::string &path)
{
    std::map<std::string, std::string> answers;
    std::istringstream lines(cli::read_file(path));
    for (std::string line; std::getline(lines, line);) {
        const cli::Json json = cli::parse_json(line);
        const json_t *body = json_object_get(json_object_get(json.get(), "response"), "body");
        answers[text_of(json.get(), "custom_id")] = text_of(json_array_get(json_object_get(body, "choices"), 0), "text");
    }
    return answers;
}

TEST_F(Plan, ABatchRunsWhereItWasChosenWithTheSameAnswers)
{
    ASSERT_EQ(plan({}).status, 0); // measures
    cli::Folder folder;
    std::string requests;
    for (int i = 0; i < 6; i++) {
        requests += "{\"custom_id\": \"" + std::to_string(i) +
                    "\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": \"Day " + std::to_string(i) +
                    "\", \"max_tokens\": 12}}\n";
    }
    const std::string in = folder / "in.jsonl";
    cli::write_file(in, requests);
    std::map<std::string, std::string> expected;
    for (const std::vector<std::string> &more : {std::vector<std::string>{"--device", "cpu0,cpu1"},
                                                 {"--device", "cpu1"},
                                                 {"--goal", "latency"},
                                                 {"--goal", "throughput"},
                                                 {"--goal", "memory"},
                                                 {}}) {
        std::vector<std::string> all = {"batch", "-i", in, "-o", folder / "out.jsonl", "--overwrite", "-c", "128", "-np", "4", "--json"};
        all.insert(all.end(), more.begin(), more.end());
        const cli::Result result = run(all);
        ASSERT_EQ(result.status, 0) << result.err;
        const cli::Json summary = cli::parse_json(result.out);
        const json_t *prediction = json_object_get(summary.get(), "prediction");
        const bool predicted = more.empty() || more[1] != "cpu0,cpu1"; // a list alone is not looked into, one device is
        ASSERT_EQ(json_is_object(prediction), predicted);
        EXPECT_EQ(contains(result.err, "(predicted "), predicted) << result.err;
        if (predicted) {
            EXPECT_GT(number_of(prediction, "replies_alone_per_second"), 0);
            EXPECT_GT(number_of(prediction, "measured_replies_per_second"), 0);
            EXPECT_GT(number_of(prediction, "measured_with_prompts_per_second"), number_of(prediction, "measured_replies_per_second"));
            EXPECT_TRUE(contains(result.err, "plan  replies predicted ")) << result.err;
            EXPECT_TRUE(contains(result.err, " with prompts between them\n")) << result.err;
        }
        if (expected.empty()) expected = answers_in(folder / "out.jsonl");
        EXPECT_EQ(expected.size(), 6u);
        EXPECT_EQ(answers_in(folder / "out.jsonl"), expected) << result.err;
    }
}

} // namespace
