// Batch lines without a program around them: a context over the default model's tokenizer, and messages that are kept.
#pragma once

#include "program.hpp"
#include "support/chat_model.hpp"

extern "C" {
#include "batch_result.h"
}

namespace batch_lines
{

// What was said on standard error, since it was last cleared.
extern std::vector<std::string> said;

struct Engine {
    explicit Engine(const std::string &path, uint32_t n_ctx = 64)
    {
        tn_model_params params = TN_MODEL_PARAMS_INIT;
        params.load = TN_MODEL_LOAD_TOKENIZER;
        std::snprintf(engine.path, sizeof engine.path, "%s", path.c_str());
        EXPECT_EQ(tn_model_open(path.c_str(), &params, &engine.model), TN_OK) << tn_error_last()->message;
        tn_model_get_info(engine.model, &engine.info);
        engine.tokenizer = tn_model_tokenizer(engine.model);
        engine.session_info.n_ctx = n_ctx;
    }
    ~Engine() { tn_model_close(engine.model); }
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;
    tn_cli_engine engine{};
};

// A context, as a run without flags has it; change `cli` before `begin`.
class Context
{
  public:
    explicit Context(const Engine &engine) : engine_(engine)
    {
        options_ = std::make_unique<tn_cli>();
        std::memset(options_.get(), 0, sizeof *options_);
    }
    ~Context() { tn_cli_batch_context_deinit(&context); }
    Context(const Context &) = delete;
    Context &operator=(const Context &) = delete;
    Context &integer(tn_cli_option_id id, int64_t value)
    {
        options_->options.values[id].count = 1;
        options_->options.values[id].integer = value;
        return *this;
    }
    Context &real(tn_cli_option_id id, double value)
    {
        options_->options.values[id].count = 1;
        options_->options.values[id].real = value;
        return *this;
    }
    Context &flag(tn_cli_option_id id)
    {
        options_->options.values[id].count = 1;
        return *this;
    }
    Context &text(tn_cli_option_id id, const char *value)
    {
        options_->options.values[id].count = 1;
        options_->options.values[id].text = value;
        return *this;
    }
    Context &list(tn_cli_option_id id, std::vector<const char *> texts)
    {
        lists_.push_back(std::make_unique<std::vector<const char *>>(std::move(texts)));
        tn_cli_value &value = options_->options.values[id];
        value.count = static_cast<unsigned>(lists_.back()->size());
        value.list = lists_.back()->data();
        value.n = lists_.back()->size();
        return *this;
    }
    int begin() { return tn_cli_batch_context_init(options_.get(), &engine_.engine, &context); }
    std::string fingerprint() const
    {
        char out[40];
        tn_cli_batch_fingerprint(&context, out);
        return out;
    }
    tn_cli_batch_context context{};

  private:
    const Engine &engine_;
    std::unique_ptr<tn_cli> options_;
    std::vector<std::unique_ptr<std::vector<const char *>>> lists_;
};

// One line, parsed.
class Line
{
  public:
    Line(Context &context, const std::string &text, uint64_t number = 7)
    {
        // Exactly its bytes, so that a sanitizer sees one too many.
        std::vector<char> bytes(text.begin(), text.end());
        good = tn_cli_batch_request_parse(&context.context, number, bytes.data(), bytes.size(), &request, &error);
    }
    ~Line() { tn_cli_batch_request_deinit(&request); }
    Line(const Line &) = delete;
    Line &operator=(const Line &) = delete;
    std::vector<int32_t> prompt(size_t i = 0) const { return {request.prompts[i], request.prompts[i] + request.n_prompt_tokens[i]}; }
    std::vector<std::string> stops() const { return {request.params.stops, request.params.stops + request.params.n_stops}; }
    bool good = false;
    tn_cli_batch_request request{};
    tn_cli_batch_error error{};
};

inline std::string frame(const char *url, const std::string &body)
{
    return std::string(R"({"custom_id": "a", "method": "POST", "url": ")") + url + R"(", "body": )" + body + "}";
}
// A completion with a prompt and these fields (", \"n\": 2"); a chat with a message.
inline std::string completion(const std::string &more = "")
{
    return frame("/v1/completions", R"({"prompt": "Once upon a time")" + more + "}");
}
inline std::string chat(const std::string &more = "")
{
    return frame("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "Hi"}])" + more + "}");
}

} // namespace batch_lines
