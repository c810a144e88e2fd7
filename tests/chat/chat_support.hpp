// What the tests of chat templates share: families by name, messages, a sink that writes text.
#pragma once

#include "../tokenizer/tokenizer_support.hpp"

#include <cstring>
#include <jansson.h>

extern "C" {
#include "model/chat_template.h"
}

namespace chat_support
{

using tokenizer_support::Ids;

inline const tn_chat_template *family(const std::string &name)
{
    const tn_chat_template *found = nullptr;
    EXPECT_EQ(tn_chat_template_find(name.c_str(), &found), TN_OK) << tn_error_last()->message;
    return found;
}

inline std::vector<std::string> family_names()
{
    std::vector<std::string> names;
    for (size_t i = 0; i < tn_chat_template_count(); i++) names.push_back(tn_chat_template_name(tn_chat_template_at(i)));
    return names;
}

// Messages that own their texts.
struct Message {
    tn_chat_role role;
    std::string text;
    Ids ids = {};
    bool as_ids = false;
};

inline std::vector<tn_chat_message> borrow(const std::vector<Message> &messages)
{
    static const int32_t nothing = 0;
    std::vector<tn_chat_message> out;
    for (const Message &m : messages) {
        const int32_t *ids = m.ids.empty() ? &nothing : m.ids.data();
        out.push_back({m.role, m.text.data(), m.text.size(), m.as_ids ? ids : nullptr, m.as_ids ? m.ids.size() : 0});
    }
    return out;
}

// The rendering with tokens written out, BOS as <BOS>.
inline std::string as_text(const tn_chat_template *chat_template, const std::vector<Message> &messages, unsigned flags)
{
    std::string out;
    tn_chat_sink sink = {};
    sink.user = &out;
    sink.bos = [](void *user) { return static_cast<std::string *>(user)->append("<BOS>"), TN_OK; };
    sink.token = [](void *user, const char *text, bool) { return static_cast<std::string *>(user)->append(text), TN_OK; };
    sink.text = [](void *user, tn_str text) { return static_cast<std::string *>(user)->append(text.data, text.len), TN_OK; };
    std::vector<tn_chat_message> borrowed = borrow(messages);
    tn_chat chat = {borrowed.data(), borrowed.size(), flags, &sink};
    EXPECT_EQ(tn_chat_write(chat_template, &chat), TN_OK) << tn_error_last()->message;
    return out;
}

inline tn_status render(const tn_chat_template *chat_template, const tn_tokenizer *tokenizer, const std::vector<Message> &messages,
                        unsigned flags, Ids *out)
{
    std::vector<tn_chat_message> borrowed = borrow(messages);
    size_t n = 0, again = 0;
    tn_status status = tn_chat_render(chat_template, tokenizer, borrowed.data(), borrowed.size(), flags, nullptr, 0, &n);
    out->assign(n, -1);
    if (status != TN_OK) return status;
    EXPECT_EQ(tn_chat_render(chat_template, tokenizer, borrowed.data(), borrowed.size(), flags, out->data(), n, &again), TN_OK);
    EXPECT_EQ(n, again);
    return TN_OK;
}

inline Ids ids_of(const tn_chat_template *chat_template, const tn_tokenizer *tokenizer, const std::vector<Message> &messages,
                  unsigned flags = 0)
{
    Ids ids;
    EXPECT_EQ(render(chat_template, tokenizer, messages, flags, &ids), TN_OK) << tn_error_last()->message;
    return ids;
}

// Every byte a token, and after them what the families need.
inline tokenizer_support::Vocab chat_vocab()
{
    tokenizer_support::Vocab v = tokenizer_support::byte_vocab();
    v.bos = v.add("<|begin_of_text|>", TN_TOKEN_CONTROL);
    for (const char *text : {"<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"})
        v.add(text, TN_TOKEN_CONTROL);
    for (const char *text : {"<think>", "</think>"}) v.add(text, TN_TOKEN_USER_DEFINED);
    v.add_bos = true;
    return v;
}

inline int32_t id_of(const tn_tokenizer *tokenizer, const std::string &text)
{
    Ids ids = tokenizer_support::encode(tokenizer, text, TN_ENCODE_PARSE_SPECIAL);
    EXPECT_EQ(ids.size(), 1u) << text;
    return ids.empty() ? -1 : ids[0];
}

struct Cases {
    json_t *root = nullptr;
    Cases()
    {
        json_error_t error;
        root = json_load_file(TN_SOURCE_DIR "/tests/data/chat/chat_cases.json", 0, &error);
        EXPECT_NE(root, nullptr) << error.text;
    }
    ~Cases() { json_decref(root); }
    Cases(const Cases &) = delete;
    Cases &operator=(const Cases &) = delete;
};

inline std::string string_of(const json_t *value) { return {json_string_value(value), json_string_length(value)}; }

} // namespace chat_support
