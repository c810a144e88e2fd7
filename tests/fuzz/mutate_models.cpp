// Thousands of damaged models through load, one token and its text: every outcome must be a status, within time and memory, and
// nothing may be left on the heap. A case is made from the seed and its number alone. Cases run in a child process; this one watches.
#include "fuzz/mutations.hpp"
#include "fuzz/use_model.hpp"
#include "support/heap_account.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <set>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace tn_test;

namespace
{

constexpr int n_statuses = TN_INTERNAL + 1;
constexpr unsigned stuck_seconds = 60; // of the clock; what is merely slow is found by its CPU time
constexpr long n_deaths_max = 20;

struct Options {
    long cases = 2000, seed = 1, shard = 0, n_shards = 1, one = -1;
    double cpu_ms_max = 1000;
    unsigned decoded_percent_min = 0;
    std::string keep; // folder for the files of a single case
};

// Seen by both processes.
struct Shared {
    long next, current; // case numbers; current: -1 between two
    volatile int stage;
    long n_done, n_seeds, n_wrong;
    long counts[n_stages][n_statuses];
    double cpu_ms_worst, kb_worst;
    long slowest, largest;
    bool finished, broken;
};

double cpu_ms()
{
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

// A folder in memory where there is one.
class Scratch
{
  public:
    Scratch()
    {
        const char *base = std::getenv("TMPDIR");
        path_ = std::string(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : base ? base : "/tmp") + "/ternion-mutate-XXXXXX";
        if (!mkdtemp(path_.data())) throw std::runtime_error("no temporary folder");
    }
    ~Scratch()
    {
        clear();
        rmdir(path_.c_str());
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    void clear() const
    {
        for (const char *name : {"/model.gguf", "/model-00001-of-00002.gguf", "/model-00002-of-00002.gguf"}) unlink((path_ + name).c_str());
    }
    const std::string &path() const { return path_; }

  private:
    std::string path_;
};

tn_host *open_host()
{
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.n_threads = 1;
    params.log.write = [](void *, tn_log_level, const char *) {};
    tn_host *host = nullptr;
    if (tn_host_open(&params, &host) != TN_OK) throw std::runtime_error(tn_error_last()->message);
    return host;
}

std::vector<Bytes> build(const std::vector<ModelFile> &parts)
{
    std::vector<Bytes> all;
    for (const auto &part : parts) all.push_back(part.build());
    return all;
}

// The seeds that go all the way. Each architecture, type and kind of tokenizer that the library knows must be among them.
bool usable_seeds(const Scratch &scratch, tn_host *host, std::vector<SeedModel> *out)
{
    std::set<std::string> seen;
    for (auto &seed : make_seed_models()) {
        const Outcome outcome = use_model(write_seed_model(scratch.path(), build(seed.parts)), host, nullptr);
        scratch.clear();
        if (outcome.status[stage_text] != TN_OK || !outcome.wrong.empty()) continue;
        seen.insert({seed.architecture, seed.ternary, seed.dense});
        out->push_back(std::move(seed));
    }
    std::vector<std::string> wanted = known_architectures();
    for (bool ternary : {false, true}) {
        for (const auto &name : known_types(ternary)) wanted.push_back(name);
    }
    bool complete = true;
    for (const auto &name : wanted) {
        if (seen.count(name)) continue;
        fprintf(stderr, "mutate_models: no seed of %s goes through: teach tests/support/seed_models.cpp to make one\n", name.c_str());
        complete = false;
    }
    return complete;
}

struct Case {
    std::vector<Bytes> parts;
    std::string story;
    size_t bytes() const
    {
        size_t n = 0;
        for (const auto &part : parts) n += part.size();
        return n;
    }
};

Case make_case(const std::vector<SeedModel> &seeds, long seed, long number)
{
    Rng rng(static_cast<uint64_t>(seed) << 40 ^ static_cast<uint64_t>(number));
    const SeedModel &model = rng.of(seeds);
    std::vector<ModelFile> parts = model.parts;
    Case c;
    c.story = model.name;
    ModelFile &part = rng.of(parts);
    const size_t which = static_cast<size_t>(&part - parts.data());
    // One to four, one most often: each may be the last that a file survives.
    const size_t n = 1 + std::min(std::min(rng.below(4), rng.below(4)), rng.below(4));
    bool bytes_too = false;
    for (size_t i = 0; i < n; i++) {
        if (rng.one_in(8))
            bytes_too = true;
        else
            c.story += "; " + mutate_structure(part, rng);
    }
    for (size_t i = 0; i < parts.size(); i++) {
        std::vector<size_t> boundaries;
        c.parts.push_back(parts[i].build(&boundaries));
        if (bytes_too && i == which) c.story += "; " + mutate_bytes(c.parts.back(), boundaries, rng);
    }
    return c;
}

void complain(Shared *shared, const Options &options, long number, const Case &c, const std::string &what)
{
    fprintf(stderr, "mutate_models: case %ld of seed %ld: %s (%s)\n", number, options.seed, what.c_str(), c.story.c_str());
    shared->n_wrong++;
}

void run_case(const Options &options, const std::vector<SeedModel> &seeds, const std::string &folder, tn_host *host, long number,
              Shared *shared)
{
    const Case c = make_case(seeds, options.seed, number);
    const std::string path = write_seed_model(folder, c.parts);
    const HeapUse before = heap_use();
    const double start = cpu_ms();
    heap_reset_peak();
    const Outcome outcome = use_model(path, host, &shared->stage);
    const double ms = cpu_ms() - start;
    const HeapUse after = heap_use();
    const long held = after.peak_bytes - before.bytes;
    for (int stage = 0; stage < n_stages; stage++) {
        if (outcome.status[stage] >= 0 && outcome.status[stage] < n_statuses) shared->counts[stage][outcome.status[stage]]++;
    }
    if (!outcome.wrong.empty()) complain(shared, options, number, c, outcome.wrong);
    if (after.blocks != before.blocks || after.bytes != before.bytes)
        complain(shared, options, number, c,
                 std::to_string(after.blocks - before.blocks) + " blocks with " + std::to_string(after.bytes - before.bytes) +
                     " bytes leaked");
    if (ms > options.cpu_ms_max) complain(shared, options, number, c, std::to_string(ms) + " ms of CPU time");
    // The mapped file counts once; twice the file and 64 MiB are allowed together.
    if (held > static_cast<long>(c.bytes()) + (64L << 20))
        complain(shared, options, number, c, std::to_string(held) + " bytes on the heap");
    if (ms > shared->cpu_ms_worst) {
        shared->cpu_ms_worst = ms;
        shared->slowest = number;
    }
    if (static_cast<double>(held) / 1024 > shared->kb_worst) {
        shared->kb_worst = static_cast<double>(held) / 1024;
        shared->largest = number;
    }
    shared->n_done++;
}

// All cases from shared->next on. What devices and the library make once is made by the seeds.
void run_cases(const Options &options, const Scratch &scratch, Shared *shared)
{
    tn_host *host = open_host();
    std::vector<SeedModel> seeds;
    if (!usable_seeds(scratch, host, &seeds)) shared->broken = true;
    shared->n_seeds = static_cast<long>(seeds.size());
    while (!shared->broken && shared->next < options.cases) {
        shared->current = shared->next;
        run_case(options, seeds, scratch.path(), host, shared->current, shared);
        scratch.clear();
        shared->current = -1;
        shared->next += options.n_shards;
    }
    tn_host_close(host);
    shared->finished = true;
}

// Waits for the child. False where it was killed because one case did not end.
bool watch(pid_t child, Shared *shared, int *out_status)
{
    long last = -2, n_done = -1;
    time_t since = time(nullptr);
    for (;;) {
        if (waitpid(child, out_status, WNOHANG) == child) return true;
        if (shared->current != last || shared->n_done != n_done) {
            last = shared->current;
            n_done = shared->n_done;
            since = time(nullptr);
        } else if (last >= 0 && time(nullptr) - since > stuck_seconds) {
            kill(child, SIGKILL);
            waitpid(child, out_status, 0);
            return false;
        }
        usleep(50000);
    }
}

void print_table(const Options &options, const Shared *shared)
{
    printf("%ld cases of seed %ld over %ld seed models (shard %ld of %ld)\n", shared->n_done, options.seed, shared->n_seeds,
           options.shard + 1, options.n_shards);
    printf("%-10s %8s", "stage", "reached");
    for (int s = 0; s < n_statuses; s++) {
        bool any = false;
        for (int stage = 0; stage < n_stages; stage++) any = any || shared->counts[stage][s];
        if (any) printf(" %16s", tn_status_name(static_cast<tn_status>(s)));
    }
    printf("\n");
    for (int stage = 0; stage < n_stages; stage++) {
        long reached = 0;
        for (int s = 0; s < n_statuses; s++) reached += shared->counts[stage][s];
        printf("%-10s %8ld", stage_names[stage], reached);
        for (int s = 0; s < n_statuses; s++) {
            bool any = false;
            for (int other = 0; other < n_stages; other++) any = any || shared->counts[other][s];
            if (any) printf(" %16ld", shared->counts[stage][s]);
        }
        printf("\n");
    }
    printf("most CPU time: %.0f ms (case %ld); most heap: %.0f KiB (case %ld); promises broken: %ld\n", shared->cpu_ms_worst,
           shared->slowest, shared->kb_worst, shared->largest, shared->n_wrong);
}

// Runs children until all cases are done; each that dies costs its case.
long supervise(const Options &options, Shared *shared)
{
    long n_deaths = 0;
    while (!shared->finished && n_deaths < n_deaths_max) {
        const Scratch scratch; // of the parent, so that it goes whatever becomes of the child
        shared->current = -1;
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            run_cases(options, scratch, shared);
            exit(0); // with the sanitizer's last checks
        }
        int status = 0;
        const bool ended = watch(child, shared, &status);
        if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        n_deaths++;
        if (shared->current < 0) {
            fprintf(stderr, "mutate_models: the child failed outside of cases (wait status %d): see above\n", status);
            break;
        }
        fprintf(stderr, "mutate_models: case %ld of seed %ld: %s in stage %s (wait status %d); see it with --seed %ld --case %ld\n",
                shared->current, options.seed, ended ? "crash" : "no end", stage_names[shared->stage], status, options.seed,
                shared->current);
        shared->next = shared->current + options.n_shards;
    }
    return n_deaths;
}

// One case in this process, for a debugger; --keep leaves its files.
int run_one(const Options &options, Shared *shared)
{
    const Scratch scratch;
    tn_host *host = open_host();
    std::vector<SeedModel> seeds;
    usable_seeds(scratch, host, &seeds);
    shared->n_seeds = static_cast<long>(seeds.size());
    const Case c = make_case(seeds, options.seed, options.one);
    printf("case %ld: %s\n", options.one, c.story.c_str());
    if (!options.keep.empty()) printf("written to %s\n", write_seed_model(options.keep, c.parts).c_str());
    fflush(stdout);
    run_case(options, seeds, scratch.path(), host, options.one, shared);
    tn_host_close(host);
    print_table(options, shared);
    return shared->n_wrong != 0;
}

int usage()
{
    fprintf(stderr,
            "usage: mutate_models [--cases N] [--seed S] [--shard I/N] [--cpu-ms N] [--decoded-percent-min P] [--case N [--keep DIR]]\n");
    return 2;
}

bool parse(int argc, char **argv, Options *o)
{
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        if (i + 1 >= argc) return false;
        const char *value = argv[i + 1];
        if (name == "--cases")
            o->cases = atol(value);
        else if (name == "--seed")
            o->seed = atol(value);
        else if (name == "--case")
            o->one = atol(value);
        else if (name == "--keep")
            o->keep = value;
        else if (name == "--cpu-ms")
            o->cpu_ms_max = atof(value);
        else if (name == "--decoded-percent-min")
            o->decoded_percent_min = static_cast<unsigned>(atoi(value));
        else if (name == "--shard") {
            if (sscanf(value, "%ld/%ld", &o->shard, &o->n_shards) != 2 || o->shard < 1 || o->shard > o->n_shards) return false;
            o->shard--;
        } else
            return false;
    }
    return o->cases > 0;
}

} // namespace

int main(int argc, char **argv)
{
    Options options;
    if (!parse(argc, argv, &options)) return usage();
    void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 2;
    Shared *shared = new (memory) Shared();
    if (options.one >= 0) return run_one(options, shared);
    shared->next = options.shard;
    const long n_deaths = supervise(options, shared);
    print_table(options, shared);
    long decoded = shared->counts[stage_decode][TN_OK] + shared->counts[stage_decode][TN_POISON];
    const bool deep = decoded * 100 >= shared->n_done * static_cast<long>(options.decoded_percent_min);
    if (!deep)
        fprintf(stderr, "mutate_models: fewer than %u %% of the cases reach a step: the mutations are too blunt\n",
                options.decoded_percent_min);
    return n_deaths != 0 || shared->n_wrong != 0 || shared->broken || !shared->finished || !deep || shared->n_done == 0;
}
