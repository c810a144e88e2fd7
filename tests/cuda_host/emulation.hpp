// A GPU's blocks, warps and threads on the host.
#ifndef TN_TESTS_CUDA_HOST_EMULATION_HPP
#define TN_TESTS_CUDA_HOST_EMULATION_HPP

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
    uint32_t shared_bytes = 0; // dynamic
};
// Runs all blocks, in random order. What a kernel did wrong, one line each; empty: nothing.
std::vector<std::string> run(const Kernel &kernel, const void *params, const Launch &launch);

// ---- what a running thread sees ----

struct Thread {
    uint32_t thread; // of the block
};
struct Block {
    uint32_t n_threads, at[3], grid[3];
};
Thread &self();
Block &block();

void sync_block(const char *file, int line);
void sync_warp(const char *file, int line);
bool sync_or(bool value, const char *file, int line);
void fence();
uint32_t exchange(uint32_t v, uint32_t from_lane); // of the warp, by all its lanes
uint32_t ballot(bool v);
void mma(int32_t d[4], const uint32_t a[4], const uint32_t b[2], bool a_is_signed);
uint32_t atomic_add(uint32_t *at, uint32_t v);
uint32_t atomic_min(uint32_t *at, uint32_t v);
void check_aligned(const void *at, size_t bytes);
void async_commit();
void async_wait(int n_left);
void fail(const std::string &what); // notes it, once for each text

// ---- shared memory ----

enum class Access { Read, Write, Atomic, AsyncWrite };
// Notes an access to bytes [offset, offset + n) of the block's shared memory by the running thread; false: it is outside [begin, end).
bool access(size_t offset, size_t n, size_t begin, size_t end, Access kind);
uint8_t *shared_bytes();
// The array of this place in the kernel: where it lies, the same for all threads of the block.
size_t shared_place(size_t n_bytes, const char *file, int line);
size_t dynamic_place(size_t *out_bytes);

template <class T> class Element;

// An array in shared memory, or the rest of one from some element on.
template <class T> class Shared
{
  public:
    Shared(size_t place, size_t begin, size_t end) : place_(place), begin_(begin), end_(end) {}
    Element<T> operator[](size_t i) const { return Element<T>(*this, i); }
    Shared operator+(size_t n) const { return Shared(place_ + n * sizeof(T), begin_, end_); }
    template <class U> Shared<U> as() const { return Shared<U>(place_, begin_, end_); }

    T load(size_t i) const { return load_wide<T>(i); }
    void store(size_t i, T v) const { store_wide<T>(i, v); }
    template <class W> W load_wide(size_t i) const
    {
        W v = {};
        const size_t at = place_ + i * sizeof(T);
        if (at % sizeof(W) != 0) fail("a shared access is not aligned");
        if (access(at, sizeof v, begin_, end_, Access::Read)) __builtin_memcpy(&v, shared_bytes() + at, sizeof v);
        return v;
    }
    template <class W> void store_wide(size_t i, W v, Access kind = Access::Write) const
    {
        const size_t at = place_ + i * sizeof(T);
        if (at % sizeof(W) != 0) fail("a shared access is not aligned");
        if (access(at, sizeof v, begin_, end_, kind)) __builtin_memcpy(shared_bytes() + at, &v, sizeof v);
    }
    template <class W> void store_async(size_t i, W v) const { store_wide<W>(i, v, Access::AsyncWrite); }
    T atomic_add(size_t i, T v) const
    {
        T old = {};
        const size_t at = place_ + i * sizeof(T);
        if (!access(at, sizeof v, begin_, end_, Access::Atomic)) return old;
        __builtin_memcpy(&old, shared_bytes() + at, sizeof old);
        const T sum = (T)(old + v);
        __builtin_memcpy(shared_bytes() + at, &sum, sizeof sum);
        return old;
    }
    T atomic_max(size_t i, T v) const
    {
        T old = {};
        const size_t at = place_ + i * sizeof(T);
        if (!access(at, sizeof v, begin_, end_, Access::Atomic)) return old;
        __builtin_memcpy(&old, shared_bytes() + at, sizeof old);
        const T larger = old > v ? old : v;
        __builtin_memcpy(shared_bytes() + at, &larger, sizeof larger);
        return old;
    }

  private:
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

template <class T> Shared<T> shared_array(size_t n, const char *file, int line)
{
    const size_t place = shared_place(n * sizeof(T), file, line);
    return Shared<T>(place, place, place + n * sizeof(T));
}
template <class T> Shared<T> shared_dynamic()
{
    size_t n_bytes;
    const size_t place = dynamic_place(&n_bytes);
    return Shared<T>(place, place, place + n_bytes);
}

} // namespace cuda_host

#endif
