// Who touched which byte of a block's shared memory, and since which barrier: tells accesses of two threads that nothing orders.
//
// Time is counted by epochs: a barrier of the block ends one of the block, a barrier of a warp one of that warp. Two accesses of different
// threads, of which at least one writes, are ordered only where they lie in different epochs of the block, or, within one warp, in
// different epochs of that warp. Nothing depends on the order in which the threads of the emulation happen to run.
#ifndef TN_TESTS_CUDA_HOST_SHADOW_HPP
#define TN_TESTS_CUDA_HOST_SHADOW_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace cuda_host
{

enum class Access : uint8_t { Read, Write, Atomic, AsyncWrite };

// What is wrong with an access.
struct Conflict {
    enum Kind : uint8_t {
        None,
        AfterRead,   // `thread` read it,
        AfterWrite,  // wrote it,
        AfterAtomic, // or changed it, and nothing lies between
        Unwritten,   // nobody wrote it in this block
        Copying,     // `thread` has a copy to it under way that it did not wait for
    };
    Kind kind = None;
    uint16_t thread = 0;
};

class Shadow
{
  public:
    explicit Shadow(size_t n_bytes);

    // The thread that touches from now on, and the epoch of its warp.
    void begin_block();
    void end_epoch() { epoch_++; }
    // Bytes [at, at + n) by a thread: notes it, or says what is wrong.
    Conflict touch(size_t at, size_t n, Access kind, uint16_t thread, uint32_t warp_epoch)
    {
        thread_ = thread;
        warp_epoch_ = warp_epoch;
        if (((at | n) & 3u) != 0) return touch_bytes(at, n, kind);
        for (size_t i = at / 4; i < (at + n) / 4; i++) {
            const Conflict conflict = is_split(i) ? touch_bytes(4 * i, 4, kind) : touch_cell(words_[i], kind);
            if (conflict.kind != Conflict::None) return conflict;
        }
        return {};
    }
    // A copy to whole words that `thread` waited for has arrived.
    void arrive(size_t at, size_t n, uint16_t thread, uint32_t warp_epoch);

  private:
    // Threads that did one kind of thing to a cell in one epoch. `other` is a second thread, of another warp where there is such a one;
    // the same as `first` where there is none. Within one warp only those of its last epoch count: they come after the others.
    struct Touches {
        uint32_t epoch, warp_epoch;
        uint16_t first, other;
    };
    struct Cell {
        Touches write, atomics, reads;
        uint32_t split_epoch; // of words: since when their bytes count each for itself
    };
    static constexpr uint16_t kCopying = 0xffff; // as `other` of a write
    struct Free {
        void operator()(Cell *cells) const { std::free(cells); }
    };
    using Cells = std::unique_ptr<Cell[], Free>;

    static Cells cells(size_t n); // of zeros, which take no memory before they are used
    bool is_split(size_t word) const { return words_[word].split_epoch >= begin_; }
    bool is_of_block(const Touches &touches) const { return touches.epoch >= begin_; }
    bool is_unordered(const Touches &touches, uint16_t by) const
    {
        return by != thread_ && (by / 32 != thread_ / 32 || touches.warp_epoch == warp_epoch_);
    }
    // Whether a thread other than this one is among them, unordered.
    bool conflicts(const Touches &touches, Conflict::Kind kind, Conflict &out) const
    {
        if (touches.epoch != epoch_) return false;
        if (is_unordered(touches, touches.first))
            out = {kind, touches.first};
        else if (is_unordered(touches, touches.other))
            out = {kind, touches.other};
        else
            return false;
        return true;
    }
    void add(Touches &touches) const;
    Conflict touch_cell(Cell &cell, Access kind);
    Conflict touch_bytes(size_t at, size_t n, Access kind);
    void split(size_t word);

    Cells words_, bytes_;
    uint32_t begin_ = 1, epoch_ = 1; // of the block's first epoch, of this one
    uint16_t thread_ = 0;
    uint32_t warp_epoch_ = 0;
    size_t n_bytes_;
};

} // namespace cuda_host

#endif
