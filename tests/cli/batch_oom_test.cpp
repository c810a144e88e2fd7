// Running out of memory at any allocation of a line's way in and out: an error that says so, no line that lacks a part, no leak, and the
// next line works.
#include "batch_lines.hpp"
#include "support/fail_alloc.hpp"

namespace
{

using namespace batch_lines;
using tn_test::FailAlloc;
using tn_test::FailMode;

class BatchOutOfMemory : public testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), folder_ / "chatml.gguf", tn_test::chatml_jinja));
        engine = std::make_unique<Engine>(folder_ / "chatml.gguf");
        context = std::make_unique<Context>(*engine);
        context->list(TN_OPT_STOP, {"a", "b"}).list(TN_OPT_LOGIT_BIAS, {"5+1"});
        ASSERT_EQ(context->begin(), 0);
    }
    cli::Folder folder_;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<Context> context;
};

const std::string lines[] = {
    completion(R"(, "model": "m", "echo": true, "logprobs": 2, "n": 2, "stop": ["x", "y"], "logit_bias": {"5": 1}, "user": "me")"),
    completion(R"(, "ignore_eos": true)"),
    frame("/v1/completions", R"({"prompt": [[1, 2], [3]], "echo": true})"),
    chat(R"(, "logprobs": true, "top_logprobs": 2, "n": 2)"),
    frame("/v1/chat/completions",
          R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})"),
};

TEST_F(BatchOutOfMemory, Requests)
{
    for (const std::string &text : lines) {
        for (const FailMode mode : {FailMode::once, FailMode::forever}) {
            long failures = 0;
            for (long nth = 1;; nth++) {
                tn_cli_batch_request request{};
                tn_cli_batch_error error{};
                FailAlloc fail(nth, mode);
                const bool good = tn_cli_batch_request_parse(&context->context, 7, text.data(), text.size(), &request, &error);
                const long failed = fail.failed();
                if (!good) {
                    failures++;
                    ASSERT_EQ(error.status, 500) << error.message;
                    ASSERT_STREQ(error.code, "out_of_memory");
                    ASSERT_STREQ(error.type, "server_error");
                }
                tn_cli_batch_request_deinit(&request);
                if (failed == 0) {
                    ASSERT_TRUE(good);
                    break;
                }
            }
            EXPECT_GT(failures, 10) << text;
        }
    }
}

// Two samples with everything that a line may show.
struct Made {
    explicit Made(const tn_cli_batch_request &request, size_t i)
    {
        for (size_t k = 0; k < request.n_prompt_tokens[i]; k++) prompt.push_back({request.prompts[i][k], -1});
        best.assign(2 * prompt.size(), {4, -0.5f});
        for (uint32_t k = 0; k < 2; k++) {
            samples[k].text = "ab";
            samples[k].text_len = 2;
            samples[k].tokens = tokens;
            samples[k].n_tokens = 2;
            samples[k].finish = TN_FINISH_END;
            samples[k].logprobs = logprobs;
            samples[k].top = top;
            samples[k].text_ends = ends;
        }
        result.message = "";
        result.samples = samples;
        result.n_samples = 2;
        result.n_prompt = static_cast<uint32_t>(prompt.size());
        result.n_top = 2;
        result.prompt_logprobs = prompt.data();
        result.prompt_top = best.data();
    }
    const int32_t tokens[2] = {200, 201};
    const tn_token_logprob logprobs[2] = {{200, -1}, {201, -2}}, top[4] = {{200, -1}, {5, -2}, {6, -0.5f}, {7, -1}};
    const size_t ends[2] = {1, 2};
    std::vector<tn_token_logprob> prompt, best;
    tn_sample samples[2]{};
    tn_result result{};
};

TEST_F(BatchOutOfMemory, ResultLines)
{
    const tn_cli_batch_where where = {1, 2, "tales", "fp_1", 3};
    for (const std::string &text : lines) {
        const Line line(*context, text);
        ASSERT_TRUE(line.good) << line.error.message;
        std::vector<std::unique_ptr<Made>> made;
        std::vector<const tn_result *> results;
        for (size_t i = 0; i < line.request.n_prompts; i++) {
            made.push_back(std::make_unique<Made>(line.request, i));
            results.push_back(&made.back()->result);
        }
        auto dump = [&](size_t *len) { return tn_cli_batch_result_line(&context->context, &where, &line.request, results.data(), len); };
        size_t len = 0;
        char *whole = dump(&len);
        ASSERT_NE(whole, nullptr);
        for (const FailMode mode : {FailMode::once, FailMode::forever}) {
            long failures = 0;
            for (long nth = 1;; nth++) {
                FailAlloc fail(nth, mode);
                size_t n = 0;
                char *out = dump(&n);
                const long failed = fail.failed();
                if (out) {
                    ASSERT_EQ(std::string(out, n), std::string(whole, len)) << nth;
                } else {
                    failures++;
                }
                std::free(out);
                if (failed == 0) {
                    ASSERT_NE(out, nullptr);
                    break;
                }
            }
            EXPECT_GT(failures, 20) << text;
        }
        std::free(whole);
    }
}

TEST_F(BatchOutOfMemory, ErrorLines)
{
    const Line line(*context, completion(R"(, "n": 0)"));
    const tn_cli_batch_where where = {1, 2, "tales", "fp_1", 3};
    size_t len = 0;
    char *whole = tn_cli_batch_error_line(&where, line.request.custom_id, &line.error, &len);
    ASSERT_NE(whole, nullptr);
    for (long nth = 1, failed = 1; failed > 0; nth++) {
        FailAlloc fail(nth);
        size_t n = 0;
        char *out = tn_cli_batch_error_line(&where, line.request.custom_id, &line.error, &n);
        failed = fail.failed();
        if (out) {
            ASSERT_EQ(std::string(out, n), std::string(whole, len));
            ASSERT_EQ(failed, 0);
        }
        std::free(out);
    }
    std::free(whole);
}

} // namespace
