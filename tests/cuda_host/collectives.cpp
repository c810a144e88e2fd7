// What threads of the emulation do together: barriers, exchanges within a warp, additions that publish a block.
#include "cuda_host/machine.hpp"

#include <algorithm>

namespace cuda_host
{

// ---- complaints ----

namespace
{

// The first thread that waits in the barrier or collective, of this warp or of any.
const Fiber &a_waiting(const Machine &m, const Warp *warp)
{
    for (const Fiber &fiber : m.fibers) {
        if (fiber.waits_in && (!warp || &m.warps[fiber.thread.thread / 32] == warp)) return fiber;
    }
    return *m.current;
}
const Fiber &a_returned(const Machine &m, const Warp *warp)
{
    for (const Fiber &fiber : m.fibers) {
        if (fiber.has_returned && (!warp || &m.warps[fiber.thread.thread / 32] == warp)) return fiber;
    }
    return *m.current;
}

} // namespace

void Machine::complain_of_return(const Fiber &me)
{
    const Warp &warp = warp_of(me);
    const Fiber &other = a_waiting(*this, warp.n_arrived > 0 ? &warp : nullptr);
    note("thread %u returned while thread %u waits in %s at %s", me.thread.thread, other.thread.thread, other.waits_in,
         text_of(other.place).c_str());
    give_up();
}
void Machine::complain_of_meeting(const char *what, const Place &place, const Fiber &other)
{
    note("thread %u came to %s at %s while thread %u waits in %s at %s", current->thread.thread, what, text_of(place).c_str(),
         other.thread.thread, other.waits_in, text_of(other.place).c_str());
    give_up();
}
void Machine::complain_of_absence(const char *what, const Place &place, const Fiber &absent)
{
    note("thread %u came to %s at %s, where thread %u, which has returned, is waited for", current->thread.thread, what,
         text_of(place).c_str(), absent.thread.thread);
    give_up();
}

// ---- barriers of a block ----

void Machine::meet_block(const char *what, const Place &place)
{
    Warp &warp = warp_of(*current);
    if (n_returned > 0) complain_of_absence(what, place, a_returned(*this, nullptr));
    if (warp.n_arrived > 0) complain_of_meeting(what, place, *warp.first);
    if (const Fiber *other = waits_in_warpgroup(*current)) complain_of_meeting(what, place, *other);
    if (n_arrived == 0)
        first = current;
    else if (!is_same(first->place, place))
        complain_of_meeting(what, place, *first);
    current->has_fenced = false;
    current->has_unseen_copies = current->has_unfenced_copies;
    warp.n_blocked++;
    if (++n_arrived < grid.n_threads) {
        wait(what, place);
        return;
    }
    met(what, place);
    if (!end_publishing()) give_up();
    n_arrived = 0;
    last_sync = place;
    shadow.end_epoch();
    side ^= 1;
    last_or[side] = false;
    for (Warp &other : warps) other.n_blocked = 0;
    for (uint32_t i = 0; i < grid.n_threads; i++) {
        if (&fibers[i] != current) wake(fibers[i]);
    }
}

void sync_block(const char *file, int line)
{
    if (!running->is_left_out({file, line})) running->meet_block("tn_sync", {file, line});
}

bool sync_or(bool value, const char *file, int line)
{
    Machine &m = *running;
    if (m.is_left_out({file, line})) return value;
    const uint32_t side = m.side;
    m.last_or[side] |= value;
    m.meet_block("tn_sync_or", {file, line});
    return m.last_or[side];
}

// ---- a warp ----

// Lays `n` words in this lane's slot and waits for the other lanes; gives the side where all lie.
uint32_t (*Machine::meet_warp(const char *what, const Place &place, const uint32_t *words, uint32_t n))[6]
{
    Warp &warp = warp_of(*current);
    if (warp.n_returned > 0) complain_of_absence(what, place, a_returned(*this, &warp));
    if (warp.n_blocked > 0 || warp.n_in_group > 0) complain_of_meeting(what, place, a_waiting(*this, &warp));
    if (warp.n_arrived == 0)
        warp.first = current;
    else if (!is_same(warp.first->place, place))
        complain_of_meeting(what, place, *warp.first);
    uint32_t(*slots)[6] = warp.slots[warp.side];
    std::memcpy(slots[current->thread.thread % 32], words, n * sizeof *words);
    if (++warp.n_arrived < 32) {
        wait(what, place);
        return slots;
    }
    warp.n_arrived = 0;
    warp.side ^= 1;
    Fiber *lanes = &fibers[current->thread.thread / 32 * 32];
    for (uint32_t i = 0; i < 32; i++) {
        if (&lanes[i] != current) wake(lanes[i]);
    }
    return slots;
}

// ---- a warpgroup ----

const Fiber *Machine::waits_in_warpgroup(const Fiber &fiber)
{
    const uint32_t begin = fiber.thread.thread / 128 * 4;
    for (uint32_t w = begin; w < begin + 4 && w < warps.size(); w++) {
        if (warps[w].n_in_group > 0) return &a_waiting(*this, &warps[w]);
    }
    return nullptr;
}

bool Machine::meet_warpgroup(const char *what, const Place &place)
{
    Warp *group = &warps[current->thread.thread / 128 * 4];
    if (grid.n_threads % 128 != 0) {
        note("%s at %s, in a block that is no whole warpgroups", what, text_of(place).c_str());
        give_up();
    }
    if (warp_of(*current).n_arrived > 0) complain_of_meeting(what, place, *warp_of(*current).first);
    uint32_t n = 1;
    for (uint32_t w = 0; w < 4; w++) {
        if (group[w].n_returned > 0) complain_of_absence(what, place, a_returned(*this, &group[w]));
        if (group[w].n_blocked > 0) complain_of_meeting(what, place, a_waiting(*this, &group[w]));
        n += group[w].n_in_group;
    }
    const Fiber *other = waits_in_warpgroup(*current);
    if (other && !is_same(other->place, place)) complain_of_meeting(what, place, *other);
    if (n == 128) return true;
    warp_of(*current).n_in_group++;
    wait(what, place);
    return false;
}

void Machine::wake_warpgroup()
{
    Fiber *group = warpgroup_of(*current);
    for (uint32_t w = 0; w < 4; w++) warp_of(group[32 * w]).n_in_group = 0;
    for (uint32_t i = 0; i < 128; i++) {
        if (&group[i] != current) wake(group[i]);
    }
}

void sync_warp(const char *file, int line)
{
    Machine &m = *running;
    if (m.is_left_out({file, line})) return;
    Warp &warp = m.warp_of(*m.current);
    const bool is_last = warp.n_arrived == 31;
    const uint32_t nothing = 0;
    m.meet_warp("tn_sync_warp", {file, line}, &nothing, 1);
    if (!is_last) return;
    warp.epoch++;
    m.met("tn_sync_warp", {file, line});
}

uint32_t exchange(uint32_t v, uint32_t from_lane, const Place &place) { return running->meet_warp("tn_shfl", place, &v, 1)[from_lane][0]; }

uint32_t ballot(bool v, const Place &place)
{
    const uint32_t word = v;
    const uint32_t(*slots)[6] = running->meet_warp("tn_ballot", place, &word, 1);
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 32; i++) mask |= slots[i][0] << i;
    return mask;
}

namespace
{

template <class A, class B> uint32_t dot4(uint32_t a, uint32_t b)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 32; i += 8) sum += (uint32_t)((int32_t)(A)(a >> i) * (int32_t)(B)(b >> i));
    return sum;
}

// Element (row, column) of a warp's product: k = 16 half + 4 t + i lies in byte i of lane t of the row's or the column's four.
template <class A, class B> uint32_t product(const uint32_t (*slots)[6], uint32_t row, uint32_t column)
{
    uint32_t sum = 0;
    for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t t = 0; t < 4; t++) sum += dot4<A, B>(slots[row % 8 * 4 + t][row / 8 + 2 * half], slots[column * 4 + t][4 + half]);
    }
    return sum;
}

} // namespace

void mma(int32_t d[4], const uint32_t a[4], const uint32_t b[2], bool a_is_signed, bool b_is_signed, const Place &place)
{
    const auto element = a_is_signed ? (b_is_signed ? product<int8_t, int8_t> : product<int8_t, uint8_t>)
                                     : (b_is_signed ? product<uint8_t, int8_t> : product<uint8_t, uint8_t>);
    const uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t(*slots)[6] = running->meet_warp("tn_mma", place, words, 6);
    const uint32_t lane = self().thread % 32;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        d[i] = (int32_t)((uint32_t)d[i] + element(slots, row, column));
    }
}

void mma_bits(int32_t d[4], const uint32_t a[4], const uint32_t b[2], const Place &place)
{
    const uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t(*slots)[6] = running->meet_warp("tn_bmma", place, words, 6);
    const uint32_t lane = self().thread % 32;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (uint32_t k = 0; k < 256; k += 32) {
            const uint32_t t = k % 128 / 32, half = k / 128;
            d[i] += __builtin_popcount(slots[row % 8 * 4 + t][row / 8 + 2 * half] & slots[column * 4 + t][4 + half]);
        }
    }
}

// A tensor core ignores the 13 bits that TF32 lacks; how it rounds sums is its own, and here they are rounded once.
void mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2], const Place &place)
{
    const uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t(*slots)[6] = running->meet_warp("tn_mma_tf32", place, words, 6);
    const uint32_t lane = self().thread % 32;
    const auto value = [](uint32_t bits) {
        float f;
        bits &= 0xffffe000u;
        std::memcpy(&f, &bits, sizeof f);
        return (double)f;
    };
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = d[i];
        for (uint32_t k = 0; k < 8; k++)
            sum += value(slots[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]) * value(slots[column * 4 + k % 4][4 + k / 4]);
        d[i] = (float)sum;
    }
}

// ---- global memory ----

// A block is counted by an addition of one of its threads, after every thread has stored its part, made that visible (fence), and met the
// others in a barrier. So where several threads have fences and one of them adds behind its own, with no barrier of the block between any
// of it, the others' parts may be missing when the block is counted. Where several add, each counts for itself. Where one does, between two
// barriers, every thread must have had a fence in front of the first of them, and the one that adds must have one behind, before the next
// barrier or the one after: what other blocks stored is read there. That the block does so by fresh loads is not seen.
void fence()
{
    must_have_waited("fences");
    Machine &m = *running;
    if (!m.current->has_fenced) m.publishing.n_fenced++;
    if (m.current == m.publishing.adder) m.publishing.is_acquired = true;
    if (m.current == m.counted) m.counted = nullptr;
    m.current->has_fenced = true;
    if (!m.publishing.fenced)
        m.publishing.fenced = m.current;
    else if (m.publishing.fenced != m.current)
        m.publishing.fenced_too = m.current;
}

void Machine::publish(const Fiber &added)
{
    if (publishing.added && publishing.added != &added) publishing.several_added = true;
    publishing.added = &added;
}

void Machine::add(const Fiber &adder)
{
    if (publishing.adder && publishing.adder != &adder) publishing.several_adders = true;
    publishing.adder = &adder;
    publishing.is_acquired = false;
}

bool Machine::check_counting(const Publishing &was, uint32_t n_fenced)
{
    if (counted) {
        note("thread %u counted its block by tn_atomic_add, and has no tn_fence behind that", counted->thread.thread);
        return false;
    }
    if (!was.adder || was.several_adders) return true;
    if (n_fenced < grid.n_threads) {
        note("thread %u counts its block by tn_atomic_add, and %u of its %u threads have no tn_fence in front of the barrier before",
             was.adder->thread.thread, grid.n_threads - n_fenced, grid.n_threads);
        return false;
    }
    if (!was.is_acquired) counted = was.adder;
    return true;
}

bool Machine::end_publishing()
{
    const Publishing was = publishing;
    const uint32_t n_fenced = n_fenced_before;
    publishing = {};
    n_fenced_before = was.n_fenced;
    if (!was.added || was.several_added || !was.fenced_too) return check_counting(was, n_fenced);
    const Fiber &other = was.fenced == was.added ? *was.fenced_too : *was.fenced;
    note("thread %u counts its block by tn_atomic_add, with no barrier behind the tn_fence of thread %u", was.added->thread.thread,
         other.thread.thread);
    return false;
}

uint32_t add_global(uint32_t *at, uint32_t v)
{
    must_have_waited("adds to global memory");
    check_aligned(at, sizeof *at);
    running->add(*running->current);
    if (running->current->has_fenced) running->publish(*running->current);
    const uint32_t old = *at;
    *at = old + v;
    return old;
}
uint32_t min_global(uint32_t *at, uint32_t v)
{
    must_have_waited("changes global memory");
    check_aligned(at, sizeof *at);
    const uint32_t old = *at;
    *at = std::min(old, v);
    return old;
}
uint32_t max_global(uint32_t *at, uint32_t v)
{
    must_have_waited("changes global memory");
    check_aligned(at, sizeof *at);
    const uint32_t old = *at;
    *at = std::max(old, v);
    return old;
}

} // namespace cuda_host
