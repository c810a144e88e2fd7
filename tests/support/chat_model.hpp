// The default model with tokens of chat templates in place of rare ones, and with a template of the test's choice.
#pragma once

#include "rewrite_model.hpp"

#include <set>

namespace tn_test
{

// Renames the last tokens of the vocabulary before BOS and EOS to control tokens of these texts. `jinja` "": no template. `n_ctx`: the
// context that the file claims.
inline void make_chat_model(const std::string &in_path, const std::string &out_path, const std::string &jinja, uint32_t n_ctx = 512,
                            const std::vector<std::string> &controls = {"<|eot_id|>", "<|im_start|>", "<|im_end|>"})
{
    tn_gguf *gguf = nullptr;
    ASSERT_EQ(tn_gguf_open(in_path.c_str(), nullptr, &gguf), TN_OK) << tn_error_last()->message;
    auto strings = [&](const char *key) {
        tn_gguf_array array;
        std::vector<std::string> out;
        EXPECT_EQ(tn_gguf_get_array(gguf, key, TN_GGUF_STRING, &array), TN_OK);
        tn_str s;
        for (uint64_t at = 0; out.size() < array.n && tn_gguf_array_next(&array, &at, &s);) out.emplace_back(s.data, s.len);
        return out;
    };
    std::vector<std::string> tokens = strings("tokenizer.ggml.tokens"), merges = strings("tokenizer.ggml.merges"), kept;
    std::vector<int32_t> kinds(tokens.size(), 1);
    std::set<std::string> gone;
    kinds[tokens.size() - 1] = kinds[tokens.size() - 2] = 3;
    for (size_t i = 0; i < controls.size(); i++) {
        const size_t id = tokens.size() - 3 - i;
        gone.insert(tokens[id]);
        tokens[id] = controls[i];
        kinds[id] = 3;
    }
    for (const std::string &merge : merges) { // those that make or use a token that is gone
        const size_t space = merge.find(' ', 1);
        const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
        if (!gone.count(left) && !gone.count(right) && !gone.count(left + right)) kept.push_back(merge);
    }
    tn_gguf_destroy(gguf);
    model_changes changes;
    changes.dropped_keys = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges", "bitnet-b1.58.context_length"};
    changes.more_keys = [&](tn_gguf_writer *writer) {
        auto views = [](const std::vector<std::string> &texts) {
            std::vector<tn_str> out;
            for (const std::string &text : texts) out.push_back({text.data(), text.size()});
            return out;
        };
        ASSERT_EQ(tn_gguf_writer_str_array(writer, "tokenizer.ggml.tokens", views(tokens).data(), tokens.size()), TN_OK);
        ASSERT_EQ(tn_gguf_writer_i32_array(writer, "tokenizer.ggml.token_type", kinds.data(), kinds.size()), TN_OK);
        ASSERT_EQ(tn_gguf_writer_str_array(writer, "tokenizer.ggml.merges", views(kept).data(), kept.size()), TN_OK);
        ASSERT_EQ(tn_gguf_writer_u32(writer, "bitnet-b1.58.context_length", n_ctx), TN_OK);
        if (!jinja.empty()) {
            ASSERT_EQ(tn_gguf_writer_str(writer, "tokenizer.chat_template", jinja.c_str()), TN_OK);
        }
    };
    rewrite_model(in_path, out_path, changes);
}

inline const std::string bitnet_jinja =
    "{% for message in messages %}{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";
inline const std::string chatml_jinja =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

} // namespace tn_test
