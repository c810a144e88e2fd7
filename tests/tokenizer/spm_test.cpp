// SentencePiece: merging against the definition done the slow way and against the sentencepiece package, spaces, bytes, decoding.
#include "tokenizer/spm_support.hpp"

#include <cmath>
#include <jansson.h>

extern "C" {
#include "base/alloc.h"
#include "model/spm.h"
}

using namespace tokenizer_support;

namespace
{

std::string json_text(json_t *value) { return std::string(json_string_value(value), json_string_length(value)); }

TEST(Spm, GivesTheIdsOfTheSentencepiecePackage)
{
    json_error_t error;
    json_t *vocabularies = json_load_file(own_data("spm_cases.json").c_str(), JSON_ALLOW_NUL, &error);
    ASSERT_NE(vocabularies, nullptr) << error.text;
    size_t n_texts = 0, i, k, n;
    json_t *one, *value, *id;
    json_array_foreach(vocabularies, i, one)
    {
        Vocab v = spm_vocab();
        v.add_space_prefix = json_is_true(json_object_get(one, "add_space_prefix"));
        v.remove_extra_whitespaces = json_is_true(json_object_get(one, "remove_extra_whitespaces"));
        v.unknown = 0, v.bos = 1, v.eos = 2;
        json_array_foreach(json_object_get(one, "pieces"), k, value) v.tokens.push_back(json_text(value));
        json_array_foreach(json_object_get(one, "scores"), k, value) v.scores.push_back(static_cast<float>(json_number_value(value)));
        json_array_foreach(json_object_get(one, "kinds"), k, value) v.kinds.push_back(static_cast<int32_t>(json_integer_value(value)));
        Tokenizer t = v.make();
        bool has_bytes = std::count(v.kinds.begin(), v.kinds.end(), TN_TOKEN_BYTE) == 256;
        json_array_foreach(json_object_get(one, "cases"), k, value)
        {
            std::string text = json_text(json_array_get(value, 0));
            Ids expected;
            json_array_foreach(json_array_get(value, 1), n, id) expected.push_back(static_cast<int32_t>(json_integer_value(id)));
            Ids ids = encode(t.get(), text);
            // The package gives one unknown token for a run of unknown characters; llama.cpp, and ternion, one for each.
            ids.erase(std::unique(ids.begin(), ids.end(), [](int32_t a, int32_t b) { return a == 0 && b == 0; }), ids.end());
            ASSERT_EQ(ids, expected) << json_string_value(json_object_get(one, "name")) << ": " << testing::PrintToString(text);
            if (has_bytes && text.find(mark) == std::string::npos) {
                ASSERT_EQ(decode_text(t.get(), expected), text);
            }
            n_texts++;
        }
    }
    EXPECT_GE(n_texts, 900u);
    json_decref(vocabularies);
}

// Vocabularies over few characters, so that merges overlap and compete: some pieces unused, some scores equal, not always a piece for
// each character or a token for each byte.
Vocab random_vocab(std::mt19937 &random)
{
    const std::vector<std::string> characters = {"a", "b", mark, "\xC3\xA9", "\xE4\xB8\xAD", "c"};
    Vocab v = spm_vocab();
    v.unknown = v.add("<unk>", TN_TOKEN_UNKNOWN);
    v.bos = v.add("<s>", TN_TOKEN_CONTROL);
    if (random() % 50 == 0) v.unknown = TN_TOKEN_NONE;
    bool all_bytes = random() % 4 != 0;
    for (unsigned b = 0; b < 256; b++) {
        if (all_bytes || random() % 2) v.add(byte_name(static_cast<uint8_t>(b)), TN_TOKEN_BYTE);
    }
    size_t first = v.tokens.size();
    for (const auto &c : characters) {
        if (random() % 5) v.add(c, random() % 20 ? TN_TOKEN_NORMAL : TN_TOKEN_UNUSED);
    }
    std::vector<std::string> parts = characters;
    for (int i = 0; i < 40; i++) {
        std::string joined = parts[random() % parts.size()] + parts[random() % parts.size()];
        if (joined.size() > 18) continue;
        parts.push_back(joined);
        if (random() % 6) v.add(joined, random() % 6 ? TN_TOKEN_NORMAL : TN_TOKEN_UNUSED); // at times one that is there already
    }
    if (random() % 2) v.add("<u>", TN_TOKEN_USER_DEFINED);
    v.scores.assign(v.tokens.size(), 0.0f);
    for (size_t i = first; i < v.scores.size(); i++) v.scores[i] = static_cast<float>(static_cast<int>(random() % 12)) - 6.0f;
    v.add_space_prefix = random() % 4 != 0;
    v.remove_extra_whitespaces = random() % 4 == 0;
    return v;
}

std::string random_text(std::mt19937 &random, size_t n_max)
{
    const std::vector<std::string> parts = {"a",   "b",   " ",  "  ", "\xC3\xA9", "\xE4\xB8\xAD", "c",    "ab",  "x", "\xF0\x9F\x98\x80",
                                            "<u>", "<s>", mark, "\n", "\xC3",     "\x96\x81",     "\xE2", "\xFF"};
    std::string text;
    for (size_t n = random() % n_max; n > 0; n--) text += parts[random() % parts.size()];
    return text;
}

TEST(Spm, MergesAsTheDefinitionDoes)
{
    std::mt19937 random(11);
    for (int round = 0; round < 300; round++) {
        Vocab v = random_vocab(random);
        Tokenizer t = v.make();
        SlowSpm slow(v);
        for (int i = 0; i < 60; i++) {
            std::string text = random_text(random, i < 50 ? 20 : 120);
            bool special = random() % 2;
            ASSERT_EQ(encode(t.get(), text, special ? TN_ENCODE_PARSE_SPECIAL : 0), slow.encode(text, special))
                << "round " << round << ": " << testing::PrintToString(text);
        }
    }
}

// The words of a long text come from the cache, and from pieces of the text that may not be mixed up.
TEST(Spm, LongTextsGiveWhatTheirPartsGive)
{
    std::mt19937 random(12);
    for (int round = 0; round < 20; round++) {
        Vocab v = random_vocab(random);
        Tokenizer t = v.make();
        SlowSpm slow(v);
        std::string text = random_text(random, 1200);
        ASSERT_EQ(encode(t.get(), text, TN_ENCODE_PARSE_SPECIAL), slow.encode(text, true)) << round;
    }
}

TEST(Spm, TheCorpusGivesWhatTheDefinitionGives)
{
    std::string path = shared_data("llama.cpp-vocab/ggml-vocab-llama-spm.gguf"), corpus = story_corpus();
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    if (corpus.empty()) GTEST_SKIP() << "corpus/valid.txt.xz is not in the folder that TN_TEST_DATA names, or xz is missing";
    Vocab v = vocab_of_gguf(path);
    Tokenizer t = v.make();
    SlowSpm slow(v);
    for (size_t i = 0; i < 200; i++) {
        std::string text = corpus.substr(i * (corpus.size() / 200), 300);
        ASSERT_EQ(encode(t.get(), text), slow.encode(text, false)) << testing::PrintToString(text);
    }
}

// A vocabulary with all bytes, a few words, and the special tokens that most tests want.
Vocab small_vocab()
{
    Vocab v = spm_vocab();
    v.unknown = v.add("<unk>", TN_TOKEN_UNKNOWN);
    v.bos = v.add("<s>", TN_TOKEN_CONTROL);
    v.eos = v.add("</s>", TN_TOKEN_CONTROL);
    for (unsigned b = 0; b < 256; b++) v.add(byte_name(static_cast<uint8_t>(b)), TN_TOKEN_BYTE); // 3 + b
    for (const char *piece : {"\u2581", "a", "b", "ab", "\u2581a", "\u2581\u2581", "<", "s", ">", "s>", "<s>"})
        v.add(piece, TN_TOKEN_NORMAL);
    v.add("<u>", TN_TOKEN_USER_DEFINED);
    v.scores.assign(v.tokens.size(), -1.0f);
    v.add_space_prefix = true;
    return v;
}
enum { BYTE_0 = 3, SPACE = 259, A, B, AB, SPACE_A, SPACES, LESS, S, MORE, S_MORE, WRITTEN_S, USER };

TEST(Spm, ASpaceGoesInFrontOfTextsAndBehindSpecialTokens)
{
    Tokenizer t = small_vocab().make();
    EXPECT_EQ(encode(t.get(), ""), Ids{});
    EXPECT_EQ(encode(t.get(), "a"), Ids{SPACE_A});
    EXPECT_EQ(encode(t.get(), " a"), (Ids{SPACES, A}));
    EXPECT_EQ(encode(t.get(), "a<u>a"), (Ids{SPACE_A, USER, SPACE_A}));
    EXPECT_EQ(encode(t.get(), "<u><u>"), (Ids{USER, USER}));
    EXPECT_EQ(encode(t.get(), "<s>a", TN_ENCODE_PARSE_SPECIAL), (Ids{1, SPACE_A}));
    Vocab v = small_vocab();
    v.add_space_prefix = false;
    EXPECT_EQ(encode(v.make().get(), "a<u>a"), (Ids{A, USER, A}));
}

TEST(Spm, BosAndEosStandAroundEvenAnEmptyText)
{
    Vocab v = small_vocab();
    v.add_bos = v.add_eos = true;
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "", TN_ENCODE_ADD_SPECIAL), (Ids{1, 2}));
    EXPECT_EQ(encode(t.get(), "a", TN_ENCODE_ADD_SPECIAL), (Ids{1, SPACE_A, 2}));
}

TEST(Spm, ControlTokensWrittenByAUserStayText)
{
    Vocab v = small_vocab();
    v.tokens[WRITTEN_S] = "<unused-name>"; // now only the control token is called so
    Tokenizer t = v.make();
    EXPECT_EQ(encode(t.get(), "<s>"), (Ids{SPACE, LESS, S_MORE}));
    EXPECT_EQ(encode(t.get(), "<0x41>").size(), 7u); // nor is a byte written
}

TEST(Spm, OfEqualPiecesTheLastCounts)
{
    Vocab v = small_vocab();
    int32_t again = v.add("ab", TN_TOKEN_NORMAL);
    v.add_space_prefix = false;
    EXPECT_EQ(encode(v.make().get(), "ab"), Ids{again});
}

TEST(Spm, BytesThatAreNoCharactersComeBack)
{
    Tokenizer t = small_vocab().make();
    std::mt19937 random(13);
    for (int i = 0; i < 2000; i++) {
        std::string text(random() % 40, '\0');
        for (char &c : text) c = static_cast<char>(random() % 3 ? random() : ' ' + random() % 3);
        if (text.find(mark) != std::string::npos) continue;
        ASSERT_EQ(decode_text(t.get(), encode(t.get(), text)), text) << testing::PrintToString(text);
    }
    EXPECT_EQ(encode(t.get(), "\xC3"), (Ids{SPACE, BYTE_0 + 0xC3}));
    EXPECT_EQ(encode(t.get(), "\xC3\xA9"), (Ids{SPACE, BYTE_0 + 0xC3, BYTE_0 + 0xA9}));
}

TEST(Spm, WithoutBytesCharactersAreUnknownOrNothing)
{
    Vocab v = spm_vocab();
    v.unknown = v.add("<unk>", TN_TOKEN_UNKNOWN);
    v.add("a", TN_TOKEN_NORMAL);
    EXPECT_EQ(encode(v.make().get(), "a\xC3\xA9\xFF"
                                     "a"),
              (Ids{1, 0, 0, 1}));
    v.unknown = TN_TOKEN_NONE;
    EXPECT_EQ(encode(v.make().get(), "a\xC3\xA9\xFF"
                                     "a"),
              (Ids{1, 1}));
}

TEST(Spm, DecodingDropsOnlyTheSpacesThatEncodingAdded)
{
    Tokenizer t = small_vocab().make();
    for (const char *text : {"", "a", " a", "  ", "a<u>a", "a<u> a", "<u>", " <u> ", "a b", "\n a"}) {
        EXPECT_EQ(decode_text(t.get(), encode(t.get(), text, TN_ENCODE_ADD_SPECIAL)), text);
    }
    EXPECT_EQ(decode_text(t.get(), {1, SPACE_A, 2, SPACE_A}), "aa");
    EXPECT_EQ(decode_text(t.get(), {1, SPACE_A, 2, SPACE_A}, true), "<s>a</s>a");
    EXPECT_EQ(decode_text(t.get(), {A, SPACE_A}), "a a");
    EXPECT_EQ(piece(t.get(), SPACE_A), " a"); // what continues a text keeps its space
    EXPECT_EQ(piece(t.get(), BYTE_0 + 0xC3), "\xC3");
    Vocab v = small_vocab();
    v.add_space_prefix = false;
    EXPECT_EQ(decode_text(v.make().get(), {SPACE_A}), " a");
}

TEST(Spm, DecodingFillsWhatFitsAndRefusesForeignIds)
{
    Tokenizer t = small_vocab().make();
    const Ids ids = {SPACE_A, B, SPACE_A};
    char bytes[3] = {'x', 'x', 'x'};
    size_t len = 0;
    ASSERT_EQ(tn_tokenizer_decode(t.get(), ids.data(), ids.size(), false, bytes, 2, &len), TN_OK);
    EXPECT_EQ(len, 4u);
    EXPECT_EQ(std::string(bytes, 3), "abx");
    for (int32_t id : {-1, tn_tokenizer_n_vocab(t.get())}) {
        EXPECT_EQ(tn_tokenizer_decode(t.get(), &id, 1, false, nullptr, 0, &len), TN_INVALID_ARGUMENT);
        EXPECT_EQ(len, 0u);
    }
    EXPECT_EQ(tn_tokenizer_decode(t.get(), nullptr, 1, false, nullptr, 0, &len), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_tokenizer_decode(t.get(), nullptr, 0, false, nullptr, 0, &len), TN_OK);
}

TEST(Spm, AStreamContinuesTheTextAndPutsBytesTogether)
{
    Tokenizer t = small_vocab().make();
    tn_text_stream *stream = nullptr;
    ASSERT_EQ(tn_text_stream_create(t.get(), nullptr, &stream), TN_OK);
    std::string text;
    for (int32_t id : {int32_t{SPACE_A}, BYTE_0 + 0xC3, BYTE_0 + 0xA9}) {
        const char *part = nullptr;
        size_t len = 0;
        bool stopped = false;
        ASSERT_EQ(tn_text_stream_push(stream, id, &part, &len, &stopped), TN_OK);
        text.append(part, len);
        EXPECT_EQ(text, id == BYTE_0 + 0xA9 ? " a\xC3\xA9" : " a"); // never half a character
    }
    tn_text_stream_destroy(stream);
}

TEST(Spm, BadScoresAndByteNamesAreRefused)
{
    tn_tokenizer *t = nullptr;
    Vocab v = small_vocab();
    v.scores[7] = NAN;
    EXPECT_EQ(v.create(&t), TN_BAD_FILE);
    EXPECT_STREQ(tn_error_last()->message, "token 7 has a score that is not a number: get another copy of the model");
    for (const char *name : {"<0x4>", "<0xG1>", "<0x041>", "<0xaf>", "", "a"}) {
        v = small_vocab();
        v.tokens[BYTE_0 + 9] = name;
        EXPECT_EQ(v.create(&t), TN_BAD_FILE) << name;
        EXPECT_NE(std::string(tn_error_last()->message).find("token 12 stands for a byte"), std::string::npos) << tn_error_last()->message;
    }
    v = small_vocab();
    v.scores[AB] = -INFINITY, v.scores[SPACE_A] = INFINITY;
    EXPECT_EQ(encode(v.make().get(), "ab"), (Ids{SPACE_A, B}));
}

TEST(Spm, WithoutKindsBytesAndSpecialTokensAreKnownByName)
{
    Vocab v = small_vocab();
    v.kinds.clear();
    Tokenizer t = v.make();
    EXPECT_EQ(tn_tokenizer_kind(t.get(), 0), TN_TOKEN_UNKNOWN);
    EXPECT_EQ(tn_tokenizer_kind(t.get(), 1), TN_TOKEN_CONTROL);
    EXPECT_EQ(tn_tokenizer_kind(t.get(), BYTE_0), TN_TOKEN_BYTE);
    EXPECT_EQ(tn_tokenizer_kind(t.get(), A), TN_TOKEN_NORMAL);
    EXPECT_EQ(encode(t.get(), "a\n"), (Ids{SPACE_A, BYTE_0 + '\n'}));
}

// Hostile texts: one word of a million characters, for vocabularies that merge it to the end, hardly, or not at all.
TEST(Spm, AMillionEqualCharactersTakeAtMostThreeHeapStepsEach)
{
    for (const std::string unit : {"a", "\xE4\xB8\xAD"}) {
        std::vector<std::string> pieces = {unit};
        for (int i = 0; i < 8; i++) pieces.push_back(pieces.back() + pieces.back());
        for (int variant = 0; variant < 3; variant++) {
            std::vector<tn_str> texts;
            std::vector<float> scores;
            std::vector<int32_t> bytes(256, -1);
            for (size_t i = 0; i < pieces.size(); i++) {
                texts.push_back({pieces[i].data(), pieces[i].size()});
                scores.push_back(variant == 0 ? 0.0f : variant == 1 ? static_cast<float>(i) : -static_cast<float>(i));
            }
            std::unique_ptr<bool[]> mergeable(new bool[pieces.size()]), unused(new bool[pieces.size()]());
            std::fill_n(mergeable.get(), pieces.size(), true);
            tn_spm_params params{};
            params.pieces = texts.data(), params.scores = scores.data(), params.bytes = bytes.data();
            params.mergeable = mergeable.get(), params.unused = unused.get();
            params.n_tokens = static_cast<int32_t>(pieces.size()), params.unknown = -1;
            tn_spm spm;
            tn_spm_scratch scratch{};
            tn_id_list ids{};
            ASSERT_EQ(tn_spm_init(&spm, &params), TN_OK);
            std::string word;
            for (int i = 0; i < 1000003; i++) word += unit;
            const auto *text = reinterpret_cast<const uint8_t *>(word.data());
            ASSERT_EQ(tn_spm_word_len(&spm, text, word.size()), word.size());
            ASSERT_EQ(tn_spm_encode_word(&spm, &scratch, text, word.size(), &ids), TN_OK);
            EXPECT_LE(scratch.heap.n_pops, 3u * 1000003);
            size_t total = 0;
            for (size_t i = 0; i < ids.n; i++) total += pieces[static_cast<size_t>(ids.ids[i])].size();
            EXPECT_EQ(total, word.size());
            tn_free(ids.ids);
            tn_spm_scratch_deinit(&scratch);
            tn_spm_deinit(&spm);
        }
    }
}

} // namespace
