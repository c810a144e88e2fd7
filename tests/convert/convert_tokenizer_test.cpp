// Tests of the tokenizer files: SentencePiece as tokenizer.model and as tokenizer.json, and the names of pre-tokenizers.
#include "convert/checkpoint.h"

#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <sstream>

extern "C" {
#include "format/gguf.h"
#include "model/hf_tokenizer_internal.h"
#include "ternion/convert.h"
#include "ternion/tokenizer.h"
}

namespace
{

std::string last_message() { return tn_error_last()->message; }

std::string fixture(const std::string &name)
{
    std::ifstream file(std::string(TN_SOURCE_DIR) + "/tests/data/spm/" + name, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_FALSE(text.str().empty()) << name;
    return text.str();
}

// What make_spm.py was told by the sentencepiece package.
struct Piece {
    float score;
    int32_t kind;
    std::string text;
};

std::vector<Piece> pieces()
{
    std::vector<Piece> all;
    std::istringstream file(fixture("pieces.txt"));
    size_t id;
    Piece p = {};
    std::string hex;
    while (file >> id >> p.score >> p.kind >> hex) {
        EXPECT_EQ(all.size(), id);
        p.text.clear();
        for (size_t i = 0; i < hex.size(); i += 2) p.text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
        all.push_back(p);
    }
    return all;
}

// Warnings of a reading.
struct Log {
    std::string text;
    static void write(void *user, tn_log_level, const char *message) { static_cast<Log *>(user)->text += std::string(message) + "\n"; }
};

// A reading of the tokenizer files of a folder.
class Reading
{
  public:
    Reading(const TempFolder &folder, uint32_t n_vocab)
    {
        tn_hf_config config = {};
        config.n_vocab = n_vocab;
        config.bos = config.eos = config.pad = TN_HF_ID_NONE;
        const tn_log log = {Log::write, &log_, TN_LOG_WARN};
        status = tn_hf_tokenizer_read(folder.path().c_str(), &config, &log, &t);
    }
    ~Reading() { tn_hf_tokenizer_deinit(&t); }
    Reading(const Reading &) = delete;
    Reading &operator=(const Reading &) = delete;
    std::string token(size_t id) const { return std::string(t.tokens[id].data, t.tokens[id].len); }
    const std::string &warnings() const { return log_.text; }

    tn_hf_tokenizer t = {};
    tn_status status;

  private:
    Log log_;
};

void expect_pieces(const Reading &r)
{
    const std::vector<Piece> all = pieces();
    ASSERT_EQ(TN_OK, r.status) << last_message();
    ASSERT_NE(nullptr, r.t.scores);
    ASSERT_GE(r.t.n_tokens, all.size());
    for (size_t i = 0; i < all.size(); i++) {
        ASSERT_EQ(all[i].text, r.token(i)) << i;
        ASSERT_EQ(all[i].score, r.t.scores[i]) << i << " " << all[i].text;
        ASSERT_EQ(all[i].kind, r.t.kinds[i]) << i << " " << all[i].text;
    }
    EXPECT_STREQ("llama", r.t.model);
    EXPECT_EQ(0, r.t.unk);
    EXPECT_TRUE(r.t.add_bos);
    EXPECT_FALSE(r.t.add_eos);
    EXPECT_TRUE(r.t.add_space_prefix);
    EXPECT_EQ(0u, r.t.n_merges);
}

std::string replaced(std::string text, const std::string &from, const std::string &to)
{
    const size_t at = text.find(from);
    EXPECT_NE(std::string::npos, at) << from;
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// ---- a SentencePiece model written by hand ----

std::string varint(uint64_t v)
{
    std::string out;
    for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
    return out + static_cast<char>(v);
}
std::string number(uint32_t field, uint64_t v) { return varint(field << 3) + varint(v); }
std::string message(uint32_t field, const std::string &bytes) { return varint(field << 3 | 2) + varint(bytes.size()) + bytes; }
std::string piece(const std::string &text, float score, uint64_t kind)
{
    std::string bits(4, '\0');
    std::memcpy(&bits[0], &score, 4);
    return message(1, message(1, text) + varint(2 << 3 | 5) + bits + (kind == 1 ? "" : number(3, kind)));
}

struct Model {
    std::string pieces = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("<0x41>", 0, 6) + piece("ab", -1, 1);
    std::string trainer = number(3, 2) + number(35, 1), normalizer = number(4, 0);
    std::string bytes() const { return pieces + message(2, trainer) + message(3, normalizer); }
};

} // namespace

TEST(ConvertSpm, ReadsTheModel)
{
    TempFolder folder;
    folder.write("tokenizer.model", fixture("tokenizer.model"));
    const Reading r(folder, 484);
    expect_pieces(r);
    EXPECT_EQ(1, r.t.bos);
    EXPECT_EQ(2, r.t.eos);
    EXPECT_EQ("[PAD480]", r.token(480));
    EXPECT_EQ(TN_TOKEN_UNUSED, r.t.kinds[483]);
}

// The scores follow from the order of the merges, up to the last.
TEST(ConvertSpm, ReadsTheSameFromTokenizerJson)
{
    TempFolder folder;
    folder.write("tokenizer.json", fixture("tokenizer.json"));
    folder.write("tokenizer_config.json", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    const Reading r(folder, 480);
    expect_pieces(r);
    EXPECT_EQ(1, r.t.bos);
    EXPECT_EQ(2, r.t.eos);
    EXPECT_EQ("", r.warnings());
}

TEST(ConvertSpm, TheModelsScoresGoFirstAndTheJsonsAddedTokensCount)
{
    TempFolder folder;
    const std::string merges_gone = replaced(fixture("tokenizer.json"), "\"merges\":[[", "\"merges\":[],\"old\":[[");
    folder.write("tokenizer.json",
                 replaced(merges_gone, "\"added_tokens\":[", "\"added_tokens\":[{\"id\":480,\"content\":\"<pad>\",\"special\":true},"));
    folder.write("tokenizer.model", fixture("tokenizer.model"));
    const Reading r(folder, 482);
    expect_pieces(r);
    EXPECT_EQ("<pad>", r.token(480));
    EXPECT_EQ(TN_TOKEN_CONTROL, r.t.kinds[480]);
}

TEST(ConvertSpm, AddedTokensMayBeInTheTokenizersConfig)
{
    TempFolder folder;
    folder.write("tokenizer.model", fixture("tokenizer.model"));
    folder.write(
        "tokenizer_config.json",
        "{\"add_bos_token\":false,\"pad_token\":\"<pad>\",\"added_tokens_decoder\":{\"0\":{\"content\":\"<unk>\",\"special\":true},"
        "\"480\":{\"content\":\"<pad>\",\"special\":true},\"481\":{\"content\":\"<call>\"}}}");
    const Reading r(folder, 482);
    ASSERT_EQ(TN_OK, r.status) << last_message();
    EXPECT_EQ("<pad>", r.token(480));
    EXPECT_EQ(TN_TOKEN_CONTROL, r.t.kinds[480]);
    EXPECT_EQ(TN_TOKEN_USER_DEFINED, r.t.kinds[481]);
    EXPECT_EQ(TN_TOKEN_UNKNOWN, r.t.kinds[0]);
    EXPECT_EQ(480, r.t.pad);
    EXPECT_FALSE(r.t.add_bos);
    for (const char *bad :
         {"{\"added_tokens_decoder\":{\"x\":{\"content\":\"a\"}}}", "{\"added_tokens_decoder\":{\"480\":{}}}",
          "{\"added_tokens_decoder\":{\"482\":{\"content\":\"a\"}}}", "{\"added_tokens_decoder\":{\"3\":{\"content\":\"a\"}}}",
          "{\"added_tokens_decoder\":{\"-1\":{\"content\":\"a\"}}}"}) {
        folder.write("tokenizer_config.json", bad);
        EXPECT_EQ(TN_BAD_FILE, Reading(folder, 482).status) << bad;
    }
}

TEST(ConvertSpm, WritesTheVocabularyIntoTheFile)
{
    Checkpoint c;
    c.config["vocab_size"] = "484";
    c.config.erase("bos_token_id");
    c.config.erase("eos_token_id");
    c.add("model.embed_tokens.weight", {484, Checkpoint::EMBD});
    std::string first;
    for (const char *name : {"tokenizer.model", "tokenizer.json"}) {
        TempFolder folder;
        c.write(folder);
        std::filesystem::remove(folder.at("tokenizer.json"));
        folder.write(name, fixture(name));
        folder.write("tokenizer_config.json", "{\"eos_token\":\"</s>\",\"chat_template\":\"{{ x }}\"}");
        const std::string path = folder.at("out.gguf");
        tn_convert_params p = TN_CONVERT_PARAMS_INIT;
        p.input_dir = folder.path().c_str();
        p.output_path = path.c_str();
        ASSERT_EQ(TN_OK, tn_convert(&p)) << last_message();
        if (first.empty()) {
            first = folder.read("out.gguf");
        } else {
            EXPECT_TRUE(first == folder.read("out.gguf")) << "the two files say the same";
        }
        tn_gguf *g = nullptr;
        ASSERT_EQ(TN_OK, tn_gguf_open(path.c_str(), nullptr, &g));
        tn_str text = {"", 0};
        EXPECT_EQ(TN_OK, tn_gguf_get_str(g, "tokenizer.ggml.model", &text));
        EXPECT_TRUE(tn_str_is(text, "llama"));
        tn_gguf_array scores = {};
        EXPECT_EQ(TN_OK, tn_gguf_get_array(g, "tokenizer.ggml.scores", TN_GGUF_F32, &scores));
        EXPECT_EQ(484u, scores.n);
        uint32_t id = 99;
        EXPECT_EQ(TN_OK, tn_gguf_get_u32(g, "tokenizer.ggml.bos_token_id", &id));
        EXPECT_EQ(1u, id);
        EXPECT_EQ(TN_OK, tn_gguf_get_u32(g, "tokenizer.ggml.eos_token_id", &id));
        EXPECT_EQ(2u, id);
        EXPECT_EQ(TN_OK, tn_gguf_get_u32(g, "tokenizer.ggml.unknown_token_id", &id));
        EXPECT_EQ(0u, id);
        bool flag = false;
        EXPECT_EQ(TN_OK, tn_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &flag));
        EXPECT_TRUE(flag);
        EXPECT_EQ(TN_OK, tn_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &flag));
        EXPECT_TRUE(flag);
        EXPECT_EQ(nullptr, tn_gguf_find(g, "tokenizer.ggml.merges"));
        EXPECT_NE(nullptr, tn_gguf_find(g, "tokenizer.chat_template"));
        tn_gguf_destroy(g);
    }
}

TEST(ConvertSpm, ADamagedModelIsNeverTaken)
{
    const std::string whole = fixture("tokenizer.model");
    TempFolder folder;
    for (size_t n = 0; n < whole.size(); n += n < 200 || n + 400 > whole.size() ? 1 : 97) {
        folder.write("tokenizer.model", whole.substr(0, n));
        const Reading r(folder, 480);
        // Cut behind the description of the model only what normalises is missing, and SentencePiece drops repeated spaces then.
        if (r.status == TN_OK) {
            EXPECT_NE(std::string::npos, r.warnings().find("repeated spaces")) << n;
        } else {
            EXPECT_TRUE(r.status == TN_BAD_FILE || r.status == TN_UNSUPPORTED) << n << last_message();
            EXPECT_NE(std::string::npos, last_message().find("tokenizer.model")) << last_message();
        }
    }
    uint32_t random = 1;
    for (int i = 0; i < 600; i++) { // any bytes: an answer, and no more than that
        std::string changed = whole;
        for (int k = 0; k < 3; k++) {
            random = random * 1664525u + 1013904223u;
            changed[(random >> 8) % changed.size()] = static_cast<char>(random >> 3);
        }
        folder.write("tokenizer.model", changed);
        const Reading r(folder, 480);
        EXPECT_TRUE(r.status == TN_OK || r.status == TN_BAD_FILE || r.status == TN_UNSUPPORTED) << last_message();
    }
}

TEST(ConvertSpm, ModelsOfOtherKindsAreRefusedByName)
{
    const struct {
        const char *name;
        std::function<void(Model &)> change;
        tn_status status;
        const char *text;
    } cases[] = {
        {"plain", [](Model &) {}, TN_OK, ""},
        {"unigram", [](Model &m) { m.trainer = number(3, 1) + number(35, 1); }, TN_UNSUPPORTED, "is not a BPE"},
        {"unsaid", [](Model &m) { m.trainer = number(35, 1); }, TN_UNSUPPORTED, "is not a BPE"},
        {"no bytes", [](Model &m) { m.trainer = number(3, 2); }, TN_UNSUPPORTED, "byte tokens"},
        {"spaces behind", [](Model &m) { m.trainer += number(24, 1); }, TN_UNSUPPORTED, "spaces behind"},
        {"characters", [](Model &m) { m.normalizer += message(2, "map"); }, TN_UNSUPPORTED, "normalises characters"},
        {"spaces kept", [](Model &m) { m.normalizer += number(5, 0); }, TN_UNSUPPORTED, "spaces as they are"},
        {"no pieces", [](Model &m) { m.pieces = ""; }, TN_BAD_FILE, "damaged"},
        {"kind 7", [](Model &m) { m.pieces += piece("x", 0, 7); }, TN_BAD_FILE, "damaged"},
        {"score", [](Model &m) { m.pieces += piece("x", NAN, 1); }, TN_BAD_FILE, "damaged"},
        {"empty piece", [](Model &m) { m.pieces += piece("", 0, 1); }, TN_BAD_FILE, "token 5 is empty"},
        {"too many", [](Model &m) { m.pieces += piece("x", 0, 1) + piece("y", 0, 1); }, TN_BAD_FILE, "vocab_size of 6"},
    };
    for (const auto &k : cases) {
        SCOPED_TRACE(k.name);
        Model m;
        k.change(m);
        TempFolder folder;
        folder.write("tokenizer.model", m.bytes());
        const Reading r(folder, 6);
        EXPECT_EQ(k.status, r.status) << last_message();
        if (k.status == TN_OK) continue;
        EXPECT_NE(std::string::npos, last_message().find(k.text)) << last_message();
    }
}

TEST(ConvertSpm, TheModelSaysWhichTokensAreSpecialAndWhetherASpaceGoesFirst)
{
    Model m;
    m.trainer += number(40, 0) + number(41, 2) + number(42, UINT64_MAX); // no EOS
    m.normalizer += number(3, 0);
    TempFolder folder;
    folder.write("tokenizer.model", m.bytes());
    const Reading r(folder, 6);
    ASSERT_EQ(TN_OK, r.status) << last_message();
    EXPECT_EQ(2, r.t.bos);
    EXPECT_EQ(TN_HF_ID_NONE, r.t.eos);
    EXPECT_FALSE(r.t.add_space_prefix);
    EXPECT_EQ(TN_TOKEN_BYTE, r.t.kinds[3]);
    EXPECT_EQ(-1.0f, r.t.scores[4]);
}

TEST(ConvertSpm, AMetaspaceIsTheSameAsItsNormalizers)
{
    const std::string normalizers = "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},"
                                    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]},\"pre_tokenizer\":null";
    const auto metaspace = [&](const std::string &rest) {
        return replaced(fixture("tokenizer.json"), normalizers,
                        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"" + rest + "}");
    };
    const struct {
        const char *rest;
        tn_status status;
        bool prefix, warns;
    } cases[] = {{",\"prepend_scheme\":\"always\",\"split\":false", TN_OK, true, false},
                 {",\"prepend_scheme\":\"first\",\"split\":false", TN_OK, true, true},
                 {",\"prepend_scheme\":\"never\",\"split\":false", TN_OK, false, false},
                 {",\"add_prefix_space\":true,\"split\":false", TN_OK, true, false},
                 {",\"prepend_scheme\":\"always\",\"split\":true", TN_UNSUPPORTED, false, false},
                 {",\"prepend_scheme\":\"always\"", TN_UNSUPPORTED, false, false}};
    for (const auto &k : cases) {
        SCOPED_TRACE(k.rest);
        TempFolder folder;
        folder.write("tokenizer.json", metaspace(k.rest));
        const Reading r(folder, 480);
        ASSERT_EQ(k.status, r.status) << last_message();
        if (k.status != TN_OK) continue;
        EXPECT_EQ(k.prefix, r.t.add_space_prefix);
        EXPECT_EQ(k.warns, r.warnings().find("first text only") != std::string::npos) << r.warnings();
    }
    for (const char *step : {"{\"type\":\"NFKC\"}", "{\"type\":\"Prepend\",\"prepend\":\"_\"}"}) {
        TempFolder folder;
        folder.write("tokenizer.json", replaced(fixture("tokenizer.json"), "{\"type\":\"Prepend\",\"prepend\":\"\u2581\"}", step));
        EXPECT_EQ(TN_UNSUPPORTED, Reading(folder, 480).status);
        EXPECT_NE(std::string::npos, last_message().find("SentencePiece")) << last_message();
    }
    TempFolder folder;
    folder.write("tokenizer.json", replaced(fixture("tokenizer.json"), "\"merges\":[[", "\"merges\":[[\"q\",\"q\"],["));
    EXPECT_EQ(TN_BAD_FILE, Reading(folder, 480).status);
    EXPECT_NE(std::string::npos, last_message().find("makes 'qq', which is no token")) << last_message();
}

// ---- pre-tokenizers ----

namespace
{

const std::string PUNCTUATION = "{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}";
const std::string BYTE_LEVEL = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}";

std::string digits(bool individual)
{
    return std::string("{\"type\":\"Digits\",\"individual_digits\":") + (individual ? "true}" : "false}");
}
std::string split(const std::string &regex)
{
    return "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" + regex + "\"},\"behavior\":\"Isolated\",\"invert\":false}";
}
std::string sequence(const std::vector<std::string> &steps)
{
    std::string all;
    for (const auto &step : steps) all += (all.empty() ? "" : ",") + step;
    return "{\"type\":\"Sequence\",\"pretokenizers\":[" + all + "]}";
}

const std::string QWEN2 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
                          "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"; // as JSON text

} // namespace

TEST(ConvertPre, IsNamedByItsStructureAndExpressions)
{
    const std::string bytes = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
    const struct {
        std::string pre;
        const char *name; // NULL: refused
    } cases[] = {
        {sequence({split(QWEN2), bytes}), "qwen2"},
        {BYTE_LEVEL, "gpt-2"},
        {sequence({PUNCTUATION, BYTE_LEVEL, digits(false), split("[0-9][0-9][0-9]")}), "falcon"},
        {sequence({PUNCTUATION, BYTE_LEVEL, digits(false), split("[0-9]")}), "falcon_e"},
        {sequence({PUNCTUATION, BYTE_LEVEL, digits(true)}), "falcon_e"},
        {sequence({PUNCTUATION, BYTE_LEVEL, digits(true), split("[0-9]")}), "falcon_e"},
        {sequence({PUNCTUATION, BYTE_LEVEL, split("[0-9]")}), "falcon_e"},
        {sequence({PUNCTUATION, BYTE_LEVEL, digits(true), split("[0-9][0-9][0-9]")}), nullptr},
        {sequence({PUNCTUATION, BYTE_LEVEL, digits(false)}), nullptr},
        {sequence({PUNCTUATION, BYTE_LEVEL, split("[0-9][0-9]")}), nullptr},
        {sequence({BYTE_LEVEL, PUNCTUATION, digits(true)}), nullptr},
        {sequence({"{\"type\":\"Punctuation\",\"behavior\":\"Isolated\"}", BYTE_LEVEL, digits(true)}), nullptr},
        {sequence({PUNCTUATION, bytes, digits(true)}), nullptr},
    };
    for (const auto &k : cases) {
        SCOPED_TRACE(k.pre);
        Checkpoint c;
        c.model_extra = "";
        c.pre_tokenizer = k.pre;
        TempFolder folder;
        folder.write("tokenizer.json", c.tokenizer_json());
        const Reading r(folder, 40);
        ASSERT_EQ(k.name ? TN_OK : TN_UNSUPPORTED, r.status) << last_message();
        if (k.name) {
            EXPECT_STREQ(k.name, r.t.pre);
            EXPECT_STREQ("gpt2", r.t.model);
            EXPECT_EQ(nullptr, r.t.scores);
        }
    }
}

TEST(ConvertPre, QwensNormalizerIsLeftOutWithAWarning)
{
    Checkpoint c;
    c.model_extra = "";
    c.pre_tokenizer = sequence({split(QWEN2), "{\"type\":\"ByteLevel\",\"use_regex\":false}"});
    c.normalizer = "{\"type\":\"NFC\"}";
    TempFolder folder;
    folder.write("tokenizer.json", c.tokenizer_json());
    const Reading r(folder, 40);
    ASSERT_EQ(TN_OK, r.status) << last_message();
    EXPECT_NE(std::string::npos, r.warnings().find("NFC")) << r.warnings();
}

// Falcon3 is told by its vocabulary; what readers make of the name is said where it is not what the checkpoint does.
TEST(ConvertPre, Falcon3HasItsOwnNameWhateverItsPasses)
{
    for (const bool llama3 : {false, true}) {
        Checkpoint c;
        if (!llama3) c.pre_tokenizer = sequence({PUNCTUATION, BYTE_LEVEL, digits(true)});
        c.vocab = replaced(c.vocab, "\"\u0120\":0", "\">>TITLE<<\":0,\"\u0120\":33");
        TempFolder folder;
        folder.write("tokenizer.json", c.tokenizer_json());
        const Reading r(folder, 131072), other(folder, 32768);
        ASSERT_EQ(TN_OK, r.status) << last_message();
        EXPECT_STREQ("falcon3", r.t.pre);
        EXPECT_EQ(!llama3, r.warnings().find("\"falcon_e\"") != std::string::npos) << r.warnings();
        EXPECT_STREQ(llama3 ? "llama-bpe" : "falcon_e", other.t.pre);
    }
}
