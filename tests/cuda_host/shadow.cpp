#include "cuda_host/shadow.hpp"

#include <algorithm>
#include <new>

namespace cuda_host
{

Shadow::Cells Shadow::cells(size_t n)
{
    Cell *at = static_cast<Cell *>(std::calloc(n, sizeof(Cell)));
    if (!at) throw std::bad_alloc();
    return Cells(at);
}

Shadow::Shadow(size_t n_bytes) : words_(cells(n_bytes / 4)), bytes_(cells(n_bytes)), n_bytes_(n_bytes) {}

// What earlier blocks left lies in earlier epochs, so that nothing has to be cleared, except when the numbers run out.
void Shadow::begin_block()
{
    if (epoch_ > UINT32_MAX / 2) {
        words_ = cells(n_bytes_ / 4);
        bytes_ = cells(n_bytes_);
        epoch_ = 0;
    }
    begin_ = ++epoch_;
    phases_.clear();
}

void Shadow::add(Touches &touches) const
{
    if (touches.epoch != epoch_) {
        touches = {epoch_, warp_epoch_, thread_, thread_};
        return;
    }
    if (touches.first / 32 != touches.other / 32) return; // of two warps: unordered with every further thread
    if (touches.first / 32 != thread_ / 32)
        touches.other = thread_;
    else if (touches.warp_epoch != warp_epoch_)
        touches = {epoch_, warp_epoch_, thread_, thread_};
    else if (touches.first == touches.other)
        touches.other = thread_;
}

// Inlined in both that call it: most of the emulation's time goes by here.
inline __attribute__((always_inline)) Conflict Shadow::check(const Cell &cell, Access kind) const
{
    Conflict conflict;
    const bool is_by_copying = this->is_by_copying(cell.write);
    if (is_by_copying && cell.write.other == kCopying) return {Conflict::Copying, cell.write.first};
    if (is_by_copying && !is_known(cell.write)) return {Conflict::LongCopying, cell.write.first};
    const bool needs_value = kind == Access::Read || kind == Access::Atomic;
    if (needs_value && !is_of_block(cell.write) && !is_of_block(cell.atomics)) return {Conflict::Unwritten, thread_};
    if (!is_by_copying && conflicts(cell.write, Conflict::AfterWrite, conflict)) return conflict;
    if (kind != Access::Atomic && conflicts(cell.atomics, Conflict::AfterAtomic, conflict)) return conflict;
    if (kind != Access::Read) conflicts(cell.reads, Conflict::AfterRead, conflict);
    return conflict;
}

Conflict Shadow::touch_cell(Cell &cell, Access kind)
{
    const Conflict conflict = check(cell, kind);
    if (conflict.kind != Conflict::None) return conflict;
    if (kind == Access::Read) {
        add(cell.reads);
    } else if (kind == Access::Atomic) {
        add(cell.atomics);
    } else {
        // Whoever is unordered with what came before is unordered with this write too.
        cell.write = {epoch_, warp_epoch_, thread_, kind == Access::AsyncWrite ? kCopying : thread_};
        if (kind == Access::LongWrite) cell.write = {epoch_, phase_, word_, kLongCopy};
        cell.reads.epoch = cell.atomics.epoch = 0;
    }
    return conflict;
}

void Shadow::split(size_t word)
{
    for (size_t i = 0; i < 4; i++) bytes_[4 * word + i] = words_[word];
    words_[word].split_epoch = epoch_;
}

Conflict Shadow::touch_bytes(size_t at, size_t n, Access kind)
{
    for (size_t i = at; i < at + n; i++) {
        if (!is_split(i / 4)) split(i / 4);
        const Conflict conflict = touch_cell(bytes_[i], kind);
        if (conflict.kind != Conflict::None) return conflict;
    }
    return {};
}

Conflict Shadow::look(size_t at, size_t n, Access kind, uint16_t thread, uint32_t warp_epoch)
{
    thread_ = thread;
    warp_epoch_ = warp_epoch;
    for (size_t i = at; i < at + n; i++) {
        const Conflict conflict = check(is_split(i / 4) ? bytes_[i] : words_[i / 4], kind);
        if (conflict.kind != Conflict::None) return conflict;
    }
    return {};
}

void Shadow::arrive(size_t at, size_t n, uint16_t thread, uint32_t warp_epoch)
{
    const Touches write = {epoch_, warp_epoch, thread, thread};
    for (size_t i = at / 4; i < (at + n) / 4; i++) {
        words_[i].write = write;
        for (size_t j = 0; j < 4 && is_split(i); j++) bytes_[4 * i + j].write = write;
    }
}

// ---- long copies ----

void Shadow::Known::learn(uint32_t now, uint32_t n)
{
    if (now != epoch) before = latest;
    epoch = now;
    latest = std::max(latest, n);
}

uint16_t Shadow::add_word()
{
    phases_.emplace_back();
    return (uint16_t)(phases_.size() - 1);
}

uint32_t Shadow::known_phases(uint16_t word, uint16_t thread, uint32_t warp_epoch) const
{
    const Phases &phases = phases_[word];
    return std::max({phases.of_thread[thread], phases.of_warp[thread / 32].in(warp_epoch), phases.of_block.in(epoch_)});
}

bool Shadow::is_known(const Touches &long_copy) const
{
    const uint16_t word = long_copy.first;
    const uint32_t phase = long_copy.warp_epoch;
    return phases_[word].of_block.in(epoch_) > phase || known_phases(word, thread_, warp_epoch_) > phase;
}

void Shadow::learn_phases(uint16_t word, uint32_t n, uint16_t thread, uint32_t warp_epoch)
{
    Phases &phases = phases_[word];
    phases.of_thread[thread] = std::max(phases.of_thread[thread], n);
    phases.of_warp[thread / 32].learn(warp_epoch, n);
    phases.of_block.learn(epoch_, n);
}

Conflict Shadow::touch_by_copy(size_t at, size_t n, uint16_t word, uint32_t phase, uint16_t thread, uint32_t warp_epoch)
{
    is_by_copy_ = true;
    word_ = word;
    phase_ = phase;
    const Conflict conflict = touch(at, n, Access::LongWrite, thread, warp_epoch);
    is_by_copy_ = false;
    return conflict;
}

} // namespace cuda_host
