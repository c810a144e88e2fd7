// ternion run: the answer, its reasons to end, and what stays the same whatever the machine.
#include "program.hpp"
#include "support/isa_levels.hpp"

#include <ternion/ternion.h>

namespace
{

using cli::contains;
using cli::expect_error;
using cli::run;

const std::string prompt = "The king said to his daughter";

std::string answer(std::vector<std::string> more, std::vector<std::pair<std::string, std::string>> environment = {})
{
    std::vector<std::string> arguments = {"run", "-p", prompt, "-q", "-n", "40"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    cli::Result result = run(cli::Run{arguments, "", std::move(environment)});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
}

// The likeliest continuation by the library's own calls, one token at a time.
std::string greedy_by_library(int n)
{
    tn_model *model = nullptr;
    tn_host *host = nullptr;
    tn_session *session = nullptr;
    EXPECT_EQ(tn_model_open(cli::default_model().c_str(), nullptr, &model), TN_OK);
    EXPECT_EQ(tn_host_open(nullptr, &host), TN_OK);
    EXPECT_EQ(tn_session_create(model, host, nullptr, &session), TN_OK);
    const tn_tokenizer *tokenizer = tn_model_tokenizer(model);
    std::vector<int32_t> tokens(200);
    size_t n_tokens = 0;
    EXPECT_EQ(tn_tokenizer_encode(tokenizer, prompt.c_str(), prompt.size(), TN_ENCODE_ADD_SPECIAL, tokens.data(), tokens.size(), &n_tokens),
              TN_OK);
    std::string text;
    for (int i = 0; i < n; i++) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(n_tokens);
        batch.tokens = tokens.data();
        EXPECT_EQ(tn_session_decode(session, &batch), TN_OK);
        const float *logits = tn_session_logits(session, 0);
        tokens[0] = static_cast<int32_t>(std::max_element(logits, logits + tn_tokenizer_n_vocab(tokenizer)) - logits);
        n_tokens = 1;
        char bytes[256];
        size_t len = 0;
        EXPECT_EQ(tn_tokenizer_decode_token(tokenizer, tokens[0], false, bytes, sizeof bytes, &len), TN_OK);
        text.append(bytes, len);
    }
    tn_session_destroy(session);
    tn_host_close(host);
    tn_model_close(model);
    return text;
}

TEST(Run, AtTemperatureZeroWritesTheLikeliestTokens) { EXPECT_EQ(answer({"--temp", "0"}), greedy_by_library(40)); }

TEST(Run, TheSameSeedGivesTheSameTextOnAnyThreadsAndKernels)
{
    const std::string expected = answer({"-s", "7"});
    EXPECT_GT(expected.size(), 40u);
    EXPECT_EQ(answer({"-s", "7", "-t", "1"}), expected);
    EXPECT_EQ(answer({"-s", "7", "-t", "2"}), expected);
    EXPECT_EQ(answer({"-s", "7", "-ub", "3", "-b", "5"}), expected);
    EXPECT_EQ(answer({"-s", "7", "--device", "cpu0,cpu1"}, {{"TN_CPU_DEVICES", "2"}}), expected);
    for (const std::string &mask : tn_test::isa_levels()) {
        EXPECT_EQ(answer({"-s", "7"}, {{"TN_CPU_MASK", mask}}), expected) << mask;
        EXPECT_EQ(answer({"-s", "7", "--cpu-isa", mask}), expected) << mask;
    }
    EXPECT_NE(answer({"-s", "8"}), expected);
}

TEST(Run, TakesTheTextFromStandardInputFileOrFlagAlike)
{
    cli::Folder folder;
    cli::write_file(folder / "prompt.txt", prompt + "\n");
    const std::string expected = answer({"-s", "7"});
    EXPECT_EQ(run({"run", "-f", folder / "prompt.txt", "-q", "-n", "40", "-s", "7"}).out, expected);
    EXPECT_EQ(run(cli::Run{{"run", "-q", "-n", "40", "-s", "7"}, prompt, {}}).out, expected);
    EXPECT_EQ(run(cli::Run{{"run", "-f", "-", "-q", "-n", "40", "-s", "7"}, prompt + "\n", {}}).out, expected);
}

TEST(Run, ResolvesEscapesOfTheCommandLineOnlyUnlessToldNot)
{
    cli::Json escaped = cli::parse_json(run({"run", "-p", "a\\n\\x41\\q", "-n", "0", "-q", "--json"}).out);
    EXPECT_EQ(cli::text_of(escaped.get(), "prompt"), "a\nA\\q");
    cli::Json literal = cli::parse_json(run({"run", "-p", "a\\n", "-n", "0", "-q", "--json", "--no-escape"}).out);
    EXPECT_EQ(cli::text_of(literal.get(), "prompt"), "a\\n");
    cli::Json piped = cli::parse_json(run(cli::Run{{"run", "-n", "0", "-q", "--json"}, "a\\n", {}}).out);
    EXPECT_EQ(cli::text_of(piped.get(), "prompt"), "a\\n");
}

TEST(Run, PutsHeaderAndSummaryOnStandardErrorWithoutDecoration)
{
    cli::Result result = run({"run", "-p", prompt, "-n", "5", "-s", "1", "-v"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.out, run({"run", "-p", prompt, "-n", "5", "-s", "1", "-q"}).out);
    EXPECT_FALSE(contains(result.err, "\033")) << "escape codes off a terminal";
    EXPECT_FALSE(contains(result.err, "\r"));
    EXPECT_TRUE(contains(result.err, "I2_S"));
    EXPECT_TRUE(contains(result.err, "plan  cpu0: embedding, layers 0-5, head"));
    EXPECT_TRUE(contains(result.err, "sampling  seed 1 "));
    EXPECT_TRUE(contains(result.err, "reply 5 tokens"));
    EXPECT_TRUE(contains(result.err, "peak "));
    EXPECT_EQ(cli::count_lines(run({"run", "-p", prompt, "-n", "5"}).err), 3u) << "two lines of header and the summary";
}

TEST(Run, WithJsonPrintsOneObject)
{
    cli::Result result = run({"run", "-p", prompt, "-n", "40", "-s", "7", "--json", "-q"});
    ASSERT_EQ(result.status, 0) << result.err;
    cli::Json json = cli::parse_json(result.out);
    EXPECT_EQ(cli::text_of(json.get(), "text"), answer({"-s", "7"}));
    EXPECT_EQ(cli::text_of(json.get(), "prompt"), prompt);
    EXPECT_EQ(cli::text_of(json.get(), "stop_reason"), "length");
    EXPECT_EQ(cli::integer_of(json.get(), "seed"), 7);
    EXPECT_EQ(json_array_size(json_object_get(json.get(), "tokens")), 40u);
    const json_t *timings = json_object_get(json.get(), "timings");
    EXPECT_EQ(cli::integer_of(timings, "predicted_n"), 40);
    EXPECT_GT(cli::number_of(timings, "prompt_per_second"), 0);
    EXPECT_LE(cli::number_of(timings, "prompt_ms"), cli::number_of(timings, "first_token_ms"));
    EXPECT_EQ(cli::text_of(json_object_get(json.get(), "model"), "type"), "I2_S");
}

TEST(Run, TheDefaultsOfTheHelpAreTheLibrarysDefaults)
{
    cli::Json json = cli::parse_json(run({"run", "-p", "a", "-n", "0", "--json", "-q"}).out);
    const json_t *sampling = json_object_get(json.get(), "sampling");
    const tn_sampler_params params = tn_sampler_params_default();
    EXPECT_FLOAT_EQ(static_cast<float>(cli::number_of(sampling, "temperature")), params.temperature);
    EXPECT_EQ(cli::integer_of(sampling, "top_k"), params.top_k);
    EXPECT_FLOAT_EQ(static_cast<float>(cli::number_of(sampling, "top_p")), params.top_p);
    EXPECT_FLOAT_EQ(static_cast<float>(cli::number_of(sampling, "min_p")), params.min_p);
    EXPECT_EQ(cli::integer_of(sampling, "repeat_last_n"), params.repeat_last_n);
    EXPECT_FLOAT_EQ(static_cast<float>(cli::number_of(sampling, "repeat_penalty")), params.repeat_penalty);
    EXPECT_FLOAT_EQ(static_cast<float>(cli::number_of(sampling, "presence_penalty")), params.presence_penalty);
    EXPECT_FLOAT_EQ(static_cast<float>(cli::number_of(sampling, "frequency_penalty")), params.frequency_penalty);
}

TEST(Run, ARandomSeedIsReportedAndRepeatsTheText)
{
    cli::Json first = cli::parse_json(run({"run", "-p", prompt, "-n", "20", "--json", "-q"}).out);
    cli::Result shown = run({"run", "-p", prompt, "-n", "20"});
    const size_t at = shown.err.find("| seed ");
    ASSERT_NE(at, std::string::npos) << shown.err;
    const std::string in_summary = shown.err.substr(at + 7, shown.err.find(' ', at + 7) - at - 7);
    EXPECT_EQ(run({"run", "-p", prompt, "-n", "20", "-q", "-s", in_summary}).out, shown.out);
    const std::string seed = std::to_string(cli::integer_of(first.get(), "seed"));
    EXPECT_EQ(run({"run", "-p", prompt, "-n", "20", "-q", "-s", seed}).out, cli::text_of(first.get(), "text"));
}

TEST(Run, EndsBeforeAStopText)
{
    const std::string whole = answer({"-s", "7"});
    const std::string stop = whole.substr(whole.size() / 2, 4);
    const std::string expected = whole.substr(0, whole.find(stop));
    EXPECT_EQ(answer({"-s", "7", "--stop", stop}), expected);
    EXPECT_EQ(answer({"-s", "7", "-r", stop, "--stop", "never in it"}), expected);
    cli::Json json = cli::parse_json(run({"run", "-p", prompt, "-s", "7", "-q", "--stop", stop, "--json"}).out);
    EXPECT_EQ(cli::text_of(json.get(), "stop_reason"), "stop");
}

TEST(Run, AFullContextEndsTheAnswerWithTheReason)
{
    cli::Result result = run({"run", "-p", prompt, "-s", "7", "-c", "48", "--ignore-eos"});
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(contains(result.err, "context full: 48 tokens")) << result.err;
    cli::Json json = cli::parse_json(run({"run", "-p", prompt, "-s", "7", "-q", "-c", "48", "--ignore-eos", "--json"}).out);
    const long long n_prompt = cli::integer_of(json_object_get(json.get(), "timings"), "prompt_n");
    EXPECT_EQ(cli::text_of(json.get(), "stop_reason"), "context");
    // A token can be chosen behind the last position.
    EXPECT_EQ(json_array_size(json_object_get(json.get(), "tokens")), static_cast<size_t>(48 - n_prompt + 1));
    EXPECT_EQ(cli::text_of(json.get(), "text"), result.out);
}

TEST(Run, FeedsAPromptThatJustFitsAndRefusesALongerOne)
{
    cli::Json json = cli::parse_json(run({"run", "-p", prompt, "-n", "0", "-q", "--json"}).out);
    const long long n = cli::integer_of(json_object_get(json.get(), "timings"), "prompt_n");
    EXPECT_EQ(run({"run", "-p", prompt, "-q", "-c", std::to_string(n)}).status, 0);
    cli::Result result = run({"run", "-p", prompt, "-q", "-c", std::to_string(n - 1)});
    expect_error(result, 1, "the prompt has " + std::to_string(n) + " tokens, but the context (-c) holds " + std::to_string(n - 1));
    EXPECT_TRUE(contains(result.err, "or leave -c out. Try: ternion run -p TEXT"));
    std::string book;
    for (int i = 0; i < 400; i++) book += "once upon a time ";
    expect_error(run(cli::Run{{"run", "-q"}, book, {}}), 1, "holds 512");
    expect_error(run({"run", "-p", "a", "-c", "513"}), 1, "-c 513 is more than the model's context of 512");
}

TEST(Run, WithNothingToWriteOnlyReadsThePrompt)
{
    cli::Result result = run({"run", "-p", prompt, "-n", "0"});
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(contains(result.err, "reply 0 tokens"));
}

TEST(Run, AnEmptyPromptBeginsAText)
{
    cli::Result result = run({"run", "-p", "", "-n", "8", "-s", "3", "-q"});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out, "");
    EXPECT_EQ(run({"run", "-n", "8", "-s", "3", "-q"}).out, result.out) << "empty standard input";
}

TEST(Run, ABiasForbidsAndForcesTokens)
{
    cli::Json json = cli::parse_json(run({"run", "-p", prompt, "-n", "5", "-q", "--json", "--temp", "0", "-l", "65+1000"}).out);
    const json_t *tokens = json_object_get(json.get(), "tokens");
    for (size_t i = 0; i < 5; i++) EXPECT_EQ(json_integer_value(json_array_get(tokens, i)), 65);
    cli::Json greedy = cli::parse_json(run({"run", "-p", prompt, "-n", "1", "-q", "--json", "--temp", "0"}).out);
    const long long likeliest = json_integer_value(json_array_get(json_object_get(greedy.get(), "tokens"), 0));
    cli::Json other =
        cli::parse_json(run({"run", "-p", prompt, "-n", "1", "-q", "--json", "--temp", "0", "-l", std::to_string(likeliest) + "-inf"}).out);
    EXPECT_NE(json_integer_value(json_array_get(json_object_get(other.get(), "tokens"), 0)), likeliest);
}

TEST(Run, EndsWhereTheModelEndsItsTextUnlessThatIsForbidden)
{
    // The token that ends a text is forced by a bias; --ignore-eos outweighs it.
    const std::vector<std::string> forced = {"run", "-p", prompt, "-n", "5", "-q", "--json", "--temp", "0", "-l", "4095+1000"};
    cli::Json ended = cli::parse_json(run(forced).out);
    EXPECT_EQ(cli::text_of(ended.get(), "stop_reason"), "end");
    EXPECT_EQ(json_array_size(json_object_get(ended.get(), "tokens")), 0u);
    std::vector<std::string> ignoring = forced;
    ignoring.push_back("--ignore-eos");
    cli::Json went_on = cli::parse_json(run(ignoring).out);
    EXPECT_EQ(cli::text_of(went_on.get(), "stop_reason"), "length");
}

} // namespace
