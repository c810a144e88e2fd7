// Tokenizers from GGUF keys: defaults, inference, warnings, damage.
#include "tokenizer/tokenizer_support.hpp"

#include <functional>

using namespace tokenizer_support;

namespace
{

// A GGUF file with keys and no tensors, byte by byte.
class KeyFile
{
  public:
    KeyFile &str(const std::string &key, const std::string &value)
    {
        return add(key, TN_GGUF_STRING, [&] { text(value); });
    }
    KeyFile &u32(const std::string &key, uint32_t value)
    {
        return add(key, TN_GGUF_U32, [&] { number(value, 4); });
    }
    KeyFile &i32(const std::string &key, int32_t value)
    {
        return add(key, TN_GGUF_I32, [&] { number(static_cast<uint32_t>(value), 4); });
    }
    KeyFile &flag(const std::string &key, bool value)
    {
        return add(key, TN_GGUF_BOOL, [&] { number(value, 1); });
    }
    KeyFile &strs(const std::string &key, const std::vector<std::string> &values)
    {
        return add(key, TN_GGUF_ARRAY, [&] {
            number(TN_GGUF_STRING, 4), number(values.size(), 8);
            for (const auto &v : values) text(v);
        });
    }
    KeyFile &i32s(const std::string &key, const std::vector<int32_t> &values, tn_gguf_type type = TN_GGUF_I32)
    {
        return add(key, TN_GGUF_ARRAY, [&] {
            number(type, 4), number(values.size(), 8);
            for (int32_t v : values) number(static_cast<uint32_t>(v), 4);
        });
    }
    std::string file() const
    {
        KeyFile head;
        head.body_ = "GGUF";
        head.number(3, 4), head.number(0, 8), head.number(n_keys_, 8);
        return head.body_ + body_;
    }

  private:
    KeyFile &add(const std::string &key, tn_gguf_type type, const std::function<void()> &value)
    {
        n_keys_++;
        text(key);
        number(type, 4);
        value();
        return *this;
    }
    void text(const std::string &t)
    {
        number(t.size(), 8);
        body_ += t;
    }
    void number(uint64_t value, int n_bytes)
    {
        for (int i = 0; i < n_bytes; i++) body_.push_back(static_cast<char>(value >> 8 * i));
    }
    std::string body_;
    uint64_t n_keys_ = 0;
};

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

} // namespace
