// Lines of a batch file: every parameter, every refusal with its words, and lines that are no lines at all.
#include "batch_lines.hpp"

#include <cmath>
#include <functional>
#include <map>
#include <random>

namespace
{

using namespace batch_lines;
using cli::contains;

class BatchRequest : public testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        folder = new cli::Folder;
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), *folder / "chatml.gguf", tn_test::chatml_jinja));
        plain = new Engine(cli::default_model());
        talks = new Engine(*folder / "chatml.gguf");
    }
    static void TearDownTestSuite()
    {
        delete plain;
        delete talks;
        delete folder;
    }
    void SetUp() override
    {
        said.clear();
        ASSERT_EQ(context.begin(), 0);
        ASSERT_EQ(chats.begin(), 0);
    }
    static std::vector<int32_t> encode(const Engine &engine, const std::string &text, unsigned flags)
    {
        std::vector<int32_t> ids(1000);
        size_t n = 0;
        EXPECT_EQ(tn_tokenizer_encode(engine.engine.tokenizer, text.data(), text.size(), flags, ids.data(), ids.size(), &n), TN_OK);
        ids.resize(n);
        return ids;
    }
    static cli::Folder *folder;
    static Engine *plain, *talks;
    Context context{*plain}, chats{*talks};
};
cli::Folder *BatchRequest::folder;
Engine *BatchRequest::plain, *BatchRequest::talks;

TEST_F(BatchRequest, ALineWithoutParametersHasTheDefaultsOfTheApi)
{
    const Line line(context, completion());
    ASSERT_TRUE(line.good) << line.error.message;
    const tn_cli_batch_request &r = line.request;
    EXPECT_STREQ(json_string_value(r.custom_id), "a");
    EXPECT_EQ(r.kind, TN_CLI_BATCH_COMPLETION);
    EXPECT_EQ(r.n_prompts, 1u);
    EXPECT_EQ(line.prompt(), encode(*plain, "Once upon a time", TN_ENCODE_ADD_SPECIAL));
    EXPECT_EQ(r.params.sampler, &r.sampler);
    EXPECT_EQ(r.sampler.temperature, 1);
    EXPECT_EQ(r.sampler.top_p, 1);
    EXPECT_EQ(r.sampler.top_k, 0);
    EXPECT_EQ(r.sampler.min_p, 0);
    EXPECT_EQ(r.sampler.repeat_penalty, 1);
    EXPECT_EQ(r.sampler.repeat_last_n, 64);
    EXPECT_EQ(r.sampler.seed, 0u);
    EXPECT_EQ(r.sampler.sequence, 7u << 20);
    EXPECT_EQ(r.sampler.n_logit_bias, 0u);
    EXPECT_EQ(r.params.n_tokens_max, 16u);
    EXPECT_EQ(r.params.n_samples, 1u);
    EXPECT_EQ(r.params.n_best, 0u);
    EXPECT_EQ(r.n_choices, 1u);
    EXPECT_EQ(r.params.n_stops, 0u);
    EXPECT_EQ(r.params.flow, 0u);
    EXPECT_FALSE(r.echo || r.wants_logprobs || r.params.logprobs || r.params.prompt_logprobs || r.params.prompt_only);
    EXPECT_EQ(r.model, nullptr);
    EXPECT_TRUE(said.empty());
    const Line other(chats, chat());
    ASSERT_TRUE(other.good) << other.error.message;
    EXPECT_EQ(other.request.params.n_tokens_max, 0u);
    EXPECT_EQ(other.request.kind, TN_CLI_BATCH_CHAT);
}

TEST_F(BatchRequest, ParametersReachSamplerAndBatcher)
{
    const Line line(context, completion(R"(, "max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "top_k": 5, "min_p": 0.125, "n": 2,
        "best_of": 4, "logprobs": 3, "echo": true, "stop": ["x", "\n\n"], "seed": -5, "presence_penalty": -0.5, "frequency_penalty": 0.75,
        "repetition_penalty": 1.5, "repeat_last_n": 12, "logit_bias": {"5": -100, "17": 2.5}, "user": "me", "model": "ternion-tales-6m")"));
    ASSERT_TRUE(line.good) << line.error.message;
    const tn_cli_batch_request &r = line.request;
    EXPECT_EQ(r.params.n_tokens_max, 9u);
    EXPECT_EQ(r.sampler.temperature, 0.5f);
    EXPECT_EQ(r.sampler.top_p, 0.25f);
    EXPECT_EQ(r.sampler.top_k, 5);
    EXPECT_EQ(r.sampler.min_p, 0.125f);
    EXPECT_EQ(r.params.n_samples, 4u);
    EXPECT_EQ(r.params.n_best, 2u);
    EXPECT_EQ(r.n_choices, 2u);
    EXPECT_TRUE(r.echo && r.wants_logprobs && r.params.logprobs && r.params.prompt_logprobs);
    EXPECT_FALSE(r.params.prompt_only);
    EXPECT_EQ(r.params.n_top_logprobs, 3u);
    EXPECT_EQ(line.stops(), (std::vector<std::string>{"x", "\n\n"}));
    EXPECT_EQ(r.sampler.seed, static_cast<uint64_t>(-5));
    EXPECT_EQ(r.sampler.sequence, 0u);
    EXPECT_EQ(r.sampler.presence_penalty, -0.5f);
    EXPECT_EQ(r.sampler.frequency_penalty, 0.75f);
    EXPECT_EQ(r.sampler.repeat_penalty, 1.5f);
    EXPECT_EQ(r.sampler.repeat_last_n, 12);
    ASSERT_EQ(r.sampler.n_logit_bias, 2u);
    EXPECT_EQ(r.sampler.logit_bias[0].token, 5);
    EXPECT_EQ(r.sampler.logit_bias[0].bias, -100);
    EXPECT_EQ(r.sampler.logit_bias[1].token, 17);
    EXPECT_EQ(r.sampler.logit_bias[1].bias, 2.5f);
    EXPECT_NE(r.params.flow, 0u);
    EXPECT_STREQ(r.model, "ternion-tales-6m");
    EXPECT_TRUE(said.empty());
    EXPECT_EQ(Line(context, completion(R"(, "user": "me")")).request.params.flow, r.params.flow);
    EXPECT_NE(Line(context, completion(R"(, "user": "you")")).request.params.flow, r.params.flow);
}

TEST_F(BatchRequest, ChatsHaveTheirOwnLogprobs)
{
    const Line line(chats, chat(R"(, "logprobs": true, "top_logprobs": 20, "max_completion_tokens": 3, "n": 128)"));
    ASSERT_TRUE(line.good) << line.error.message;
    EXPECT_TRUE(line.request.wants_logprobs && line.request.params.logprobs);
    EXPECT_FALSE(line.request.params.prompt_logprobs);
    EXPECT_EQ(line.request.params.n_top_logprobs, 20u);
    EXPECT_EQ(line.request.params.n_tokens_max, 3u);
    EXPECT_EQ(line.request.params.n_samples, 128u);
    EXPECT_FALSE(Line(chats, chat(R"(, "logprobs": false)")).request.wants_logprobs);
}

TEST_F(BatchRequest, WhatIsAcceptedWithoutAWord)
{
    for (const char *more :
         {"",
          R"(, "stream": false)",
          R"(, "metadata": {"a": "b"})",
          R"(, "store": true)",
          R"(, "service_tier": "flex")",
          R"(, "temperature": null)",
          R"(, "seed": null, "stop": null, "logit_bias": null, "n": null, "suffix": null, "logprobs": null, "stream": null)",
          R"(, "max_tokens": 5.0)",
          R"(, "seed": -5.0)",
          R"(, "max_tokens": 5, "max_completion_tokens": 5)",
          R"(, "temperature": 2)",
          R"(, "temperature": 0)",
          R"(, "top_p": 1)",
          R"(, "top_p": 1e-30)",
          R"(, "top_k": -1)",
          R"(, "top_k": 0)",
          R"(, "min_p": 1)",
          R"(, "min_p": 0)",
          R"(, "n": 128)",
          R"(, "n": 1)",
          R"(, "best_of": 1)",
          R"(, "best_of": 128)",
          R"(, "logprobs": 0)",
          R"(, "logprobs": 20)",
          R"(, "echo": false)",
          R"(, "stop": [])",
          R"(, "stop": "a")",
          R"(, "seed": 9223372036854775807)",
          R"(, "seed": -9223372036854775808)",
          R"(, "presence_penalty": -2)",
          R"(, "frequency_penalty": 2)",
          R"(, "repetition_penalty": 10)",
          R"(, "repeat_penalty": 0.1)",
          R"(, "repeat_penalty": 2, "repetition_penalty": 2)",
          R"(, "repeat_last_n": -1)",
          R"(, "logit_bias": {})",
          R"(, "logit_bias": {"0": 100})",
          R"(, "ignore_eos": false)",
          R"(, "user": "")",
          R"(, "response_format": {"type": "text"})",
          R"(, "nothing": null)"}) {
        const Line line(context, completion(more));
        EXPECT_TRUE(line.good) << more << ": " << line.error.message;
    }
    for (const char *more :
         {R"(, "tools": [])", R"(, "tools": null)", R"(, "functions": [])", R"(, "tool_choice": "none")", R"(, "tool_choice": "auto")",
          R"(, "function_call": "none")", R"(, "parallel_tool_calls": true)", R"(, "modalities": ["text"])", R"(, "audio": null)",
          R"(, "response_format": {"type": "text"})", R"(, "chat_template_kwargs": {})",
          R"(, "chat_template_kwargs": {"enable_thinking": false})", R"(, "chat_template_kwargs": {"enable_thinking": null})",
          R"(, "top_logprobs": null)", R"(, "stream": false)", R"(, "prediction": {})"}) {
        const Line line(chats, chat(more));
        EXPECT_TRUE(line.good) << more << ": " << line.error.message;
    }
    EXPECT_TRUE(said.empty()) << said[0];
}

struct Refusal {
    std::string line;
    const char *code, *param, *words;
};

void expect_refused(Context &context, const std::vector<Refusal> &refusals)
{
    for (const Refusal &refusal : refusals) {
        SCOPED_TRACE(refusal.line.substr(0, 300));
        const Line line(context, refusal.line);
        ASSERT_FALSE(line.good);
        EXPECT_EQ(line.error.status, 400);
        EXPECT_STREQ(line.error.type, "invalid_request_error");
        EXPECT_STREQ(line.error.code, refusal.code);
        EXPECT_STREQ(line.error.param, refusal.param);
        EXPECT_TRUE(contains(line.error.message, refusal.words)) << line.error.message;
        EXPECT_FALSE(contains(line.error.message, "\n"));
        EXPECT_EQ(line.request.prompts, nullptr);
        EXPECT_EQ(line.request.stops, nullptr);
    }
}

TEST_F(BatchRequest, FramesThatAreWrongAreRefused)
{
    const std::string id(513, 'x');
    const char *good = R"("method": "POST", "url": "/v1/completions", "body": {"prompt": "a"})";
    auto with = [&](const std::string &rest) { return "{\"custom_id\": \"a\", " + rest + "}"; };
    expect_refused(
        context,
        {
            {"", "invalid_json", "", "the line is no JSON object"},
            {"{", "invalid_json", "", "at byte 1"},
            {"[]", "invalid_json", "", "no object"},
            {"1", "invalid_json", "", "no JSON object"},
            {completion() + "x", "invalid_json", "", "the line is no JSON object"},
            {"{\"a\": \"\xff\"}", "invalid_json", "", "the line is no JSON object"},
            {R"({"custom_id": "a", "custom_id": "b"})", "invalid_json", "", "duplicate"},
            {std::string("{\"custom_id\0\": 1}", 17), "invalid_json", "", ""},
            {std::string(3000, '['), "invalid_json", "", "depth"},
            {R"({"n": 1e999})", "invalid_json", "", "real number overflow"},
            {std::string("{") + good + "}", "missing_required_parameter", "custom_id", "'custom_id' is missing"},
            {R"({"custom_id": null})", "missing_required_parameter", "custom_id", "'custom_id' is missing"},
            {R"({"custom_id": 5})", "invalid_value", "custom_id", "'custom_id' must be a string of 1 to 512 bytes, not 5"},
            {R"({"custom_id": ""})", "invalid_value", "custom_id", "not \"\""},
            {"{\"custom_id\": \"" + id + "\"}", "invalid_value", "custom_id", "not a long string"},
            {with(R"("url": "/v1/completions")"), "missing_required_parameter", "method", "must be \"POST\""},
            {with(R"("method": "GET", "url": "/v1/completions")"), "invalid_value", "method", "'method' must be \"POST\", not \"GET\""},
            {with(R"("method": 1)"), "invalid_value", "method", "not 1"},
            {with(R"("method": "POST")"), "missing_required_parameter", "url", "\"/v1/completions\" or \"/v1/chat/completions\""},
            {with(R"("method": "POST", "url": "/v1/embeddings")"), "unknown_url", "url", "not \"/v1/embeddings\""},
            {with(R"("method": "POST", "url": true)"), "invalid_value", "url", "not true"},
            {with(R"("method": "POST", "url": "/v1/completions")"), "missing_required_parameter", "body", "'body' is missing"},
            {with(R"("method": "POST", "url": "/v1/completions", "body": [])"), "invalid_value", "body", "an object, not an empty array"},
        });
}

TEST_F(BatchRequest, ParametersThatAreWrongAreRefused)
{
    const std::string many = [] {
        std::string text = "[\"0\"";
        for (int i = 1; i < 17; i++) text += ", \"" + std::to_string(i) + "\"";
        return text + "]";
    }();
    const char *v = "invalid_value", *u = "unsupported_parameter";
    expect_refused(
        context,
        {
            {completion(R"(, "model": 5)"), v, "model", "a string, not 5"},
            {completion(R"(, "max_tokens": "9")"), v, "max_tokens", "an integer from 0 to 2147483647, not \"9\""},
            {completion(R"(, "max_tokens": 9.5)"), v, "max_tokens", "not 9.5"},
            {completion(R"(, "max_tokens": -1)"), v, "max_tokens", "not -1"},
            {completion(R"(, "max_tokens": 2147483648)"), v, "max_tokens", "not 2147483648"},
            {completion(R"(, "max_tokens": 1e300)"), v, "max_tokens", "not 1e+300"},
            {completion(R"(, "max_tokens": 0)"), v, "max_tokens", "at least 1; 0 is for completions with 'echo' and 'logprobs'"},
            {completion(R"(, "max_tokens": 0, "echo": true)"), v, "max_tokens", "at least 1"},
            {completion(R"(, "max_tokens": 0, "echo": true, "logprobs": 1, "n": 2)"), v, "n", "must be 1 where 'max_tokens' is 0"},
            {completion(R"(, "max_tokens": 5, "max_completion_tokens": 6)"), v, "max_completion_tokens", "two values"},
            {completion(R"(, "max_completion_tokens": true)"), v, "max_completion_tokens", "not true"},
            {completion(R"(, "temperature": 2.1)"), v, "temperature", "a number from 0 to 2, not 2.1"},
            {completion(R"(, "temperature": -0.1)"), v, "temperature", "not -0.1"},
            {completion(R"(, "temperature": "1")"), v, "temperature", "not \"1\""},
            {completion(R"(, "top_p": 0)"), v, "top_p", "a number above 0, at most 1, not 0"},
            {completion(R"(, "top_p": 1e-300)"), v, "top_p", "above 0"},
            {completion(R"(, "top_p": 1.01)"), v, "top_p", "not 1.01"},
            {completion(R"(, "top_k": -2)"), v, "top_k", "from -1 to"},
            {completion(R"(, "min_p": 1.5)"), v, "min_p", "from 0 to 1"},
            {completion(R"(, "n": 0)"), v, "n", "from 1 to 128, not 0"},
            {completion(R"(, "n": 129)"), v, "n", "not 129"},
            {completion(R"(, "best_of": 129)"), v, "best_of", "from 1 to 128"},
            {completion(R"(, "n": 3, "best_of": 2)"), v, "best_of", "'best_of' is 2, but must be at least 'n', which is 3"},
            {completion(R"(, "logprobs": 21)"), v, "logprobs", "from 0 to 20, not 21"},
            {completion(R"(, "logprobs": true)"), v, "logprobs", "an integer from 0 to 20, not true"},
            {completion(R"(, "echo": 1)"), v, "echo", "true or false, not 1"},
            {completion(R"(, "stop": 5)"), v, "stop", "a string, or an array of at most 16 of them, not 5"},
            {completion(R"(, "stop": "")"), v, "stop", "not empty"},
            {completion(R"(, "stop": ["a", ""])"), v, "stop[1]", "not empty"},
            {completion(R"(, "stop": ["a", null])"), v, "stop[1]", "not null"},
            {completion(R"(, "stop": "a\u0000b")"), v, "stop", "no \\u0000"},
            {completion(R"(, "stop": )" + many), v, "stop", "17 texts, but at most 16"},
            {completion(R"(, "seed": 1.5)"), v, "seed", "not 1.5"},
            {completion(R"(, "seed": "x")"), v, "seed", "an integer"},
            {completion(R"(, "presence_penalty": 2.5)"), v, "presence_penalty", "from -2 to 2"},
            {completion(R"(, "frequency_penalty": -3)"), v, "frequency_penalty", "from -2 to 2"},
            {completion(R"(, "repetition_penalty": 0)"), v, "repetition_penalty", "above 0, at most 10"},
            {completion(R"(, "repeat_penalty": 11)"), v, "repeat_penalty", "at most 10"},
            {completion(R"(, "repeat_penalty": 1, "repetition_penalty": 2)"), v, "repeat_penalty", "two values"},
            {completion(R"(, "repeat_last_n": -2)"), v, "repeat_last_n", "from -1"},
            {completion(R"(, "logit_bias": [])"), v, "logit_bias", "an object, of token ids"},
            {completion(R"(, "logit_bias": {"4096": 1})"), v, "logit_bias.4096", "from \"0\" to \"4095\""},
            {completion(R"(, "logit_bias": {"05": 1})"), v, "logit_bias.05", "the id of a token"},
            {completion(R"(, "logit_bias": {"-1": 1})"), v, "logit_bias.-1", "the id of a token"},
            {completion(R"(, "logit_bias": {"": 1})"), v, "logit_bias.", "the id of a token"},
            {completion(R"(, "logit_bias": {"99999999999999999999": 1})"), v, "logit_bias.99999999999999999999", "the id of a token"},
            {completion(R"(, "logit_bias": {"5": 101})"), v, "logit_bias.5", "from -100 to 100, not 101"},
            {completion(R"(, "logit_bias": {"5": "1"})"), v, "logit_bias.5", "not \"1\""},
            {completion(R"(, "ignore_eos": "yes")"), v, "ignore_eos", "true or false"},
            {completion(R"(, "user": {})"), v, "user", "a string, not an object"},
            {completion(R"(, "stream": true)"), u, "stream", "not streamed"},
            {completion(R"(, "stream": 1)"), v, "stream", "true or false"},
            {completion(R"(, "suffix": "x")"), u, "suffix", "leave it out"},
            {completion(R"(, "response_format": {"type": "json_object"})"), u, "response_format", "only {\"type\": \"text\"}"},
            {completion(R"(, "response_format": "text")"), u, "response_format", "only"},
        });
    expect_refused(chats, {
                              {chat(R"(, "logprobs": 3)"), v, "logprobs", "true or false, not 3"},
                              {chat(R"(, "top_logprobs": 3)"), v, "top_logprobs", "needs 'logprobs'"},
                              {chat(R"(, "logprobs": true, "top_logprobs": 21)"), v, "top_logprobs", "from 0 to 20"},
                              {chat(R"(, "max_tokens": 0)"), v, "max_tokens", "at least 1"},
                              {chat(R"(, "tools": [{"type": "function"}])"), u, "tools", "not supported"},
                              {chat(R"(, "tools": {})"), u, "tools", "not supported"},
                              {chat(R"(, "functions": [{}])"), u, "functions", "not supported"},
                              {chat(R"(, "tool_choice": "required")"), u, "tool_choice", "\"none\" and \"auto\""},
                              {chat(R"(, "tool_choice": {"type": "function"})"), u, "tool_choice", "\"none\" and \"auto\""},
                              {chat(R"(, "function_call": {"name": "f"})"), u, "function_call", "\"none\" and \"auto\""},
                              {chat(R"(, "response_format": {"type": "json_schema"})"), u, "response_format", "only"},
                              {chat(R"(, "audio": {"voice": "x"})"), u, "audio", "text only"},
                              {chat(R"(, "modalities": ["text", "audio"])"), u, "modalities", "text only"},
                              {chat(R"(, "web_search_options": {})"), u, "web_search_options", "nothing is looked up"},
                              {chat(R"(, "chat_template_kwargs": 1)"), v, "chat_template_kwargs", "an object"},
                              {chat(R"(, "chat_template_kwargs": {"enable_thinking": 1})"), v, "chat_template_kwargs.enable_thinking",
                               "true or false"},
                          });
}

TEST_F(BatchRequest, PromptsAreTextsOrTokensOneOrMany)
{
    auto of = [](const std::string &prompt) { return frame("/v1/completions", "{\"prompt\": " + prompt + "}"); };
    {
        const Line line(context, of(R"(["Once", "upon a time"])"));
        ASSERT_TRUE(line.good) << line.error.message;
        ASSERT_EQ(line.request.n_prompts, 2u);
        EXPECT_EQ(line.prompt(0), encode(*plain, "Once", TN_ENCODE_ADD_SPECIAL));
        EXPECT_EQ(line.prompt(1), encode(*plain, "upon a time", TN_ENCODE_ADD_SPECIAL));
    }
    {
        const Line line(context, of("[1, 2.0, 4095]"));
        ASSERT_TRUE(line.good) << line.error.message;
        ASSERT_EQ(line.request.n_prompts, 1u);
        EXPECT_EQ(line.prompt(), (std::vector<int32_t>{1, 2, 4095}));
    }
    {
        const Line line(context, of("[[1], [2, 3]]"));
        ASSERT_TRUE(line.good) << line.error.message;
        ASSERT_EQ(line.request.n_prompts, 2u);
        EXPECT_EQ(line.prompt(0), (std::vector<int32_t>{1}));
        EXPECT_EQ(line.prompt(1), (std::vector<int32_t>{2, 3}));
    }
    {
        // Control tokens that somebody writes out are text; a text may have any characters.
        const Line line(context, of(R"("<|end_of_text|>\u0000")"));
        ASSERT_TRUE(line.good) << line.error.message;
        EXPECT_EQ(line.prompt(), encode(*plain, std::string("<|end_of_text|>\0", 16), TN_ENCODE_ADD_SPECIAL));
    }
    {
        const Line line(context, of("\"\"")); // nothing but what begins a text
        ASSERT_TRUE(line.good) << line.error.message;
        EXPECT_EQ(line.prompt(), (std::vector<int32_t>{tn_tokenizer_bos(plain->engine.tokenizer)}));
    }
    std::string full = "[1", most = "[[1]";
    for (int i = 1; i < 63; i++) full += ", 1";
    for (int i = 1; i < 128; i++) most += ", [1]";
    EXPECT_TRUE(Line(context, of(full + "]")).good);
    EXPECT_TRUE(Line(context, of(most + "]")).good);
    const char *v = "invalid_value";
    expect_refused(context,
                   {
                       {of("null"), "missing_required_parameter", "prompt", "'prompt' is missing: it must be a string, an array"},
                       {of("[]"), v, "prompt", "not an empty array"},
                       {of("5"), v, "prompt", "not 5"},
                       {of("{}"), v, "prompt", "not an object"},
                       {of("[true]"), v, "prompt", "not an array"},
                       {of("[[]]"), v, "prompt", "is empty"},
                       {of("[[1], []]"), v, "prompt[1]", "is empty"},
                       {of("[4096]"), v, "prompt[0]", "an integer from 0 to 4095, not 4096"},
                       {of("[1, -1]"), v, "prompt[1]", "not -1"},
                       {of("[1, 1.5]"), v, "prompt[1]", "not 1.5"},
                       {of(R"([1, "a"])"), v, "prompt[1]", "not \"a\""},
                       {of(R"([[1], [2, "a"]])"), v, "prompt[1][1]", "not \"a\""},
                       {of(R"(["a", 1])"), v, "prompt[1]", "a string as the first one is, not 1"},
                       {of(R"(["a", [1]])"), v, "prompt[1]", "a string as the first one is"},
                       {of(R"([[1], "a"])"), v, "prompt[1]", "an array of ids as the first one is"},
                       {of(most + ", [1]]"), v, "prompt", "129 prompts, but at most 128"},
                       {of(full + ", 1]"), "context_length_exceeded", "prompt", "has 64 tokens, but the context holds 64 with the answer"},
                       {of("[[1], " + full + ", 1, 1]]"), "context_length_exceeded", "prompt[1]", "has 65 tokens"},
                   });
    const std::string scored = ", 1], \"max_tokens\": 0, \"echo\": true, \"logprobs\": 0}";
    const Line line(context, frame("/v1/completions", "{\"prompt\": " + full + scored)); // no position for an answer is needed
    ASSERT_TRUE(line.good) << line.error.message;
    EXPECT_TRUE(line.request.params.prompt_only && line.request.params.prompt_logprobs && line.request.wants_logprobs);
    EXPECT_FALSE(line.request.params.logprobs);
    EXPECT_EQ(line.request.params.n_tokens_max, 0u);
}

TEST_F(BatchRequest, MessagesAreRendered)
{
    auto of = [](const std::string &messages) { return frame("/v1/chat/completions", "{\"messages\": " + messages + "}"); };
    auto expect_tokens = [&](const std::string &messages, const std::string &written) {
        const Line line(chats, of(messages));
        ASSERT_TRUE(line.good) << line.error.message;
        EXPECT_EQ(line.prompt(), encode(*talks, written, TN_ENCODE_PARSE_SPECIAL)) << messages;
    };
    const std::string user = "<|im_start|>user\n", end = "<|im_end|>\n", ask = "<|im_start|>assistant\n";
    expect_tokens(R"([{"role": "user", "content": "Hello"}])", user + "Hello" + end + ask);
    expect_tokens(R"([{"role": "system", "content": "S"}, {"role": "user", "content": "A"}, {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"}])",
                  "<|im_start|>system\nS" + end + user + "A" + end + "<|im_start|>assistant\nB" + end + user + "C" + end + ask);
    expect_tokens(R"([{"role": "developer", "content": "S"}, {"role": "user", "content": ""}])",
                  "<|im_start|>system\nS" + end + user + end + ask);
    expect_tokens(R"([{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}])",
                  user + "one\ntwo" + end + ask);
    expect_tokens(R"([{"role": "user", "content": "A", "name": null, "tool_calls": []}])", user + "A" + end + ask);
    {
        // Marks that somebody writes out are text: as many tokens as the text has, and no mark among them.
        const Line line(chats, of(R"([{"role": "user", "content": "<|im_end|>"}])"));
        ASSERT_TRUE(line.good);
        const auto ids = line.prompt();
        const int32_t mark = encode(*talks, "<|im_end|>", TN_ENCODE_PARSE_SPECIAL)[0];
        EXPECT_EQ(std::count(ids.begin(), ids.end(), mark), 1);
    }
    const char *v = "invalid_value", *missing = "missing_required_parameter", *u = "unsupported_parameter";
    const std::string text(400, 'q');
    expect_refused(
        chats,
        {
            {of("null"), missing, "messages", "'messages' is missing"},
            {of("[]"), v, "messages", "not an empty array"},
            {of("\"Hi\""), v, "messages", "an array of messages"},
            {of("[1]"), v, "messages[0]", "an object with 'role' and 'content', not 1"},
            {of(R"([{"content": "a"}])"), missing, "messages[0].role", "is missing"},
            {of(R"([{"role": "tool", "content": "a"}])"), v, "messages[0].role", "\"assistant\", not \"tool\""},
            {of(R"([{"role": 1, "content": "a"}])"), v, "messages[0].role", "not 1"},
            {of(R"([{"role": "user"}])"), missing, "messages[0].content", "is missing"},
            {of(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": null}])"), v, "messages[1].content", "not null"},
            {of(R"([{"role": "user", "content": 5}])"), v, "messages[0].content", "a string, or an array of parts"},
            {of(R"([{"role": "user", "content": []}])"), v, "messages[0].content", "not an empty array"},
            {of(R"([{"role": "user", "content": ["a"]}])"), v, "messages[0].content[0]", "{\"type\": \"text\""},
            {of(R"([{"role": "user", "content": [{"type": "text"}]}])"), v, "messages[0].content[0]", "{\"type\": \"text\""},
            {of(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])"), "unsupported_value",
             "messages[0].content[0]", "\"image_url\", but the model reads text only"},
            {of(R"([{"role": "assistant", "content": "a", "tool_calls": [{}]}, {"role": "user", "content": "b"}])"), u,
             "messages[0].tool_calls", "tools are not supported"},
            {of(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])"), "unsupported_value", "messages",
             "end with one of the user"},
            {of(R"([{"role": "user", "content": ")" + text + R"("}])"), "context_length_exceeded", "messages", "but the context holds 64"},
        });
}

TEST_F(BatchRequest, AModelWithoutATemplateHasNoChats)
{
    expect_refused(context, {{chat(), "unsupported_value", "messages", "--template NAME"},
                             {chat(), "unsupported_value", "messages", "chat template"}});
    Context chosen{*talks}, unknown{*plain}, lacking{*plain};
    chosen.text(TN_OPT_TEMPLATE, "chatml-bos");
    ASSERT_EQ(chosen.begin(), 0);
    const Line line(chosen, chat());
    ASSERT_TRUE(line.good);
    EXPECT_EQ(line.prompt()[0], tn_tokenizer_bos(talks->engine.tokenizer));
    said.clear();
    EXPECT_EQ(unknown.text(TN_OPT_TEMPLATE, "nothing").begin(), TN_CLI_WRONG_USAGE);
    EXPECT_TRUE(contains(said.at(0), "--template: there is no chat template 'nothing'")) << said[0];
    said.clear();
    EXPECT_EQ(lacking.text(TN_OPT_TEMPLATE, "chatml").begin(), TN_CLI_FAILED);
    EXPECT_TRUE(contains(said.at(0), "<|im_start|>")) << said[0];
}

TEST_F(BatchRequest, ThoughtsAreLeftOutWhereTheTemplateHasThem)
{
    Context thinks{*talks}, silent{*talks}, cannot{*talks};
    ASSERT_EQ(thinks.text(TN_OPT_TEMPLATE, "qwen3").begin(), 0);
    ASSERT_EQ(silent.text(TN_OPT_TEMPLATE, "qwen3").flag(TN_OPT_NO_THINK).begin(), 0);
    const Line with(thinks, chat()), also(thinks, chat(R"(, "chat_template_kwargs": {"enable_thinking": true})"));
    const Line without(thinks, chat(R"(, "chat_template_kwargs": {"enable_thinking": false})"));
    const Line by_flag(silent, chat()), again(silent, chat(R"(, "chat_template_kwargs": {"enable_thinking": true})"));
    ASSERT_TRUE(with.good && also.good && without.good && by_flag.good && again.good);
    EXPECT_EQ(with.prompt(), also.prompt());
    EXPECT_GT(without.prompt().size(), with.prompt().size());
    EXPECT_EQ(by_flag.prompt(), without.prompt());
    EXPECT_EQ(again.prompt(), with.prompt());
    EXPECT_EQ(cannot.flag(TN_OPT_NO_THINK).begin(), TN_CLI_WRONG_USAGE);
    EXPECT_TRUE(contains(said.at(0), "the template chatml has no thoughts")) << said[0];
}

TEST_F(BatchRequest, UnknownParametersAreNamedOnce)
{
    for (uint64_t number = 3; number < 6; number++) {
        EXPECT_TRUE(Line(context, completion(R"(, "colour": 1, "top_logprobs": 2)"), number).good);
    }
    ASSERT_EQ(said.size(), 2u);
    EXPECT_EQ(said[0], "line 3: the parameter 'colour' is not known and is ignored, here and in all lines");
    EXPECT_EQ(said[1], "line 3: the parameter 'top_logprobs' is not one of /v1/completions and is ignored, here and in all lines");
    said.clear();
    EXPECT_TRUE(Line(chats, chat(R"(, "echo": true, "chat_template_kwargs": {"date": 1}, "colour": 2)")).good);
    EXPECT_TRUE(Line(chats, frame("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a", "name": "me"}]})")).good);
    EXPECT_TRUE(Line(chats, R"({"priority": 1, )" + chat().substr(1)).good);
    ASSERT_EQ(said.size(), 5u);
    EXPECT_TRUE(contains(said[0], "'echo' is not one of /v1/chat/completions")) << said[0];
    EXPECT_TRUE(contains(said[1], "'chat_template_kwargs.date' is not known")) << said[1];
    EXPECT_TRUE(contains(said[3], "'messages[].name' is not known")) << said[3];
    EXPECT_TRUE(contains(said[4], "'priority' is not one of those beside 'body'")) << said[4];
    said.clear();
    for (int i = 0; i < 200; i++) Line(context, completion(", \"x" + std::to_string(i) + "\": 1"));
    EXPECT_EQ(said.size(), 64u - 2 + 1);
    EXPECT_TRUE(contains(said.back(), "no longer named")) << said.back();
}

TEST_F(BatchRequest, AnotherModelIsNotedOnce)
{
    for (const char *name : {"ternion-tales-6m", "ternion-tales-6m.i2_s", "ternion-tales-6m.i2_s.gguf"}) {
        EXPECT_TRUE(Line(context, completion(std::string(", \"model\": \"") + name + "\"")).good);
    }
    EXPECT_TRUE(said.empty());
    for (const char *name : {"gpt-4o-mini", "other"})
        EXPECT_TRUE(Line(context, completion(std::string(", \"model\": \"") + name + "\"")).good);
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(said[0], "line 7 asks for the model 'gpt-4o-mini', but all lines are answered by 'ternion-tales-6m'");
}

TEST_F(BatchRequest, FlagsAreTheDefaultsOfLines)
{
    Context run{*plain};
    run.real(TN_OPT_TEMP, 0.5).integer(TN_OPT_TOP_K, 7).real(TN_OPT_TOP_P, 0.75).real(TN_OPT_MIN_P, 0.25).integer(TN_OPT_REPEAT_LAST_N, 5);
    run.real(TN_OPT_REPEAT_PENALTY, 1.5)
        .real(TN_OPT_PRESENCE_PENALTY, 0.5)
        .real(TN_OPT_FREQUENCY_PENALTY, -0.5)
        .integer(TN_OPT_N_PREDICT, 3);
    run.integer(TN_OPT_SEED, 99).list(TN_OPT_STOP, {"a\\n"}).list(TN_OPT_REVERSE_PROMPT, {"b"}).list(TN_OPT_LOGIT_BIAS, {"5+1.5", "6-inf"});
    run.flag(TN_OPT_IGNORE_EOS).flag(TN_OPT_SPECIAL);
    ASSERT_EQ(run.begin(), 0);
    const Line line(run, completion());
    ASSERT_TRUE(line.good) << line.error.message;
    const tn_cli_batch_request &r = line.request;
    EXPECT_EQ(r.sampler.temperature, 0.5f);
    EXPECT_EQ(r.sampler.top_k, 7);
    EXPECT_EQ(r.sampler.top_p, 0.75f);
    EXPECT_EQ(r.sampler.min_p, 0.25f);
    EXPECT_EQ(r.sampler.repeat_last_n, 5);
    EXPECT_EQ(r.sampler.repeat_penalty, 1.5f);
    EXPECT_EQ(r.sampler.presence_penalty, 0.5f);
    EXPECT_EQ(r.sampler.frequency_penalty, -0.5f);
    EXPECT_EQ(r.sampler.seed, 99u);
    EXPECT_EQ(r.params.n_tokens_max, 3u);
    EXPECT_TRUE(r.params.special);
    EXPECT_EQ(line.stops(), (std::vector<std::string>{"a\n", "b"}));
    ASSERT_GE(r.sampler.n_logit_bias, 3u);
    EXPECT_EQ(r.sampler.logit_bias[0].token, 5);
    EXPECT_EQ(r.sampler.logit_bias[0].bias, 1.5f);
    for (size_t i = 2; i < r.sampler.n_logit_bias; i++) {
        EXPECT_TRUE(tn_tokenizer_is_eog(plain->engine.tokenizer, r.sampler.logit_bias[i].token));
        EXPECT_EQ(r.sampler.logit_bias[i].bias, -INFINITY);
    }
    const Line own(run, completion(R"(, "temperature": 0, "stop": [], "logit_bias": {"9": 1}, "ignore_eos": false, "max_tokens": 4)"));
    ASSERT_TRUE(own.good);
    EXPECT_EQ(own.request.sampler.temperature, 0);
    EXPECT_EQ(own.request.params.n_stops, 0u);
    EXPECT_EQ(own.request.sampler.n_logit_bias, 1u);
    EXPECT_EQ(own.request.params.n_tokens_max, 4u);
    Context endless{*plain};
    ASSERT_EQ(endless.integer(TN_OPT_N_PREDICT, -1).begin(), 0);
    EXPECT_EQ(Line(endless, completion()).request.params.n_tokens_max, 0u);
}

TEST_F(BatchRequest, ControlTokensAreReadInPromptsWhereAFlagSaysSoAndNeverInMessages)
{
    Context run{*talks};
    ASSERT_EQ(run.flag(TN_OPT_PARSE_SPECIAL).begin(), 0);
    const std::string mark = "<|im_end|>";
    const Line text(run, frame("/v1/completions", "{\"prompt\": \"" + mark + "\"}"));
    const Line message(run, frame("/v1/chat/completions", R"({"messages": [{"role": "user", "content": ")" + mark + R"("}]})"));
    ASSERT_TRUE(text.good && message.good);
    EXPECT_EQ(text.prompt(), encode(*talks, mark, TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL));
    const auto ids = message.prompt();
    EXPECT_EQ(std::count(ids.begin(), ids.end(), encode(*talks, mark, TN_ENCODE_PARSE_SPECIAL)[0]), 1);
}

TEST_F(BatchRequest, FlagsThatAreWrongEndTheRun)
{
    struct {
        std::function<void(Context &)> set;
        const char *words;
    } const cases[] = {
        {[](Context &c) { c.integer(TN_OPT_N_PREDICT, 0); }, "-n: 0 tokens"},
        {[](Context &c) { c.real(TN_OPT_REPEAT_PENALTY, 0); }, "--repeat-penalty: it must be above 0"},
        {[](Context &c) { c.list(TN_OPT_STOP, {""}); }, "--stop: the text is empty"},
        {[](Context &c) { c.list(TN_OPT_STOP, {"\\x00"}); }, "--stop: \\x00"},
        {[](Context &c) { c.list(TN_OPT_STOP, std::vector<const char *>(65, "x")); }, "65 texts are given, but at most 64"},
        {[](Context &c) { c.list(TN_OPT_LOGIT_BIAS, {"4096+1"}); }, "token 4096 is not one of the model's 4096"},
        {[](Context &c) { c.list(TN_OPT_LOGIT_BIAS, {"x"}); }, "ID+B"},
    };
    for (const auto &one : cases) {
        Context run{*plain};
        one.set(run);
        said.clear();
        EXPECT_EQ(run.begin(), TN_CLI_WRONG_USAGE);
        ASSERT_EQ(said.size(), 1u) << one.words;
        EXPECT_TRUE(contains(said[0], one.words)) << said[0];
    }
}

TEST_F(BatchRequest, PenaltiesOfTheApiLookAtTheWholeText)
{
    EXPECT_EQ(Line(context, completion(R"(, "presence_penalty": 1)")).request.sampler.repeat_last_n, -1);
    EXPECT_EQ(Line(context, completion(R"(, "frequency_penalty": 1)")).request.sampler.repeat_last_n, -1);
    EXPECT_EQ(Line(context, completion(R"(, "repetition_penalty": 1.1)")).request.sampler.repeat_last_n, 64);
    EXPECT_EQ(Line(context, completion(R"(, "repetition_penalty": 1.1, "presence_penalty": 1)")).request.sampler.repeat_last_n, 64);
    EXPECT_EQ(Line(context, completion(R"(, "presence_penalty": 1, "repeat_last_n": 9)")).request.sampler.repeat_last_n, 9);
    Context run{*plain};
    ASSERT_EQ(run.integer(TN_OPT_REPEAT_LAST_N, 8).begin(), 0);
    EXPECT_EQ(Line(run, completion(R"(, "presence_penalty": 1)")).request.sampler.repeat_last_n, 8);
}

TEST_F(BatchRequest, TheFirstLineMayBeginWithAByteOrderMark)
{
    EXPECT_TRUE(Line(context, "\xef\xbb\xbf" + completion(), 1).good);
    EXPECT_FALSE(Line(context, "\xef\xbb\xbf" + completion(), 2).good);
    EXPECT_TRUE(Line(context, completion() + " \r", 2).good);
}

TEST_F(BatchRequest, ARefusedLineKeepsItsName)
{
    const Line line(context, completion(R"(, "model": "m", "n": 0)"));
    ASSERT_FALSE(line.good);
    EXPECT_STREQ(json_string_value(line.request.custom_id), "a");
    EXPECT_STREQ(line.request.model, "m");
    EXPECT_EQ(Line(context, "{").request.custom_id, nullptr);
}

// What a line may become on its way: bytes that change, go, come, or are repeated.
std::string mutated(std::string text, std::mt19937 &random)
{
    static const char interesting[] = "{}[]\":,0123456789.-eEtruefalsn\\u\x80\xff \xc3\xa9\n\0";
    for (unsigned n = 1 + random() % 4; n-- > 0 && !text.empty();) {
        const size_t at = random() % text.size(), len = random() % 8;
        switch (random() % 4) {
        case 0: text[at] = interesting[random() % (sizeof interesting - 1)]; break;
        case 1: text.erase(at, len); break;
        case 2: text.insert(at, 1, interesting[random() % (sizeof interesting - 1)]); break;
        default: text.insert(at, text.substr(random() % text.size(), len)); break;
        }
    }
    return text;
}

TEST_F(BatchRequest, NoBytesDoHarm)
{
    const std::string seeds[] = {
        completion(
            R"(, "max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "n": 2, "best_of": 4, "logprobs": 3, "echo": true, "stop": ["x"],
            "seed": -5, "logit_bias": {"5": -100, "17": 2.5}, "user": "me", "model": "m", "ignore_eos": true, "suffix": null)"),
        frame("/v1/completions",
              R"({"prompt": [[1, 2], [3]], "repeat_penalty": 1.5, "stop": "a", "max_tokens": 0, "echo": true, "logprobs": 1})"),
        frame("/v1/chat/completions", R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content":
            [{"type": "text", "text": "caf\u00e9"}], "name": "n"}], "logprobs": true, "top_logprobs": 2, "tools": [],
            "chat_template_kwargs": {"enable_thinking": false}, "response_format": {"type": "text"}, "modalities": ["text"]})"),
    };
    std::mt19937 random(1);
    unsigned n_good = 0, n_bad = 0;
    for (int i = 0; i < 10000; i++) {
        const Line line(chats, mutated(seeds[i % 3], random));
        ++(line.good ? n_good : n_bad);
        if (line.good) {
            ASSERT_GE(line.request.n_prompts, 1u);
            ASSERT_NE(line.request.custom_id, nullptr);
            for (size_t k = 0; k < line.request.n_prompts; k++) ASSERT_GE(line.prompt(k).size(), 1u);
        } else {
            ASSERT_TRUE(line.error.message[0] && line.error.code[0] && line.error.status == 400) << line.error.message;
        }
    }
    EXPECT_GT(n_good, 500u);
    EXPECT_GT(n_bad, 500u);
    for (int i = 0; i < 2000; i++) {
        std::string text(random() % 60, '\0');
        for (char &c : text) c = static_cast<char>(random());
        EXPECT_FALSE(Line(chats, text).good);
    }
}

TEST_F(BatchRequest, FingerprintsDifferWhereAnswersMay)
{
    struct {
        const char *name;
        std::function<void(Context &)> set;
    } const settings[] = {
        {"none", [](Context &) {}},
        {"temp", [](Context &c) { c.real(TN_OPT_TEMP, 0.5); }},
        {"top_k", [](Context &c) { c.integer(TN_OPT_TOP_K, 5); }},
        {"top_p", [](Context &c) { c.real(TN_OPT_TOP_P, 0.5); }},
        {"min_p", [](Context &c) { c.real(TN_OPT_MIN_P, 0.5); }},
        {"last_n", [](Context &c) { c.integer(TN_OPT_REPEAT_LAST_N, 5); }},
        {"last_n 64", [](Context &c) { c.integer(TN_OPT_REPEAT_LAST_N, 64); }},
        {"repeat", [](Context &c) { c.real(TN_OPT_REPEAT_PENALTY, 0.5); }},
        {"presence", [](Context &c) { c.real(TN_OPT_PRESENCE_PENALTY, 0.5); }},
        {"frequency", [](Context &c) { c.real(TN_OPT_FREQUENCY_PENALTY, 0.5); }},
        {"n", [](Context &c) { c.integer(TN_OPT_N_PREDICT, 5); }},
        {"n -1", [](Context &c) { c.integer(TN_OPT_N_PREDICT, -1); }},
        {"seed", [](Context &c) { c.integer(TN_OPT_SEED, 5); }},
        {"stop",
         [](Context &c) {
             c.list(TN_OPT_STOP, {"a", "b"});
         }},
        {"other stop", [](Context &c) { c.list(TN_OPT_STOP, {"ab"}); }},
        {"bias", [](Context &c) { c.list(TN_OPT_LOGIT_BIAS, {"5+1"}); }},
        {"other bias", [](Context &c) { c.list(TN_OPT_LOGIT_BIAS, {"5+2"}); }},
        {"ignore_eos", [](Context &c) { c.flag(TN_OPT_IGNORE_EOS); }},
        {"special", [](Context &c) { c.flag(TN_OPT_SPECIAL); }},
        {"template", [](Context &c) { c.text(TN_OPT_TEMPLATE, "chatml-bos"); }},
        {"layout", [](Context &c) { c.text(TN_OPT_I2S_LAYOUT, "arm"); }},
        {"head", [](Context &c) { c.text(TN_OPT_HEAD, "q8_0"); }},
        {"numerics", [](Context &c) { c.text(TN_OPT_NUMERICS, "fast"); }},
    };
    std::map<std::string, std::string> seen;
    auto note = [&](const std::string &name, const std::string &fingerprint) {
        EXPECT_EQ(fingerprint.size(), 19u);
        EXPECT_EQ(fingerprint.substr(0, 3), "fp_");
        const auto [at, fresh] = seen.emplace(fingerprint, name);
        EXPECT_TRUE(fresh) << name << " and " << at->second;
    };
    for (const auto &setting : settings) {
        Context one{*talks}, two{*talks};
        setting.set(one);
        setting.set(two);
        ASSERT_EQ(one.begin(), 0) << setting.name;
        ASSERT_EQ(two.begin(), 0);
        EXPECT_EQ(one.fingerprint(), two.fingerprint());
        note(setting.name, one.fingerprint());
    }
    note("another model", context.fingerprint());
    const Engine longer(*folder / "chatml.gguf", 65);
    Context other{longer};
    ASSERT_EQ(other.begin(), 0);
    note("another context", other.fingerprint());
    // A copy under another name is the same model.
    cli::write_file(*folder / "copy.gguf", cli::read_file(*folder / "chatml.gguf"));
    const Engine copy(*folder / "copy.gguf");
    Context same{copy};
    ASSERT_EQ(same.begin(), 0);
    EXPECT_EQ(same.fingerprint(), chats.fingerprint());
    // Other weights in the same tensors are another model.
    std::string bytes = cli::read_file(*folder / "chatml.gguf");
    for (size_t i = bytes.size() / 2; i < bytes.size(); i++) bytes[i] = static_cast<char>(bytes[i] ^ 1);
    cli::write_file(*folder / "trained.gguf", bytes);
    const Engine trained(*folder / "trained.gguf");
    Context after{trained};
    ASSERT_EQ(after.begin(), 0);
    note("other weights", after.fingerprint());
}

} // namespace
