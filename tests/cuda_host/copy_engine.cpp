// Long copies as a copy engine makes them (sm_90 on): at some time behind their threads' backs, counted by words in shared memory. That is
// done as the hardware does it, at random times; what is told does not depend on them, but on what each thread can know by its own waits
// and by barriers.
#include "cuda_host/machine.hpp"

#include <algorithm>

namespace cuda_host
{

namespace
{

constexpr uint32_t kUnit = 16;               // bytes, of a copy and of where it begins
constexpr uint32_t kBytesMost = 0xfffff;     // that a phase can wait for
constexpr uint32_t kPatienceLogarithms = 12; // copies take up to 2^11 changes of threads, most of them much fewer

} // namespace

// ---- the hardware's part ----

// Threads have left off so often that the copies are due.
void Machine::copy_due()
{
    std::vector<LongCopy> &copies = engine.copies;
    for (size_t i = 0; i < copies.size();) {
        const LongCopy copy = copies[i];
        if (copy.due > engine.now) {
            i++;
            continue;
        }
        copies[i] = copies.back();
        copies.pop_back();
        end_copy(copy);
    }
    engine.due = UINT64_MAX;
    for (const LongCopy &copy : copies) engine.due = std::min(engine.due, copy.due);
}

bool Machine::copy_next()
{
    if (engine.copies.empty()) return false;
    engine.now = std::max(engine.now, engine.due);
    copy_due();
    return true;
}

void Machine::end_copy(const LongCopy &copy)
{
    std::memcpy(shared.get() + copy.to, copy.from, copy.n_bytes);
    engine.arrivals[copy.word].n_due -= copy.n_bytes;
    end_phase(copy.word);
}

void Machine::end_phase(uint16_t word)
{
    Arrival &arrival = engine.arrivals[word];
    if (!arrival.has_come || arrival.n_due != 0) return;
    arrival.phase++;
    arrival.has_come = false;
    for (uint32_t i = 0; i < grid.n_threads; i++) {
        Fiber &fiber = fibers[i];
        if (!fiber.waits_for_copies || fiber.word != word || fiber.parity == arrival.phase % 2) continue;
        fiber.waits_for_copies = false;
        wake(fiber);
    }
}

void Machine::wait_for_copies(uint16_t word, uint32_t parity, const Place &place)
{
    current->waits_for_copies = true;
    current->word = word;
    current->parity = parity;
    current->place = place;
    run_next(Leave::ToComeBack);
}

void Machine::complain_of_waiting()
{
    const Fiber &fiber =
        *std::find_if(fibers.begin(), fibers.begin() + grid.n_threads, [](const Fiber &of) { return of.waits_for_copies; });
    const Arrival &arrival = engine.arrivals[fiber.word];
    const std::string name = name_of(arrival.at);
    if (arrival.phase == arrival.n_begun)
        note("thread %u waits in tn_bulk_wait at %s for ever: nobody says by tn_bulk_expect what comes to %s", fiber.thread.thread,
             text_of(fiber.place).c_str(), name.c_str());
    else
        note("thread %u waits in tn_bulk_wait at %s for ever: of %u bytes that were expected for %s at %s, %u were asked for",
             fiber.thread.thread, text_of(fiber.place).c_str(), arrival.n_expected, name.c_str(), text_of(arrival.begun).c_str(),
             arrival.n_asked);
    give_up();
}

// ---- what threads ask for ----

uint16_t Machine::word_of(const char *what, const Place &place, const InShared &word, Access kind)
{
    const auto is_it = [&](const Arrival &arrival) { return arrival.at == word.at; };
    const auto found = std::find_if(engine.arrivals.begin(), engine.arrivals.end(), is_it);
    const uint32_t thread = current->thread.thread;
    if (found == engine.arrivals.end()) {
        note("thread %u came to %s at %s, and nobody made %s (tn_bulk_init)", thread, what, text_of(place).c_str(),
             name_of(word.at).c_str());
        give_up();
    }
    const Conflict conflict = shadow.look(word.at, sizeof(uint64_t), kind, (uint16_t)thread, warp_of(*current).epoch);
    if (conflict.kind != Conflict::None) {
        note("thread %u came to %s at %s for %s, which thread %u %s with no barrier between", thread, what, text_of(place).c_str(),
             name_of(word.at).c_str(), conflict.thread, conflict.kind == Conflict::AfterRead ? "has waited for" : "made");
        give_up();
    }
    return (uint16_t)(found - engine.arrivals.begin());
}

void Machine::make_word(const Place &place, const InShared &word)
{
    for (const Arrival &arrival : engine.arrivals) {
        if (arrival.at != word.at) continue;
        note("thread %u came to tn_bulk_init at %s, and %s was made before", current->thread.thread, text_of(place).c_str(),
             name_of(word.at).c_str());
        give_up();
    }
    access(word.at, sizeof(uint64_t), word.begin, word.end, Access::Write);
    shadow.add_word();
    engine.arrivals.push_back({});
    engine.arrivals.back().at = word.at;
}
void make_arrival(const InShared &word, const Place &place) { running->make_word(place, word); }

uint32_t Machine::known_phases(uint16_t word)
{
    return shadow.known_phases(word, (uint16_t)current->thread.thread, warp_of(*current).epoch);
}

namespace
{

void check_room(Machine &m, const Arrival &arrival, const Place &place)
{
    if (arrival.n_asked <= arrival.n_expected) return;
    m.note("thread %u asks at %s for more bytes than are expected for %s: %u, and not %u as said at %s", m.current->thread.thread,
           text_of(place).c_str(), m.name_of(arrival.at).c_str(), arrival.n_asked, arrival.n_expected, text_of(arrival.begun).c_str());
    m.give_up();
}

// Nobody may have part in a phase who does not know that the one before has ended.
void check_before(Machine &m, uint16_t word, uint32_t n_before, const char *what, const Place &place)
{
    const Arrival &arrival = m.engine.arrivals[word];
    if (m.known_phases(word) >= n_before) return;
    m.note("thread %u came to %s at %s, and copies to %s that were expected at %s are under way, as far as it knows",
           m.current->thread.thread, what, text_of(place).c_str(), m.name_of(arrival.at).c_str(), text_of(arrival.begun).c_str());
    m.give_up();
}

void check_units(Machine &m, const InShared &to, const uint8_t *from, uint32_t n_bytes, const Place &place)
{
    if (to.at < to.begin || to.at > to.end || n_bytes > to.end - to.at) {
        m.note("thread %u came to tn_bulk_copy at %s of %u bytes outside their array, %td bytes from the begin of %s",
               m.current->thread.thread, text_of(place).c_str(), n_bytes, (ptrdiff_t)to.at - (ptrdiff_t)to.begin,
               m.name_of(to.begin).c_str());
        m.give_up();
    }
    if (to.at % kUnit == 0 && (uintptr_t)from % kUnit == 0 && n_bytes % kUnit == 0) return;
    m.note("thread %u came to tn_bulk_copy at %s of %u bytes to %s: not whole units of %u bytes, here and in global memory",
           m.current->thread.thread, text_of(place).c_str(), n_bytes, m.name_of(to.at).c_str(), kUnit);
    m.give_up();
}

// Who waits for the first n phases may find that the one behind them has ended too, and the parity as if none of both had, where that one
// has begun.
void check_parity(Machine &m, uint16_t word, uint32_t parity, uint32_t n, const Place &place)
{
    const Arrival &arrival = m.engine.arrivals[word];
    const uint32_t thread = m.current->thread.thread;
    if (parity > 1) {
        m.note("thread %u came to tn_bulk_wait at %s with %u for a parity", thread, text_of(place).c_str(), parity);
        m.give_up();
    }
    if (arrival.n_begun <= n) return;
    m.note("thread %u came to tn_bulk_wait at %s for parity %u of %s, which may come and go unseen: the next phase was begun at %s", thread,
           text_of(place).c_str(), parity, m.name_of(arrival.at).c_str(), text_of(arrival.begun).c_str());
    m.give_up();
}

} // namespace

void expect_bytes(const InShared &named, uint32_t n_bytes, const Place &place)
{
    Machine &m = *running;
    // As if it wrote what waits have read: where nothing orders one of them before, it might as well be still to come (check_parity).
    const uint16_t word = m.word_of("tn_bulk_expect", place, named, Access::Write);
    Arrival &arrival = m.engine.arrivals[word];
    check_before(m, word, arrival.n_begun, "tn_bulk_expect", place);
    if (n_bytes > kBytesMost) {
        m.note("thread %u came to tn_bulk_expect at %s with %u bytes: a phase has %u at most", m.current->thread.thread,
               text_of(place).c_str(), n_bytes, kBytesMost);
        m.give_up();
    }
    arrival.n_begun++;
    arrival.begun = place;
    arrival.n_expected = n_bytes;
    arrival.n_asked = arrival.n_early;
    arrival.n_early = 0;
    check_room(m, arrival, place);
    arrival.has_come = true;
    arrival.n_due += n_bytes;
    m.end_phase(word);
}

void copy_long(const InShared &to, const uint8_t *from, uint32_t n_bytes, const InShared &named, const Place &place)
{
    Machine &m = *running;
    check_units(m, to, from, n_bytes, place);
    const uint16_t word = m.word_of("tn_bulk_copy", place, named, Access::Read);
    Arrival &arrival = m.engine.arrivals[word];
    const bool is_early = m.known_phases(word) == arrival.n_begun; // of the phase that somebody is about to begin
    const uint32_t phase = is_early ? arrival.n_begun : arrival.n_begun - 1;
    check_before(m, word, phase, "tn_bulk_copy", place);
    arrival.asked = place;
    (is_early ? arrival.n_early : arrival.n_asked) += n_bytes;
    check_room(m, arrival, place);
    const uint16_t thread = (uint16_t)m.current->thread.thread;
    for (size_t at = to.at; at < to.at + n_bytes; at += kUnit) {
        const Conflict conflict = m.shadow.touch_by_copy(at, kUnit, word, phase, thread, m.warp_of(*m.current).epoch);
        if (conflict.kind == Conflict::None) continue;
        m.note_conflict(conflict, at, Access::LongWrite);
        m.give_up();
    }
    CopyEngine &engine = m.engine;
    const uint64_t due = engine.now + 1 + engine.random() % (1u << engine.random() % kPatienceLogarithms);
    engine.copies.push_back({to.at, from, n_bytes, word, due});
    engine.due = std::min(engine.due, due);
}

// The thread knows of n phases then, and no more: the first n of which that says something.
void wait_arrival(const InShared &named, uint32_t parity, const Place &place)
{
    Machine &m = *running;
    m.met("tn_bulk_wait", place);
    if (m.is_left_out(place)) return;
    const uint16_t word = m.word_of("tn_bulk_wait", place, named, Access::Read);
    const uint32_t known = m.known_phases(word), n = known % 2 == parity ? known + 1 : known;
    check_parity(m, word, parity, n, place);
    while (m.engine.arrivals[word].phase % 2 == parity) {
        m.wait_for_copies(word, parity, place);
        check_parity(m, word, parity, n, place);
    }
    const uint16_t thread = (uint16_t)m.current->thread.thread;
    const uint32_t epoch = m.warp_of(*m.current).epoch;
    m.shadow.touch(named.at, sizeof(uint64_t), Access::Read, thread, epoch);
    m.shadow.learn_phases(word, n, thread, epoch);
}

bool Machine::end_copies()
{
    for (size_t word = 0; word < engine.arrivals.size(); word++) {
        const Arrival &arrival = engine.arrivals[word];
        if (arrival.n_early > 0) {
            note("nobody expects %u bytes to %s that were asked for at %s", arrival.n_early, name_of(arrival.at).c_str(),
                 text_of(arrival.asked).c_str());
            return false;
        }
        if (arrival.n_begun > shadow.known_phases((uint16_t)word)) {
            note("nobody waits for the copies to %s that were expected at %s", name_of(arrival.at).c_str(), text_of(arrival.begun).c_str());
            return false;
        }
    }
    return true;
}

} // namespace cuda_host
