// A tiny checkpoint made from a seed, a BitNet unless it is told otherwise, that a test may change before it is written as a Hugging Face
// folder.
#ifndef TN_TESTS_CHECKPOINT_H
#define TN_TESTS_CHECKPOINT_H

#include "format/temp_folder.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

struct CheckpointTensor {
    std::vector<uint64_t> shape;
    std::vector<float> values; // exact in bf16, f16 and f32
    std::string dtype = {};    // empty: the file's; "U8": values are bytes
};

class Checkpoint
{
  public:
    static constexpr uint64_t LAYERS = 2, EMBD = 256, FF = 512, HEADS = 4, KV = 2, HEAD_DIM = 128, VOCAB = 40;

    std::map<std::string, CheckpointTensor> tensors;
    std::map<std::string, std::vector<int8_t>> codes; // of packed matrices, row by row
    std::map<std::string, std::string> config;        // key -> JSON text of its value
    std::string regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
                        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"; // as JSON text
    std::string merges = "[[\"\u0120\",\"a\"],[\"b\",\"c\"]]";
    std::string vocab = vocabulary(30);
    std::string added = "{\"id\":30,\"content\":\"<|bos|>\",\"special\":true},{\"id\":31,\"content\":\"<|eos|>\",\"special\":true},"
                        "{\"id\":32,\"content\":\"<tool>\",\"special\":false}";
    std::string model_extra = ",\"ignore_merges\":true";
    std::string pre_tokenizer; // empty: a Split by `regex`, then ByteLevel
    std::string post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<|bos|>\",\"type_id\":0}},"
                                 "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{}}";
    std::string normalizer = "null", tokenizer_type = "BPE";

    explicit Checkpoint(unsigned seed = 1) : rng_(seed)
    {
        config = {{"architectures", "[\"BitNetForCausalLM\"]"},
                  {"model_type", "\"bitnet\""},
                  {"hidden_size", "256"},
                  {"intermediate_size", "512"},
                  {"num_hidden_layers", "2"},
                  {"num_attention_heads", "4"},
                  {"num_key_value_heads", "2"},
                  {"head_dim", "128"},
                  {"hidden_act", "\"relu2\""},
                  {"rms_norm_eps", "1e-05"},
                  {"rope_theta", "500000.0"},
                  {"max_position_embeddings", "640"},
                  {"vocab_size", "40"},
                  {"tie_word_embeddings", "true"},
                  {"bos_token_id", "30"},
                  {"eos_token_id", "[31, 32]"},
                  {"_name_or_path", "\"org/tiny\""},
                  {"rope_scaling", "null"}};
        add("model.embed_tokens.weight", {VOCAB, EMBD});
        for (uint64_t i = 0; i < LAYERS; i++) {
            const std::string p = "model.layers." + std::to_string(i) + ".";
            add(p + "input_layernorm.weight", {EMBD});
            add(p + "post_attention_layernorm.weight", {EMBD});
            add(p + "self_attn.attn_sub_norm.weight", {HEADS * HEAD_DIM});
            add(p + "mlp.ffn_sub_norm.weight", {FF});
            add(p + "self_attn.q_proj.weight", {HEADS * HEAD_DIM, EMBD});
            add(p + "self_attn.k_proj.weight", {KV * HEAD_DIM, EMBD});
            add(p + "self_attn.v_proj.weight", {KV * HEAD_DIM, EMBD});
            add(p + "self_attn.o_proj.weight", {EMBD, HEADS * HEAD_DIM});
            add(p + "mlp.gate_proj.weight", {FF, EMBD});
            add(p + "mlp.up_proj.weight", {FF, EMBD});
            add(p + "mlp.down_proj.weight", {EMBD, FF});
        }
        add("model.norm.weight", {EMBD});
    }

    void add(const std::string &name, std::vector<uint64_t> shape)
    {
        uint64_t n = 1;
        for (uint64_t d : shape) n *= d;
        CheckpointTensor t = {std::move(shape), std::vector<float>(n)};
        for (auto &v : t.values) { // sign, exponent 2^-7 .. 2^0, 7 bits of mantissa: exact in all three types
            const uint32_t r = static_cast<uint32_t>(rng_());
            const uint32_t bits = (r & 1) << 31 | (120 + (r >> 1 & 7)) << 23 | (r >> 4 & 127) << 16;
            std::memcpy(&v, &bits, 4);
        }
        tensors[name] = std::move(t);
    }
    // The same shapes as a Llama of `linear_class` (empty: unsaid), with a head of its own; still master weights.
    void become_llama(const std::string &linear_class = "")
    {
        config["architectures"] = "[\"LlamaForCausalLM\"]";
        config["model_type"] = "\"llama\"";
        config["hidden_act"] = "\"silu\"";
        config["tie_word_embeddings"] = "false";
        quantized_by(linear_class);
        for (uint64_t i = 0; i < LAYERS; i++) {
            tensors.erase("model.layers." + std::to_string(i) + ".self_attn.attn_sub_norm.weight");
            tensors.erase("model.layers." + std::to_string(i) + ".mlp.ffn_sub_norm.weight");
        }
        add("lm_head.weight", {VOCAB, EMBD});
    }
    void quantized_by(const std::string &linear_class)
    {
        config["quantization_config"] = "{\"quant_method\":\"bitnet\"" +
                                        (linear_class.empty() ? "" : ",\"linear_class\":\"" + linear_class + "\"") +
                                        ",\"modules_to_not_convert\":[\"lm_head\"]}";
    }
    // Random codes in place of the master weights of every linear layer: byte (r, k) holds rows r, n/4 + r, 2n/4 + r and 3n/4 + r, lowest
    // bits first. Beside each is a weight_scale around `scale`, of bf16's precision.
    void pack(float scale)
    {
        for (auto &[name, t] : tensors) {
            if (name.find("_proj.weight") == std::string::npos) continue;
            const uint64_t n = t.shape[0], k = t.shape[1];
            std::vector<int8_t> &matrix = codes[name];
            matrix.resize(n * k);
            for (auto &c : matrix) c = static_cast<int8_t>(static_cast<int>(rng_() >> 8) % 3 - 1);
            t = {{n / 4, k}, std::vector<float>(n / 4 * k), "U8"};
            for (uint64_t i = 0; i < n * k; i++) {
                const uint64_t row = i / k, field = row / (n / 4);
                t.values[row % (n / 4) * k + i % k] += static_cast<float>((matrix[i] + 1) << (2 * field));
            }
        }
        for (const auto &[name, matrix] : codes) {
            float value = scale * (0.75f + static_cast<float>(rng_() % 128) / 256.0f);
            uint32_t bits;
            std::memcpy(&bits, &value, 4);
            bits &= 0xffff0000u;
            std::memcpy(&value, &bits, 4);
            tensors[name + "_scale"] = {{1}, {value}, ""};
        }
    }
    void rename(const std::string &from, const std::string &to)
    {
        tensors[to] = std::move(tensors.at(from));
        tensors.erase(from);
    }

    // Writes config.json, tokenizer.json and the weights, in `shards` files.
    void write(const TempFolder &folder, const std::string &dtype = "BF16", size_t shards = 1) const
    {
        folder.write("config.json", config_json());
        folder.write("tokenizer.json", tokenizer_json());
        std::vector<std::map<std::string, CheckpointTensor>> parts(shards);
        size_t next = 0;
        std::string index;
        for (const auto &[name, t] : tensors) {
            const size_t part = next++ % shards;
            parts[part][name] = t;
            index += (index.empty() ? "\"" : ",\"") + name + "\":\"" + shard_name(part, shards) + "\"";
        }
        for (size_t i = 0; i < shards; i++) folder.write(shard_name(i, shards), safetensors(parts[i], dtype));
        if (shards > 1) folder.write("model.safetensors.index.json", "{\"weight_map\":{" + index + "}}");
    }

    static std::string safetensors(const std::map<std::string, CheckpointTensor> &all, const std::string &dtype)
    {
        std::string header, data;
        for (const auto &[name, t] : all) {
            const size_t begin = data.size();
            const std::string type = t.dtype.empty() ? dtype : t.dtype;
            for (float v : t.values) put(data, v, type);
            std::string shape;
            for (uint64_t d : t.shape) shape += (shape.empty() ? "" : ",") + std::to_string(d);
            header += (header.empty() ? "\"" : ",\"") + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[" + shape +
                      "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
        }
        header = "{" + header + "}";
        std::string length;
        for (unsigned i = 0; i < 8; i++) length += static_cast<char>(header.size() >> (8 * i) & 255);
        return length + header + data;
    }

    std::string config_json() const
    {
        std::string text;
        for (const auto &[key, value] : config) text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
        return text + "}";
    }

    std::string tokenizer_json() const
    {
        const std::string pre =
            !pre_tokenizer.empty()
                ? pre_tokenizer
                : "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" + regex +
                      "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                      "\"trim_offsets\":true,\"use_regex\":false}]}";
        return "{\"version\":\"1.0\",\"added_tokens\":[" + added + "],\"normalizer\":" + normalizer + ",\"pre_tokenizer\":" + pre +
               ",\"post_processor\":" + post_processor + ",\"model\":{\"type\":\"" + tokenizer_type + "\",\"vocab\":{" + vocab +
               "},\"merges\":" + merges + model_extra + "}}";
    }

    // "t0": 0, ... with the pieces and results of the merges at the front.
    static std::string vocabulary(int n)
    {
        const char *const first[] = {"\u0120", "a", "b", "c", "\u0120a", "bc"};
        std::string text;
        for (int i = 0; i < n; i++) {
            text += (i ? ",\"" : "\"") + (i < 6 ? std::string(first[i]) : "t" + std::to_string(i)) + "\":" + std::to_string(i);
        }
        return text;
    }

  private:
    static std::string shard_name(size_t i, size_t n)
    {
        return n == 1 ? "model.safetensors" : "model-0000" + std::to_string(i + 1) + "-of-0000" + std::to_string(n) + ".safetensors";
    }

    static void put(std::string &data, float v, const std::string &dtype)
    {
        uint32_t bits;
        std::memcpy(&bits, &v, 4);
        const auto byte = [&data](uint32_t b) { data += static_cast<char>(b & 255); };
        if (dtype == "U8") return byte(static_cast<uint32_t>(v));
        if (dtype == "F32") {
            for (int i = 0; i < 4; i++) byte(bits >> (8 * i));
            return;
        }
        uint32_t half = bits >> 16;
        if (dtype == "F16") half = (bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023);
        byte(half);
        byte(half >> 8);
    }

    std::mt19937 rng_;
};

#endif
