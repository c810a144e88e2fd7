// How well costs are predicted: measures a device, then steps of models on it, and prints both as a table in Markdown.
//   bench_costs DEVICE MS ROUNDS MODEL...
// MS: for measuring the device. Each model's steps are measured in as many rounds, sizes in turn, and the shortest time counts.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
#include "base/clock.h"
#include "model/model_internal.h"
#include "runtime/host.h"
#include "runtime/host_costs.h"
#include "ternion/session.h"
}

namespace
{

constexpr uint32_t kSeqs = 64, kPrompt = 256, kRepetitions = 4;
constexpr uint32_t kSizes[] = {1, 2, 4, 8, 16, 32, 64, kPrompt}; // the last one is a prompt, the others replies of as many sequences

void check(tn_status status)
{
    if (status == TN_OK) return;
    fprintf(stderr, "bench_costs: %s\n", tn_error_last()->message);
    exit(1);
}

uint32_t seqs_of(uint32_t n) { return n == kPrompt ? 1 : n; }

// The shortest time of a step, and the positions that its tokens saw on average.
double measure(tn_session *session, uint32_t n, uint32_t *out_positions)
{
    std::vector<int32_t> tokens(n);
    std::vector<uint32_t> seqs(n);
    double least = 0;
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = static_cast<int32_t>(3 + i % 250);
        seqs[i] = i % seqs_of(n);
    }
    for (uint32_t s = 0; s < kSeqs; s++) check(tn_session_seq_truncate(session, s, 0));
    for (uint32_t r = 0; r < kRepetitions; r++) {
        if (n == kPrompt) check(tn_session_seq_truncate(session, 0, 0));
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = n;
        batch.tokens = tokens.data();
        batch.seqs = seqs.data();
        const uint64_t begun_ns = tn_clock_ns();
        check(tn_session_decode(session, &batch));
        const double ns = static_cast<double>(tn_clock_ns() - begun_ns);
        if (r == 0 || ns < least) least = ns;
    }
    *out_positions = n == kPrompt ? kPrompt / 2 : kRepetitions / 2 + 1;
    return least;
}

void compare(tn_host *host, const char *device, const tn_cost_table &table, const char *path, uint32_t n_rounds)
{
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
    tn_session *session = nullptr;
    tn_placement_params where = TN_PLACEMENT_PARAMS_INIT;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    where.devices = device;
    params.n_ctx = 512;
    params.n_seqs_max = kSeqs;
    params.n_ubatch = kPrompt;
    check(tn_model_open(path, nullptr, &model));
    check(tn_placement_create(model, host, &where, &placement));
    params.placement = placement;
    check(tn_session_create(model, host, &params, &session));
    const tn_graph *graph = tn_model_graph(model);
    std::vector<tn_cost_work> works(graph->n_layers + 2);
    check(tn_cost_works(graph, works.data()));
    std::vector<double> least(std::size(kSizes), 0);
    std::vector<uint32_t> positions(std::size(kSizes));
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (size_t k = 0; k < std::size(kSizes); k++) {
            const double ns = measure(session, kSizes[k], &positions[k]);
            if (round == 0 || ns < least[k]) least[k] = ns;
        }
    }
    printf("\n%s\n\n| tokens a step | measured ms | predicted ms | predicted / measured |\n|---|---|---|---|\n", path);
    for (size_t k = 0; k < std::size(kSizes); k++) {
        const uint32_t n_seqs = seqs_of(kSizes[k]);
        const tn_cost_step step = {kSizes[k], n_seqs, n_seqs, positions[k]};
        const double ns = tn_cost_segment_ns(&table, works.data(), graph->n_layers + 2, &step);
        printf("| %u%s | %.3f | %.3f | %.3f |\n", kSizes[k], kSizes[k] == kPrompt ? " (a prompt)" : "", least[k] * 1e-6, ns * 1e-6,
               ns / least[k]);
    }
    tn_session_destroy(session);
    tn_placement_destroy(placement);
    tn_model_close(model);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: bench_costs DEVICE MS ROUNDS MODEL...\n");
        return 2;
    }
    tn_host *host = nullptr;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.cpu_skip = "off"; // as ternion bench has it
    check(tn_host_open(&params, &host));
    uint32_t index;
    check(tn_host_find_device(host, argv[1], &index));
    tn_host_costs_params measuring = {};
    measuring.anew = true;
    measuring.time_ns = strtoull(argv[2], nullptr, 10) * 1000000;
    tn_cost_table table;
    const uint64_t begun_ns = tn_clock_ns();
    check(tn_host_costs(host, index, &measuring, &table, nullptr));
    printf("%s measured in %.1f s; errors of the layer that was not fitted:", argv[1],
           static_cast<double>(tn_clock_ns() - begun_ns) * 1e-9);
    for (const double error : table.error[TN_COST_GROUP_LAYER]) printf(" %.1f %%", 100 * error);
    printf("\n");
    for (int i = 4; i < argc; i++) compare(host, argv[1], table, argv[i], static_cast<uint32_t>(strtoul(argv[3], nullptr, 10)));
    tn_host_close(host);
    return 0;
}
