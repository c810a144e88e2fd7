// ternion tokenize, show and devices.
#include "program.hpp"

#include <filesystem>

namespace
{

using cli::contains;
using cli::run;

TEST(Tokenize, RoundTripsAnyBytes)
{
    for (const std::string &text :
         {std::string("Once upon a time\n\n  there was"), std::string("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xff\xfe"),
          std::string("a\0b", 3), std::string("")}) {
        cli::Result ids = run(cli::Run{{"tokenize", "--ids"}, text, {}});
        ASSERT_EQ(ids.status, 0) << ids.err;
        EXPECT_EQ(run(cli::Run{{"tokenize", "--detokenize"}, ids.out, {}}).out, text);
    }
}

TEST(Tokenize, AddsTheBeginningOfATextUnlessToldNot)
{
    EXPECT_EQ(run({"tokenize", "--ids", "-p", "Hello"}).out.rfind("4094 ", 0), 0u);
    EXPECT_EQ("4094 " + run({"tokenize", "--ids", "--no-bos", "-p", "Hello"}).out, run({"tokenize", "--ids", "-p", "Hello"}).out);
    EXPECT_EQ(run({"tokenize", "--ids", "-p", ""}).out, "4094\n");
}

TEST(Tokenize, ParsesControlTokensOnlyWhereAsked)
{
    EXPECT_EQ(run({"tokenize", "--ids", "--no-bos", "--parse-special", "-p", "<|end_of_text|>"}).out, "4095\n");
    EXPECT_GT(run({"tokenize", "--ids", "--no-bos", "-p", "<|end_of_text|>"}).out.size(), 6u);
    EXPECT_EQ(run({"tokenize", "--detokenize", "-p", "4095"}).out, "");
    EXPECT_EQ(run({"tokenize", "--detokenize", "--special", "-p", "4095"}).out, "<|end_of_text|>");
}

TEST(Tokenize, ListsEachTokenOnALine)
{
    const std::string table = run({"tokenize", "--no-bos", "-p", "a\\n'"}).out;
    EXPECT_TRUE(contains(table, " -> 'a'\n")) << table;
    EXPECT_TRUE(contains(table, "'\\n")) << table;
    EXPECT_EQ(cli::count_lines(table), static_cast<size_t>(std::count(table.begin(), table.end(), '>'))) << table;
}

TEST(Tokenize, WithJsonNamesEveryTokenEvenHalfACharacter)
{
    cli::Json json = cli::parse_json(run({"tokenize", "--json", "-p", "\\xf0\\x9f\\x98\\x80 a"}).out);
    const json_t *tokens = json_object_get(json.get(), "tokens");
    EXPECT_EQ(cli::integer_of(json.get(), "n_tokens"), static_cast<long long>(json_array_size(tokens)));
    EXPECT_EQ(cli::text_of(json_array_get(tokens, 0), "text"), "<|begin_of_text|>");
    cli::Json back = cli::parse_json(run({"tokenize", "--detokenize", "--json", "-p", "65 66"}).out);
    EXPECT_EQ(cli::text_of(back.get(), "text"), "bc");
}

TEST(Tokenize, RefusesWhatIsNoId)
{
    cli::expect_error(run({"tokenize", "--detokenize", "-p", "1 two"}), 1, "byte 2 begins no token id");
    cli::expect_error(run({"tokenize", "--detokenize", "-p", "1 4096"}), 1, "4096");
}

TEST(Tokenize, TakesAnotherPretokenizerWhereAsked)
{
    auto ids = [](const char *pre) { return run({"tokenize", "--ids", "-p", "I'D <<<x", "--pre-tokenizer", pre}).out; };
    EXPECT_EQ(ids("llama-bpe"), run({"tokenize", "--ids", "-p", "I'D <<<x"}).out); // the model's own
    EXPECT_EQ(ids("smaug-bpe"), ids("qwen2"));
    EXPECT_NE(ids("falcon_e"), ids("llama-bpe"));
    EXPECT_EQ(cli::text_of(cli::parse_json(run({"tokenize", "--json", "-p", "a", "--pre-tokenizer", "falcon"}).out).get(), "pre"),
              "falcon");
    const std::vector<std::vector<std::string>> commands = {{"run", "-p", "a"}, {"tokenize", "-p", "a"}, {"logits", "-p", "a", "--hash"}};
    for (std::vector<std::string> command : commands) {
        command.insert(command.end(), {"--pre-tokenizer", "falcon9"});
        cli::Result wrong = run(command);
        cli::expect_error(wrong, 1, "pre-tokenizer \"falcon9\" is not known");
        EXPECT_TRUE(contains(wrong.err, "llama-bpe, ") && contains(wrong.err, "falcon_e") && contains(wrong.err, "qwen2")) << wrong.err;
    }
    cli::expect_error(run({"show", "--pre-tokenizer", "falcon9"}), 1, "pre-tokenizer \"falcon9\" is not known");
}

TEST(Show, TellsWhatTheModelIs)
{
    cli::Result result = run({"show"});
    EXPECT_EQ(result.status, 0) << result.err;
    for (const char *part :
         {"architecture  bitnet-b1.58", "runs here     yes", "activation    relu2", "layers        6", "context       512",
          "general.architecture", "blk.5.ffn_down.weight", "768 x 256", "I2_S           42", "all            68"}) {
        EXPECT_TRUE(contains(result.out, part)) << part << "\n" << result.out;
    }
    EXPECT_EQ(run({"show", cli::default_model()}).out.size(), run({"show", "-m", cli::default_model()}).out.size());
}

TEST(Show, CanBeLimitedToAPart)
{
    const std::string metadata = run({"show", "--metadata"}).out, tensors = run({"show", "--tensors"}).out;
    EXPECT_TRUE(contains(metadata, "tokenizer.ggml.pre"));
    EXPECT_FALSE(contains(metadata, "blk.0."));
    EXPECT_TRUE(contains(tensors, "blk.0.attn_q.weight"));
    EXPECT_FALSE(contains(tensors, "tokenizer.ggml.pre"));
}

TEST(Show, WithJsonSizesAddUp)
{
    cli::Json json = cli::parse_json(run({"show", "--json"}).out);
    const json_t *model = json_object_get(json.get(), "model"), *tensors = json_object_get(json.get(), "tensors");
    EXPECT_EQ(cli::integer_of(model, "size"), static_cast<long long>(cli::read_file(cli::default_model()).size()));
    EXPECT_TRUE(json_is_true(json_object_get(model, "runs_here")));
    EXPECT_EQ(cli::integer_of(model, "n_vocab"), 4096);
    EXPECT_EQ(json_array_size(tensors), 68u);
    long long by_tensor = 0, by_type = 0, elements = 0;
    size_t i = 0;
    json_t *tensor = nullptr;
    json_array_foreach(tensors, i, tensor) by_tensor += cli::integer_of(tensor, "size_bytes");
    const char *type = nullptr;
    json_t *total = nullptr;
    json_object_foreach(json_object_get(json.get(), "types"), type, total)
    {
        by_type += cli::integer_of(total, "size_bytes");
        elements += cli::integer_of(total, "n_elements");
    }
    EXPECT_EQ(by_tensor, by_type);
    EXPECT_EQ(elements, cli::integer_of(model, "n_params"));
}

// What the weights become here: 42 ternary ones, and the embedding, 25 gains and the RoPE table.
TEST(Show, SaysWhichFormTheWeightsTakeOnThisMachine)
{
    cli::Json json = cli::parse_json(run({"show", "--layouts", "--json"}).out);
    long long ternary = 0, dense = 0;
    size_t i = 0;
    json_t *layout = nullptr;
    json_array_foreach(json_object_get(json.get(), "layouts"), i, layout)
    {
        EXPECT_EQ(cli::text_of(layout, "device"), "cpu0");
        EXPECT_NE(cli::text_of(layout, "layout"), "");
        const long long elements = cli::integer_of(layout, "n_elements");
        EXPECT_GT(cli::integer_of(layout, "size_bytes"), elements / 5);
        if (json_is_true(json_object_get(layout, "ternary"))) {
            ternary += cli::integer_of(layout, "n_weights");
            EXPECT_LT(cli::integer_of(layout, "size_bytes"), elements);
        } else {
            dense += cli::integer_of(layout, "n_weights");
        }
    }
    EXPECT_EQ(ternary, 42);
    EXPECT_EQ(dense, 27);
    const std::string text = run({"show", "--layouts"}).out;
    EXPECT_TRUE(contains(text, "cpu0     rows       dense          27 ")) << text;
    cli::Folder nothing_known;
    cli::Run two = {{"show", "--layouts"}, "", {{"TN_CPU_DEVICES", "2"}, {"TERNION_CACHE", nothing_known / "cache"}}};
    EXPECT_FALSE(contains(cli::run(two).out, "cpu1")) << "everything is on the first device";
}

TEST(Show, ReadsFilesThatCannotRunAndSaysWhy)
{
    // The architecture's name, changed in place to one of the same length that nobody has.
    cli::Folder folder;
    std::string bytes = cli::read_file(cli::default_model());
    for (size_t at = 0; (at = bytes.find("bitnet-b1.58", at)) != std::string::npos;) bytes.replace(at, 12, "frobnicator9");
    cli::write_file(folder / "other.gguf", bytes);
    cli::Result result = run({"show", folder / "other.gguf"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "runs here     no: ")) << result.out;
    EXPECT_TRUE(contains(result.out, "frobnicator9.block_count"));
    cli::expect_error(run({"show", folder / "other.gguf", "--layouts"}), 1, "frobnicator9");
    cli::Json json = cli::parse_json(run({"show", folder / "other.gguf", "--json"}).out);
    EXPECT_TRUE(contains(cli::text_of(json_object_get(json.get(), "model"), "reason"), "frobnicator9"));
    cli::Result refused = run({"run", "-m", folder / "other.gguf", "-p", "a"});
    cli::expect_error(refused, 1, "frobnicator9");
    EXPECT_TRUE(contains(refused.err, "Try: ternion show -m "));
}

TEST(Devices, AreListedUnderThreeNames)
{
    cli::Result result = run({"devices"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "\ncpu0 "));
    EXPECT_TRUE(contains(run({"--list-devices"}).out, "\ncpu0 "));
    EXPECT_TRUE(contains(run({"run", "--list-devices"}).out, "\ncpu0 "));
    EXPECT_TRUE(contains(run(cli::Run{{"devices"}, "", {{"TN_CPU_DEVICES", "2"}}}).out, "\ncpu1 "));
}

TEST(Devices, SayWhichKernelsAreInUse)
{
    const std::string all = run({"devices", "--kernels", "--cpu-isa", "scalar"}).out;
    EXPECT_TRUE(contains(all, "  * tn_k_"));
    std::istringstream lines(all);
    for (std::string line; std::getline(lines, line);) {
        EXPECT_TRUE(!contains(line, "* tn_k_") || contains(line, "__scalar")) << line;
    }
    cli::Json json = cli::parse_json(run({"devices", "--kernels", "--json", "-t", "1"}).out);
    const json_t *device = json_array_get(json_object_get(json.get(), "devices"), 0);
    EXPECT_EQ(cli::text_of(device, "name"), "cpu0");
    EXPECT_EQ(cli::integer_of(device, "n_threads"), 1);
    EXPECT_GT(json_array_size(json_object_get(device, "kernels")), 4u);
    EXPECT_GT(cli::integer_of(json_object_get(json.get(), "host"), "n_cores_at_once"), 0);
}

TEST(Devices, AreMeasuredAndTheFiguresKept)
{
    cli::Folder folder;
    const std::vector<std::string> command = {"devices", "--calibrate", "--calibrate-ms", "1",
                                              "-dev",    "cpu0",        "--pack-cache",   folder / "costs"};
    cli::Result table = run(command);
    EXPECT_EQ(table.status, 0) << table.err;
    for (const char *row :
         {"cpu0 ", " layer ", " embedding ", " head q8_0 ", " head q6_k ", " head quantised ", " head float ", " model ", "GB/s"})
        EXPECT_TRUE(contains(table.out, row)) << row << "\n" << table.out;
    size_t n_files = 0;
    for (const auto &entry : std::filesystem::directory_iterator(folder / "costs")) {
        EXPECT_TRUE(contains(entry.path().filename().string(), "costs-")) << entry.path();
        n_files++;
    }
    EXPECT_EQ(n_files, 1u);

    std::vector<std::string> as_json = command;
    as_json.push_back("--json");
    cli::Json json = cli::parse_json(run(as_json).out);
    const json_t *device = json_array_get(json_object_get(json.get(), "devices"), 0), *figures = json_object_get(device, "figures");
    EXPECT_EQ(cli::text_of(device, "name"), "cpu0");
    EXPECT_EQ(json_array_size(json_object_get(device, "step_tokens")), 5u);
    ASSERT_EQ(json_array_size(figures), 7u);
    EXPECT_EQ(cli::text_of(json_array_get(figures, 6), "name"), "model");
    const json_t *ns = json_object_get(json_array_get(figures, 6), "step_ns");
    for (size_t k = 1; k < 5; k++) EXPECT_GE(json_real_value(json_array_get(ns, k)), json_real_value(json_array_get(ns, k - 1)));
    EXPECT_TRUE(json_is_null(json_object_get(device, "together")));
    EXPECT_FALSE(contains(table.out, "beside the other"));
}

TEST(Devices, ThatShareTheHostAreMeasuredTogether)
{
    const cli::Folder folder;
    const auto run_two = [&](std::vector<std::string> more) {
        std::vector<std::string> command = {"devices", "--calibrate",  "--calibrate-ms", "1", "-dev", "cpu1", "-t",
                                            "2",       "--pack-cache", folder / "costs"};
        command.insert(command.end(), more.begin(), more.end());
        return cli::run(cli::Run{command, "", {{"TN_CPU_DEVICES", "2"}}});
    };
    const cli::Result table = run_two({});
    EXPECT_EQ(table.status, 0) << table.err;
    EXPECT_TRUE(contains(table.out, "\n         beside the other CPU device the model takes ")) << table.out;
    EXPECT_TRUE(contains(table.out, " times as long\n")) << table.out;
    cli::Json json = cli::parse_json(run_two({"--json"}).out);
    const json_t *together = json_object_get(json_array_get(json_object_get(json.get(), "devices"), 0), "together"),
                 *factors = json_object_get(together, "factors");
    EXPECT_EQ(cli::integer_of(together, "n_devices"), 2);
    ASSERT_EQ(json_array_size(factors), 5u);
    for (size_t k = 0; k < 5; k++) EXPECT_GE(json_real_value(json_array_get(factors, k)), 1.0) << k;
}

TEST(Devices, ThatDoNotExistAreNotMeasured)
{
    cli::expect_error(run({"devices", "--calibrate", "-dev", "gpu7"}), 1, "there is no device gpu7; devices here: ");
    cli::expect_error(run({"devices", "--calibrate", "--calibrate-ms", "0"}), 2, "calibrate-ms");
}

} // namespace
