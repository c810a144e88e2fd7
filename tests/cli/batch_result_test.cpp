// Lines of results: the objects that OpenAI's reference shows, written by hand, from results that are made up.
#include "batch_lines.hpp"

#include <cmath>
#include <ctime>

namespace
{

using namespace batch_lines;

// JSON as text, in one order of keys.
std::string sorted(const std::string &text)
{
    json_error_t error;
    json_t *json = json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    EXPECT_NE(json, nullptr) << error.text << ": " << text;
    char *dumped = json_dumps(json, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    std::string out = dumped ? dumped : "";
    std::free(dumped);
    json_decref(json);
    return out;
}

// What the batcher hands over, made up.
struct Answer {
    std::string text;
    tn_finish finish = TN_FINISH_END;
    std::vector<int32_t> tokens;
    std::vector<tn_token_logprob> logprobs, top;
    std::vector<size_t> ends;
    tn_status status = TN_OK;
};

struct Result {
    explicit Result(std::vector<Answer> given, uint32_t n_prompt, uint32_t n_reused = 0) : answers(std::move(given))
    {
        for (const Answer &answer : answers) {
            tn_sample sample{};
            sample.index = static_cast<uint32_t>(samples.size());
            sample.finish = answer.finish;
            sample.status = answer.status;
            sample.text = answer.text.c_str();
            sample.text_len = answer.text.size();
            sample.tokens = answer.tokens.data();
            sample.n_tokens = static_cast<uint32_t>(answer.tokens.size());
            sample.logprobs = answer.logprobs.empty() ? nullptr : answer.logprobs.data();
            sample.top = answer.top.empty() ? nullptr : answer.top.data();
            sample.text_ends = answer.ends.empty() ? nullptr : answer.ends.data();
            samples.push_back(sample);
            result.n_generated += sample.n_tokens;
        }
        result.message = "";
        result.samples = samples.data();
        result.n_samples = static_cast<uint32_t>(samples.size());
        result.n_prompt = n_prompt;
        result.n_prompt_reused = n_reused;
    }
    std::vector<Answer> answers;
    std::vector<tn_sample> samples;
    tn_result result{};
};

class BatchResult : public testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        folder = new cli::Folder;
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), *folder / "chatml.gguf", tn_test::chatml_jinja));
        engine = new Engine(*folder / "chatml.gguf");
    }
    static void TearDownTestSuite()
    {
        delete engine;
        delete folder;
    }
    void SetUp() override { ASSERT_EQ(context.begin(), 0); }
    // Id of the token with exactly this text.
    static int32_t id(const std::string &text)
    {
        std::vector<char> bytes(1000);
        size_t len = 0;
        for (int32_t token = 0; token < tn_tokenizer_n_vocab(engine->engine.tokenizer); token++) {
            EXPECT_EQ(tn_tokenizer_decode_token(engine->engine.tokenizer, token, true, bytes.data(), bytes.size(), &len), TN_OK);
            if (std::string(bytes.data(), len) == text) return token;
        }
        ADD_FAILURE() << "no token is '" << text << "'";
        return 0;
    }
    static std::string line_of(Context &context, const Line &line, std::vector<const Result *> results)
    {
        const tn_cli_batch_where where = {12, 0xabc, "tales", "fp_1", 1700000000};
        std::vector<const tn_result *> all;
        for (const Result *result : results) all.push_back(&result->result);
        size_t len = 0;
        char *text = tn_cli_batch_result_line(&context.context, &where, &line.request, all.data(), &len);
        EXPECT_NE(text, nullptr);
        const std::string out(text ? text : "", text ? len : 0);
        std::free(text);
        EXPECT_EQ(out.find('\n'), out.size() - 1); // one line, whatever the texts hold
        return out;
    }
    static void expect_body(Context &context, const std::string &request, std::vector<const Result *> results, const std::string &body)
    {
        const Line line(context, request);
        ASSERT_TRUE(line.good) << line.error.message;
        const std::string expected = R"({"id": "batch_req_12_0000000000000abc", "custom_id": "a", "response": {"status_code": 200,
            "request_id": "req_12_0000000000000abc", "body": )" +
                                     body + R"(}, "error": null})";
        EXPECT_EQ(sorted(line_of(context, line, results)), sorted(expected));
    }
    static cli::Folder *folder;
    static Engine *engine;
    Context context{*engine};
};
cli::Folder *BatchResult::folder;
Engine *BatchResult::engine;

const std::string completion_head =
    R"({"id": "cmpl-12_0000000000000abc", "object": "text_completion", "created": 1700000000, "model": "tales",
    "system_fingerprint": "fp_1", )";
const std::string chat_head =
    R"({"id": "chatcmpl-12_0000000000000abc", "object": "chat.completion", "created": 1700000000, "model": "tales",
    "system_fingerprint": "fp_1", )";

std::string usage(int n_prompt, int n_answer, int n_cached)
{
    return "\"usage\": {\"prompt_tokens\": " + std::to_string(n_prompt) + ", \"completion_tokens\": " + std::to_string(n_answer) +
           ", \"total_tokens\": " + std::to_string(n_prompt + n_answer) +
           ", \"prompt_tokens_details\": {\"cached_tokens\": " + std::to_string(n_cached) + "}}";
}

TEST_F(BatchResult, ACompletion)
{
    const Result result({{" there was", TN_FINISH_LENGTH, {1, 2}, {}, {}, {}}}, 5, 3);
    expect_body(context, completion(), {&result},
                completion_head + R"("choices": [{"text": " there was", "index": 0, "logprobs": null, "finish_reason": "length"}], )" +
                    usage(5, 2, 3) + "}");
}

TEST_F(BatchResult, AChat)
{
    const Result result({{"Hello!\n\"quoted\"", TN_FINISH_END, {1, 2, 3}, {}, {}, {}}}, 9);
    expect_body(context, chat(), {&result},
                chat_head + R"("choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!\n\"quoted\"", "refusal": null},
                    "logprobs": null, "finish_reason": "stop"}], )" +
                    usage(9, 3, 0) + "}");
}

TEST_F(BatchResult, ChoicesOfAllPromptsAreNumberedThrough)
{
    const Result first({{"a", TN_FINISH_END, {1}, {}, {}, {}}, {"b", TN_FINISH_STOP, {1, 2}, {}, {}, {}}}, 3, 1);
    const Result second({{"c", TN_FINISH_LENGTH, {1}, {}, {}, {}}, {"d", TN_FINISH_CONTEXT, {}, {}, {}, {}}}, 4, 2);
    expect_body(context, frame("/v1/completions", R"({"prompt": ["x", "y"], "n": 2})"), {&first, &second},
                completion_head + R"("choices": [{"text": "a", "index": 0, "logprobs": null, "finish_reason": "stop"},
                    {"text": "b", "index": 1, "logprobs": null, "finish_reason": "stop"},
                    {"text": "c", "index": 2, "logprobs": null, "finish_reason": "length"},
                    {"text": "d", "index": 3, "logprobs": null, "finish_reason": "length"}], )" +
                    usage(7, 4, 3) + "}");
}

TEST_F(BatchResult, LogprobsOfACompletion)
{
    const int32_t a = id(" a"), time = id(" time"), once = id("Once");
    Result result(
        {{" a time", TN_FINISH_END, {a, time}, {{a, -0.25f}, {time, -3.5f}}, {{a, -0.25f}, {once, -1.5f}, {once, -0.1f}, {a, -2}}, {2, 7}}},
        5);
    result.result.n_top = 2;
    // The token itself is among the alternatives, also where it is none of the best.
    expect_body(context, completion(R"(, "logprobs": 2)"), {&result},
                completion_head + R"("choices": [{"text": " a time", "index": 0, "finish_reason": "stop", "logprobs": {
                    "tokens": [" a", " time"], "token_logprobs": [-0.25, -3.5],
                    "top_logprobs": [{" a": -0.25, "Once": -1.5}, {"Once": -0.1, " a": -2.0, " time": -3.5}], "text_offset": [0, 2]}}], )" +
                    usage(5, 2, 0) + "}");
    result.result.n_top = 0;
    result.samples[0].top = nullptr;
    expect_body(context, completion(R"(, "logprobs": 0)"), {&result},
                completion_head + R"("choices": [{"text": " a time", "index": 0, "finish_reason": "stop", "logprobs": {
                    "tokens": [" a", " time"], "token_logprobs": [-0.25, -3.5], "top_logprobs": [{" a": -0.25}, {" time": -3.5}],
                    "text_offset": [0, 2]}}], )" +
                    usage(5, 2, 0) + "}");
    const Result none({{"", TN_FINISH_END, {}, {}, {}, {}}}, 5); // the answer ended at once
    expect_body(context, completion(R"(, "logprobs": 1)"), {&none},
                completion_head + R"("choices": [{"text": "", "index": 0, "finish_reason": "stop", "logprobs": {"tokens": [],
                    "token_logprobs": [], "top_logprobs": [], "text_offset": []}}], )" +
                    usage(5, 0, 0) + "}");
}

TEST_F(BatchResult, LogprobsOfAChat)
{
    const int32_t a = id(" a"), once = id("Once");
    Result result({{" a", TN_FINISH_END, {a}, {{a, -0.8f}}, {{a, -0.8f}, {once, -INFINITY}}, {2}}}, 5);
    result.result.n_top = 2;
    expect_body(context, chat(R"(, "logprobs": true, "top_logprobs": 2)"), {&result},
                chat_head + R"("choices": [{"index": 0, "message": {"role": "assistant", "content": " a", "refusal": null},
                    "finish_reason": "stop", "logprobs": {"refusal": null, "content": [{"token": " a", "logprob": -0.8, "bytes": [32, 97],
                    "top_logprobs": [{"token": " a", "logprob": -0.8, "bytes": [32, 97]},
                                     {"token": "Once", "logprob": -9999.0, "bytes": [79, 110, 99, 101]}]}]}}], )" +
                    usage(5, 1, 0) + "}");
    result.result.n_top = 0;
    result.samples[0].top = nullptr;
    expect_body(context, chat(R"(, "logprobs": true)"), {&result},
                chat_head + R"("choices": [{"index": 0, "message": {"role": "assistant", "content": " a", "refusal": null},
                    "finish_reason": "stop", "logprobs": {"refusal": null, "content": [{"token": " a", "logprob": -0.8, "bytes": [32, 97],
                    "top_logprobs": []}]}}], )" +
                    usage(5, 1, 0) + "}");
}

TEST_F(BatchResult, TokensThatAreNoCharactersAreNamedByTheirBytes)
{
    const int32_t first = id("\xc3"), second = id("\xa9"), end = id("<|im_end|>");
    const Answer answer = {"\u00e9", TN_FINISH_LENGTH, {first, second, end}, {{first, -1}, {second, -2}, {end, -3}}, {}, {0, 2, 2}};
    const Result result({answer}, 5);
    expect_body(context, completion(R"(, "logprobs": 0)"), {&result},
                completion_head + R"("choices": [{"text": "\u00e9", "index": 0, "finish_reason": "length", "logprobs": {
                    "tokens": ["bytes:\\xc3", "bytes:\\xa9", "<|im_end|>"], "token_logprobs": [-1.0, -2.0, -3.0],
                    "top_logprobs": [{"bytes:\\xc3": -1.0}, {"bytes:\\xa9": -2.0}, {"<|im_end|>": -3.0}], "text_offset": [0, 0, 1]}}], )" +
                    usage(5, 3, 0) + "}");
    expect_body(context, chat(R"(, "logprobs": true)"), {&result},
                chat_head + R"("choices": [{"index": 0, "message": {"role": "assistant", "content": "\u00e9", "refusal": null},
                    "finish_reason": "length", "logprobs": {"refusal": null, "content": [
                    {"token": "\\xc3", "logprob": -1.0, "bytes": [195], "top_logprobs": []},
                    {"token": "\\xa9", "logprob": -2.0, "bytes": [169], "top_logprobs": []},
                    {"token": "<|im_end|>", "logprob": -3.0, "bytes": [60, 124, 105, 109, 95, 101, 110, 100, 124, 62], "top_logprobs": []}]}}], )" +
                    usage(5, 3, 0) + "}");
}

TEST_F(BatchResult, EchoPutsThePromptBeforeEveryAnswer)
{
    const Result result({{" there", TN_FINISH_END, {1}, {}, {}, {}}, {" was", TN_FINISH_END, {1}, {}, {}, {}}}, 5);
    expect_body(context, completion(R"(, "echo": true, "n": 2)"), {&result},
                completion_head + R"("choices": [{"text": "Once upon a time there", "index": 0, "logprobs": null, "finish_reason": "stop"},
                    {"text": "Once upon a time was", "index": 1, "logprobs": null, "finish_reason": "stop"}], )" +
                    usage(5, 2, 0) + "}");
}

TEST_F(BatchResult, EchoWithLogprobsBeginsWithThoseOfThePrompt)
{
    const int32_t once = id("Once"), accent = id("\xc3"), rest = id("\xa9"), bad = id("\xff"), a = id(" a");
    const std::string ids = std::to_string(once) + "," + std::to_string(accent) + "," + std::to_string(rest) + "," + std::to_string(bad);
    const std::string request = R"({"prompt": [)" + ids + R"(], "echo": true, "logprobs": 1})";
    const std::vector<tn_token_logprob> scores = {{once, 0}, {accent, -1}, {rest, -2}, {bad, -3}};
    const std::vector<tn_token_logprob> best = {{TN_TOKEN_NONE, 0}, {once, -0.5f}, {rest, -2}, {once, -0.25f}};
    Result result({{" a", TN_FINISH_LENGTH, {a}, {{a, -4}}, {{once, -0.125f}}, {2}}}, 4);
    result.result.n_top = 1;
    result.result.prompt_logprobs = scores.data();
    result.result.prompt_top = best.data();
    const std::string prompt_columns[] = {
        R"("Once", "bytes:\\xc3", "bytes:\\xa9", "bytes:\\xff")", "null, -1.0, -2.0, -3.0",
        R"(null, {"Once": -0.5, "bytes:\\xc3": -1.0}, {"bytes:\\xa9": -2.0}, {"Once": -0.25, "bytes:\\xff": -3.0})", "0, 4, 4, 5"};
    expect_body(context, frame("/v1/completions", request), {&result},
                completion_head + R"("choices": [{"text": "Once\u00e9\ufffd a", "index": 0, "finish_reason": "length", "logprobs": {
                    "tokens": [)" +
                    prompt_columns[0] + R"(, " a"], "token_logprobs": [)" + prompt_columns[1] + R"(, -4.0], "top_logprobs": [)" +
                    prompt_columns[2] + R"(, {"Once": -0.125, " a": -4.0}], "text_offset": [)" + prompt_columns[3] + ", 6]}}], " +
                    usage(4, 1, 0) + "}");
    // No answer at all: the prompt's alone.
    Result scored({{"", TN_FINISH_LENGTH, {}, {}, {}, {}}}, 4);
    scored.result.n_top = 1;
    scored.result.prompt_logprobs = scores.data();
    scored.result.prompt_top = best.data();
    expect_body(context, frame("/v1/completions", request.substr(0, request.size() - 1) + R"(, "max_tokens": 0})"), {&scored},
                completion_head +
                    R"("choices": [{"text": "Once\u00e9\ufffd", "index": 0, "finish_reason": "length", "logprobs": {"tokens": [)" +
                    prompt_columns[0] + R"(], "token_logprobs": [)" + prompt_columns[1] + R"(], "top_logprobs": [)" + prompt_columns[2] +
                    R"(], "text_offset": [)" + prompt_columns[3] + "]}}], " + usage(4, 0, 0) + "}");
}

TEST_F(BatchResult, TheTokenThatBeginsATextHasNoPlaceInIt)
{
    const Line line(context, frame("/v1/completions", R"({"prompt": "Once upon", "echo": true, "logprobs": 0, "max_tokens": 0})"));
    ASSERT_TRUE(line.good) << line.error.message;
    std::vector<tn_token_logprob> scores;
    for (int32_t token : line.prompt()) scores.push_back({token, -1});
    Result result({{"", TN_FINISH_LENGTH, {}, {}, {}, {}}}, static_cast<uint32_t>(scores.size()));
    result.result.prompt_logprobs = scores.data();
    const std::string out = line_of(context, line, {&result});
    EXPECT_TRUE(cli::contains(out, R"("text":"Once upon")")) << out;
    EXPECT_TRUE(cli::contains(out, R"("tokens":["<|begin_of_text|>","Once"," upon"])")) << out;
    EXPECT_TRUE(cli::contains(out, R"("text_offset":[0,0,4])")) << out;
}

TEST_F(BatchResult, AnyTextIsOneLineOfJson)
{
    static const char bytes[] = "\0\n\r\t\"\\\x7f\xe2\x80\xa8\xf0\x9f\x98\x80\x01";
    const std::string wild(bytes, sizeof bytes - 1);
    const Result result({{wild, TN_FINISH_END, {1}, {}, {}, {}}}, 1);
    const Line line(context, R"({"custom_id": "a\u0000\n\u00e9", )" + chat().substr(std::strlen(R"({"custom_id": "a", )")));
    ASSERT_TRUE(line.good) << line.error.message;
    const std::string out = line_of(context, line, {&result});
    json_t *json = json_loadb(out.data(), out.size(), JSON_ALLOW_NUL, nullptr);
    ASSERT_NE(json, nullptr);
    const json_t *id = json_object_get(json, "custom_id");
    EXPECT_EQ(std::string(json_string_value(id), json_string_length(id)), std::string("a\0\n\u00e9", 5));
    const json_t *choice = json_array_get(json_object_get(json_object_get(json_object_get(json, "response"), "body"), "choices"), 0);
    const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
    EXPECT_EQ(std::string(json_string_value(content), json_string_length(content)), wild);
    json_decref(json);
}

TEST_F(BatchResult, TimeIsNowUnlessItIsGiven)
{
    const Result result({{"a", TN_FINISH_END, {1}, {}, {}, {}}}, 1);
    const Line line(context, chat());
    const tn_cli_batch_where where = {1, 2, "tales", "fp_1", 0};
    const tn_result *results[] = {&result.result};
    size_t len = 0;
    const auto before = std::time(nullptr);
    char *text = tn_cli_batch_result_line(&context.context, &where, &line.request, results, &len);
    ASSERT_NE(text, nullptr);
    json_t *json = json_loadb(text, len, 0, nullptr);
    const auto created = json_integer_value(json_object_get(json_object_get(json_object_get(json, "response"), "body"), "created"));
    EXPECT_GE(created, before);
    EXPECT_LE(created, std::time(nullptr));
    json_decref(json);
    std::free(text);
}

TEST_F(BatchResult, AnErrorStandsInTheLineAndAsTheBody)
{
    const Line line(context, completion(R"(, "n": 0)"));
    const tn_cli_batch_where where = {3, 5, "tales", "fp_1", 1};
    size_t len = 0;
    char *text = tn_cli_batch_error_line(&where, line.request.custom_id, &line.error, &len);
    ASSERT_NE(text, nullptr);
    EXPECT_EQ(std::strlen(text), len);
    EXPECT_EQ(sorted(text), sorted(R"({"id": "batch_req_3_0000000000000005", "custom_id": "a", "response": {"status_code": 400,
        "request_id": "req_3_0000000000000005", "body": {"error": {"message": "'n' must be an integer from 1 to 128, not 0",
        "type": "invalid_request_error", "param": "n", "code": "invalid_value"}}},
        "error": {"code": "invalid_value", "message": "'n' must be an integer from 1 to 128, not 0"}})"));
    EXPECT_EQ(text[len - 1], '\n');
    std::free(text);
    // A line that nobody can read has no name, and its message may quote bytes that are no characters.
    const Line broken(context, "{\"a\": \xff}");
    text = tn_cli_batch_error_line(&where, broken.request.custom_id, &broken.error, &len);
    ASSERT_NE(text, nullptr);
    EXPECT_TRUE(cli::contains(text, R"("custom_id":null)")) << text;
    EXPECT_TRUE(cli::contains(text, R"("param":null,"code":"invalid_json")")) << text;
    sorted(text);
    std::free(text);
}

TEST_F(BatchResult, StatusesOfTheBatcherAreErrorsOfTheApi)
{
    const struct {
        tn_status status;
        int http;
        const char *type, *code;
    } cases[] = {
        {TN_INVALID_ARGUMENT, 400, "invalid_request_error", "invalid_value"},
        {TN_LIMIT, 400, "invalid_request_error", "context_length_exceeded"},
        {TN_UNSUPPORTED, 400, "invalid_request_error", "unsupported_value"},
        {TN_OUT_OF_MEMORY, 500, "server_error", "out_of_memory"},
        {TN_POISON, 500, "server_error", "poison"},
        {TN_CANCELLED, 500, "server_error", "cancelled"},
        {TN_INTERNAL, 500, "server_error", "internal"},
    };
    for (const auto &one : cases) {
        tn_cli_batch_error error;
        tn_cli_batch_error_of(one.status, "why", &error);
        EXPECT_EQ(error.status, one.http);
        EXPECT_STREQ(error.type, one.type);
        EXPECT_STREQ(error.code, one.code);
        EXPECT_STREQ(error.message, "why");
        EXPECT_STREQ(error.param, "");
    }
    tn_cli_batch_error error;
    const tn_chat_template *none = nullptr;
    ASSERT_EQ(tn_chat_template_find("nothing", &none), TN_NOT_FOUND);
    tn_cli_batch_error_of(TN_NOT_FOUND, nullptr, &error);
    EXPECT_TRUE(cli::contains(error.message, "nothing")) << error.message;
    tn_cli_batch_error_of(TN_POISON, "", &error);
    EXPECT_STREQ(error.message, tn_status_text(TN_POISON));
}

TEST_F(BatchResult, AResultWithAFailedAnswerIsAnError)
{
    tn_cli_batch_error error;
    Result good({{"a", TN_FINISH_END, {1}, {}, {}, {}}}, 1);
    EXPECT_FALSE(tn_cli_batch_error_of_result(&good.result, &error));
    Result half({{"a", TN_FINISH_END, {1}, {}, {}, {}}, {"", TN_FINISH_NONE, {}, {}, {}, {}, TN_POISON}}, 1);
    ASSERT_TRUE(tn_cli_batch_error_of_result(&half.result, &error));
    EXPECT_EQ(std::string(error.message), std::string("answer 2 of 2 failed: ") + tn_status_text(TN_POISON));
    EXPECT_STREQ(error.code, "poison");
    Result failed({}, 1);
    failed.result.status = TN_INVALID_ARGUMENT;
    failed.result.message = "every token is forbidden";
    ASSERT_TRUE(tn_cli_batch_error_of_result(&failed.result, &error));
    EXPECT_STREQ(error.message, "every token is forbidden");
    EXPECT_EQ(error.status, 400);
}

} // namespace
