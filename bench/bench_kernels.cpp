// Times every kernel of the list that this CPU can run, on one thread, on the shapes of a 2.4-billion-parameter model.
// Counters: bytes_per_second are bytes of weights (row ops: of input), ops are multiplications and additions of the matrix.
// Rows too large for the caches show memory, the others the core. Choose with --benchmark_filter=matmul_t2.*/M:1/
#include <benchmark/benchmark.h>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

extern "C" {
#include "base/exact_math.h"
#include "cpu/kernel.h"
#include "cpu/pack.h"
}

namespace
{

struct Free {
    void operator()(void *p) const { std::free(p); }
};
template <typename T> using Buffer = std::unique_ptr<T[], Free>;

std::mt19937_64 &engine()
{
    static std::mt19937_64 e(1);
    return e;
}
// Large arrays lie in large pages where the system has them: what is timed is the kernel, not the walk through page tables.
template <typename T> Buffer<T> make(size_t n)
{
    constexpr size_t page = size_t{2} << 20;
    const size_t bytes = n * sizeof(T), alignment = bytes >= 2 * page ? page : 64;
    Buffer<T> buffer(static_cast<T *>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)));
    if (alignment == page) madvise(buffer.get(), bytes, MADV_HUGEPAGE);
    std::memset(buffer.get(), 0, n * sizeof(T));
    return buffer;
}
Buffer<float> make_floats(size_t n)
{
    auto buffer = make<float>(n);
    for (size_t i = 0; i < n; i++) buffer[i] = tn_float(static_cast<uint32_t>(engine()() & 0x80ffffffu) | 0x3f000000u);
    return buffer;
}
Buffer<int8_t> make_codes(size_t n)
{
    auto buffer = make<int8_t>(n);
    for (size_t i = 0; i < n; i++) buffer[i] = static_cast<int8_t>(static_cast<int>(engine()() % 255) - 127);
    return buffer;
}
// Random bytes repeated: large weights are made quickly.
Buffer<uint8_t> make_bytes(size_t n)
{
    auto buffer = make<uint8_t>(n);
    const size_t period = std::min<size_t>(n, 65521);
    for (size_t i = 0; i < period; i++) buffer[i] = static_cast<uint8_t>(engine()());
    for (size_t i = period; i < n; i++) buffer[i] = buffer[i - period];
    return buffer;
}

struct Shape {
    uint32_t N, K;
};
constexpr Shape layer_shapes[] = {{2560, 2560}, {6912, 2560}, {2560, 6912}};
constexpr Shape head_shapes[] = {{32064, 2560}};
constexpr uint32_t tokens[] = {1, 2, 4, 8, 16, 64};

void report(benchmark::State &state, double bytes, double ops)
{
    const double n = static_cast<double>(state.iterations());
    state.SetBytesProcessed(static_cast<int64_t>(n * bytes));
    state.counters["ops"] = benchmark::Counter(n * ops, benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
}

void ternary(benchmark::State &state, const tn_kernel_row &row, Shape shape, uint32_t M)
{
    const uint32_t block_cols = row.slot == TN_SLOT_matmul_ternary_t5 ? TN_T5_COLS : TN_T2_COLS;
    const uint32_t n_blocks = (shape.K + block_cols - 1) / block_cols;
    const size_t x_stride = TN_Q8_STRIDE(shape.K), bytes = static_cast<size_t>(shape.N) / TN_T2_ROWS * n_blocks * TN_T2_BLOCK_BYTES;
    const auto x = make_codes(M * x_stride);
    const auto x_scale = make_floats(M), w_scale = make_floats(shape.N);
    const auto x_sum = make<int32_t>(M);
    const auto w = make_bytes(bytes);
    for (size_t i = 0; i < bytes; i++) w[i] &= 0xaa; // codes 0 and 2
    auto y = make<float>(static_cast<size_t>(M) * shape.N);
    auto absmax = make<uint32_t>(M);
    tn_k_matmul_ternary_args args{};
    args.x = x.get();
    args.x_stride = x_stride;
    args.x_scale = x_scale.get();
    args.x_sum = x_sum.get();
    args.w = w.get();
    args.w_scale = w_scale.get();
    args.M = M;
    args.N = shape.N;
    args.n_blocks = n_blocks;
    args.y = y.get();
    args.y_stride = shape.N;
    args.y_absmax = absmax.get();
    auto *kernel = reinterpret_cast<tn_k_matmul_ternary_fn *>(row.function);
    for (auto _ : state) kernel(&args);
    report(state, static_cast<double>(bytes), 2.0 * M * shape.N * shape.K);
}

void dense(benchmark::State &state, const tn_kernel_row &row, Shape shape, uint32_t M)
{
    const bool q4 = row.slot == TN_SLOT_matmul_q4_0, q8 = q4 || row.slot == TN_SLOT_matmul_q8_0, q6 = row.slot == TN_SLOT_matmul_q6_k;
    const size_t element = row.slot == TN_SLOT_matmul_f32 ? 4 : 2;
    const size_t stride = q8   ? shape.K / 32 * static_cast<size_t>(q4 ? TN_Q4_BLOCK_BYTES : TN_Q8_BLOCK_BYTES)
                          : q6 ? shape.K / 256 * static_cast<size_t>(TN_Q6_BLOCK_BYTES)
                               : (shape.K * element + 63) / 64 * 64;
    const size_t bytes = stride * (q8 || q6 ? (shape.N + 15) / 16 : shape.N);
    const auto w = make_bytes(bytes);
    if (!q8 && !q6) { // exponents near 1
        for (size_t i = element - 1; i < bytes; i += element)
            w[i] = static_cast<uint8_t>((w[i] & 0x80) | (row.slot == TN_SLOT_matmul_f16 ? 0x38 : 0x3e));
    }
    const auto x = make_floats(static_cast<size_t>(M) * shape.K);
    const uint32_t groups = q8 ? shape.K / 32 : shape.K / 256;
    const auto xq = make_codes(static_cast<size_t>(M) * shape.K);
    const auto xq_scale = make_floats(static_cast<size_t>(M) * groups);
    const auto xq_sum = make<int32_t>(static_cast<size_t>(M) * groups);
    auto y = make<float>(static_cast<size_t>(M) * shape.N);
    auto absmax = make<uint32_t>(M);
    tn_k_matmul_dense_args args{};
    args.x = x.get();
    args.x_stride = shape.K;
    args.xq = xq.get();
    args.xq_stride = shape.K;
    args.xq_scale = xq_scale.get();
    args.xq_sum = xq_sum.get();
    args.xq_groups = groups;
    args.w = w.get();
    args.w_stride = stride;
    args.M = M;
    args.N = shape.N;
    args.K = shape.K;
    args.y = y.get();
    args.y_stride = shape.N;
    args.y_absmax = absmax.get();
    auto *kernel = reinterpret_cast<tn_k_matmul_dense_fn *>(row.function);
    for (auto _ : state) kernel(&args);
    report(state, static_cast<double>(bytes), 2.0 * M * shape.N * shape.K);
}

void embed(benchmark::State &state, const tn_kernel_row &row)
{
    const uint32_t n = 2560;
    const size_t stride = 65536;
    const auto w = make_bytes(stride);
    auto y = make<float>(n);
    auto *kernel = reinterpret_cast<tn_k_embed_fn *>(row.function);
    for (auto _ : state) benchmark::DoNotOptimize(kernel(w.get(), stride, 0, n, y.get()));
    report(state, 4.0 * n, 0);
}

void attention(benchmark::State &state, const tn_kernel_row &row, uint32_t n_tokens, uint32_t n_pos)
{
    const uint32_t n_q = 4, n = n_tokens * n_q, head_dim = 128, n_pages = (n_pos + TN_KV_PAGE_POSITIONS - 1) / TN_KV_PAGE_POSITIONS;
    const size_t page = TN_KV_BLOCK_BYTES(head_dim);
    auto kv = make<uint8_t>(page * n_pages);
    for (uint32_t p = 0; p < n_pages; p++) {
        auto *codes = reinterpret_cast<int16_t *>(kv.get() + p * page);
        const size_t n_codes = 2 * static_cast<size_t>(TN_KV_PAGE_POSITIONS) * head_dim;
        for (size_t i = 0; i < n_codes; i++) codes[i] = static_cast<int16_t>(static_cast<int>(engine()() % 8191) - 4095);
        auto *scales = reinterpret_cast<float *>(codes + n_codes);
        for (uint32_t i = 0; i < 2 * TN_KV_PAGE_POSITIONS; i++) scales[i] = 0x1p-12f;
    }
    auto q = make<int16_t>(n * head_dim);
    for (uint32_t i = 0; i < n * head_dim; i++) q[i] = static_cast<int16_t>(static_cast<int>(engine()() % 8191) - 4095);
    const std::vector<float> q_scale(n, 0x1p-14f);
    std::vector<uint32_t> pages(n_pages), seen(n_tokens, n_pos), absmax(n_tokens);
    for (uint32_t p = 0; p < n_pages; p++) pages[p] = p;
    auto y = make<float>(n * head_dim);
    auto scratch = make<uint8_t>(TN_ATTENTION_SCRATCH_BYTES(n, head_dim));
    tn_k_attention_args args{};
    args.q = q.get();
    args.q_scale = q_scale.data();
    args.n_tokens = n_tokens;
    args.n_q = n_q;
    args.head_dim = head_dim;
    args.kv = kv.get();
    args.page_stride = page;
    args.pages = pages.data();
    args.n_pos = seen.data();
    args.y = y.get();
    args.y_stride = n_q * head_dim;
    args.y_absmax = absmax.data();
    args.scratch = scratch.get();
    auto *kernel = reinterpret_cast<tn_k_attention_fn *>(row.function);
    for (auto _ : state) {
        kernel(&args);
        benchmark::DoNotOptimize(absmax.data());
        benchmark::ClobberMemory();
    }
    report(state, static_cast<double>(page) * n_pages, 4.0 * n * n_pos * head_dim);
}

// Ops of one row of n values.
void row_op(benchmark::State &state, const tn_kernel_row &row, uint32_t n)
{
    const auto a = make_floats(n), b = make_floats(n);
    auto y = make<float>(n);
    auto codes = make<int8_t>(n);
    auto codes16 = make<int16_t>(n);
    auto scales = make<float>(n / 32);
    auto sums = make<int32_t>(n / 32);
    std::function<void()> call;
    const auto is = [&](tn_kernel_slot slot) { return row.slot == slot; };
    if (is(TN_SLOT_quant)) {
        call = [&, f = reinterpret_cast<tn_k_quant_fn *>(row.function)] { f(a.get(), n, codes.get(), scales.get(), sums.get()); };
    } else if (is(TN_SLOT_norm_quant)) {
        call = [&, f = reinterpret_cast<tn_k_norm_quant_fn *>(row.function)] {
            f(a.get(), b.get(), n, 1e-5f, codes.get(), scales.get(), sums.get());
        };
    } else if (is(TN_SLOT_norm)) {
        call = [&, f = reinterpret_cast<tn_k_norm_fn *>(row.function)] { f(a.get(), b.get(), n, 1e-5f, y.get()); };
    } else if (is(TN_SLOT_quant_group)) {
        call = [&, f = reinterpret_cast<tn_k_quant_group_fn *>(row.function)] { f(a.get(), n, 32, codes.get(), scales.get(), sums.get()); };
    } else if (is(TN_SLOT_rope)) {
        call = [&, f = reinterpret_cast<tn_k_rope_fn *>(row.function)] { f(a.get(), b.get(), n / 128, 128, TN_ROPE_HALVES, y.get()); };
    } else if (is(TN_SLOT_quant_head)) {
        call = [&, f = reinterpret_cast<tn_k_quant_head_fn *>(row.function)] { f(a.get(), 128, 4095, codes16.get(), scales.get()); };
    } else if (is(TN_SLOT_glu_relu2) || is(TN_SLOT_glu_silu)) {
        call = [&, f = reinterpret_cast<tn_k_glu_fn *>(row.function)] { f(a.get(), b.get(), n, y.get()); };
    } else {
        call = [&, f = reinterpret_cast<tn_k_add_fn *>(row.function)] { f(a.get(), b.get(), n, y.get()); };
    }
    for (auto _ : state) {
        call();
        benchmark::ClobberMemory();
    }
    report(state, 4.0 * (is(TN_SLOT_quant_head) ? 128 : n), 0);
}

void add_row(const tn_kernel_row &row)
{
    const std::string name = row.name;
    const auto shapes = [&](const auto &list, auto run) {
        for (Shape shape : list) {
            for (uint32_t M : tokens) {
                if (row.isa == TN_ISA_SCALAR && M > 8) continue; // seconds a call, and nothing to learn
                const std::string full =
                    name + "/N:" + std::to_string(shape.N) + "/K:" + std::to_string(shape.K) + "/M:" + std::to_string(M) + "/";
                benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State &state) { run(state, row, shape, M); });
            }
        }
    };
    switch (row.slot) {
    case TN_SLOT_matmul_ternary:
    case TN_SLOT_matmul_ternary_t5: shapes(layer_shapes, ternary); break;
    case TN_SLOT_matmul_f32:
    case TN_SLOT_matmul_f16:
    case TN_SLOT_matmul_bf16:
    case TN_SLOT_matmul_q8_0:
    case TN_SLOT_matmul_q4_0:
    case TN_SLOT_matmul_q6_k: shapes(head_shapes, dense); break;
    case TN_SLOT_embed_f32:
    case TN_SLOT_embed_f16:
    case TN_SLOT_embed_bf16:
    case TN_SLOT_embed_q8_0:
    case TN_SLOT_embed_q4_0:
    case TN_SLOT_embed_q6_k: benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State &state) { embed(state, row); }); break;
    case TN_SLOT_attention:
        for (uint32_t n_tokens : {1u, 4u}) {
            for (uint32_t n_pos : {128u, 2048u}) {
                benchmark::RegisterBenchmark((name + "/tokens:" + std::to_string(n_tokens) + "/positions:" + std::to_string(n_pos)).c_str(),
                                             [=](benchmark::State &state) { attention(state, row, n_tokens, n_pos); });
            }
        }
        break;
    case TN_SLOT_read_stream:
    case TN_SLOT_peak_dot: break; // `ternion bench` measures them, on one thread and on more
    default:
        for (uint32_t n : {2560u, 6912u}) {
            benchmark::RegisterBenchmark((name + "/n:" + std::to_string(n)).c_str(),
                                         [=](benchmark::State &state) { row_op(state, row, n); });
        }
        break;
    }
}

} // namespace

int main(int argc, char **argv)
{
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    for (uint32_t i = 0; i < n; i++) {
        if (tn_isa_set_has(tn_isa_available(), rows[i].isa)) add_row(rows[i]);
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
