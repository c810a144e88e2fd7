// Tests of what conversion refuses: each message names the thing and the reason, and nothing is left behind.
#include "convert/checkpoint.h"

#include <cmath>
#include <functional>
#include <gtest/gtest.h>

extern "C" {
#include "ternion/convert.h"
}

namespace
{

struct Refusal {
    const char *name;
    std::function<void(Checkpoint &)> change;
    tn_status status;
    const char *text; // part of the message
    const char *type = nullptr, *embd = nullptr;
};

std::function<void(Checkpoint &)> set(const char *key, const char *value)
{
    return [key, value](Checkpoint &c) { c.config[key] = value; };
}
std::function<void(Checkpoint &)> drop(const char *key)
{
    return [key](Checkpoint &c) { c.config.erase(key); };
}

const Refusal REFUSALS[] = {
    // config.json
    {"OtherArchitecture", set("architectures", "[\"LlamaForCausalLM\"]"), TN_UNSUPPORTED, "'LlamaForCausalLM'"},
    {"OtherModelType", set("model_type", "\"qwen3\""), TN_UNSUPPORTED, "'qwen3'"},
    {"ScaledRope", set("rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":8.0}"), TN_UNSUPPORTED,
     "rope_scaling asks for RoPE of type 'llama3'"},
    {"LinearRopeWithoutFactor", set("rope_scaling", "{\"type\":\"linear\"}"), TN_BAD_FILE, "rope_scaling has no factor"},
    {"UnknownLinearClass", set("quantization_config", "{\"quant_method\":\"bitnet\",\"linear_class\":\"bit\"}"), TN_UNSUPPORTED,
     "linear_class 'bit'"},
    {"YarnParameters", set("rope_parameters", "{\"rope_type\":\"yarn\",\"rope_theta\":1e4}"), TN_UNSUPPORTED, "rope_parameters"},
    {"NormInLinear", set("quantization_config", "{\"quant_method\":\"bitnet\",\"use_rms_norm\":true}"), TN_UNSUPPORTED, "use_rms_norm"},
    {"OtherQuantisation", set("quantization_config", "{\"quant_method\":\"gptq\"}"), TN_UNSUPPORTED, "quant_method"},
    {"DenseLinear", set("quantization_config", "{\"quant_method\":\"bitnet\",\"modules_to_not_convert\":[\"lm_head\",\"down_proj\"]}"),
     TN_UNSUPPORTED, "'down_proj'"},
    {"Bias", set("attention_bias", "true"), TN_UNSUPPORTED, "attention_bias"},
    {"OtherActivation", set("hidden_act", "\"gelu\""), TN_UNSUPPORTED, "'gelu'"},
    {"TwoWeightBits", set("weight_bits", "2"), TN_UNSUPPORTED, "weight_bits"},
    {"NoLayers", drop("num_hidden_layers"), TN_BAD_FILE, "num_hidden_layers"},
    {"ZeroHeads", set("num_attention_heads", "0"), TN_BAD_FILE, "num_attention_heads"},
    {"TextAsNumber", set("hidden_size", "\"256\""), TN_BAD_FILE, "hidden_size"},
    {"UnevenHeads", set("num_key_value_heads", "3"), TN_BAD_FILE, "3 key-value heads"},
    {"OddHead", set("head_dim", "127"), TN_BAD_FILE, "127"},
    {"NoTheta", drop("rope_theta"), TN_BAD_FILE, "rope_theta"},
    {"NegativeEps", set("rms_norm_eps", "-1e-5"), TN_BAD_FILE, "rms_norm_eps"},
    {"BosBeyondVocabulary", set("bos_token_id", "40"), TN_BAD_FILE, "bos_token_id"},
    // weights
    {"MissingTensor", [](Checkpoint &c) { c.tensors.erase("model.layers.1.mlp.up_proj.weight"); }, TN_BAD_FILE,
     "'model.layers.1.mlp.up_proj.weight' is missing"},
    {"MissingHead", set("tie_word_embeddings", "false"), TN_BAD_FILE, "'lm_head.weight' is missing"},
    {"WrongShape", set("intermediate_size", "384"), TN_BAD_FILE, "has shape [512] where config.json makes it [384]"},
    {"WrongMatrix",
     [](Checkpoint &c) {
         c.add("model.layers.0.self_attn.k_proj.weight", {128, 256});
     },
     TN_BAD_FILE, "has shape [128, 256] where config.json makes it [256, 256]"},
    {"HugeVocabulary", set("vocab_size", "2000000000"), TN_BAD_FILE, "model.embed_tokens.weight"},
    {"ExtraLayer",
     [](Checkpoint &c) {
         c.add("model.layers.2.mlp.up_proj.weight", {512, 256});
     },
     TN_UNSUPPORTED, "'model.layers.2.mlp.up_proj.weight' is not part"},
    {"BiasTensor", [](Checkpoint &c) { c.add("model.layers.0.self_attn.q_proj.bias", {512}); }, TN_UNSUPPORTED,
     "'model.layers.0.self_attn.q_proj.bias'"},
    {"WeightScale", [](Checkpoint &c) { c.add("model.layers.0.self_attn.q_proj.weight_scale", {1}); }, TN_UNSUPPORTED,
     "'model.layers.0.self_attn.q_proj.weight_scale' is not part"},
    {"NanWeight", [](Checkpoint &c) { c.tensors.at("model.layers.1.mlp.down_proj.weight").values[3 * 512 + 7] = std::nanf(""); },
     TN_BAD_FILE, "'model.layers.1.mlp.down_proj.weight': row 3 column 7"},
    {"InfiniteNorm", [](Checkpoint &c) { c.tensors.at("model.norm.weight").values[9] = INFINITY; }, TN_BAD_FILE,
     "'model.norm.weight': row 0 column 9"},
    {"EmbeddingBeyondHalf", [](Checkpoint &c) { c.tensors.at("model.embed_tokens.weight").values[9] = 1e30f; }, TN_INVALID_ARGUMENT,
     "tensor 'token_embd.weight': value 9"},
    {"ScaleBeyondHalf",
     [](Checkpoint &c) {
         for (auto &v : c.tensors.at("model.layers.0.mlp.up_proj.weight").values) v *= 1e7f;
     },
     TN_INVALID_ARGUMENT, "tensor 'blk.0.ffn_up.weight'", "tq1_0"},
    // tokenizer.json
    {"UnknownExpression", [](Checkpoint &c) { c.regex = "\\\\p{L}+|x"; }, TN_UNSUPPORTED, "expression \"\\p{L}+|x\" is not known here"},
    {"Unigram", [](Checkpoint &c) { c.tokenizer_type = "Unigram"; }, TN_UNSUPPORTED, "'Unigram'"},
    {"SentencePiece", [](Checkpoint &c) { c.model_extra = ",\"byte_fallback\":true"; }, TN_UNSUPPORTED, "SentencePiece"},
    {"Normalizer", [](Checkpoint &c) { c.normalizer = "{\"type\":\"NFC\"}"; }, TN_UNSUPPORTED, "'NFC'"},
    {"NoPreTokenizer", [](Checkpoint &c) { c.pre_tokenizer = "null"; }, TN_UNSUPPORTED, "byte-level"},
    {"OtherPreTokenizer", [](Checkpoint &c) { c.pre_tokenizer = "{\"type\":\"Metaspace\"}"; }, TN_UNSUPPORTED, "'Metaspace'"},
    {"PrefixSpace", [](Checkpoint &c) { c.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}"; }, TN_UNSUPPORTED,
     "adds a space"},
    {"PostProcessor", [](Checkpoint &c) { c.post_processor = "{\"type\":\"RobertaProcessing\"}"; }, TN_UNSUPPORTED, "'RobertaProcessing'"},
    {"OtherSpecials",
     [](Checkpoint &c) { c.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<tool>\"}}]}"; },
     TN_UNSUPPORTED, "adds '<tool>'"},
    {"TokenBeyondVocabulary", [](Checkpoint &c) { c.vocab += ",\"far\":40"; }, TN_BAD_FILE, "'far'"},
    {"TokenWithTextId", [](Checkpoint &c) { c.vocab += ",\"odd\":\"7\""; }, TN_BAD_FILE, "'odd'"},
    {"TwoTokensOneId", [](Checkpoint &c) { c.vocab += ",\"twin\":7"; }, TN_BAD_FILE, "'twin'"},
    {"OneTokenTwice", [](Checkpoint &c) { c.vocab += ",\"t7\":35"; }, TN_BAD_FILE, "duplicate"},
    {"AddedOverAnother", [](Checkpoint &c) { c.added += ",{\"id\":7,\"content\":\"new\"}"; }, TN_BAD_FILE, "'new'"},
    {"AddedAgain", [](Checkpoint &c) { c.added += ",{\"id\":34,\"content\":\"t7\"}"; }, TN_BAD_FILE, "has two ids, 7 and 34"},
    {"MergeOfOne", [](Checkpoint &c) { c.merges = "[[\"a\"]]"; }, TN_BAD_FILE, "merge 0"},
    {"MergeWithoutSpace", [](Checkpoint &c) { c.merges = "[\"a b\",\"bc\"]"; }, TN_BAD_FILE, "merge 1"},
    {"MergeOfThree", [](Checkpoint &c) { c.merges = "[\"a b c\"]"; }, TN_BAD_FILE, "merge 0"},
    // the call
    {"UnknownType", [](Checkpoint &) {}, TN_INVALID_ARGUMENT, "'q4_0' is not known; i2_s, tq1_0, tq2_0, iq1_bn, iq2_bn are", "q4_0"},
    {"UnknownEmbedding", [](Checkpoint &) {}, TN_INVALID_ARGUMENT,
     "'f64' is not known; f16, f32, bf16, q8_0, q6_k, q5_k, q4_k, q5_1, q5_0, q4_1, q4_0 are", nullptr, "f64"},
};

class Refusals : public testing::TestWithParam<Refusal>
{
};
INSTANTIATE_TEST_SUITE_P(Convert, Refusals, testing::ValuesIn(REFUSALS), [](const auto &i) { return std::string(i.param.name); });

std::string last_message() { return tn_error_last()->message; }

TEST_P(Refusals, NameTheReasonAndLeaveNothing)
{
    const Refusal &r = GetParam();
    Checkpoint c;
    r.change(c);
    TempFolder in, out;
    c.write(in, "F32");
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    const std::string path = out.at("out.gguf");
    p.input_dir = in.path().c_str();
    p.output_path = path.c_str();
    p.type = r.type;
    p.embd = r.embd;
    EXPECT_EQ(r.status, tn_convert(&p)) << last_message();
    EXPECT_NE(std::string::npos, last_message().find(r.text)) << last_message();
    EXPECT_EQ(std::string::npos, last_message().find('\n'));
    EXPECT_TRUE(out.names().empty());
}

tn_status convert(const TempFolder &in, const TempFolder &out, const char *type = nullptr, const char *embd = nullptr)
{
    const std::string path = out.at("out.gguf");
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    p.input_dir = in.path().c_str();
    p.output_path = path.c_str();
    p.type = type;
    p.embd = embd;
    return tn_convert(&p);
}

// Rows of 384 fit I2_S (128) but neither TQ type (256), and an embedding of 384 no Q6_K.
TEST(ConvertRefuses, RowsThatDoNotFitTheTypesBlocks)
{
    Checkpoint c;
    c.config["intermediate_size"] = "384";
    for (const char *p : {"model.layers.0.mlp.", "model.layers.1.mlp."}) {
        c.add(std::string(p) + "ffn_sub_norm.weight", {384});
        c.add(std::string(p) + "gate_proj.weight", {384, 256});
        c.add(std::string(p) + "up_proj.weight", {384, 256});
        c.add(std::string(p) + "down_proj.weight", {256, 384});
    }
    TempFolder in, out;
    c.write(in);
    EXPECT_EQ(TN_UNSUPPORTED, convert(in, out, "tq2_0"));
    EXPECT_NE(std::string::npos, last_message().find("'blk.0.ffn_down.weight' has rows of 384 values, and TQ2_0 needs a multiple of 256"))
        << last_message();
    EXPECT_TRUE(out.names().empty());
    EXPECT_EQ(TN_OK, convert(in, out, "i2_s")) << last_message();
}

TEST(ConvertRefuses, MissingFilesByName)
{
    TempFolder in, out;
    EXPECT_EQ(TN_NOT_FOUND, convert(in, out));
    EXPECT_NE(std::string::npos, last_message().find("config.json")) << last_message();
    const Checkpoint c;
    c.write(in);
    std::filesystem::remove(in.at("tokenizer.json"));
    EXPECT_EQ(TN_NOT_FOUND, convert(in, out));
    EXPECT_NE(std::string::npos, last_message().find("tokenizer.json")) << last_message();
    c.write(in);
    std::filesystem::remove(in.at("model.safetensors"));
    EXPECT_EQ(TN_NOT_FOUND, convert(in, out));
    EXPECT_NE(std::string::npos, last_message().find("model.safetensors")) << last_message();
    c.write(in);
    in.write("config.json", "{\"hidden_size\": 256,");
    EXPECT_EQ(TN_BAD_FILE, convert(in, out));
    EXPECT_NE(std::string::npos, last_message().find("config.json")) << last_message();
    EXPECT_TRUE(out.names().empty());
}

TEST(ConvertRefuses, CallsWithoutTheirArguments)
{
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_convert(nullptr));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_convert(&p));
    p.input_dir = "x";
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_convert(&p));
    p.output_path = "y";
    p.struct_size = sizeof(p) + 8;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_convert(&p));
    p.struct_size = 0;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_convert(&p));
}

} // namespace
