#include "cuda_host/emulation.hpp"

#include "cuda_host/machine.hpp"

#include <algorithm>
#include <cassert>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace cuda_host
{

__thread Here here;
__thread Machine *running;

Machine &machine()
{
    static thread_local Machine the_machine;
    return the_machine;
}

namespace
{

std::vector<Kernel> &kernels()
{
    static std::vector<Kernel> all;
    return all;
}

void entry()
{
    begin_fiber();
    running->kernel->body(running->params);
    running->returned();
}

} // namespace

// ---- complaints ----

const char *short_name(const char *file)
{
    for (const char *root : {"src/cuda/", "tests/cuda_host/"}) {
        const char *found = std::strstr(file, root);
        if (found) return found;
    }
    return file;
}
std::string text_of(const Place &place) { return std::string(short_name(place.file)) + ":" + std::to_string(place.line); }

void Machine::note(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    complaint = std::string(kernel->name) + ": " + text;
    if (last_sync.file) complaint += ", after the barrier at " + text_of(last_sync);
    const uint32_t n_blocks = grid.grid[0] * grid.grid[1] * grid.grid[2];
    if (n_blocks > 1) {
        complaint += " (block " + std::to_string(grid.at[0]) + ", " + std::to_string(grid.at[1]) + ", " + std::to_string(grid.at[2]) +
                     "; TN_CUDA_HOST_SEED=" + std::to_string(seed) + ")";
    }
}

void Machine::give_up()
{
    is_abandoned = true;
    switch_to(current->context, scheduler, Leave::ForGood);
    std::abort(); // nobody comes back to it
}

// ---- the kernel before ----

void wait_previous()
{
    Fiber &me = *running->current;
    if (me.has_waited) {
        running->note("thread %u waits for the kernel before a second time", me.thread.thread);
        running->give_up();
    }
    me.has_waited = true;
}

void must_have_waited(const char *what)
{
    const Fiber &me = *running->current;
    if (me.has_waited) return;
    running->note("thread %u %s and has not waited for the kernel before", me.thread.thread, what);
    running->give_up();
}

// ---- threads ----

void Machine::run_next(Leave leave)
{
    Fiber &from = *current;
    if (++engine.now >= engine.due) copy_due();
    while (n_ready == 0 && copy_next()) {}
    if (n_ready == 0) {
        if (n_returned < grid.n_threads) complain_of_waiting();
        switch_to(from.context, scheduler, leave);
    } else {
        Fiber &to = *ready[first_ready];
        first_ready = (first_ready + 1) % ready.size();
        n_ready--;
        if (&to == &from) return;
        current = &to;
        here.thread = &to.thread;
        switch_to(from.context, to.context, leave);
    }
}

void Machine::wake(Fiber &fiber)
{
    fiber.waits_in = nullptr;
    size_t at = first_ready + n_ready++;
    if (at >= ready.size()) at -= ready.size();
    ready[at] = &fiber;
}

void Machine::returned()
{
    Fiber &me = *current;
    Warp &warp = warp_of(me);
    me.has_returned = true;
    if (n_arrived > 0 || warp.n_arrived > 0 || waits_in_warpgroup(me)) complain_of_return(me);
    warp.n_returned++;
    n_returned++;
    run_next(Leave::ForGood);
    std::abort();
}

// Runs one block; false: something was wrong.
bool Machine::run_block()
{
    n_arrived = n_returned = n_ready = first_ready = 0;
    last_sync = {};
    last_or[0] = last_or[1] = false;
    shadow.begin_block();
    publishing = {};
    n_fenced_before = 0;
    counted = nullptr;
    std::memset(shared.get(), 0xab, shared_used);
    engine.arrivals.clear();
    engine.copies.clear();
    engine.due = UINT64_MAX;
    for (Warp &warp : warps) warp.n_arrived = warp.n_blocked = warp.n_returned = warp.n_in_group = 0;
    for (uint32_t i = 0; i < grid.n_threads; i++) {
        Fiber &fiber = fibers[i];
        fiber.thread.thread = i;
        fiber.has_returned = fiber.has_fenced = fiber.has_waited = false;
        fiber.copies.clear();
        fiber.n_committed = 0;
        fiber.waits_for_copies = false;
        fiber.wgmmas.clear();
        fiber.n_wgmma_groups = 0;
        fiber.has_wgmma_fence = fiber.has_unfenced_copies = fiber.has_unseen_copies = false;
        prepare(fiber.context, stacks.bottom(i), Stacks::n_bytes(i), entry);
        wake(fiber);
    }
    is_abandoned = false;
    current = ready[0];
    first_ready = 1 % ready.size();
    n_ready--;
    here = {&current->thread, &grid};
    switch_to(scheduler, current->context);
    if (is_abandoned) {
        stacks.clean();
        return false;
    }
    assert(n_returned == grid.n_threads); // whoever would wait for one that does not come has been told so
    return end_copies() && end_publishing();
}

bool Machine::begin(const Kernel &of, const void *of_params, const Launch &launch)
{
    kernel = &of;
    if (std::find(launched.begin(), launched.end(), &of) == launched.end()) launched.push_back(&of);
    params = of_params;
    complaint.clear();
    last_sync = {};
    std::copy(launch.grid, launch.grid + 3, grid.grid);
    std::fill(grid.at, grid.at + 3, 0u);
    grid.n_threads = of.threads;
    grid.has_copy_engine = launch.capability >= 90;
    arrays.clear();
    dynamic = {nullptr, "", 1, launch.shared_bytes, 0};
    shared_used = launch.shared_bytes;
    if (of.threads == 0 || of.threads % 32 != 0 || of.threads > kMaxThreads) {
        note("%u threads a block: not 1 to %u whole warps", of.threads, kMaxThreads / 32);
        return false;
    }
    shared_most = std::min<size_t>(launch.shared_most, kSharedBytes);
    if (launch.shared_bytes > shared_most) {
        note("%u bytes of shared memory: no GPU has them", launch.shared_bytes);
        return false;
    }
    if (stacks.size() < of.threads && !stacks.reserve(of.threads)) {
        note("no memory for the stacks of %u threads", of.threads);
        return false;
    }
    if (fibers.size() < of.threads) fibers = std::vector<Fiber>(of.threads);
    ready.resize(of.threads);
    warps.resize(of.threads / 32);
    return true;
}

// ---- launches ----

Kernel add_kernel(const Kernel &kernel)
{
    kernels().push_back(kernel);
    return kernel;
}

const std::vector<Kernel> &all_kernels() { return kernels(); }

const Kernel *find_kernel(const std::string &name)
{
    for (const Kernel &kernel : kernels()) {
        if (name == kernel.name) return &kernel;
    }
    return nullptr;
}

uint32_t last_seed() { return machine().seed; }

namespace
{

// The seed of the next launch's order, or the one that was asked for; false: what was asked for is no number.
bool next_seed(Machine &m)
{
    const char *asked = std::getenv("TN_CUDA_HOST_SEED");
    if (!asked) {
        m.seed = ++m.n_launches;
        return true;
    }
    char *end;
    m.seed = (uint32_t)std::strtoul(asked, &end, 10);
    return *asked != 0 && *end == 0;
}

} // namespace

std::vector<std::string> run(const Kernel &kernel, const void *params, const Launch &launch)
{
    Machine &m = machine();
    if (!m.begin(kernel, params, launch)) return {m.complaint};
    if (!next_seed(m)) return {"TN_CUDA_HOST_SEED is not a number"};
    const size_t n_blocks = (size_t)launch.grid[0] * launch.grid[1] * launch.grid[2];
    std::vector<size_t> order(n_blocks);
    for (size_t i = 0; i < n_blocks; i++) order[i] = i;
    if (n_blocks > 1) {
        std::mt19937 random(m.seed);
        std::shuffle(order.begin(), order.end(), random);
    }
    m.engine.random.seed(m.seed);
    running = &m;
    for (size_t i : order) {
        m.grid.at[0] = (uint32_t)(i % launch.grid[0]);
        m.grid.at[1] = (uint32_t)(i / launch.grid[0] % launch.grid[1]);
        m.grid.at[2] = (uint32_t)(i / launch.grid[0] / launch.grid[1]);
        if (!m.run_block()) return {m.complaint};
    }
    return {};
}

} // namespace cuda_host
