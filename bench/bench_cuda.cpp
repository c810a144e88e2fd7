// What each kernel of a step costs inside the CUDA graph of the step: by graphs that leave a kernel out, since events between launches
// (ternion bench --profile) add some microseconds to each, and by graphs of that kernel alone. usage: bench_cuda MODEL [--device NAME]
// [--steps LIST] [-d DEPTH] [-r ROUNDS] [--json FILE]
// --device: "cuda0" by default. --steps: "1,8x1,512" is steps of one token, of one token of each of 8 sequences, and of 512 tokens of one
// sequence; by default 1. DEPTH: positions of each sequence before the step, by default 128. ROUNDS: in each of which all graphs take
// turns, by default 9. FILE: takes the same figures as JSON. Exit status: 0, 1 (it cannot be measured) or 2 (wrong arguments).
#include "bench_cuda_report.hpp"

#include <cstdlib>
#include <map>
#include <memory>

extern "C" {
#include "runtime/host.h"
#include "ternion/ternion.h"
}

namespace
{

using namespace bench_cuda;

struct WrongArguments : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <auto destroy> struct Destroy {
    template <class T> void operator()(T *of) const { destroy(of); }
};
using Host = std::unique_ptr<tn_host, Destroy<tn_host_close>>;
using Model = std::unique_ptr<tn_model, Destroy<tn_model_close>>;
using Placement = std::unique_ptr<tn_placement, Destroy<tn_placement_destroy>>;
using Session = std::unique_ptr<tn_session, Destroy<tn_session_destroy>>;
using File = std::unique_ptr<FILE, Destroy<fclose>>;

struct Size {
    uint32_t n_seqs, n_each;
};

struct Options {
    std::string model, device = "cuda0", json;
    std::vector<Size> sizes = {{1, 1}};
    uint32_t depth = 128, n_rounds = 9;
};

uint32_t number(const std::string &text, uint32_t least, const std::string &of)
{
    const unsigned long most = 1 << 20;
    const unsigned long value = std::strtoul(text.c_str(), nullptr, 10);
    if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos || value < least || value > most)
        throw WrongArguments(of + ": '" + text + "' is no number from " + std::to_string(least) + " to " + std::to_string(most));
    return static_cast<uint32_t>(value);
}

std::vector<Size> sizes_of(const std::string &list)
{
    std::vector<Size> sizes;
    for (size_t at = 0; at <= list.size();) {
        const size_t end = std::min(list.find(',', at), list.size());
        const std::string item = list.substr(at, end - at);
        const size_t x = item.find('x');
        if (x == std::string::npos)
            sizes.push_back({1, number(item, 1, "--steps")});
        else
            sizes.push_back({number(item.substr(0, x), 1, "--steps"), number(item.substr(x + 1), 1, "--steps")});
        at = end + 1;
    }
    return sizes;
}

Options read_options(int argc, char **argv)
{
    Options o;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        if (name.rfind('-', 0) != 0) {
            if (!o.model.empty()) throw WrongArguments("more than one model");
            o.model = name;
            continue;
        }
        if (name != "--device" && name != "--steps" && name != "-d" && name != "-r" && name != "--json")
            throw WrongArguments("unknown option " + name);
        if (++i == argc) throw WrongArguments(name + " needs a value");
        const std::string value = argv[i];
        if (name == "--device")
            o.device = value;
        else if (name == "--steps")
            o.sizes = sizes_of(value);
        else if (name == "-d")
            o.depth = number(value, 0, name);
        else if (name == "-r")
            o.n_rounds = number(value, 1, name);
        else
            o.json = value;
    }
    if (o.model.empty()) throw WrongArguments("which model?");
    return o;
}

// The device's table, which tells what the session makes and submits.
struct Watch {
    const tn_backend *real = nullptr;
    tn_backend table = {};
    std::map<const tn_program *, const tn_graph *> graphs; // of programs
    tn_program *program = nullptr;                         // of the last submit, and
    uint32_t n_tokens = 0, n_submits = 0;
} watch;

tn_status watched_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    const tn_status status = watch.real->program_create(device, desc, out_program);
    if (status == TN_OK) watch.graphs[*out_program] = desc->graph;
    return status;
}

tn_status watched_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
{
    watch.program = program;
    watch.n_tokens = submit->step->n_tokens;
    watch.n_submits++;
    return watch.real->program_submit(program, submit, out_fence);
}

class Watching
{
  public:
    explicit Watching(tn_device *device) : device_(device)
    {
        watch.real = device->backend;
        watch.table = *watch.real;
        watch.table.program_create = watched_create;
        watch.table.program_submit = watched_submit;
        device->backend = &watch.table;
    }
    ~Watching() { device_->backend = watch.real; }
    Watching(const Watching &) = delete;
    Watching &operator=(const Watching &) = delete;

  private:
    tn_device *device_;
};

Placement place(const Options &o, const tn_model *model, tn_host *host)
{
    tn_placement *placement = nullptr;
    tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
    params.devices = o.device.c_str();
    check(tn_placement_create(model, host, &params, &placement));
    return Placement(placement);
}

// With room for all steps, and for as many tokens a step as sessions have by default.
Session create_session(const Options &o, tn_model *model, tn_host *host, const tn_placement *placement)
{
    uint32_t n_each = 1;
    tn_session *session = nullptr;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    params.n_ubatch = 512;
    params.may_shrink_ubatch = params.no_recovery = true;
    params.n_seqs_max = 1;
    for (const Size &size : o.sizes) {
        n_each = std::max(n_each, size.n_each);
        params.n_seqs_max = std::max(params.n_seqs_max, size.n_seqs);
        params.n_ubatch = std::max(params.n_ubatch, size.n_seqs * size.n_each);
    }
    params.n_ctx = o.depth + n_each;
    check(tn_session_create(model, host, &params, &session));
    return Session(session);
}

// n_each tokens of each sequence from `first` on. Of steps of one token each the best logit is wanted, as for replies.
void decode(tn_session *session, uint32_t first, const Size &size, uint32_t n_vocab)
{
    const uint32_t n = size.n_seqs * size.n_each;
    std::vector<int32_t> tokens(n);
    std::vector<uint32_t> seqs(n), n_top(n, 1);
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = static_cast<int32_t>((1 + 37 * i) % n_vocab);
        seqs[i] = first + i / size.n_each;
    }
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = n;
    batch.tokens = tokens.data();
    batch.seqs = seqs.data();
    if (size.n_each == 1) batch.n_top = n_top.data();
    check(tn_session_decode(session, &batch));
}

// Brings sequences to the depth, does the step once, and leaves it where the backend wrote it.
void do_step(tn_session *session, const Options &o, const Size &size, uint32_t n_vocab)
{
    for (uint32_t seq = 0; seq < size.n_seqs; seq++) {
        if (tn_session_seq_length(session, seq) > o.depth) check(tn_session_seq_truncate(session, seq, o.depth));
        if (tn_session_seq_length(session, seq) < o.depth) decode(session, seq, {1, o.depth}, n_vocab);
    }
    watch.n_submits = 0;
    decode(session, 0, size, n_vocab);
    const uint32_t n = size.n_seqs * size.n_each;
    if (watch.n_submits != 1 || watch.n_tokens != n)
        throw std::runtime_error("the device does not take a step of " + std::to_string(n) + " tokens as one of one program");
}

void measure(tn_session *session, tn_device *device, const Options &o, uint32_t n_vocab, FILE *json)
{
    for (size_t i = 0; i < o.sizes.size(); i++) {
        const Size &size = o.sizes[i];
        do_step(session, o, size, n_vocab);
        const tn_cuda_places *places = nullptr;
        const tn_cuda_list *list = tn_cuda_program_list(watch.program, watch.n_tokens, &places);
        Step step(tn_cuda_device_of(device), list, places, watch.graphs.at(watch.program));
        step.measure(o.n_rounds);
        const Setup setup = {device->name, o.model, size.n_seqs, size.n_each, o.depth, o.n_rounds};
        print_tables(stdout, setup, step);
        if (!json) continue;
        std::fprintf(json, "%s", i ? ",\n" : "[\n");
        write_json(json, setup, step);
    }
    if (json && (std::fprintf(json, "\n]\n") < 0 || std::fflush(json) != 0)) throw std::runtime_error("cannot write " + o.json);
}

void run(const Options &o)
{
    tn_model *model_of = nullptr;
    tn_host *host_of = nullptr;
    tn_device *device = nullptr;
    tn_model_info info;
    uint32_t index = 0;
    check(tn_model_open(o.model.c_str(), nullptr, &model_of));
    const Model model(model_of);
    tn_model_get_info(model.get(), &info);
    const File json(o.json.empty() ? nullptr : std::fopen(o.json.c_str(), "w"));
    if (!o.json.empty() && !json) throw std::runtime_error("cannot write " + o.json);
    check(tn_host_open(nullptr, &host_of));
    const Host host(host_of);
    check(tn_host_find_device(host.get(), o.device.c_str(), &index));
    check(tn_host_device(host.get(), index, nullptr, &device));
    if (std::string(device->backend->name) != "cuda") throw WrongArguments("--device: " + o.device + " is no CUDA device");
    const Watching watching(device);
    const Placement placement = place(o, model.get(), host.get());
    const Session session = create_session(o, model.get(), host.get(), placement.get());
    measure(session.get(), device, o, info.n_vocab, json.get());
}

} // namespace

int main(int argc, char **argv)
{
    try {
        run(read_options(argc, argv));
        return 0;
    } catch (const WrongArguments &wrong) {
        std::fprintf(stderr,
                     "bench_cuda: %s\nusage: bench_cuda MODEL [--device NAME] [--steps LIST] [-d DEPTH] [-r ROUNDS] [--json FILE]\n",
                     wrong.what());
        return 2;
    } catch (const std::exception &failure) {
        std::fprintf(stderr, "bench_cuda: %s\n", failure.what());
        return 1;
    }
}
