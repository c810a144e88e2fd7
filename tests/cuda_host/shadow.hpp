// Who touched which byte of a block's shared memory, and since which barrier: tells accesses of two threads that nothing orders.
//
// Time is counted by epochs: a barrier of the block ends one of the block, a barrier of a warp one of that warp. Two accesses of different
// threads, of which at least one writes, are ordered only where they lie in different epochs of the block, or, within one warp, in
// different epochs of that warp. Nothing depends on the order in which the threads of the emulation happen to run.
//
// What a copy engine writes is ordered by phases: a copy belongs to a phase of an arrival word, and whoever knows that this phase has
// ended, since it waited for that itself or somebody whom a barrier orders before it did, is behind the copy; nobody else is, whenever
// bytes come.
#ifndef TN_TESTS_CUDA_HOST_SHADOW_HPP
#define TN_TESTS_CUDA_HOST_SHADOW_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace cuda_host
{

enum class Access : uint8_t { Read, Write, Atomic, AsyncWrite, LongWrite };

// What is wrong with an access.
struct Conflict {
    enum Kind : uint8_t {
        None,
        AfterRead,   // `thread` read it,
        AfterWrite,  // wrote it,
        AfterAtomic, // or changed it, and nothing lies between
        Unwritten,   // nobody wrote it in this block
        Copying,     // `thread` has a copy to it under way that it did not wait for
        LongCopying, // a long copy to it is under way, of word `thread`, as far as the one that touches it knows
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
    // Whether touching it would be wrong.
    Conflict look(size_t at, size_t n, Access kind, uint16_t thread, uint32_t warp_epoch);
    // A copy to whole words that `thread` waited for has arrived.
    void arrive(size_t at, size_t n, uint16_t thread, uint32_t warp_epoch);

    // Words that long copies arrive at, each with phases from 0 on: their number. How many have ended, as far as a thread knows, or any
    // does; a thread learns of the first n.
    uint16_t add_word();
    uint32_t known_phases(uint16_t word, uint16_t thread, uint32_t warp_epoch) const;
    uint32_t known_phases(uint16_t word) const { return phases_[word].of_block.latest; }
    void learn_phases(uint16_t word, uint32_t n, uint16_t thread, uint32_t warp_epoch);
    // A long copy to whole words is asked for by the thread, behind barriers after whatever else touched them: its own accesses too, since
    // it is not the thread who writes.
    Conflict touch_by_copy(size_t at, size_t n, uint16_t word, uint32_t phase, uint16_t thread, uint32_t warp_epoch);

  private:
    // What a group of threads knows of a word: what they learn in one epoch others of the group know from the next one on.
    struct Known {
        uint32_t epoch = 0, before = 0, latest = 0;
        uint32_t in(uint32_t now) const { return now == epoch ? before : latest; }
        void learn(uint32_t now, uint32_t n);
    };
    static constexpr uint32_t kWarps = 32;
    struct Phases {
        Known of_block, of_warp[kWarps];
        uint32_t of_thread[32 * kWarps] = {};
    };
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
    static constexpr uint16_t kCopying = 0xffff;  // as `other` of a write
    static constexpr uint16_t kLongCopy = 0xfffe; // the same: of word `first`, in phase `warp_epoch`
    struct Free {
        void operator()(Cell *cells) const { std::free(cells); }
    };
    using Cells = std::unique_ptr<Cell[], Free>;

    static Cells cells(size_t n); // of zeros, which take no memory before they are used
    bool is_split(size_t word) const { return words_[word].split_epoch >= begin_; }
    bool is_of_block(const Touches &touches) const { return touches.epoch >= begin_; }
    bool is_unordered(const Touches &touches, uint16_t by) const
    {
        return (by != thread_ || is_by_copy_) && (by / 32 != thread_ / 32 || touches.warp_epoch == warp_epoch_);
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
    bool is_by_copying(const Touches &write) const { return write.other >= kLongCopy && is_of_block(write); }
    bool is_known(const Touches &long_copy) const;
    void add(Touches &touches) const;
    Conflict check(const Cell &cell, Access kind) const;
    Conflict touch_cell(Cell &cell, Access kind);
    Conflict touch_bytes(size_t at, size_t n, Access kind);
    void split(size_t word);

    Cells words_, bytes_;
    uint32_t begin_ = 1, epoch_ = 1; // of the block's first epoch, of this one
    uint16_t thread_ = 0;
    uint32_t warp_epoch_ = 0;
    bool is_by_copy_ = false; // that the thread asked for
    uint16_t word_ = 0;       // of that copy, and its phase
    uint32_t phase_ = 0;
    std::vector<Phases> phases_; // of the block's words
    size_t n_bytes_;
};

} // namespace cuda_host

#endif
