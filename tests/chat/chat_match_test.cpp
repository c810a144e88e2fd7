// Which templates are taken for which family, and which are refused.
#include "chat_support.hpp"
#include "support/gguf_builder.hpp"

#include <unistd.h>

namespace
{

using namespace chat_support;
using tokenizer_support::exists;
using tokenizer_support::read_file;
using tokenizer_support::shared_data;

// Name of the family; "" where the template is refused, with the reason.
std::string match(const std::string &jinja)
{
    const tn_chat_template *found = nullptr;
    tn_status status = tn_chat_template_match(jinja.data(), jinja.size(), &found);
    EXPECT_EQ(status, found ? TN_OK : TN_UNSUPPORTED);
    return found ? tn_chat_template_name(found) : "";
}

std::string replaced(std::string text, const std::string &from, const std::string &to)
{
    EXPECT_NE(text.find(from), std::string::npos) << from;
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
    return text;
}

std::string own(const std::string &name)
{
    Cases cases;
    return string_of(json_object_get(json_object_get(cases.root, "templates"), name.c_str()));
}

TEST(ChatMatch, TheTemplatesThatTheRenderingsWereMadeWith)
{
    for (const char *name : {"bitnet", "llama3", "falcon3", "chatml", "chatml-bos"}) EXPECT_EQ(match(own(name)), name);
}

TEST(ChatMatch, SpellingMakesNoDifference)
{
    for (const char *name : {"bitnet", "llama3", "falcon3", "chatml"}) {
        const std::string text = own(name);
        EXPECT_EQ(match(replaced(text, "'", "\"")), name);
        EXPECT_EQ(match(replaced(replaced(text, "['content']", ".content"), "message['role']", "message.role")), name);
        EXPECT_EQ(match(replaced(replaced(text, "{%", "{%- "), "%}", " -%}")), name);
        EXPECT_EQ(match("{# a note #}" + text + "\n"), name);
        EXPECT_EQ(match(replaced(text, "%}", "%}\n")), name) << "a newline behind a statement is not written";
        if (text.find('\n') != std::string::npos) {
            EXPECT_EQ(match(replaced(text, "\n", "\\n")), name);
        }
    }
}

TEST(ChatMatch, WhatThePublishedFileOfBitNetCarriesStandsForItsTrainedFormat)
{
    EXPECT_EQ(match("{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{% if message['role'] == 'user' %}"
                    "{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' + eos_token }}{% elif message['role'] == 'assistant' %}"
                    "{{ message['content'] + eos_token }}{% endif %}{% endfor %}"),
              "bitnet");
}

TEST(ChatMatch, PublishedTemplatesOfOthers)
{
    const std::vector<std::pair<std::string, std::string>> files = {{"meta-llama-Llama-3.1-8B-Instruct", "llama3.1"},
                                                                    {"Qwen-Qwen2.5-7B-Instruct", "qwen2.5"},
                                                                    {"Qwen-Qwen3-0.6B", "qwen3"},
                                                                    {"Qwen3.5-4B", ""}};
    for (const auto &[file, name] : files) {
        const std::string path = shared_data("chat-templates/" + file + ".jinja");
        if (!exists(path)) GTEST_SKIP() << path << " is not there";
        EXPECT_EQ(match(read_file(path)), name) << file;
    }
}

TEST(ChatMatch, QwensInItsEarlierAndLaterSpelling)
{
    const std::string
        begin = "{%- for message in messages %}",
        user = "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}",
        named = "{%- set content = message.content %}{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}",
        forgets = "{%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}",
        forgets_named = "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}",
        end = "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}",
        off = "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}";
    EXPECT_EQ(match(begin + user + forgets + end + off + "{%- endif %}"), "qwen3");
    EXPECT_EQ(match(begin + named + forgets_named + end + off + "{%- endif %}"), "qwen3");
    EXPECT_EQ(match(begin + user + forgets + end + "{{- '<think>\\n' }}{%- endif %}"), "") << "always begins with a thought";
    EXPECT_EQ(match(begin + user + end + off + "{%- endif %}"), "") << "keeps earlier thoughts";
    EXPECT_EQ(match(begin + named + end + "{%- endif %}"), "chatml");
    EXPECT_EQ(match(begin + named + forgets_named + end + "{%- endif %}"), "");
    const std::string system = "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. "
                               "You are a helpful assistant.<|im_end|>\\n' }}{%- endif %}";
    EXPECT_EQ(match(system + begin + user + end + "{%- endif %}"), "qwen2.5");
    EXPECT_EQ(match(replaced(system, "Qwen", "Quark") + begin + user + end + "{%- endif %}"), "");
}

TEST(ChatMatch, AFamilysTokensUsedInAnotherWayAreRefused)
{
    const std::string chatml = own("chatml"), llama3 = own("llama3"), bitnet = own("bitnet"), falcon3 = own("falcon3");
    // other ends, other prompts, other messages of their own
    EXPECT_EQ(match(replaced(chatml, "'<|im_end|>' + '\n'", "'<|im_end|>'")), "");
    EXPECT_EQ(match(replaced(chatml, "assistant\n'", "assistant\n<think>\n'")), "");
    EXPECT_EQ(match(replaced(chatml, "message['content'] +", "message['content'] | trim +")), "");
    EXPECT_EQ(match(replaced(chatml, "'<|im_start|>' + message['role']", "'<|im_start|>' + message['role'] | upper")), "");
    EXPECT_EQ(
        match("{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}" +
              chatml),
        "");
    EXPECT_EQ(match("{% if true %}{{ bos_token }}{% endif %}" + chatml), "");
    EXPECT_EQ(match(replaced(llama3, " | trim", "")), "");
    EXPECT_EQ(match(replaced(llama3, "bos_token + ", "")), "");
    EXPECT_EQ(match("{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + strftime_now('%d') + '<|eot_id|>' }}" + llama3), "");
    EXPECT_EQ(match("{{ '<|start_header_id|>system<|end_header_id|>\n\n' + date + '<|eot_id|>' }}" + llama3), "");
    EXPECT_EQ(match(replaced(bitnet, "'Assistant: '", "'Assistant:'")), "");
    EXPECT_EQ(match(replaced(falcon3, "'<|user|>\n' + message['content'] + '\n'", "'<|user|>\n' + message['content'] + eos_token")), "");
    // text outside of blocks is written too
    EXPECT_EQ(match("Hello" + chatml), "");
    EXPECT_EQ(match(replaced(chatml, "}}", "}}\n")), "");
    EXPECT_EQ(match("{# a note #} " + chatml), "");
    EXPECT_EQ(match(chatml + "\n\n\n"), "");
    EXPECT_EQ(match("  " + chatml + "\n\n"), "chatml") << "these are not";
}

TEST(ChatMatch, OtherModelsTemplatesAreRefusedByName)
{
    for (const std::string &jinja : std::vector<std::string>{
             "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim + "
             "'<end_of_turn>\n' }}{% endfor %}",
             "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' "
             "}}{% else %}{{ message['content'] + eos_token}}{% endif %}{% endfor %}",
             "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% "
             "elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% endfor %}",
             "{% for message in messages %}{% if message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% endif "
             "%}{% endfor %}",
             "{% for message in messages %}{{'<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>'}}{% "
             "endfor %}",
             "", " ", "{{", "{%", "{#", "{{ '", "{{ \"a\\", "{# #", "}}", "{{}}{%%}{##}"}) {
        EXPECT_EQ(match(jinja), "") << jinja;
        const std::string message = tn_error_last()->message;
        for (const std::string &name : family_names()) EXPECT_NE(message.find(name), std::string::npos) << message;
    }
    EXPECT_EQ(match("{{ '<\033[31m>' }}" + std::string(100, 'x')), "");
    const std::string message = tn_error_last()->message;
    EXPECT_NE(message.find("{{ '<\\x1b[31m>' }}xxx"), std::string::npos) << message;
    EXPECT_EQ(message.find(std::string(70, 'x')), std::string::npos) << message;
}

TEST(ChatMatch, AnyBytesAreRead)
{
    std::mt19937 random(3);
    const std::vector<std::string> parts = {
        "{{", "}}", "{%", "%}", "{#", "#}", "-", "'", "\"", "\\", "\n", " ", ".content", ".role", "x", std::string(1, '\0'), "\xff"};
    for (int i = 0; i < 20000; i++) {
        std::string jinja;
        for (unsigned k = static_cast<unsigned>(random() % 12); k > 0; k--) jinja += parts[random() % parts.size()];
        const std::vector<char> exact(jinja.begin(), jinja.end()); // without a terminator, so that a sanitizer sees a byte too far
        const tn_chat_template *found = nullptr;
        EXPECT_EQ(tn_chat_template_match(exact.empty() ? "" : exact.data(), exact.size(), &found), TN_UNSUPPORTED);
    }
}

// What tn_chat_template_detect says of a file with these keys.
template <typename Add> tn_status detect(Add add, std::string *out_name)
{
    tn_test::GgufBuilder builder;
    builder.kv("general.architecture", "llama");
    add(builder);
    const std::string path = testing::TempDir() + "/ternion-chat-" + std::to_string(getpid()) + ".gguf";
    tn_test::write_file(path, builder.build());
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_METADATA;
    tn_model *model = nullptr;
    EXPECT_EQ(tn_model_open(path.c_str(), &params, &model), TN_OK) << tn_error_last()->message;
    const tn_chat_template *found = nullptr;
    tn_status status = tn_chat_template_detect(model, &found);
    *out_name = found ? tn_chat_template_name(found) : "";
    tn_model_close(model);
    std::remove(path.c_str());
    return status;
}

TEST(ChatMatch, TheFilesOwnTemplateIsFound)
{
    std::string name;
    const std::string chatml = own("chatml"), bitnet = own("bitnet");
    using Builder = tn_test::GgufBuilder;
    EXPECT_EQ(detect([&](Builder &b) { b.kv("tokenizer.chat_template", chatml); }, &name), TN_OK);
    EXPECT_EQ(name, "chatml");
    EXPECT_EQ(detect([&](Builder &b) { b.kv("tokenizer.chat_template.default", bitnet); }, &name), TN_OK);
    EXPECT_EQ(name, "bitnet");
    EXPECT_EQ(detect([&](Builder &b) { b.kv("tokenizer.chat_template.default", bitnet).kv("tokenizer.chat_template", chatml); }, &name),
              TN_OK);
    EXPECT_EQ(name, "chatml");
    EXPECT_EQ(detect([&](Builder &b) { b.kv("tokenizer.chat_template.tool_use", chatml); }, &name), TN_NOT_FOUND);
    EXPECT_EQ(detect([&](Builder &) {}, &name), TN_NOT_FOUND);
    EXPECT_NE(std::string(tn_error_last()->message).find("base model"), std::string::npos);
    EXPECT_EQ(detect([&](Builder &b) { b.kv("tokenizer.chat_template", "hello"); }, &name), TN_UNSUPPORTED);
    EXPECT_EQ(detect([&](Builder &b) { b.kv<uint32_t>("tokenizer.chat_template", 7); }, &name), TN_BAD_FILE);
    EXPECT_EQ(name, "");
}

TEST(ChatMatch, NamesAreFoundAndOthersListed)
{
    for (const std::string &name : family_names()) {
        EXPECT_EQ(tn_chat_template_name(family(name)), name);
        EXPECT_NE(std::string(tn_chat_template_summary(family(name))), "");
        EXPECT_EQ(tn_chat_template_thinks(family(name)), name == "qwen3");
    }
    const tn_chat_template *none = family("bitnet");
    EXPECT_EQ(tn_chat_template_find("gemma", &none), TN_NOT_FOUND);
    EXPECT_EQ(none, nullptr);
    EXPECT_NE(std::string(tn_error_last()->message).find("qwen2.5"), std::string::npos);
    EXPECT_EQ(tn_chat_template_at(tn_chat_template_count()), nullptr);
}

} // namespace
