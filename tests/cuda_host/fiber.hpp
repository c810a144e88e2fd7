// Fibers: stacks of their own within one thread of the host, and switching between them by a few instructions.
#ifndef TN_TESTS_CUDA_HOST_FIBER_HPP
#define TN_TESTS_CUDA_HOST_FIBER_HPP

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define TN_FIBER_UCONTEXT
#include <ucontext.h>
#endif

namespace cuda_host
{

// Where a stack was left. Sanitizers are told of every switch, so that they know which stack is in use.
struct Context {
#ifdef TN_FIBER_UCONTEXT
    ucontext_t registers;
#else
    void *stack_pointer = nullptr;
#endif
    const void *bottom = nullptr;
    size_t n_bytes = 0;
    void *sanitizer = nullptr;
};

// Makes `context` begin with `entry`, which never returns, on the stack at `bottom` the next time that it is switched to.
void prepare(Context &context, uint8_t *bottom, size_t n_bytes, void (*entry)());
enum class Leave { ToComeBack, ForGood };
void switch_to(Context &from, Context &to, Leave leave = Leave::ToComeBack);
// The first thing that an entry does.
void begin_fiber();

// Stacks that lie one behind another, with a page between that ends the process where a stack is too small.
class Stacks
{
  public:
    Stacks() = default;
    Stacks(const Stacks &) = delete;
    ~Stacks();
    bool reserve(size_t n); // false: there is no memory. What was there is given up.
    size_t size() const { return n_; }
    uint8_t *bottom(size_t i) const;
    static size_t n_bytes(size_t i); // of stack i: they end at different places of a page, so that they do not share lines of a cache
    void clean();                    // after fibers that were left in the middle of something

  private:
    uint8_t *at_ = nullptr;
    size_t n_ = 0;
};

} // namespace cuda_host

#endif
