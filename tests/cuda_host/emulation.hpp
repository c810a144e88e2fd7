// A GPU's blocks, warps and threads on the host: threads are fibers of one thread, and each runs until it has to wait for others. Shared
// memory is watched (shadow.hpp), and so is who meets which barrier; whatever is wrong ends the launch with one line about it.
//
// Blocks run one after another, in random order, so that what one block reads of another's is right or wrong as a whole: a reader that
// comes too early is seen by a wrong result in some order. Plain accesses to global memory are not watched; the one rule for them that can
// be checked is that threads which made their stores visible (tn_fence) are waited for before one of them counts their block (add_global).
// Kernels run one after another too: that a kernel which may begin early reads nothing too early is checked of its fresh loads, fences and
// atomics alone.
// Nothing here knows how long anything takes on a GPU.
#ifndef TN_TESTS_CUDA_HOST_EMULATION_HPP
#define TN_TESTS_CUDA_HOST_EMULATION_HPP

#include "cuda_host/shadow.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cuda_host
{

// ---- launching ----

struct Kernel {
    const char *name;
    size_t params_bytes;
    uint32_t threads; // a block
    void (*body)(const void *params);
};
Kernel add_kernel(const Kernel &kernel); // at start, by each kernel itself
const Kernel *find_kernel(const std::string &name);

struct Launch {
    uint32_t grid[3] = {1, 1, 1};
    uint32_t shared_bytes = 0;         // dynamic
    uint32_t shared_most = 227 * 1024; // that a block may have, its arrays included
    int capability = 90;               // of the device: from 90 on it has a copy engine
};
// Runs all blocks, in random order, until something is wrong: one line about it; empty: nothing was.
std::vector<std::string> run(const Kernel &kernel, const void *params, const Launch &launch);
// Of the order of blocks in this thread's last launch. TN_CUDA_HOST_SEED=<seed> in the environment gives every launch that order.
uint32_t last_seed();

// ---- barriers, for tests that leave one out ----

// A place in a kernel's text where threads wait for one another (tn_sync, tn_sync_or, tn_sync_warp), or for copies (tn_async_wait,
// tn_bulk_wait).
struct Barrier {
    std::string kernel, what, file; // from the source tree's root
    int line;
};
// Those that this thread's launches have met, each once. With TN_CUDA_HOST_BARRIERS=<file> in the environment they are appended to that
// file when the thread ends, a line "met <kernel> <what> <file>:<line> <test>" each, and behind them which kernels there are and were
// launched. The test is the one that met it first.
std::vector<Barrier> barriers_met();
void begin_test(const std::string &name);
// Launches of this thread go by that barrier as if it were not there. TN_CUDA_HOST_LEAVE_OUT="<kernel> <file>:<line>" does it from outside.
void leave_out(const Barrier &barrier);
void leave_out_nothing();

// ---- what a running thread sees ----

struct Thread {
    uint32_t thread; // of the block
};
struct Block {
    uint32_t n_threads, at[3], grid[3];
    bool has_copy_engine;
};
struct Here {
    const Thread *thread;
    const Block *block;
};
extern __thread Here here __attribute__((tls_model("initial-exec")));
inline const Thread &self() { return *here.thread; }
inline const Block &block() { return *here.block; }

// A place in a kernel's text.
struct Place {
    const char *file;
    int line;
};
void sync_block(const char *file, int line);
void sync_warp(const char *file, int line);
bool sync_or(bool value, const char *file, int line);
void fence();
uint32_t exchange(uint32_t v, uint32_t from_lane, const Place &place); // of the warp, by all its lanes
uint32_t ballot(bool v, const Place &place);
void mma(int32_t d[4], const uint32_t a[4], const uint32_t b[2], bool a_is_signed, bool b_is_signed, const Place &place);
void mma_bits(int32_t d[4], const uint32_t a[4], const uint32_t b[2], const Place &place);
void mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2], const Place &place);
// The running thread waits for the kernel before, once; what is only right behind that names itself (`what`: "returns").
void wait_previous();
void must_have_waited(const char *what);
// Products of warpgroups: asked for by each thread, made when all of them wait. What a product reads and changes until then is what counts.
void async_fence();
void wgmma_fence();
void wgmma(int32_t *d, uint32_t n, const uint32_t *a, uint64_t b, const Place &place);
void wgmma_commit();
void wgmma_wait(uint32_t n_left, const Place &place);
// Global memory.
uint32_t add_global(uint32_t *at, uint32_t v);
uint32_t min_global(uint32_t *at, uint32_t v);
uint32_t max_global(uint32_t *at, uint32_t v);
void check_aligned(const void *at, size_t bytes);
void async_commit();
void async_wait(int n_left, const Place &place);

// ---- shared memory ----

// Notes an access to bytes [at, at + n) of the block's shared memory by the running thread, n a power of two; does not return where it is
// outside [begin, end), not aligned, or not ordered with what other threads did there.
void access(size_t at, size_t n, size_t begin, size_t end, Access kind);
// Has the bytes arrive there when the running thread waits for them; until then nobody may touch the place.
void copy_async(size_t at, const void *bytes, size_t n, size_t begin, size_t end);
uint8_t *shared_bytes();
// Something at byte `at` of shared memory, of an array in [begin, end).
struct InShared {
    size_t at, begin, end;
};
// Long copies by the copy engine, which makes them at some time while threads wait for whatever it is. A word that they arrive at is made
// by one thread. A phase of it ends when one thread has said how many bytes come, and they have come; waiting for a phase of a parity is
// over when the one under way has the other.
void make_arrival(const InShared &word, const Place &place);
void expect_bytes(const InShared &word, uint32_t n_bytes, const Place &place);
void copy_long(const InShared &to, const uint8_t *from, uint32_t n_bytes, const InShared &word, const Place &place);
void wait_arrival(const InShared &word, uint32_t parity, const Place &place);
// Where the array lies that `key` stands for, the same for all threads of the block.
struct Array {
    const void *key;
    const char *name;
    size_t element_bytes, n_bytes, place;
};
size_t shared_place(const Array &array);
size_t dynamic_place(const char *name, size_t element_bytes, size_t *out_bytes);

template <class T> class Element;

// An array in shared memory, or the rest of one from some element on.
template <class T> class Shared
{
  public:
    Shared(size_t place, size_t begin, size_t end) : place_(place), begin_(begin), end_(end) {}
    Element<T> operator[](size_t i) const { return Element<T>(*this, i); }
    Shared operator+(size_t n) const { return Shared(place_ + n * sizeof(T), begin_, end_); }
    template <class U> Shared<U> as() const { return Shared<U>(place_, begin_, end_); }

    size_t address(size_t i) const { return place_ + i * sizeof(T); } // in the block's shared memory
    InShared in_shared(size_t i) const { return {address(i), begin_, end_}; }
    T load(size_t i) const { return load_wide<T>(i); }
    void store(size_t i, T v) const { store_wide<T>(i, v); }
    template <class W> W load_wide(size_t i) const
    {
        W v;
        const size_t at = place_ + i * sizeof(T);
        access(at, sizeof v, begin_, end_, Access::Read);
        __builtin_memcpy(&v, shared_bytes() + at, sizeof v);
        return v;
    }
    template <class W> void store_wide(size_t i, W v) const
    {
        const size_t at = place_ + i * sizeof(T);
        access(at, sizeof v, begin_, end_, Access::Write);
        __builtin_memcpy(shared_bytes() + at, &v, sizeof v);
    }
    template <class W> void store_async(size_t i, W v) const { copy_async(place_ + i * sizeof(T), &v, sizeof v, begin_, end_); }
    T atomic_add(size_t i, T v) const
    {
        return change(i, [v](T old) { return (T)(old + v); });
    }
    T atomic_max(size_t i, T v) const
    {
        return change(i, [v](T old) { return old > v ? old : v; });
    }

  private:
    template <class F> T change(size_t i, F to) const
    {
        const size_t at = place_ + i * sizeof(T);
        access(at, sizeof(T), begin_, end_, Access::Atomic);
        T old;
        __builtin_memcpy(&old, shared_bytes() + at, sizeof old);
        const T v = to(old);
        __builtin_memcpy(shared_bytes() + at, &v, sizeof v);
        return old;
    }

    size_t place_, begin_, end_;
};

template <class T> class Element
{
  public:
    Element(const Shared<T> &array, size_t i) : array_(array), i_(i) {}
    Element(const Element &) = default;
    operator T() const { return array_.load(i_); }
    const Element &operator=(T v) const
    {
        array_.store(i_, v);
        return *this;
    }
    const Element &operator=(const Element &other) const { return *this = (T)other; }
    const Element &operator+=(T v) const { return *this = (T)((T) * this + v); }

  private:
    const Shared<T> array_;
    size_t i_;
};

// `key`: an address of the place's own.
template <class T> Shared<T> shared_array(size_t n, const void *key, const char *name)
{
    const size_t n_bytes = n * sizeof(T), place = shared_place({key, name, sizeof(T), n_bytes, 0});
    return Shared<T>(place, place, place + n_bytes);
}
template <class T> Shared<T> shared_dynamic(const char *name)
{
    size_t n_bytes;
    const size_t place = dynamic_place(name, sizeof(T), &n_bytes);
    return Shared<T>(place, place, place + n_bytes);
}

} // namespace cuda_host

#endif
