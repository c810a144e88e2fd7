#include "cuda_host/emulation.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <ucontext.h>

namespace cuda_host
{

namespace
{

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kSharedBytes = 256 * 1024;

struct Fiber {
    Thread thread;
    ucontext_t context;
    std::unique_ptr<uint8_t[]> stack;
    bool is_done = false;
};

struct Warp {
    uint32_t n_arrived = 0;
    uint64_t generation = 0;
    uint32_t slots[2][32][6];
};

struct Running {
    const Kernel *kernel;
    const void *params;
    Block block;
    uint32_t shared_bytes;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    uint32_t n_arrived = 0, n_done = 0;
    uint64_t generation = 0;
    bool any[2] = {false, false};
    std::vector<uint8_t> shared;
    std::map<std::pair<std::string, int>, size_t> places;
    size_t shared_used = 0;
    ucontext_t scheduler;
    Fiber *current = nullptr;
    bool progressed = false;
    std::vector<std::string> failures;
    std::set<std::string> seen;
};

thread_local Running *running;

std::vector<Kernel> &kernels()
{
    static std::vector<Kernel> all;
    return all;
}

void yield() { swapcontext(&running->current->context, &running->scheduler); }

void entry()
{
    running->kernel->body(running->params);
    running->current->is_done = true;
    running->n_done++;
    running->progressed = true;
    yield();
}

template <class Ready> void wait(Ready ready)
{
    while (!ready()) yield();
}

// Lays `n` words in this lane's slot and waits for the other lanes; gives the side where all lie.
uint32_t (*gather(const uint32_t *words, uint32_t n))[6]
{
    Warp &warp = running->warps[self().thread / 32];
    const uint64_t generation = warp.generation;
    uint32_t(*side)[6] = warp.slots[generation & 1];
    std::memcpy(side[self().thread & 31u], words, n * sizeof *words);
    running->progressed = true;
    if (++warp.n_arrived == 32) {
        warp.n_arrived = 0;
        warp.generation++;
    } else {
        wait([&] { return warp.generation != generation; });
    }
    return side;
}

void run_block()
{
    Running &r = *running;
    r.n_arrived = r.n_done = 0;
    r.places.clear();
    r.shared_used = r.shared_bytes;
    std::fill(r.shared.begin(), r.shared.end(), 0xab);
    for (Warp &warp : r.warps) warp.n_arrived = 0;
    for (uint32_t i = 0; i < r.block.n_threads; i++) {
        Fiber &fiber = r.fibers[i];
        fiber.thread.thread = i;
        fiber.is_done = false;
        getcontext(&fiber.context);
        if (!fiber.stack) fiber.stack = std::make_unique<uint8_t[]>(kStackBytes);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStackBytes;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, entry, 0);
    }
    while (r.n_done < r.block.n_threads) {
        r.progressed = false;
        for (Fiber &fiber : r.fibers) {
            if (fiber.is_done) continue;
            r.current = &fiber;
            swapcontext(&r.scheduler, &fiber.context);
        }
        if (!r.progressed) {
            fail("threads wait for others that do not come");
            return;
        }
    }
}

} // namespace

Kernel add_kernel(const Kernel &kernel)
{
    kernels().push_back(kernel);
    return kernel;
}

const Kernel *find_kernel(const std::string &name)
{
    for (const Kernel &kernel : kernels()) {
        if (name == kernel.name) return &kernel;
    }
    return nullptr;
}

std::vector<std::string> run(const Kernel &kernel, const void *params, const Launch &launch)
{
    static thread_local std::mt19937 random(1);
    Running r = {};
    r.kernel = &kernel;
    r.params = params;
    r.block.n_threads = kernel.threads;
    r.shared_bytes = launch.shared_bytes;
    r.fibers.resize(kernel.threads);
    r.warps.resize((kernel.threads + 31) / 32);
    r.shared.resize(kSharedBytes);
    std::copy(launch.grid, launch.grid + 3, r.block.grid);
    const size_t n_blocks = (size_t)launch.grid[0] * launch.grid[1] * launch.grid[2];
    std::vector<size_t> order(n_blocks);
    for (size_t i = 0; i < n_blocks; i++) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    Running *outer = running;
    running = &r;
    for (size_t i : order) {
        r.block.at[0] = (uint32_t)(i % launch.grid[0]);
        r.block.at[1] = (uint32_t)(i / launch.grid[0] % launch.grid[1]);
        r.block.at[2] = (uint32_t)(i / launch.grid[0] / launch.grid[1]);
        run_block();
        if (!r.failures.empty()) break;
    }
    running = outer;
    return r.failures;
}

Thread &self() { return running->current->thread; }
Block &block() { return running->block; }

void sync_block(const char *, int)
{
    Running &r = *running;
    const uint64_t generation = r.generation;
    r.progressed = true;
    if (++r.n_arrived == r.block.n_threads) {
        r.n_arrived = 0;
        r.generation++;
        r.any[r.generation & 1] = false;
    } else {
        wait([&] { return r.generation != generation; });
    }
}

bool sync_or(bool value, const char *file, int line)
{
    const uint64_t side = running->generation & 1;
    running->any[side] |= value;
    sync_block(file, line);
    return running->any[side];
}

void sync_warp(const char *, int) { gather(nullptr, 0); }
void fence() {}
uint32_t exchange(uint32_t v, uint32_t from_lane) { return gather(&v, 1)[from_lane][0]; }

uint32_t ballot(bool v)
{
    const uint32_t word = v;
    const uint32_t(*side)[6] = gather(&word, 1);
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 32; i++) mask |= side[i][0] << i;
    return mask;
}

void mma(int32_t d[4], const uint32_t a[4], const uint32_t b[2], bool a_is_signed)
{
    const uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t(*side)[6] = gather(words, 6);
    const uint32_t lane = self().thread & 31u, g = lane / 4, t = lane % 4;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t row = g + (i / 2) * 8, column = 2 * t + (i & 1);
        uint32_t sum = (uint32_t)d[i];
        for (uint32_t k = 0; k < 32; k++) {
            const uint32_t ra = side[(row % 8) * 4 + (k % 16) / 4][(row / 8) + 2 * (k / 16)] >> (8 * (k % 4)) & 0xffu;
            const uint32_t rb = side[column * 4 + (k % 16) / 4][4 + k / 16] >> (8 * (k % 4)) & 0xffu;
            const int32_t va = a_is_signed ? (int32_t)(int8_t)ra : (int32_t)ra;
            sum += (uint32_t)(va * (int32_t)(int8_t)rb);
        }
        d[i] = (int32_t)sum;
    }
}

uint32_t atomic_add(uint32_t *at, uint32_t v)
{
    const uint32_t old = *at;
    *at = old + v;
    return old;
}
uint32_t atomic_min(uint32_t *at, uint32_t v)
{
    const uint32_t old = *at;
    *at = std::min(old, v);
    return old;
}

void check_aligned(const void *at, size_t bytes)
{
    if ((uintptr_t)at % bytes != 0) fail("an access of " + std::to_string(bytes) + " bytes is not aligned");
}
void async_commit() {}
void async_wait(int) {}

void fail(const std::string &what)
{
    const std::string text = std::string(running->kernel->name) + ": " + what;
    if (running->seen.insert(text).second) running->failures.push_back(text);
}

bool access(size_t offset, size_t n, size_t begin, size_t end, Access)
{
    if (offset >= begin && offset + n <= end) return true;
    fail("a shared access is outside its array");
    return false;
}
uint8_t *shared_bytes() { return running->shared.data(); }

size_t shared_place(size_t n_bytes, const char *file, int line)
{
    Running &r = *running;
    const auto key = std::make_pair(std::string(file), line);
    const auto found = r.places.find(key);
    if (found != r.places.end()) return found->second;
    const size_t place = (r.shared_used + 15) & ~(size_t)15;
    r.shared_used = place + n_bytes;
    if (r.shared_used > r.shared.size()) fail("too much shared memory");
    return r.places[key] = place;
}
size_t dynamic_place(size_t *out_bytes)
{
    *out_bytes = running->shared_bytes;
    return 0;
}

} // namespace cuda_host
