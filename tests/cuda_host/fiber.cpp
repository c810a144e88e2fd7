#include "cuda_host/fiber.hpp"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define TN_FIBER_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TN_FIBER_ASAN
#endif
#endif
#ifdef TN_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define TN_FIBER_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TN_FIBER_TSAN
#endif
#endif
#ifdef TN_FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace cuda_host
{

namespace
{

constexpr size_t kPage = 4096, kStack = 256 * 1024;
#if defined(TN_FIBER_ASAN)
__thread Context *left; // from which the last switch came
#endif

} // namespace

// ---- registers ----

// The registers that a called function keeps go to the old stack; those of the new one come back from there.
extern "C" __attribute__((visibility("hidden"))) void tn_switch_stacks(void **from, void *to);
#define SWITCH_STACKS(function, instructions)                                                                                              \
    asm(".pushsection .text\n.p2align 4\n.globl tn_switch_stacks\n.hidden tn_switch_stacks\n.type tn_switch_stacks, " function             \
        "\ntn_switch_stacks:\n" instructions "\n.size tn_switch_stacks, . - tn_switch_stacks\n.popsection")

#if defined(__x86_64__)

SWITCH_STACKS("@function", R"(
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

namespace
{

// As if `entry` had been called: its return address, 0, lies below a multiple of 16; a stack ends at one.
void *first_frame(uint8_t *top, void (*entry)())
{
    void **at = reinterpret_cast<void **>(top);
    *--at = nullptr;
    *--at = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++) *--at = nullptr;
    return at;
}

} // namespace

#elif defined(__aarch64__)

SWITCH_STACKS("%function", R"(
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");

namespace
{

void *first_frame(uint8_t *top, void (*entry)())
{
    void **at = reinterpret_cast<void **>(top) - 20;
    for (int i = 0; i < 20; i++) at[i] = nullptr;
    at[11] = reinterpret_cast<void *>(entry); // x30
    return at;
}

} // namespace

#endif

// ---- switching ----

void prepare(Context &context, uint8_t *bottom, size_t n_bytes, void (*entry)())
{
    context.bottom = bottom;
    context.n_bytes = n_bytes;
#ifdef TN_FIBER_UCONTEXT
    getcontext(&context.registers);
    context.registers.uc_stack.ss_sp = bottom;
    context.registers.uc_stack.ss_size = n_bytes;
    context.registers.uc_link = nullptr;
    makecontext(&context.registers, entry, 0);
#else
    context.stack_pointer = first_frame(bottom + n_bytes, entry);
#endif
#if defined(TN_FIBER_ASAN)
    context.sanitizer = nullptr;
#elif defined(TN_FIBER_TSAN)
    if (!context.sanitizer) context.sanitizer = __tsan_create_fiber(0);
#endif
}

void switch_to(Context &from, Context &to, Leave leave)
{
#if defined(TN_FIBER_ASAN)
    left = &from;
    __sanitizer_start_switch_fiber(leave == Leave::ForGood ? nullptr : &from.sanitizer, to.bottom, to.n_bytes);
#elif defined(TN_FIBER_TSAN)
    if (!from.sanitizer) from.sanitizer = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.sanitizer, 0);
#endif
    (void)leave;
#ifdef TN_FIBER_UCONTEXT
    swapcontext(&from.registers, &to.registers);
#else
    tn_switch_stacks(&from.stack_pointer, to.stack_pointer);
#endif
#if defined(TN_FIBER_ASAN)
    __sanitizer_finish_switch_fiber(from.sanitizer, nullptr, nullptr);
#endif
}

void begin_fiber()
{
#if defined(TN_FIBER_ASAN)
    // The thread's own stack is learnt from the first switch away from it.
    __sanitizer_finish_switch_fiber(nullptr, &left->bottom, &left->n_bytes);
#endif
}

// ---- stacks ----

bool Stacks::reserve(size_t n)
{
    if (at_) munmap(at_, n_ * (kStack + kPage));
    n_ = 0;
    void *at = mmap(nullptr, n * (kStack + kPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    at_ = at == MAP_FAILED ? nullptr : static_cast<uint8_t *>(at);
    if (!at_) return false;
    n_ = n;
    for (size_t i = 0; i < n; i++) mprotect(at_ + i * (kStack + kPage), kPage, PROT_NONE);
    return true;
}
Stacks::~Stacks()
{
    if (at_) munmap(at_, n_ * (kStack + kPage));
}
uint8_t *Stacks::bottom(size_t i) const { return at_ + i * (kStack + kPage) + kPage; }
size_t Stacks::n_bytes(size_t i) { return kStack - i * 832 % 16384; }

void Stacks::clean()
{
#ifdef TN_FIBER_ASAN
    for (size_t i = 0; i < n_; i++) __asan_unpoison_memory_region(bottom(i), kStack);
#endif
}

} // namespace cuda_host
