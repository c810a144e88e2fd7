// A packed Llama from checkpoint to logits, against real-number arithmetic that has never heard of GGUF: unpacking, weight_scale, the order
// of q's and k's rows, RoPE's factors and the graph are all in one distance.
#include "convert/checkpoint.h"
#include "support/rewrite_model.hpp"
#include "support/run_model.hpp"

#include <cmath>

extern "C" {
#include "ternion/convert.h"
}

using namespace tn_test;

namespace
{

// What make_llama_oracle.py wrote.
struct oracle {
    std::vector<int32_t> ids;
    uint32_t n_vocab = 0;
    std::vector<float> logprobs; // [ids][n_vocab]
};

oracle read_oracle()
{
    oracle o;
    std::ifstream file(source_dir() + "/tests/data/golden/oracle_llama.bin", std::ios::binary);
    uint32_t head[2] = {0, 0};
    file.read(reinterpret_cast<char *>(head), sizeof head);
    o.ids.resize(head[0]);
    o.n_vocab = head[1];
    o.logprobs.resize(size_t{head[0]} * head[1]);
    file.read(reinterpret_cast<char *>(o.ids.data()), static_cast<std::streamsize>(o.ids.size() * 4));
    file.read(reinterpret_cast<char *>(o.logprobs.data()), static_cast<std::streamsize>(o.logprobs.size() * 4));
    if (!file) o.ids.clear();
    return o;
}

// Mean over positions of KL(oracle || model).
double mean_kl(const oracle &o, const std::string &path)
{
    run_result result;
    run_model(path, o.ids, {}, &result);
    if (result.n_vocab != o.n_vocab) return INFINITY;
    double total = 0;
    for (size_t t = 0; t < o.ids.size(); t++) {
        const float *z = result.logits.data() + t * o.n_vocab;
        double max = -INFINITY, sum = 0;
        for (uint32_t v = 0; v < o.n_vocab; v++) max = std::max(max, static_cast<double>(z[v]));
        for (uint32_t v = 0; v < o.n_vocab; v++) sum += std::exp(static_cast<double>(z[v]) - max);
        for (uint32_t v = 0; v < o.n_vocab; v++) {
            const double p = static_cast<double>(o.logprobs[t * o.n_vocab + v]);
            total += std::exp(p) * (p - (static_cast<double>(z[v]) - max - std::log(sum)));
        }
    }
    return total / static_cast<double>(o.ids.size());
}

std::string convert(const std::string &folder)
{
    const std::string out = folder + "/out.gguf";
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    p.input_dir = folder.c_str();
    p.output_path = out.c_str();
    p.overwrite = true;
    EXPECT_EQ(TN_OK, tn_convert(&p)) << tn_error_last()->message;
    return out;
}

// The folder stays, for make_llama_oracle.py.
std::string checkpoint()
{
    Checkpoint c(5);
    c.become_llama("bitlinear");
    c.pack(13);
    c.config["rope_scaling"] = "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                               "\"original_max_position_embeddings\":512}";
    const std::string folder = std::string(TN_BINARY_DIR) + "/llama_checkpoint";
    std::filesystem::create_directories(folder);
    const auto write = [&](const std::string &name, const std::string &bytes) {
        std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
    };
    write("config.json", c.config_json());
    write("tokenizer.json", c.tokenizer_json());
    write("model.safetensors", Checkpoint::safetensors(c.tensors, "BF16"));
    return folder;
}

} // namespace

TEST(LlamaOracle, ThePackedCheckpointConvertedStaysCloseToTheRealNumberModel)
{
    const std::string path = convert(checkpoint());
    const oracle o = read_oracle();
    ASSERT_GE(o.ids.size(), 140u);
    const double kl = mean_kl(o, path);
    RecordProperty("mean_kl", std::to_string(kl));
    EXPECT_LT(kl, 2e-3); // roundings of activations that flip; a trained model damps them, a random one does not
    EXPECT_GT(kl, -1e-6);
}

// What the distance is worth: each thing that it should see, done wrong.
TEST(LlamaOracle, TheDistanceSeesRowsFactorsAndScales)
{
    const std::string path = convert(checkpoint()), wrong = path + ".wrong.gguf";
    const oracle o = read_oracle();
    ASSERT_GE(o.ids.size(), 140u);
    model_changes rows, factors, scale;
    rows.tensors = [](std::vector<model_tensor> &tensors) { // back to the checkpoint's order
        for (auto &t : tensors) {
            if (t.name.find("attn_k.weight") == std::string::npos && t.name.find("attn_q.weight") == std::string::npos) continue;
            float s;
            const auto codes = ternary_codes(t, &s);
            auto turned = codes;
            const size_t k = t.ne[0], d = Checkpoint::HEAD_DIM;
            for (size_t row = 0; row < t.ne[1]; row++) {
                const size_t to = row / d * d + row % 2 * (d / 2) + row % d / 2;
                std::copy_n(codes.begin() + static_cast<std::ptrdiff_t>(row * k), k, turned.begin() + static_cast<std::ptrdiff_t>(to * k));
            }
            t = ternary_tensor(t, t.dtype, turned, s);
        }
    };
    factors.tensors = [](std::vector<model_tensor> &tensors) {
        for (size_t i = 0; i < tensors.size(); i++)
            if (tensors[i].name == "rope_freqs.weight") tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    };
    scale.tensors = [](std::vector<model_tensor> &tensors) {
        auto *t = find_tensor(tensors, "blk.0.attn_q.weight");
        float s;
        const auto codes = ternary_codes(*t, &s);
        *t = ternary_tensor(*t, t->dtype, codes, s * 1.25f);
    };
    for (const auto &changes : {rows, factors, scale}) {
        ASSERT_NO_FATAL_FAILURE(rewrite_model(path, wrong, changes));
        const double kl = mean_kl(o, wrong);
        EXPECT_GT(kl, 8e-3);
    }
}
