// Measures how well the stages of a model that is split over two devices work side by side: tokens a second of decodes in flight,
// against the slower stage alone at the same number of sequences, which nothing in which both take part can exceed.
// usage: bench_stages MODEL [--units N] [--seqs N] [--lanes N] [--context N] [--seconds S] [--devices A,B] [--json]
// --devices: by default two CPU devices of one thread each; of another one, of one thread too, "cpu0,vulkan0" for instance.
// --units: of the first device: the embedding is one, then the layers (default: the half whose slower stage is fastest). Rounds of single
// steps and of steps in flight take turns for S seconds (default 8), and the best second of either counts: others may disturb it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern "C" {
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "runtime/session_internal.h"
#include "ternion/ternion.h"
}

namespace
{

[[noreturn]] void fail(const std::string &what)
{
    std::fprintf(stderr, "bench_stages: %s\n", what.c_str());
    std::exit(1);
}

void check(tn_status status)
{
    if (status != TN_OK) fail(tn_error_last()->message);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Options {
    std::string model, devices[2] = {"cpu0", "cpu1"};
    uint32_t units = 0, seqs = 16, lanes = 3, context = 64;
    double seconds = 8;
    bool json = false;
};

Options read_options(int argc, char **argv)
{
    Options o;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        if (name == "--json") {
            o.json = true;
        } else if (name.rfind("--", 0) != 0) {
            o.model = name;
        } else {
            if (++i == argc) fail(name + " needs a value");
            if (name == "--devices") {
                const std::string both = argv[i];
                const size_t comma = both.find(',');
                if (comma == std::string::npos) fail("--devices needs two names");
                o.devices[0] = both.substr(0, comma);
                o.devices[1] = both.substr(comma + 1);
                continue;
            }
            const double value = std::atof(argv[i]);
            if (name == "--units")
                o.units = static_cast<uint32_t>(value);
            else if (name == "--seqs")
                o.seqs = static_cast<uint32_t>(value);
            else if (name == "--lanes")
                o.lanes = static_cast<uint32_t>(value);
            else if (name == "--context")
                o.context = static_cast<uint32_t>(value);
            else if (name == "--seconds")
                o.seconds = value;
            else
                fail("unknown option " + name);
        }
    }
    if (o.model.empty() || o.lanes == 0 || o.seqs < o.lanes) fail("usage: bench_stages MODEL [--units N] [--seqs N] [--lanes N] ..");
    return o;
}

// The devices' tables, with a clock around each step.
struct Clock {
    uint32_t indexes[2] = {}; // of the host
    const tn_backend *real[2] = {};
    tn_backend tables[2] = {};
    tn_device *devices[2] = {};
    double begun[2] = {}, taken[2] = {};
} watch;

uint32_t number_of(const tn_device *device) { return device == watch.devices[1]; }

tn_status timed_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
{
    const uint32_t number = number_of(program->device);
    watch.begun[number] = now();
    return watch.real[number]->program_submit(program, submit, out_fence);
}

tn_status timed_wait(tn_device *device, tn_fence fence)
{
    const uint32_t number = number_of(device);
    const tn_status status = watch.real[number]->fence_wait(device, fence);
    watch.taken[number] = now() - watch.begun[number];
    return status;
}

struct Session {
    tn_placement *placement = nullptr;
    tn_session *session = nullptr;
    Session(const Options &o, tn_model *model, tn_host *host, uint32_t n_units)
    {
        check(tn_placement_create(model, host, nullptr, &placement));
        for (uint32_t i = 0; i < placement->n_layers + 2; i++) placement->devices[i] = watch.indexes[i >= n_units];
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.placement = placement;
        params.n_ctx = 128;
        params.n_seqs_max = o.seqs;
        params.n_lanes = o.lanes;
        check(tn_session_create(model, host, &params, &session));
    }
    ~Session()
    {
        tn_session_destroy(session);
        tn_placement_destroy(placement);
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;
};

// The sequences of a lane, and a token for each.
struct Lane {
    std::vector<uint32_t> seqs;
    std::vector<int32_t> tokens;
    tn_batch batch() const
    {
        tn_batch b = TN_BATCH_INIT;
        b.n_tokens = static_cast<uint32_t>(tokens.size());
        b.tokens = tokens.data();
        b.seqs = seqs.data();
        return b;
    }
};

std::vector<Lane> share(const Options &o)
{
    std::vector<Lane> lanes(o.lanes);
    for (uint32_t seq = 0; seq < o.seqs; seq++) {
        lanes[seq % o.lanes].seqs.push_back(seq);
        lanes[seq % o.lanes].tokens.push_back(static_cast<int32_t>(1 + 37 * seq));
    }
    return lanes;
}

void fill(tn_session *session, const Options &o)
{
    for (uint32_t seq = 0; seq < o.seqs; seq++) {
        std::vector<int32_t> tokens(o.context, static_cast<int32_t>(2 + seq));
        const std::vector<uint32_t> seqs(o.context, seq);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = o.context;
        batch.tokens = tokens.data();
        batch.seqs = seqs.data();
        check(tn_session_decode(session, &batch));
    }
}

// The context stays as long as it is.
void rewind(tn_session *session, const Options &o, const Lane &lane)
{
    for (uint32_t seq : lane.seqs) check(tn_session_seq_truncate(session, seq, o.context));
}

// Each stage alone: a step of each lane, the other device at rest. The least time a lane's step takes in either, added up over the lanes.
struct Alone {
    std::vector<double> least[2];
    explicit Alone(const Options &o) : least{std::vector<double>(o.lanes, 1e9), std::vector<double>(o.lanes, 1e9)} {}
    void measure(tn_session *session, const Options &o, const std::vector<Lane> &lanes)
    {
        for (uint32_t l = 0; l < o.lanes; l++) {
            const tn_batch batch = lanes[l].batch();
            check(tn_session_decode(session, &batch));
            rewind(session, o, lanes[l]);
            for (int device = 0; device < 2; device++) least[device][l] = std::min(least[device][l], watch.taken[device]);
        }
    }
    double sum(int device) const
    {
        double s = 0;
        for (double t : least[device]) s += t;
        return s;
    }
    double slower() const { return std::max(sum(0), sum(1)); }
};

// n_rounds of all lanes in flight; the least time of a round, from each lane's finish to its next.
double in_flight(tn_session *session, const Options &o, const std::vector<Lane> &lanes, uint32_t n_rounds, uint32_t n_window)
{
    std::vector<double> ends;
    auto start = [&](uint32_t l) {
        const tn_batch batch = lanes[l].batch();
        check(tn_session_start(session, l, &batch, nullptr, nullptr));
    };
    for (uint32_t l = 0; l < o.lanes; l++) start(l);
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (uint32_t l = 0; l < o.lanes; l++) {
            check(tn_session_finish(session, l));
            if (l == 0) ends.push_back(now());
            rewind(session, o, lanes[l]);
            if (round + 1 < n_rounds) start(l);
        }
    }
    double least = 1e9;
    for (size_t i = n_window; i < ends.size(); i++) least = std::min(least, (ends[i] - ends[i - n_window]) / n_window);
    return least;
}

uint32_t best_split(const Options &o, tn_model *model, tn_host *host, uint32_t n_units)
{
    const std::vector<Lane> lanes = share(o);
    uint32_t low = 1, high = n_units - 1;
    double best = 1e9;
    uint32_t at = 1;
    while (low <= high) { // the first stage grows with its units
        const uint32_t middle = low + (high - low) / 2;
        Session s(o, model, host, middle);
        Alone alone(o);
        fill(s.session, o);
        for (int i = 0; i < 4; i++) alone.measure(s.session, o, lanes);
        if (alone.slower() < best) best = alone.slower(), at = middle;
        if (alone.sum(0) < alone.sum(1))
            low = middle + 1;
        else
            high = middle - 1;
    }
    return at;
}

void watch_devices(const Options &o, tn_host *host)
{
    for (uint32_t i = 0; i < 2; i++) {
        check(tn_host_find_device(host, o.devices[i].c_str(), &watch.indexes[i]));
        check(tn_host_device(host, watch.indexes[i], nullptr, &watch.devices[i]));
        watch.real[i] = watch.devices[i]->backend;
        watch.tables[i] = *watch.real[i];
        watch.tables[i].program_submit = timed_submit;
        watch.tables[i].fence_wait = timed_wait;
    }
    for (uint32_t i = 0; i < 2; i++) watch.devices[i]->backend = &watch.tables[i];
}

} // namespace

int main(int argc, char **argv)
{
    Options o = read_options(argc, argv);
    tn_host_params host_params = TN_HOST_PARAMS_INIT;
    for (const std::string &name : o.devices) host_params.n_cpu_devices += name.rfind("cpu", 0) == 0;
    host_params.n_threads = host_params.n_cpu_devices;
    tn_host *host;
    tn_model *model;
    tn_model_info info;
    check(tn_host_open(&host_params, &host));
    check(tn_model_open(o.model.c_str(), nullptr, &model));
    tn_model_get_info(model, &info);
    watch_devices(o, host);
    if (o.units == 0) o.units = best_split(o, model, host, info.n_layers + 2);
    double round = 1e9;
    Alone alone(o);
    {
        const std::vector<Lane> lanes = share(o);
        Session s(o, model, host, o.units);
        fill(s.session, o);
        for (const double end = now() + o.seconds; now() < end;) {
            for (const double then = now() + 1; now() < then;) alone.measure(s.session, o, lanes);
            const uint32_t n_window = std::max(1u, static_cast<uint32_t>(1.0 / (alone.slower() * 1.2)));
            round = std::min(round, in_flight(s.session, o, lanes, 2 * n_window + 2, n_window));
        }
    }
    for (uint32_t i = 0; i < 2; i++) watch.devices[i]->backend = watch.real[i];
    const double n = o.seqs, ideal = n / alone.slower(), one_by_one = n / (alone.sum(0) + alone.sum(1));
    std::printf(o.json
                    ? "{\"units\": [%u, %u], \"sequences\": %u, \"lanes\": %u, \"context\": %u, \"stage_ms\": [%.2f, %.2f], "
                      "\"one_by_one_t_s\": %.2f, \"ideal_t_s\": %.2f, \"in_flight_t_s\": %.2f, \"of_ideal\": %.3f}\n"
                    : "%u + %u units, %u sequences in %u lanes at %u: stages %.2f and %.2f ms a round; one by one %.2f t/s, ideal %.2f, in "
                      "flight %.2f: %.3f of it\n",
                o.units, info.n_layers + 2 - o.units, o.seqs, o.lanes, o.context, alone.sum(0) * 1e3, alone.sum(1) * 1e3, one_by_one, ideal,
                n / round, n / round / ideal);
    tn_model_close(model);
    tn_host_close(host);
    return 0;
}
