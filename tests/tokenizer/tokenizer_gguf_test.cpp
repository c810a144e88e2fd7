// Tokenizers from GGUF keys: defaults, inference, warnings, damage.
#include "tokenizer/key_file.hpp"
#include "tokenizer/tokenizer_support.hpp"

#include <cmath>

using namespace tokenizer_support;

namespace
{

// Keys of a tokenizer with the 256 bytes, "ab", and two control tokens (257, 258).
struct Keys {
    std::vector<std::string> tokens = byte_vocab().tokens;
    std::vector<std::string> merges = {"a b"};
    std::vector<int32_t> kinds;
    Keys()
    {
        tokens.insert(tokens.end(), {"ab", "<s>", "<e>"});
        kinds.assign(257, TN_TOKEN_NORMAL);
        kinds.insert(kinds.end(), 2, TN_TOKEN_CONTROL);
    }
    KeyFile file(const std::string &model = "gpt2") const
    {
        KeyFile f;
        f.str("tokenizer.ggml.model", model).strs("tokenizer.ggml.tokens", tokens).strs("tokenizer.ggml.merges", merges);
        return f.i32s("tokenizer.ggml.token_type", kinds);
    }
};

class TokenizerGguf : public testing::Test
{
  protected:
    tn_status open(const KeyFile &keys, const char *arch = "llama", const char *pre = nullptr)
    {
        std::string bytes = keys.file();
        tn_gguf *gguf = nullptr;
        warnings_.clear();
        tn_log log{};
        log.write = [](void *user, tn_log_level level, const char *message) {
            if (level == TN_LOG_WARN) *static_cast<std::string *>(user) += std::string(message) + "\n";
        };
        log.user = &warnings_;
        EXPECT_EQ(tn_gguf_parse(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), "test.gguf", &log, &gguf), TN_OK)
            << tn_error_last()->message;
        tn_tokenizer *t = nullptr;
        tn_tokenizer_gguf_params params{};
        params.arch = arch, params.pre = pre, params.log = &log;
        tn_status status = tn_tokenizer_create_gguf(gguf, &params, &t);
        EXPECT_EQ(status == TN_OK, t != nullptr);
        tokenizer_ = owned(t);
        tn_gguf_destroy(gguf);
        return status;
    }
    void expect_refused(const KeyFile &keys, tn_status status, const std::string &message)
    {
        EXPECT_EQ(open(keys), status);
        EXPECT_NE(std::string(tn_error_last()->message).find(message), std::string::npos) << tn_error_last()->message;
    }
    bool warned(const std::string &text) const { return warnings_.find(text) != std::string::npos; }
    tn_tokenizer *get() const { return tokenizer_.get(); }
    std::string warnings_;
    Tokenizer tokenizer_{nullptr, tn_tokenizer_destroy};
};

TEST_F(TokenizerGguf, ReadsWhatTheKeysSay)
{
    KeyFile f = Keys().file();
    f.str("tokenizer.ggml.pre", "gpt-2").u32("tokenizer.ggml.bos_token_id", 257).u32("tokenizer.ggml.eos_token_id", 258);
    f.flag("tokenizer.ggml.add_bos_token", true).flag("tokenizer.ggml.add_eos_token", true);
    ASSERT_EQ(open(f), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(encode(get(), "ab a<s>", TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL), (Ids{257, 256, ' ', 'a', 257, 258}));
    EXPECT_TRUE(tn_tokenizer_is_eog(get(), 258));
    EXPECT_FALSE(tn_tokenizer_is_eog(get(), 257));
    EXPECT_STREQ(tn_tokenizer_pre(get()), "gpt-2");
    EXPECT_EQ(warnings_, "");
}

TEST_F(TokenizerGguf, TheLlamaFamilyAddsBosWhereTheFileDoesNotSay)
{
    for (bool said : {false, true}) {
        KeyFile f = Keys().file();
        f.str("tokenizer.ggml.pre", "llama-bpe").u32("tokenizer.ggml.bos_token_id", 257);
        if (said) f.flag("tokenizer.ggml.add_bos_token", false);
        ASSERT_EQ(open(f), TN_OK);
        EXPECT_EQ(tn_tokenizer_adds_bos(get()), !said);
    }
    KeyFile f = Keys().file();
    ASSERT_EQ(open(f.str("tokenizer.ggml.pre", "gpt-2").u32("tokenizer.ggml.bos_token_id", 257)), TN_OK);
    EXPECT_FALSE(tn_tokenizer_adds_bos(get()));
}

TEST_F(TokenizerGguf, AMissingPretokenizerIsInferredWithAWarning)
{
    for (const char *arch : {"bitnet-b1.58", "bitnet-25"}) {
        ASSERT_EQ(open(Keys().file(), arch), TN_OK);
        EXPECT_STREQ(tn_tokenizer_pre(get()), "llama-bpe");
        EXPECT_TRUE(warned("\"llama-bpe\" is taken")) << warnings_;
    }
    ASSERT_EQ(open(Keys().file(), "llama"), TN_OK);
    EXPECT_STREQ(tn_tokenizer_pre(get()), "default");
    EXPECT_TRUE(warned("\"default\" is taken")) << warnings_;
    Keys llama3;
    while (llama3.tokens.size() < 128256) llama3.tokens.push_back("t" + std::to_string(llama3.tokens.size()));
    llama3.kinds.resize(128256, TN_TOKEN_NORMAL);
    ASSERT_EQ(open(llama3.file(), "llama"), TN_OK);
    EXPECT_STREQ(tn_tokenizer_pre(get()), "llama-bpe");
}

TEST_F(TokenizerGguf, Token11IsBosAndEosByDefaultWhereItIsAControlToken)
{
    Keys keys;
    ASSERT_EQ(open(keys.file().str("tokenizer.ggml.pre", "gpt-2")), TN_OK);
    EXPECT_EQ(tn_tokenizer_bos(get()), TN_TOKEN_NONE);
    EXPECT_EQ(tn_tokenizer_eos(get()), TN_TOKEN_NONE);
    keys.kinds[11] = TN_TOKEN_CONTROL;
    ASSERT_EQ(open(keys.file().str("tokenizer.ggml.pre", "gpt-2").u32("tokenizer.ggml.bos_token_id", 257)), TN_OK);
    EXPECT_EQ(tn_tokenizer_bos(get()), 257);
    EXPECT_EQ(tn_tokenizer_eos(get()), 11);
    EXPECT_TRUE(tn_tokenizer_is_eog(get(), 11));
}

TEST_F(TokenizerGguf, SpecialIdsOutsideTheVocabularyAreIgnoredWithAWarning)
{
    KeyFile f = Keys().file();
    f.str("tokenizer.ggml.pre", "gpt-2").u32("tokenizer.ggml.bos_token_id", 259).i32("tokenizer.ggml.eos_token_id", -1);
    f.u32("tokenizer.ggml.eot_token_id", 0xFFFFFFFF).i32("tokenizer.ggml.eom_token_id", 258).flag("tokenizer.ggml.add_bos_token", true);
    ASSERT_EQ(open(f), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(tn_tokenizer_bos(get()), TN_TOKEN_NONE);
    EXPECT_EQ(tn_tokenizer_eos(get()), TN_TOKEN_NONE);
    EXPECT_TRUE(tn_tokenizer_is_eog(get(), 258));
    for (const char *key : {"bos_token_id", "eos_token_id", "eot_token_id"})
        EXPECT_TRUE(warned(std::string("tokenizer.ggml.") + key + " is no token"));
    EXPECT_FALSE(warned("eom_token_id"));
    EXPECT_TRUE(warned("they begin without"));
    EXPECT_EQ(encode(get(), "a", TN_ENCODE_ADD_SPECIAL), Ids{'a'});
}

TEST_F(TokenizerGguf, FilesWithoutATokenizerAreToldFromOtherKinds)
{
    expect_refused(KeyFile().str("general.architecture", "llama"), TN_NOT_FOUND, "test.gguf has no tokenizer");
    expect_refused(KeyFile().str("tokenizer.ggml.model", "no_vocab"), TN_NOT_FOUND, "test.gguf has no tokenizer");
    for (const char *kind : {"bert", "t5", "rwkv"})
        expect_refused(Keys().file(kind), TN_UNSUPPORTED, "of kind \"" + std::string(kind) + "\"");
    KeyFile f = Keys().file();
    expect_refused(f.str("tokenizer.ggml.pre", "viking"), TN_UNSUPPORTED, "\"viking\" is not known");
}

TEST_F(TokenizerGguf, DamagedKeysAreRefusedByName)
{
    Keys keys;
    expect_refused(KeyFile().str("tokenizer.ggml.model", "gpt2"), TN_BAD_FILE, "tokenizer.ggml.tokens");
    expect_refused(KeyFile().str("tokenizer.ggml.model", "gpt2").strs("tokenizer.ggml.tokens", keys.tokens), TN_BAD_FILE,
                   "tokenizer.ggml.merges");
    expect_refused(KeyFile().str("tokenizer.ggml.model", "gpt2").i32s("tokenizer.ggml.tokens", {1, 2}), TN_BAD_FILE,
                   "tokenizer.ggml.tokens");
    expect_refused(KeyFile().u32("tokenizer.ggml.model", 3), TN_BAD_FILE, "tokenizer.ggml.model");
    Keys short_kinds;
    short_kinds.kinds.pop_back();
    expect_refused(short_kinds.file(), TN_BAD_FILE, "tokenizer.ggml.token_type has 258 entries for 259 tokens");
    Keys bad_kind;
    bad_kind.kinds[5] = -3;
    expect_refused(bad_kind.file(), TN_BAD_FILE, "token 5 has type -3");
    KeyFile scores = keys.file();
    expect_refused(scores.i32s("tokenizer.ggml.scores", {0, 0}, TN_GGUF_F32), TN_BAD_FILE,
                   "tokenizer.ggml.scores has 2 entries for 259 tokens");
    KeyFile bos = keys.file();
    expect_refused(bos.str("tokenizer.ggml.pre", "gpt-2").str("tokenizer.ggml.bos_token_id", "257"), TN_BAD_FILE,
                   "tokenizer.ggml.bos_token_id");
    Keys long_token;
    long_token.tokens[256] = std::string(70000, 'a');
    expect_refused(long_token.file().str("tokenizer.ggml.pre", "gpt-2"), TN_BAD_FILE, "token 256 has 70000 bytes");
    Keys none;
    none.tokens.clear(), none.kinds.clear();
    expect_refused(none.file(), TN_BAD_FILE, "0 tokens");
}

TEST_F(TokenizerGguf, LeftOutMergesAndLostBytesAreWarnedOf)
{
    Keys keys;
    keys.merges = {"a c", "a b"};
    keys.tokens['z'] = "zz";
    ASSERT_EQ(open(keys.file().str("tokenizer.ggml.pre", "gpt-2")), TN_OK);
    EXPECT_TRUE(warned("1 merges of tokens that are not in the vocabulary are left out, the first is number 0")) << warnings_;
    EXPECT_TRUE(warned("1 of the 256 bytes have no token")) << warnings_;
    EXPECT_EQ(encode(get(), "abz"), Ids{256});
}

TEST_F(TokenizerGguf, TheEndTokenMarkedWronglyIsWarnedOf)
{
    Keys keys;
    keys.tokens[257] = "<|im_end|>";
    keys.kinds[257] = TN_TOKEN_NORMAL;
    ASSERT_EQ(open(keys.file().str("tokenizer.ggml.pre", "gpt-2")), TN_OK);
    EXPECT_TRUE(warned("token 257 is <|im_end|> but not marked as a control token")) << warnings_;
    EXPECT_TRUE(tn_tokenizer_is_eog(get(), 257));
}

// Keys of a SentencePiece tokenizer: unknown, BOS and EOS at 0 to 2, the 256 bytes, then pieces.
struct SpmKeys {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> kinds = {TN_TOKEN_UNKNOWN, TN_TOKEN_CONTROL, TN_TOKEN_CONTROL};
    std::vector<float> scores;
    SpmKeys()
    {
        char name[8];
        for (unsigned b = 0; b < 256; b++) {
            std::snprintf(name, sizeof name, "<0x%02X>", b);
            tokens.push_back(name);
            kinds.push_back(TN_TOKEN_BYTE);
        }
        tokens.insert(tokens.end(), {"\u2581", "a", "b", "\u2581a", "ab"}); // 259 and on
        kinds.resize(tokens.size(), TN_TOKEN_NORMAL);
        scores.resize(tokens.size(), 0.0f);
        scores[262] = -1, scores[263] = -2;
    }
    KeyFile file() const { return head().f32s("tokenizer.ggml.scores", scores); }
    KeyFile head() const
    {
        KeyFile f;
        f.str("tokenizer.ggml.model", "llama").strs("tokenizer.ggml.tokens", tokens);
        return f.i32s("tokenizer.ggml.token_type", kinds);
    }
};

TEST_F(TokenizerGguf, SentencePieceHasItsOwnDefaults)
{
    ASSERT_EQ(open(SpmKeys().file()), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(warnings_, "");
    EXPECT_STREQ(tn_tokenizer_pre(get()), "spm");
    EXPECT_EQ(tn_tokenizer_bos(get()), 1);
    EXPECT_EQ(tn_tokenizer_eos(get()), 2);
    EXPECT_TRUE(tn_tokenizer_is_eog(get(), 2));
    EXPECT_TRUE(tn_tokenizer_adds_bos(get()));
    EXPECT_EQ(encode(get(), "ab  \n", TN_ENCODE_ADD_SPECIAL), (Ids{1, 262, 261, 259, 259, 3 + '\n'}));
}

TEST_F(TokenizerGguf, SentencePieceFollowsItsKeys)
{
    KeyFile f = SpmKeys().file();
    f.u32("tokenizer.ggml.bos_token_id", 2).u32("tokenizer.ggml.eos_token_id", 1).flag("tokenizer.ggml.add_bos_token", false);
    f.flag("tokenizer.ggml.add_eos_token", true).flag("tokenizer.ggml.add_space_prefix", false);
    f.flag("tokenizer.ggml.remove_extra_whitespaces", true).u32("tokenizer.ggml.unknown_token_id", 0).str("tokenizer.ggml.pre", "default");
    ASSERT_EQ(open(f), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(encode(get(), "  ab  a ", TN_ENCODE_ADD_SPECIAL), (Ids{263, 262, 1}));
}

TEST_F(TokenizerGguf, DefaultsOutsideASmallVocabularyAreNone)
{
    KeyFile f;
    f.str("tokenizer.ggml.model", "llama").strs("tokenizer.ggml.tokens", {"a"}).f32s("tokenizer.ggml.scores", {0});
    f.i32s("tokenizer.ggml.token_type", {TN_TOKEN_NORMAL}).i32("tokenizer.ggml.unknown_token_id", -1);
    ASSERT_EQ(open(f), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(tn_tokenizer_bos(get()), TN_TOKEN_NONE);
    EXPECT_EQ(tn_tokenizer_eos(get()), TN_TOKEN_NONE);
    EXPECT_TRUE(warned("they begin without"));
    EXPECT_TRUE(warned("256 of the 256 bytes have no token, and there is no unknown token")) << warnings_;
    EXPECT_EQ(encode(get(), "ba", TN_ENCODE_ADD_SPECIAL), Ids{0});
}

TEST_F(TokenizerGguf, DamagedSentencePieceKeysAreRefusedByName)
{
    SpmKeys keys;
    expect_refused(keys.head(), TN_BAD_FILE, "test.gguf has a SentencePiece tokenizer without tokenizer.ggml.scores");
    expect_refused(keys.head().f32s("tokenizer.ggml.scores", {0, 0}), TN_BAD_FILE, "tokenizer.ggml.scores has 2 entries for 264 tokens");
    expect_refused(keys.head().i32s("tokenizer.ggml.scores", keys.kinds), TN_BAD_FILE, "tokenizer.ggml.scores");
    expect_refused(keys.head().str("tokenizer.ggml.scores", "0"), TN_BAD_FILE, "tokenizer.ggml.scores");
    expect_refused(keys.head().f32s("tokenizer.ggml.scores", {}), TN_BAD_FILE, "tokenizer.ggml.scores has 0 entries");
    SpmKeys nan = keys;
    nan.scores[260] = -NAN;
    expect_refused(nan.file(), TN_BAD_FILE, "token 260 has a score that is not a number");
    SpmKeys byte = keys;
    byte.tokens[3] = "<0xZZ>";
    expect_refused(byte.file(), TN_BAD_FILE, "token 3 stands for a byte, but is \"<0xZZ>\"");
    SpmKeys kind = keys;
    kind.kinds[0] = 7;
    expect_refused(kind.file(), TN_BAD_FILE, "token 0 has type 7");
    SpmKeys long_token = keys;
    long_token.tokens[262] = std::string(70000, 'a');
    expect_refused(long_token.file(), TN_BAD_FILE, "token 262 has 70000 bytes");
    SpmKeys none;
    none.tokens.clear(), none.kinds.clear(), none.scores.clear();
    expect_refused(none.file(), TN_BAD_FILE, "0 tokens");
    KeyFile flag = keys.file();
    expect_refused(flag.u32("tokenizer.ggml.add_space_prefix", 1), TN_BAD_FILE, "tokenizer.ggml.add_space_prefix");
}

// Pieces as long as they may be, each of which a text could become.
TEST_F(TokenizerGguf, LongPiecesTakeNoMoreThanTheirBytes)
{
    SpmKeys keys;
    std::string longest(65536, 'a');
    for (size_t len = 2; len <= longest.size(); len *= 2) {
        keys.tokens.push_back(longest.substr(0, len));
        keys.kinds.push_back(TN_TOKEN_NORMAL);
        keys.scores.push_back(-static_cast<float>(len));
    }
    ASSERT_EQ(open(keys.file().flag("tokenizer.ggml.add_space_prefix", false)), TN_OK) << tn_error_last()->message;
    Ids ids = encode(get(), std::string(65536 + 3, 'a'));
    EXPECT_EQ(ids, (Ids{tn_tokenizer_n_vocab(get()) - 1, 264, 260}));
    EXPECT_EQ(decode_text(get(), ids).size(), 65536u + 3);
}

TEST_F(TokenizerGguf, AnotherPretokenizerMayBeAskedFor)
{
    KeyFile f = Keys().file();
    f.str("tokenizer.ggml.pre", "viking").u32("tokenizer.ggml.bos_token_id", 257); // the file's own is not even known
    ASSERT_EQ(open(f, "llama", "falcon_e"), TN_OK) << tn_error_last()->message;
    EXPECT_STREQ(tn_tokenizer_pre(get()), "falcon_e");
    EXPECT_FALSE(tn_tokenizer_adds_bos(get()));
    ASSERT_EQ(open(f, "llama", "falcon3"), TN_OK);
    EXPECT_TRUE(tn_tokenizer_adds_bos(get())); // a habit of that family, where the file does not say
    ASSERT_EQ(open(Keys().file(), "llama", "gpt-2"), TN_OK);
    EXPECT_EQ(warnings_, ""); // nothing is missing then
    EXPECT_EQ(open(f, "llama", "falcon9"), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("\"falcon9\" is not known to this version, which has: llama-bpe, "),
              std::string::npos);
    EXPECT_EQ(open(SpmKeys().file(), "llama", "gpt-2"), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("test.gguf is SentencePiece, which has no pre-tokenizer"), std::string::npos);
}

} // namespace
