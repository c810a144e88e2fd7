#include "cuda_host/shadow.hpp"

#include <cstring>
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

Conflict Shadow::touch_cell(Cell &cell, Access kind)
{
    Conflict conflict;
    if (cell.write.other == kCopying && is_of_block(cell.write)) return {Conflict::Copying, cell.write.first};
    const bool needs_value = kind == Access::Read || kind == Access::Atomic;
    if (needs_value && !is_of_block(cell.write) && !is_of_block(cell.atomics)) return {Conflict::Unwritten, thread_};
    if (conflicts(cell.write, Conflict::AfterWrite, conflict)) return conflict;
    if (kind != Access::Atomic && conflicts(cell.atomics, Conflict::AfterAtomic, conflict)) return conflict;
    if (kind != Access::Read && conflicts(cell.reads, Conflict::AfterRead, conflict)) return conflict;
    if (kind == Access::Read) {
        add(cell.reads);
    } else if (kind == Access::Atomic) {
        add(cell.atomics);
    } else {
        // Whoever is unordered with what came before is unordered with this write too.
        cell.write = {epoch_, warp_epoch_, thread_, kind == Access::AsyncWrite ? kCopying : thread_};
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

void Shadow::arrive(size_t at, size_t n, uint16_t thread, uint32_t warp_epoch)
{
    const Touches write = {epoch_, warp_epoch, thread, thread};
    for (size_t i = at / 4; i < (at + n) / 4; i++) {
        words_[i].write = write;
        for (size_t j = 0; j < 4 && is_split(i); j++) bytes_[4 * i + j].write = write;
    }
}

} // namespace cuda_host
