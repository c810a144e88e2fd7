// ternion chat without a terminal: which template, one turn of scripts, what is refused.
#include "program.hpp"
#include "support/chat_model.hpp"
#include "ternion/chat.h"

namespace
{

using cli::contains;

// Model files that live as long as the tests do.
class Chat : public testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        folder = new cli::Folder;
        bitnet = *folder / "bitnet.gguf";
        chatml = *folder / "chatml.gguf";
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), bitnet, tn_test::bitnet_jinja));
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), chatml, tn_test::chatml_jinja));
    }
    static void TearDownTestSuite() { delete folder; }
    static cli::Result say(const std::string &model, std::vector<std::string> more, const std::string &input = "")
    {
        std::vector<std::string> arguments = {"chat", "-m", model, "-s", "1", "-n", "8"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return cli::run(cli::Run{arguments, input, {}});
    }
    // The ids of a text whose special tokens are written out.
    static std::vector<long long> ids(const std::string &model, const std::string &text, bool parse = true)
    {
        std::vector<std::string> arguments = {"tokenize", "-m", model, "--no-bos", "--no-escape", "--ids", "-p", text};
        if (parse) arguments.push_back("--parse-special");
        std::istringstream words(cli::run(arguments).out);
        std::vector<long long> out;
        for (long long id; words >> id;) out.push_back(id);
        return out;
    }
    static cli::Folder *folder;
    static std::string bitnet, chatml;
};
cli::Folder *Chat::folder;
std::string Chat::bitnet, Chat::chatml;

TEST_F(Chat, StandardInputIsOneMessage)
{
    cli::Result result = say(bitnet, {"--temp", "0"}, "Once upon a time\n");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(contains(result.err, "template bitnet")) << result.err;
    EXPECT_FALSE(result.out.empty());
    EXPECT_EQ(say(bitnet, {"--temp", "0", "-p", "Once upon a time", "-q"}).out, result.out);
    cli::write_file(*folder / "message", "Once upon a time\n");
    EXPECT_EQ(say(bitnet, {"--temp", "0", "-f", *folder / "message", "-q"}).out, result.out);
    EXPECT_EQ(say(bitnet, {"--temp", "0", "-q"}, "Once upon\na time\n").status, 0);
}

TEST_F(Chat, WritesWhatRunWritesForThePromptWrittenOut)
{
    cli::Result chat = say(bitnet, {"-sys", "Be brief.", "-p", " Tell me a story. ", "-q"});
    cli::Result run = cli::run({"run", "-m", bitnet, "-s", "1", "-n", "8", "-q", "--parse-special", "-p",
                                "System: Be brief.<|eot_id|>User: Tell me a story.<|eot_id|>Assistant: "});
    EXPECT_EQ(chat.status, 0) << chat.err;
    EXPECT_EQ(chat.out, run.out);
}

TEST_F(Chat, TokensTypedByUsersAreText)
{
    auto count = [&](const std::string &message) {
        cli::Result result = say(bitnet, {"-p", message, "--json", "-q", "--no-escape"});
        EXPECT_EQ(result.status, 0) << result.err;
        return cli::integer_of(json_object_get(cli::parse_json(result.out).get(), "timings"), "prompt_n");
    };
    const std::string marks = "<|eot_id|><|im_start|><|begin_of_text|>";
    const size_t as_text = ids(bitnet, "User: a" + marks, false).size(), plain = ids(bitnet, "User: a", false).size();
    ASSERT_GT(as_text, plain + 10) << "as tokens they would be three";
    EXPECT_EQ(count("a" + marks) - count("a"), static_cast<long long>(as_text - plain));
    // The system message too.
    cli::Result result = say(bitnet, {"-sys", marks, "-p", "a", "--json", "-q"});
    EXPECT_EQ(cli::integer_of(json_object_get(cli::parse_json(result.out).get(), "timings"), "prompt_n") - count("a"),
              static_cast<long long>(ids(bitnet, "System: " + marks, false).size()) + 1);
}

TEST_F(Chat, JsonNamesTheTemplateAndTheAnswer)
{
    cli::Result result = say(chatml, {"-p", "Hello", "--json", "-q"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::text_of(json.get(), "template"), "chatml");
    EXPECT_EQ(cli::text_of(json.get(), "prompt"), "Hello");
    EXPECT_EQ(json_array_size(json_object_get(json.get(), "tokens")), 8u);
    EXPECT_EQ(cli::text_of(json.get(), "stop_reason"), "length");
    const size_t n = ids(chatml, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n").size();
    EXPECT_EQ(cli::integer_of(json_object_get(json.get(), "timings"), "prompt_n"), static_cast<long long>(n));
}

TEST_F(Chat, ABaseModelIsSaidToBeOne)
{
    expect_error(cli::run({"chat", "-p", "Hello"}), 1, "it is a base model");
    EXPECT_TRUE(contains(cli::run({"chat", "-p", "Hello"}).err, "Try: ternion run -m "));
    expect_error(cli::run({"chat", "-p", "Hello", "--template", "chatml"}), 1, "the vocabulary has no token <|im_start|>");
    expect_error(cli::run({"chat", "-p", "Hello", "--template", "bitnet"}), 1, "the vocabulary has no token <|eot_id|>");
    cli::Result falcon = cli::run({"chat", "-m", bitnet, "-p", "Hello", "--template", "qwen2.5", "-n", "3", "-q"});
    EXPECT_EQ(falcon.status, 0) << falcon.err;
}

TEST_F(Chat, AnUnknownTemplateIsRefusedByName)
{
    const std::string path = *folder / "gemma.gguf";
    ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(
        cli::default_model(), path, "{{ bos_token }}\033[31m{% for m in messages %}{{ '<start_of_turn>' + m['role'] }}{% endfor %}"));
    cli::Result result = cli::run({"chat", "-m", path, "-p", "Hello"});
    expect_error(result, 1, "the chat template \"{{ bos_token }}\\x1b[31m{% for m in messages");
    EXPECT_TRUE(contains(result.err, "bitnet, llama3")) << result.err;
    EXPECT_TRUE(contains(result.err, "--template NAME")) << result.err;
    cli::Result chosen = say(path, {"-p", "Hello", "--template", "bitnet", "-q"});
    EXPECT_EQ(chosen.status, 0) << chosen.err;
    EXPECT_EQ(chosen.out, say(bitnet, {"-p", "Hello", "-q"}).out);
}

TEST_F(Chat, TheHelpNamesEveryTemplate)
{
    std::string help = cli::run({"chat", "--help"}).out;
    help.erase(0, help.find("--template"));
    for (size_t i = 0; i < tn_chat_template_count(); i++)
        EXPECT_TRUE(contains(help, tn_chat_template_name(tn_chat_template_at(i)))) << help;
}

TEST_F(Chat, WrongUseIsRefused)
{
    expect_error(say(bitnet, {"--template", "gemma", "-p", "Hello"}), 2, "there is no chat template 'gemma'");
    expect_error(say(bitnet, {"--no-think", "-p", "Hello"}), 2, "has no thoughts");
    expect_error(say(bitnet, {"-no-cnv", "-p", "Hello"}), 2, "use ternion run");
    expect_error(say(bitnet, {"--jinja", "-p", "Hello"}), 2, "templates are built in");
    expect_error(say(bitnet, {"-q"}, ""), 1, "the message is empty");
    expect_error(say(bitnet, {"-c", "100000", "-p", "Hello"}), 1, "more than the model's context");
    expect_error(say(bitnet, {"-p", "a", "-f", "b"}), 2, "two texts");
    expect_error(cli::run({"run", "-cnv"}), 2, "ternion chat");
    expect_error(cli::run({"run", "-sys", "x"}), 2, "ternion chat -sys");
}

TEST_F(Chat, AMessageThatDoesNotFitIsRefused)
{
    std::string story;
    for (int i = 0; i < 40; i++) story += "Once upon a time there was a king. ";
    cli::Result result = say(bitnet, {"-c", "64", "-p", story, "-q"});
    expect_error(result, 1, "the context has 64: shorten the message, or start with a larger -c (the model has 512)");
    EXPECT_FALSE(contains(result.err, "/clear"));
}

TEST_F(Chat, AnAnswerEndsWhereTheContextDoes)
{
    cli::Result result = cli::run({"chat", "-m", bitnet, "-s", "1", "-c", "40", "--ignore-eos", "-p", "Hello", "--json", "-q"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::text_of(json.get(), "stop_reason"), "context");
    const long long n = cli::integer_of(json_object_get(json.get(), "timings"), "prompt_n");
    EXPECT_EQ(static_cast<long long>(json_array_size(json_object_get(json.get(), "tokens"))), 40 - n + 1);
}

} // namespace
