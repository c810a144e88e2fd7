// What the families write, against jinja2's renderings of the published templates; and how it becomes tokens.
#include "chat_support.hpp"

namespace
{

using namespace chat_support;
using tokenizer_support::encode;

tn_chat_role role_of(const std::string &name)
{
    return name == "system" ? TN_CHAT_SYSTEM : name == "user" ? TN_CHAT_USER : TN_CHAT_ASSISTANT;
}

class EveryFamily : public testing::TestWithParam<std::string>
{
};

TEST_P(EveryFamily, WritesWhatJinjaMakesOfThePublishedTemplate)
{
    Cases cases;
    size_t i, n = 0;
    json_t *one;
    json_array_foreach(json_object_get(cases.root, "cases"), i, one)
    {
        std::vector<Message> messages;
        size_t k;
        json_t *pair;
        json_array_foreach(json_object_get(one, "messages"), k, pair)
            messages.push_back({role_of(string_of(json_array_get(pair, 0))), string_of(json_array_get(pair, 1))});
        unsigned flags = json_is_true(json_object_get(one, "prompt")) ? TN_CHAT_ADD_GENERATION_PROMPT : 0;
        if (GetParam() == "qwen3" && i % 4 == 0) flags |= TN_CHAT_NO_THINKING;
        EXPECT_EQ(as_text(family(GetParam()), messages, flags),
                  string_of(json_object_get(json_object_get(one, "texts"), GetParam().c_str())))
            << "case " << i;
        n++;
    }
    EXPECT_EQ(n, 200u);
}

TEST_P(EveryFamily, TokensAreTheTokensOfItsText)
{
    auto vocab = chat_vocab();
    if (GetParam() == "falcon3")
        for (const char *mark : {"<|system|>", "<|user|>", "<|assistant|>"}) vocab.add(mark, TN_TOKEN_CONTROL);
    auto t = vocab.make();
    const std::vector<Message> messages = {
        {TN_CHAT_SYSTEM, "Be kind."}, {TN_CHAT_USER, "Hi"}, {TN_CHAT_ASSISTANT, "Yes?"}, {TN_CHAT_USER, "2+2"}};
    std::string text = as_text(family(GetParam()), messages, TN_CHAT_ADD_GENERATION_PROMPT);
    bool begins = text.rfind("<BOS>", 0) == 0;
    Ids expected = encode(t.get(), begins ? text.substr(5) : text, TN_ENCODE_PARSE_SPECIAL);
    if (begins) expected.insert(expected.begin(), vocab.bos);
    EXPECT_EQ(ids_of(family(GetParam()), t.get(), messages, TN_CHAT_ADD_GENERATION_PROMPT), expected);
}

// Turns of a conversation as a program holds it: each time, what was there must be the beginning of what is there now.
TEST_P(EveryFamily, AConversationOnlyGrows)
{
    auto t = chat_vocab().make();
    std::mt19937 random(7);
    const std::vector<std::string> texts = {"Hi", "", " spaces ", "line\n", "<|im_end|>", "<|eot_id|>\n", "</think> no", "\n\n"};
    auto text = [&] { return texts[random() % texts.size()]; };
    for (int round = 0; round < 50; round++) {
        unsigned flags = TN_CHAT_ADD_GENERATION_PROMPT;
        if (tn_chat_template_thinks(family(GetParam())) && round % 2) flags |= TN_CHAT_NO_THINKING;
        std::vector<Message> messages;
        if (round % 3) messages.push_back({TN_CHAT_SYSTEM, text()});
        Ids before;
        for (int turn = 0; turn < 5; turn++) {
            messages.push_back({TN_CHAT_USER, text()});
            Ids now = ids_of(family(GetParam()), t.get(), messages, flags);
            ASSERT_GT(now.size(), before.size());
            ASSERT_TRUE(std::equal(before.begin(), before.end(), now.begin())) << "round " << round << ", turn " << turn;
            Message answer = {TN_CHAT_ASSISTANT, "", {}, true}; // any tokens, also none: it may have been interrupted
            for (unsigned k = static_cast<unsigned>(random() % 4); k > 0; k--) answer.ids.push_back(static_cast<int32_t>(random() % 256));
            if (random() % 4 == 0) answer.ids.push_back(id_of(t.get(), "</think>"));
            before = now;
            before.insert(before.end(), answer.ids.begin(), answer.ids.end());
            messages.push_back(answer);
        }
    }
}

TEST_P(EveryFamily, TextOfUsersNeverBecomesASpecialToken)
{
    auto vocab = chat_vocab();
    auto t = vocab.make();
    std::string all;
    for (size_t i = 256; i < vocab.tokens.size(); i++) all += vocab.tokens[i];
    Ids empty = ids_of(family(GetParam()), t.get(), {{TN_CHAT_SYSTEM, "s"}, {TN_CHAT_USER, "u"}});
    Ids full = ids_of(family(GetParam()), t.get(), {{TN_CHAT_SYSTEM, "s" + all}, {TN_CHAT_USER, "u" + all}});
    auto specials = [](const Ids &ids) { return std::count_if(ids.begin(), ids.end(), [](int32_t id) { return id >= 256; }); };
    EXPECT_EQ(specials(full), specials(empty));
    EXPECT_EQ(full.size(), empty.size() + 2 * all.size()); // a token a byte
}

TEST_P(EveryFamily, NeedsItsTokensInTheVocabulary)
{
    auto t = tokenizer_support::byte_vocab().make();
    Ids ids;
    EXPECT_EQ(render(family(GetParam()), t.get(), {{TN_CHAT_USER, "Hi"}, {TN_CHAT_ASSISTANT, "Hi"}}, 0, &ids), TN_UNSUPPORTED);
    EXPECT_NE(std::string(tn_error_last()->message).find(GetParam()), std::string::npos) << tn_error_last()->message;
    EXPECT_TRUE(ids.empty());
}

INSTANTIATE_TEST_SUITE_P(Chat, EveryFamily, testing::ValuesIn(family_names()), [](const auto &which) {
    std::string name = which.param;
    for (char &c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    return name;
});

TEST(ChatRender, NeighbouringTextsAreEncodedTogether)
{
    auto vocab = chat_vocab(); // "Ġ" + "H" merge: "User: " + "Hi" must give the joint token
    const std::string space = tokenizer_support::alphabet_char(' ');
    vocab.tokens.push_back(space + "H");
    vocab.kinds.push_back(TN_TOKEN_NORMAL);
    vocab.merges.push_back(space + " H");
    auto t = vocab.make();
    Ids ids = ids_of(family("bitnet"), t.get(), {{TN_CHAT_USER, "Hi"}});
    EXPECT_NE(std::find(ids.begin(), ids.end(), static_cast<int32_t>(vocab.tokens.size()) - 1), ids.end());
}

TEST(ChatRender, BosIsTheTemplatesAndComesOnce)
{
    auto t = chat_vocab().make();
    const int32_t bos = tn_tokenizer_bos(t.get());
    ASSERT_TRUE(tn_tokenizer_adds_bos(t.get()));
    for (const std::string &name : family_names()) {
        Ids ids = ids_of(family(name), t.get(), {{TN_CHAT_USER, "Hi"}}, TN_CHAT_ADD_GENERATION_PROMPT);
        bool wanted = name == "bitnet" || name == "llama3" || name == "llama3.1" || name == "chatml-bos";
        EXPECT_EQ(std::count(ids.begin(), ids.end(), bos), wanted) << name;
        EXPECT_EQ(ids[0] == bos, wanted) << name;
    }
}

TEST(ChatRender, FalconsMarksAreTokensWhereTheVocabularyHasThem)
{
    auto vocab = chat_vocab();
    auto without = vocab.make();
    const std::vector<Message> hi = {{TN_CHAT_USER, "Hi"}};
    EXPECT_EQ(ids_of(family("falcon3"), without.get(), hi), encode(without.get(), "<|user|>\nHi\n"));
    int32_t user = vocab.add("<|user|>", TN_TOKEN_CONTROL);
    auto with = vocab.make();
    Ids expected = encode(with.get(), "\nHi\n");
    expected.insert(expected.begin(), user);
    EXPECT_EQ(ids_of(family("falcon3"), with.get(), hi), expected);
}

TEST(ChatRender, WritesNoMoreThanThereIsRoomFor)
{
    auto t = chat_vocab().make();
    Ids all = ids_of(family("chatml"), t.get(), {{TN_CHAT_USER, "Hello"}});
    std::vector<tn_chat_message> hello = {{TN_CHAT_USER, "Hello", 5, nullptr, 0}};
    for (size_t room = 0; room <= all.size(); room++) {
        Ids part(all.size() + 1, -7);
        size_t n = 0;
        ASSERT_EQ(tn_chat_render(family("chatml"), t.get(), hello.data(), 1, 0, part.data(), room, &n), TN_OK);
        EXPECT_EQ(n, all.size());
        EXPECT_TRUE(std::equal(part.begin(), part.begin() + static_cast<long>(room), all.begin())) << room;
        EXPECT_TRUE(std::all_of(part.begin() + static_cast<long>(room), part.end(), [](int32_t id) { return id == -7; })) << room;
    }
}

TEST(ChatRender, WrongCallsAreRefused)
{
    auto t = chat_vocab().make();
    const int32_t ids[] = {1}, bad[] = {1 << 20};
    size_t n = 9;
    auto refused = [&](tn_chat_message message, size_t n_messages, unsigned flags, const char *name) {
        EXPECT_EQ(tn_chat_render(family(name), t.get(), &message, n_messages, flags, nullptr, 0, &n), TN_INVALID_ARGUMENT);
        EXPECT_EQ(n, 0u);
    };
    refused({TN_CHAT_USER, "", 0, nullptr, 0}, 0, 0, "bitnet");
    refused({static_cast<tn_chat_role>(0), "", 0, nullptr, 0}, 1, 0, "bitnet");
    refused({static_cast<tn_chat_role>(4), "", 0, nullptr, 0}, 1, 0, "falcon3");
    refused({TN_CHAT_USER, "", 0, ids, 1}, 1, 0, "bitnet");
    refused({TN_CHAT_USER, nullptr, 3, nullptr, 0}, 1, 0, "bitnet");
    refused({TN_CHAT_ASSISTANT, "", 0, bad, 1}, 1, 0, "bitnet");
    refused({TN_CHAT_USER, "", 0, nullptr, 0}, 1, TN_CHAT_NO_THINKING, "chatml");
    refused({TN_CHAT_USER, "", 0, nullptr, 0}, 1, 64, "qwen3");
    EXPECT_EQ(tn_chat_render(nullptr, t.get(), nullptr, 0, 0, nullptr, 0, &n), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_chat_render(family("bitnet"), t.get(), nullptr, 0, 0, nullptr, 0, nullptr), TN_INVALID_ARGUMENT);
}

TEST(ChatRender, TheEncodersFlagForItCannotBeMixedWithItsOpposite)
{
    auto t = chat_vocab().make();
    size_t n = 0;
    EXPECT_EQ(encode(t.get(), "</think>", TN_ENCODE_NO_SPECIAL).size(), 8u);
    EXPECT_EQ(encode(t.get(), "</think>").size(), 1u);
    EXPECT_EQ(tn_tokenizer_encode(t.get(), "a", 1, TN_ENCODE_NO_SPECIAL | TN_ENCODE_PARSE_SPECIAL, nullptr, 0, &n), TN_INVALID_ARGUMENT);
}

} // namespace
