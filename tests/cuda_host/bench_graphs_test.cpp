// bench_cuda on the stand-in: what it leaves out and repeats runs there as on a GPU; how long it takes says nothing.
#include "cli/program.hpp"

#include <map>

extern "C" {
#include "ternion/ternion.h"
}

namespace
{

constexpr uint32_t kLayers = 2;

class CudaGraphs : public testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        folder = new cli::Folder;
        tn_synth_params params = TN_SYNTH_PARAMS_INIT;
        const std::string path = *folder / "small.gguf";
        params.shape = "custom";
        params.output_path = path.c_str();
        params.embd = "q8_0";
        params.n_layers = kLayers;
        params.n_embd = 128;
        params.n_ff = 256;
        params.n_heads = 2;
        params.n_kv_heads = 1;
        params.head_dim = 64;
        params.n_vocab = 300;
        params.n_ctx = 64;
        ASSERT_EQ(tn_synth(&params), TN_OK) << tn_error_last()->message;
    }
    static void TearDownTestSuite() { delete folder; }

    static cli::Result run(std::vector<std::string> arguments, const std::string &options = "")
    {
        return cli::run(cli::Run{std::move(arguments), "", {{"TN_CUDA_LIBRARY", TN_STAND_IN}, {"TN_CUDA_HOST", options}}});
    }
    static std::string model() { return *folder / "small.gguf"; }
    static cli::Folder *folder;
};
cli::Folder *CudaGraphs::folder;

// Launches of each kernel; a kernel is named once.
std::map<std::string, long long> expect_kernels(const json_t *step)
{
    std::map<std::string, long long> launches;
    long long sum = 0;
    size_t i = 0;
    json_t *kernel = nullptr;
    const json_t *kernels = json_object_get(step, "kernels");
    json_array_foreach(kernels, i, kernel)
    {
        const std::string name = cli::text_of(kernel, "kernel");
        EXPECT_EQ(launches.count(name), 0u) << name;
        sum += launches[name] = cli::integer_of(kernel, "n_launches");
        for (const char *field : {"left_out_us", "alone_us"}) {
            const bool is_frame = name == "begin" || name == "end";
            EXPECT_EQ(json_is_null(json_object_get(kernel, field)), is_frame) << name << " " << field;
            EXPECT_EQ(json_is_number(json_object_get(kernel, field)), !is_frame) << name << " " << field;
        }
    }
    EXPECT_EQ(sum, cli::integer_of(step, "n_launches"));
    EXPECT_EQ(cli::text_of(json_array_get(kernels, 0), "kernel"), "begin");
    EXPECT_EQ(cli::text_of(json_array_get(kernels, json_array_size(kernels) - 1), "kernel"), "end");
    return launches;
}

// Positions have a launch of each layer, or of all but the first, whose norm the embedding does; with those outside all layers they are the
// step.
void expect_positions(const json_t *step, const std::map<std::string, long long> &kernels)
{
    std::map<std::string, long long> launches;
    long long sum = cli::integer_of(step, "n_launches_outside");
    size_t i = 0;
    json_t *position = nullptr;
    json_array_foreach(json_object_get(step, "positions"), i, position)
    {
        const long long n = cli::integer_of(position, "n_launches");
        EXPECT_EQ(n, cli::text_of(position, "kernel") == "ternary_join" && i == 0 ? kLayers - 1 : kLayers);
        sum += n;
        launches[cli::text_of(position, "kernel")] += n;
        EXPECT_NE(cli::text_of(position, "of"), "");
        EXPECT_GT(cli::number_of(position, "step_us"), 0);
        for (const char *field : {"added_us", "left_out_us", "alone_us"})
            EXPECT_TRUE(json_is_real(json_object_get(position, field))) << field;
    }
    EXPECT_EQ(sum, cli::integer_of(step, "n_launches"));
    for (const auto &kernel : launches) EXPECT_LE(kernel.second, kernels.at(kernel.first)) << kernel.first;
}

void expect_table(const std::string &out, const std::map<std::string, long long> &kernels)
{
    for (const auto &kernel : kernels)
        EXPECT_TRUE(cli::contains(out, "\n| " + kernel.first + " | " + std::to_string(kernel.second) + " |")) << kernel.first << "\n"
                                                                                                              << out;
}

std::string of_position(const json_t *step, size_t p) { return cli::text_of(json_array_get(json_object_get(step, "positions"), p), "of"); }

TEST_F(CudaGraphs, EachLaunchIsOfOneKernelAndOnePosition)
{
    const std::string json_path = *folder / "new.json";
    const cli::Result result = run({model(), "--device", "cuda:host", "--steps", "1,3x1", "-d", "2", "-r", "1", "--json", json_path});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    const cli::Json json = cli::parse_json(cli::read_file(json_path));
    ASSERT_EQ(json_array_size(json.get()), 2u);
    for (size_t i = 0; i < 2; i++) {
        const json_t *step = json_array_get(json.get(), i);
        EXPECT_EQ(cli::text_of(step, "device"), "cuda:host");
        EXPECT_EQ(cli::text_of(step, "model"), model());
        EXPECT_EQ(cli::integer_of(step, "n_tokens"), i ? 3 : 1);
        EXPECT_EQ(cli::integer_of(step, "n_seqs"), i ? 3 : 1);
        EXPECT_EQ(cli::integer_of(step, "depth"), 2);
        EXPECT_EQ(cli::integer_of(step, "n_rounds"), 1);
        for (const char *field : {"step_us", "frame_us", "no_layers_us"}) EXPECT_GT(cli::number_of(step, field), 0) << field;
        for (const char *field : {"empty_us", "empty_wide_us"}) EXPECT_TRUE(json_is_real(json_object_get(step, field))) << field;
        const std::map<std::string, long long> kernels = expect_kernels(step);
        expect_positions(step, kernels);
        expect_table(result.out, kernels);
        EXPECT_EQ(kernels.count(i ? "ternary_few8_mma" : "ternary_one_bmma"), 1u);
        EXPECT_EQ(of_position(step, 0), i ? "attn_norm" : "attn_q,attn_k,attn_v");
        EXPECT_EQ(of_position(step, i), "attn_q,attn_k,attn_v");
    }
}

// Of blocks that count how many have finished: a graph that left a counter that is not 0 would make the program fail.
void expect_counting(const cli::Result &result, const std::string &json_path, const char *kernel)
{
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(cli::read_file(json_path));
    const json_t *step = json_array_get(json.get(), 0);
    const std::map<std::string, long long> kernels = expect_kernels(step);
    EXPECT_EQ(kernels.count(kernel), 1u);
    expect_positions(step, kernels);
}

TEST_F(CudaGraphs, OfKernelsWithCounters)
{
    const std::string json_path = *folder / "few.json";
    expect_counting(run({model(), "--device", "cuda:host", "--steps", "2x1", "-d", "2", "-r", "1", "--json", json_path}, "capability=75"),
                    json_path, "ternary_few_dp4a");
}

TEST_F(CudaGraphs, OfPromptsWithPartialSums)
{
    const std::string json_path = *folder / "many.json";
    expect_counting(run({model(), "--device", "cuda:host", "--steps", "9", "-d", "2", "-r", "1", "--json", json_path}, "capability=75"),
                    json_path, "ternary_many_dp4a");
}

TEST_F(CudaGraphs, SaysWhatIsWrongWithItsArguments)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
        {{}, "which model?"},
        {{model(), model()}, "more than one model"},
        {{model(), "--layers", "3"}, "unknown option --layers"},
        {{model(), "--steps"}, "--steps needs a value"},
        {{model(), "--steps", "1,"}, "--steps: '' is no number from 1 to 1048576"},
        {{model(), "--steps", "8x"}, "--steps: '' is no number"},
        {{model(), "--steps", "0"}, "--steps: '0' is no number"},
        {{model(), "-d", "-1"}, "-d: '-1' is no number from 0"},
        {{model(), "-r", "99999999999999999999"}, "-r: '99999999999999999999' is no number"},
        {{model(), "--device", "cpu0"}, "--device: cpu0 is no CUDA device"},
    };
    for (const auto &of : wrong) {
        const cli::Result result = run(of.first);
        EXPECT_EQ(result.status, 2) << result.err;
        EXPECT_EQ(result.out, "");
        EXPECT_EQ(result.err.rfind("bench_cuda: " + of.second, 0), 0u) << result.err;
        EXPECT_TRUE(cli::contains(result.err, "\nusage: bench_cuda MODEL ")) << result.err;
    }
}

TEST_F(CudaGraphs, SaysWhyItCannotMeasure)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> failing = {
        {{model(), "--device", "cuda7"}, "there is no device cuda7"},
        {{*folder / "none.gguf", "--device", "cuda:host"}, "none.gguf"},
        {{model(), "--device", "cuda:host", "--json", *folder / "none/figures.json"}, "cannot write "},
        {{model(), "--device", "cuda:host", "-d", "64"}, "64"}, // positions, which leaves none for the step
    };
    for (const auto &of : failing) {
        const cli::Result result = run(of.first);
        EXPECT_EQ(result.status, 1) << result.err;
        EXPECT_EQ(result.out, "");
        EXPECT_EQ(result.err.rfind("bench_cuda: ", 0), 0u) << result.err;
        EXPECT_TRUE(cli::contains(result.err, of.second)) << result.err;
    }
}

} // namespace
