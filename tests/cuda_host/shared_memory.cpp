// The shared memory of the emulation: arrays, accesses to them, copies to them.
#include "cuda_host/machine.hpp"

#include <algorithm>

namespace cuda_host
{

std::string Machine::name_of(size_t at) const
{
    const Array *found = &dynamic;
    for (const Array &array : arrays) {
        if (at >= array.place && at < array.place + array.n_bytes) found = &array;
    }
    return std::string(found->name) + "[" + std::to_string((at - found->place) / found->element_bytes) + "]";
}

namespace
{

const char *verb_of(Access kind)
{
    switch (kind) {
    case Access::Read: return "reads";
    case Access::Write: return "writes";
    case Access::Atomic: return "changes";
    case Access::AsyncWrite:
    case Access::LongWrite: return "copies to";
    }
    return "";
}

void note_outside(Machine &m, size_t at, size_t n, size_t begin, Access kind)
{
    const ptrdiff_t distance = (ptrdiff_t)at - (ptrdiff_t)begin;
    m.note("thread %u %s %zu bytes outside its array, %td bytes from the begin of %s", m.current->thread.thread, verb_of(kind), n, distance,
           m.name_of(begin).c_str());
}

} // namespace

void Machine::note_conflict(const Conflict &conflict, size_t at, Access kind)
{
    const uint32_t thread = current->thread.thread;
    const std::string what = std::string(verb_of(kind)) + " " + name_of(at);
    switch (conflict.kind) {
    case Conflict::None: break;
    case Conflict::Unwritten: note("thread %u %s, which nobody wrote", thread, what.c_str()); break;
    case Conflict::Copying:
        note("thread %u %s, to which a copy of thread %u is under way (no tn_async_wait)", thread, what.c_str(), conflict.thread);
        break;
    case Conflict::LongCopying: {
        const Arrival &arrival = engine.arrivals[conflict.thread];
        note("thread %u %s, to which a long copy is under way, as far as it knows (no tn_bulk_wait for %s, asked for at %s)", thread,
             what.c_str(), name_of(arrival.at).c_str(), text_of(arrival.asked).c_str());
        break;
    }
    case Conflict::AfterRead:
    case Conflict::AfterWrite:
    case Conflict::AfterAtomic: {
        const char *did = conflict.kind == Conflict::AfterRead ? "read" : conflict.kind == Conflict::AfterWrite ? "wrote" : "changed";
        note("thread %u %s, which thread %u %s with no barrier between", thread, what.c_str(), conflict.thread, did);
        break;
    }
    }
}

void access(size_t at, size_t n, size_t begin, size_t end, Access kind)
{
    Machine &m = *running;
    const bool is_inside = at >= begin && at <= end && n <= end - at;
    if (!is_inside || at % n != 0) {
        if (!is_inside)
            note_outside(m, at, n, begin, kind);
        else
            m.note("thread %u %s %s, %zu bytes that are not aligned", m.current->thread.thread, verb_of(kind), m.name_of(at).c_str(), n);
        m.give_up();
    }
    const uint32_t thread = m.current->thread.thread;
    const Conflict conflict = m.shadow.touch(at, n, kind, (uint16_t)thread, m.warps[thread / 32].epoch);
    if (conflict.kind == Conflict::None) return;
    m.note_conflict(conflict, at, kind);
    m.give_up();
}

uint8_t *shared_bytes() { return running->shared.get(); }

size_t shared_place(const Array &array)
{
    Machine &m = *running;
    for (const Array &known : m.arrays) {
        if (known.key == array.key) return known.place;
    }
    Array made = array;
    made.place = (m.shared_used + 15) / 16 * 16;
    if (made.place + made.n_bytes > m.shared_most) {
        m.note("%s does not fit in shared memory", array.name);
        m.give_up();
    }
    std::memset(m.shared.get() + made.place, 0xab, made.n_bytes);
    m.shared_used = made.place + made.n_bytes;
    m.arrays.push_back(made);
    return made.place;
}

size_t dynamic_place(const char *name, size_t element_bytes, size_t *out_bytes)
{
    running->dynamic.name = name;
    running->dynamic.element_bytes = element_bytes;
    *out_bytes = running->dynamic.n_bytes;
    return 0;
}

void check_aligned(const void *at, size_t bytes)
{
    if ((uintptr_t)at % bytes == 0) return;
    running->note("thread %u: an access of %zu bytes of global memory that is not aligned", running->current->thread.thread, bytes);
    running->give_up();
}

// ---- copies in the background ----

void copy_async(size_t at, const void *bytes, size_t n, size_t begin, size_t end)
{
    Fiber &me = *running->current;
    access(at, n, begin, end, Access::AsyncWrite);
    Copy copy = {at, n, {}, me.n_committed};
    std::memcpy(copy.bytes, bytes, n);
    std::memset(shared_bytes() + at, 0xab, n);
    me.copies.push_back(copy);
}

void async_commit() { running->current->n_committed++; }

// All groups but the last n_left that were committed have arrived; what belongs to no group yet has not.
void async_wait(int n_left, const Place &place)
{
    Machine &m = *running;
    Fiber &me = *m.current;
    m.met("tn_async_wait", place);
    if (m.is_left_out(place)) return;
    size_t n = 0;
    for (; n < me.copies.size() && me.copies[n].group + (uint32_t)n_left < me.n_committed; n++) {
        const Copy &copy = me.copies[n];
        std::memcpy(shared_bytes() + copy.at, copy.bytes, copy.n_bytes);
        m.shadow.arrive(copy.at, copy.n_bytes, (uint16_t)me.thread.thread, m.warp_of(me).epoch);
        me.has_unfenced_copies = true;
    }
    me.copies.erase(me.copies.begin(), me.copies.begin() + (ptrdiff_t)n);
}

} // namespace cuda_host
