// The tokenizer's public functions on small vocabularies and on the default model's.
#include "tokenizer/tokenizer_support.hpp"

#include <cstring>

using namespace tokenizer_support;

namespace
{

std::string random_bytes(std::mt19937 &random, size_t n)
{
    std::string bytes(n, '\0');
    for (char &b : bytes) b = static_cast<char>(random());
    return bytes;
}

TEST(Tokenizer, GivesBackTheBytesOfAnyInput)
{
    std::mt19937 random(11);
    for (const char *pre : {"llama-bpe", "gpt-2", "default"}) {
        Vocab v = story_vocab();
        v.pre = pre;
        Tokenizer t = v.make();
        for (int i = 0; i < 3000; i++) {
            std::string text = random_bytes(random, random() % 200);
            ASSERT_EQ(decode(t.get(), encode(t.get(), text)), text) << testing::PrintToString(text);
        }
        std::string large = random_bytes(random, 300000); // with the cache of words
        EXPECT_EQ(decode(t.get(), encode(t.get(), large)), large);
    }
}

TEST(Tokenizer, LongTextHasTheTokensOfItsParts)
{
    Tokenizer t = story_vocab().make();
    std::mt19937 random(12);
    const char *words[] = {" king", " the", " Rumpelstiltskin", " o'clock",           "Then\n\nfar",
                           " once", "!",    " 12345",           " \xC3\xA9t\xC3\xA9", " qzxv"};
    std::string text;
    Ids expected;
    for (int i = 0; i < 20000; i++) {
        // A line break behind each word is a border that no word crosses; short texts are encoded without the cache.
        std::string line = std::string(words[random() % 10]) + words[random() % 10] + "x\n";
        text += line;
        Ids ids = encode(t.get(), line);
        expected.insert(expected.end(), ids.begin(), ids.end());
    }
    EXPECT_EQ(encode(t.get(), text), expected);
}

TEST(Tokenizer, EncodesAMegabyteOfOneCharacterWithEachFamily)
{
    for (const char *pre : {"llama-bpe", "gpt-2", "default"}) {
        Vocab v = story_vocab();
        v.pre = pre;
        Tokenizer t = v.make();
        for (const std::string one : {"a", " ", "\n", "0", "'", "\xC3\xA9", "\xFF"}) {
            std::string text;
            while (text.size() < (1 << 20)) text += one;
            EXPECT_EQ(decode(t.get(), encode(t.get(), text)), text) << pre << testing::PrintToString(one);
        }
    }
}

TEST(Tokenizer, WritesWhatFitsAndCountsAll)
{
    Tokenizer t = story_vocab().make();
    std::string text = "Once upon a time there was a little tin soldier.";
    Ids all = encode(t.get(), text, TN_ENCODE_ADD_SPECIAL);
    for (size_t capacity = 0; capacity <= all.size() + 2; capacity++) {
        Ids ids(all.size() + 3, -7);
        size_t n = 0;
        ASSERT_EQ(tn_tokenizer_encode(t.get(), text.data(), text.size(), TN_ENCODE_ADD_SPECIAL, ids.data(), capacity, &n), TN_OK);
        ASSERT_EQ(n, all.size());
        for (size_t i = 0; i < ids.size(); i++) ASSERT_EQ(ids[i], i < n && i < capacity ? all[i] : -7);
    }
}

TEST(Tokenizer, AddsBosAndEosAsTheVocabularySays)
{
    for (bool add_bos : {false, true}) {
        for (bool add_eos : {false, true}) {
            Vocab v = byte_vocab();
            v.bos = v.add("<s>", TN_TOKEN_CONTROL);
            v.eos = v.add("<e>", TN_TOKEN_CONTROL);
            v.add_bos = add_bos, v.add_eos = add_eos;
            Tokenizer t = v.make();
            Ids expected;
            if (add_bos) expected.push_back(256);
            if (add_eos) expected.push_back(257);
            EXPECT_EQ(encode(t.get(), "", TN_ENCODE_ADD_SPECIAL), expected);
            EXPECT_EQ(encode(t.get(), ""), Ids{});
            expected.insert(expected.begin() + add_bos, 'a');
            EXPECT_EQ(encode(t.get(), "a", TN_ENCODE_ADD_SPECIAL), expected);
            EXPECT_EQ(tn_tokenizer_adds_bos(t.get()), add_bos);
            EXPECT_EQ(tn_tokenizer_bos(t.get()), 256);
            EXPECT_EQ(tn_tokenizer_eos(t.get()), 257);
        }
    }
}

TEST(Tokenizer, WithoutABosTokenNoneIsAdded)
{
    Vocab v = byte_vocab();
    v.add_bos = v.add_eos = true;
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "a", TN_ENCODE_ADD_SPECIAL), Ids{'a'});
    EXPECT_FALSE(tn_tokenizer_adds_bos(t.get()));
    EXPECT_EQ(tn_tokenizer_bos(t.get()), TN_TOKEN_NONE);
}

TEST(Tokenizer, ControlTokensInTextAreTextUnlessAskedFor)
{
    Vocab v = byte_vocab();
    int32_t control = v.add("<|go|>", TN_TOKEN_CONTROL), unknown = v.add("<unk>", TN_TOKEN_UNKNOWN),
            user = v.add("<tool>", TN_TOKEN_USER_DEFINED);
    v.add("<idle>", TN_TOKEN_UNUSED);
    Tokenizer t = v.make();
    const std::string text = "a<|go|><tool><unk><idle>";
    Ids plain = encode(t.get(), text), parsed = encode(t.get(), text, TN_ENCODE_PARSE_SPECIAL);
    EXPECT_EQ(plain, (Ids{'a', '<', '|', 'g', 'o', '|', '>', user, '<', 'u', 'n', 'k', '>', '<', 'i', 'd', 'l', 'e', '>'}));
    EXPECT_EQ(parsed, (Ids{'a', control, user, unknown, '<', 'i', 'd', 'l', 'e', '>'}));
}

TEST(Tokenizer, AControlTokenNeverComesOutOfOrdinaryText)
{
    // "!!" is a whole word and a merge makes it: it must still stay two characters.
    Vocab v = byte_vocab();
    v.pre = "llama-bpe";
    v.add("!!", TN_TOKEN_CONTROL);
    v.merges = {"! !"};
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "!!"), (Ids{'!', '!'}));
}

TEST(Tokenizer, TextIsCutAtSpecialTokensBeforeItIsCutIntoWords)
{
    Vocab v = byte_vocab();
    v.tokens.push_back("ab");
    v.merges = {"a b"};
    int32_t x = v.add("<x>", TN_TOKEN_USER_DEFINED), xx = v.add("<x><x>", TN_TOKEN_USER_DEFINED);
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "ab"), Ids{256});
    EXPECT_EQ(encode(t.get(), "a<x>b"), (Ids{'a', x, 'b'}));
    EXPECT_EQ(encode(t.get(), "ab<x><x><x>ab"), (Ids{256, xx, x, 256}));
}

TEST(Tokenizer, AWholeWordThatIsATokenWinsOverMergesOnlyInTheLlamaFamily)
{
    Vocab v = byte_vocab();
    v.tokens.insert(v.tokens.end(), {"ab", "bc", "abc"});
    v.merges = {"b c"};
    v.pre = "llama-bpe";
    EXPECT_EQ(encode(v.make().get(), "abc"), Ids{258});
    EXPECT_EQ(encode(v.make().get(), "abcabc"), (Ids{'a', 257, 'a', 257}));
    v.pre = "gpt-2";
    EXPECT_EQ(encode(v.make().get(), "abc"), (Ids{'a', 257}));
    v.pre = "smaug-bpe";
    EXPECT_EQ(encode(v.make().get(), "abc"), (Ids{'a', 257}));
}

TEST(Tokenizer, TheNameOfThePretokenizerIsTheOneGiven)
{
    for (const char *name : {"llama-bpe", "llama3", "llama-v3", "falcon3", "gpt-2", "mpt", "olmo", "jais", "default"}) {
        Vocab v = byte_vocab();
        v.pre = name;
        EXPECT_STREQ(tn_tokenizer_pre(v.make().get()), name);
    }
}

TEST(Tokenizer, DecodesControlTokensOnlyWhenAsked)
{
    Vocab v = byte_vocab();
    v.tokens.push_back("\xC4\xA0x\xC4\x8A"); // " x\n"
    int32_t control = v.add("<|go|>", TN_TOKEN_CONTROL), unused = v.add("[PAD]", TN_TOKEN_UNUSED);
    int32_t user = v.add("<to ol>", TN_TOKEN_USER_DEFINED), foreign = v.add("a b", TN_TOKEN_NORMAL);
    Tokenizer t = v.make();
    EXPECT_EQ(piece(t.get(), 256), " x\n");
    EXPECT_EQ(piece(t.get(), control), "");
    EXPECT_EQ(piece(t.get(), control, true), "<|go|>");
    EXPECT_EQ(piece(t.get(), unused), "");
    EXPECT_EQ(piece(t.get(), unused, true), "[PAD]");
    EXPECT_EQ(piece(t.get(), user), "<to ol>");
    EXPECT_EQ(piece(t.get(), foreign), "a b"); // a space is no letter of the alphabet: shown as it is, never the result of encoding
    for (int b = 0; b < 256; b++) EXPECT_EQ(piece(t.get(), b), std::string(1, static_cast<char>(b)));
    EXPECT_EQ(tn_tokenizer_kind(t.get(), control), TN_TOKEN_CONTROL);
    EXPECT_EQ(tn_tokenizer_kind(t.get(), 0), TN_TOKEN_NORMAL);
    EXPECT_EQ(tn_tokenizer_n_vocab(t.get()), 261);
}

TEST(Tokenizer, DecodingWritesNoMoreThanTheRoom)
{
    Vocab v = byte_vocab();
    v.tokens.push_back("abc");
    Tokenizer t = v.make();
    char bytes[4] = "___";
    size_t len = 0;
    ASSERT_EQ(tn_tokenizer_decode_token(t.get(), 256, false, bytes, 2, &len), TN_OK);
    EXPECT_EQ(len, 3u);
    EXPECT_STREQ(bytes, "ab_");
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreRefused)
{
    Tokenizer t = byte_vocab().make();
    size_t len = 9;
    for (int32_t id : {-1, 256, INT32_MIN, INT32_MAX}) {
        EXPECT_EQ(tn_tokenizer_decode_token(t.get(), id, true, nullptr, 0, &len), TN_INVALID_ARGUMENT);
        EXPECT_EQ(len, 0u);
        EXPECT_FALSE(tn_tokenizer_is_eog(t.get(), id));
    }
}

TEST(Tokenizer, TokensThatEndAnAnswerAreKnownByIdAndByText)
{
    Vocab v = byte_vocab();
    v.eos = v.add("<my end>", TN_TOKEN_CONTROL);
    int32_t eot = v.add("<|eot_id|>", TN_TOKEN_CONTROL), header = v.add("<|start_header_id|>", TN_TOKEN_CONTROL);
    int32_t deepseek = v.add("<\xEF\xBD\x9C"
                             "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                             TN_TOKEN_CONTROL);
    Tokenizer t = v.make();
    for (int32_t id = 0; id < tn_tokenizer_n_vocab(t.get()); id++) {
        EXPECT_EQ(tn_tokenizer_is_eog(t.get(), id), id == v.eos || id == eot || id == deepseek) << id;
    }
    EXPECT_NE(header, eot);
}

TEST(Tokenizer, AnEndTokenMarkedAsOrdinaryIsTakenForAControlToken)
{
    Vocab v = byte_vocab();
    int32_t end = v.add("<|im_end|>", TN_TOKEN_USER_DEFINED);
    Tokenizer t = v.make();
    EXPECT_EQ(tn_tokenizer_kind(t.get(), end), TN_TOKEN_CONTROL);
    EXPECT_EQ(encode(t.get(), "<|im_end|>").size(), strlen("<|im_end|>"));
    EXPECT_EQ(encode(t.get(), "<|im_end|>", TN_ENCODE_PARSE_SPECIAL), Ids{end});
}

TEST(Tokenizer, WrongCallsAreRefused)
{
    Tokenizer t = byte_vocab().make();
    size_t n = 9;
    int32_t id;
    EXPECT_EQ(tn_tokenizer_encode(t.get(), nullptr, 1, 0, &id, 1, &n), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_tokenizer_encode(t.get(), "a", 1, 0, nullptr, 1, &n), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_tokenizer_encode(t.get(), "a", 1, 8, &id, 1, &n), TN_INVALID_ARGUMENT);
    EXPECT_EQ(n, 0u);
    EXPECT_EQ(tn_tokenizer_encode(t.get(), nullptr, 0, 0, nullptr, 0, &n), TN_OK);
}

TEST(Tokenizer, DamagedVocabulariesAreRefusedWithAReason)
{
    tn_tokenizer *t = nullptr;
    auto expect = [&](const Vocab &v, tn_status status, const char *message) {
        EXPECT_EQ(v.create(&t), status);
        EXPECT_EQ(t, nullptr);
        EXPECT_NE(std::string(tn_error_last()->message).find(message), std::string::npos) << tn_error_last()->message;
    };
    Vocab v = byte_vocab();
    v.pre = "tekken";
    expect(v, TN_UNSUPPORTED, "\"tekken\" is not known to this version, which has: llama-bpe, ");
    v = byte_vocab();
    v.kinds.assign(256, 7);
    expect(v, TN_BAD_FILE, "token 0 has type 7");
    v = byte_vocab();
    v.merges = {"a b", "ab"};
    expect(v, TN_BAD_FILE, "merge 1 is \"ab\"");
    v = byte_vocab();
    v.tokens.push_back(std::string(65537, 'a'));
    expect(v, TN_BAD_FILE, "token 256 has 65537 bytes");
    v = byte_vocab();
    v.bos = 256;
    expect(v, TN_INVALID_ARGUMENT, "BOS is token 256");
    v = byte_vocab();
    v.tokens.clear();
    expect(v, TN_BAD_FILE, "a vocabulary of 0 tokens");
}

TEST(Tokenizer, MergesOfWhatIsNotInTheVocabularyAreLeftOut)
{
    Vocab v = byte_vocab();
    v.tokens.push_back("bc");
    v.merges = {"a b", "ab c", "b c", "\xE2\x96\x81 a", "a "};
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "abc"), (Ids{'a', 256}));
}

TEST(Tokenizer, EmptyTokensAreHarmless)
{
    Vocab v = byte_vocab();
    v.add("", TN_TOKEN_NORMAL);
    v.add("", TN_TOKEN_CONTROL);
    v.add("", TN_TOKEN_USER_DEFINED);
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "ab", TN_ENCODE_PARSE_SPECIAL), (Ids{'a', 'b'}));
    EXPECT_EQ(piece(t.get(), 256), "");
}

} // namespace
