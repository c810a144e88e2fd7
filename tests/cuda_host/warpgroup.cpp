// Products of warpgroups, which are made behind their threads' backs: here when all threads of the warpgroup wait for them, from what
// registers and shared memory hold then.
#include "cuda_host/machine.hpp"

#include <algorithm>

namespace cuda_host
{

namespace
{

constexpr uint32_t kDepth = Operands::kDepth;

// A's rows from the registers of the four warps.
void gather_a(const Fiber *group, uint8_t (&a)[64][kDepth])
{
    for (uint32_t thread = 0; thread < 128; thread++) {
        const uint32_t row = thread / 32 * 16 + thread % 32 / 4, k = thread % 4 * 4;
        for (uint32_t i = 0; i < 4; i++) std::memcpy(&a[row + i % 2 * 8][k + i / 2 * 16], &group[thread].wgmmas[0].a[i], 4);
    }
}

// B's columns, which are rows of 128 bytes in shared memory, from where the descriptor says: address and distance of groups of 8 rows in
// units of 16 bytes, and the one order of units that is known here.
void gather_b(Machine &m, const Wgmma &of, int8_t (&b)[256][kDepth])
{
    const size_t begin = (size_t)(of.b & 0x3fffu) * 16, distance = (size_t)((of.b >> 32) & 0x3fffu) * 16;
    if (of.b >> 62 != 1 || begin % 1024 >= 128 || begin % kDepth != 0) {
        m.note("tn_wgmma_us at %s of shared memory that does not begin at a multiple of 1024, in an order that is unknown",
               text_of(of.place).c_str());
        m.give_up();
    }
    for (uint32_t column = 0; column < of.n; column++) {
        for (uint32_t k = 0; k < kDepth; k += 16) {
            const size_t address = begin + column / 8 * distance + column % 8 * 128 + k, at = address ^ ((address >> 3) & 0x70u);
            access(at, 16, 0, m.dynamic.n_bytes, Access::Read);
            std::memcpy(&b[column][k], shared_bytes() + at, 16);
        }
    }
}

void multiply(Machine &m, Fiber *group)
{
    auto &a = m.operands->a;
    auto &b = m.operands->b;
    const Wgmma of = group[0].wgmmas[0];
    gather_a(group, a);
    gather_b(m, of, b);
    for (uint32_t thread = 0; thread < 128; thread++) {
        int32_t *d = group[thread].wgmmas[0].d;
        for (uint32_t i = 0; i < of.n / 2; i++) {
            const uint32_t row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
            int32_t sum = 0;
            for (uint32_t k = 0; k < kDepth; k++) sum += a[row][k] * b[column][k];
            d[i] = (int32_t)((uint32_t)d[i] + (uint32_t)sum);
        }
    }
}

// The oldest product, which all threads of the warpgroup must have asked for at the same place.
void check_same(Machine &m, const Fiber *group)
{
    for (uint32_t thread = 0; thread < 128; thread++) {
        const Fiber &fiber = group[thread];
        if (!fiber.wgmmas.empty() && !group[0].wgmmas.empty()) {
            const Wgmma &mine = fiber.wgmmas[0], &first = group[0].wgmmas[0];
            if (mine.b == first.b && mine.n == first.n && mine.group == first.group && is_same(mine.place, first.place)) continue;
        }
        m.note("threads %u and %u of a warpgroup did not ask for the same products", group[0].thread.thread, fiber.thread.thread);
        m.give_up();
    }
}

} // namespace

void async_fence() { running->current->has_unfenced_copies = false; }
void wgmma_fence() { running->current->has_wgmma_fence = true; }

void wgmma(int32_t *d, uint32_t n, const uint32_t *a, uint64_t b, const Place &place)
{
    Machine &m = *running;
    Fiber &me = *m.current;
    if (!me.has_wgmma_fence) {
        m.note("thread %u came to tn_wgmma_us at %s with no tn_wgmma_fence for this group", me.thread.thread, text_of(place).c_str());
        m.give_up();
    }
    me.wgmmas.push_back({d, a, n, b, me.n_wgmma_groups, place});
}

void wgmma_commit()
{
    running->current->n_wgmma_groups++;
    running->current->has_wgmma_fence = false;
}

void wgmma_wait(uint32_t n_left, const Place &place)
{
    Machine &m = *running;
    m.met("tn_wgmma_wait", place);
    if (m.is_left_out(place)) return;
    if (!m.meet_warpgroup("tn_wgmma_wait", place)) return;
    for (uint32_t thread = 0; thread < m.grid.n_threads; thread++) {
        const Fiber &fiber = m.fibers[thread];
        if (!fiber.has_unseen_copies) continue;
        m.note("thread %u has no tn_async_fence between its tn_async_wait and the barrier, and thread %u waits for products at %s",
               fiber.thread.thread, m.current->thread.thread, text_of(place).c_str());
        m.give_up();
    }
    Fiber *group = m.warpgroup_of(*m.current);
    const auto is_due = [n_left](const Fiber &fiber) {
        return !fiber.wgmmas.empty() && fiber.wgmmas[0].group + n_left < fiber.n_wgmma_groups;
    };
    while (std::any_of(group, group + 128, is_due)) {
        check_same(m, group);
        multiply(m, group);
        for (uint32_t thread = 0; thread < 128; thread++) group[thread].wgmmas.erase(group[thread].wgmmas.begin());
    }
    m.wake_warpgroup();
}

} // namespace cuda_host
