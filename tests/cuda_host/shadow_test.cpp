// The watch over shared memory against all pairs of accesses, compared one by one.
#include "cuda_host/shadow.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace cuda_host;

namespace
{

struct Did {
    size_t at, n;
    Access kind;
    uint16_t thread;
    uint32_t epoch, warp_epoch;
    uint16_t word; // of a long copy that it asks for, and the phase
    uint32_t phase;
};
// A thread's wait for the first n phases of a word.
struct Wait {
    Did by;
    uint16_t word;
    uint32_t n;
};

constexpr size_t kBytes = 32, kUnit = 16; // of copies
constexpr uint16_t kWords = 2;
constexpr uint32_t kPhases = 3;
constexpr uint32_t kWarps = 3, kLanes = 3; // of each warp

// What every thread did in a block so far.
class History
{
  public:
    void begin_block() { all_.clear(), copying_.clear(), waits_.clear(); }
    // Whether the access is wrong behind those before; `kind`: what the shadow says of it, `thread` whom it names.
    bool is_wrong(const Did &now, const Conflict &said) const
    {
        for (const Did &copy : copying_) {
            if (overlap(copy, now)) return said.kind == Conflict::Copying && said.thread == copy.thread;
        }
        bool is_any = false, is_named = false;
        for (const Did &before : all_) {
            if (!overlap(before, now) || !is_race(before, now)) continue;
            is_any = true;
            is_named |= said.thread == named(before) && said.kind == kind_of(before.kind);
        }
        if (!is_any && needs_value(now.kind) && !is_written(now)) return said.kind == Conflict::Unwritten;
        return is_any && (is_named || (said.kind == Conflict::Unwritten && !is_written(now)));
    }
    void note(const Did &now)
    {
        // Whoever knows of the copy is behind all that it was behind: accesses are not larger than copies.
        const auto is_there = [&](const Did &before) { return overlap(before, now); };
        if (now.kind == Access::LongWrite) all_.erase(std::remove_if(all_.begin(), all_.end(), is_there), all_.end());
        (now.kind == Access::AsyncWrite ? copying_ : all_).push_back(now);
    }
    void note(const Wait &wait) { waits_.push_back(wait); }
    // The oldest copy of the thread; it counts as a write from now on.
    bool take_copy(uint16_t thread, Did *out)
    {
        for (size_t i = 0; i < copying_.size(); i++) {
            if (copying_[i].thread != thread) continue;
            *out = copying_[i];
            copying_.erase(copying_.begin() + (ptrdiff_t)i);
            return true;
        }
        return false;
    }

  private:
    static bool overlap(const Did &a, const Did &b) { return a.at < b.at + b.n && b.at < a.at + a.n; }
    static bool needs_value(Access kind) { return kind == Access::Read || kind == Access::Atomic; }
    static uint16_t named(const Did &before) { return before.kind == Access::LongWrite ? before.word : before.thread; }
    // Whether a thread has waited for the copy, and barriers order that before `now`.
    bool is_known(const Did &copy, const Did &now) const
    {
        return std::any_of(waits_.begin(), waits_.end(), [&](const Wait &wait) {
            const Did &by = wait.by;
            const bool is_before =
                by.thread == now.thread || by.epoch < now.epoch || (by.thread / 32 == now.thread / 32 && by.warp_epoch < now.warp_epoch);
            return wait.word == copy.word && wait.n > copy.phase && is_before;
        });
    }
    bool is_race(const Did &a, const Did &b) const
    {
        if (a.kind == Access::LongWrite) return !is_known(a, b);
        if ((a.thread == b.thread && b.kind != Access::LongWrite) || a.epoch != b.epoch) return false;
        if (a.kind == b.kind && needs_value(a.kind)) return false;
        return a.thread / 32 != b.thread / 32 || a.warp_epoch == b.warp_epoch;
    }
    static Conflict::Kind kind_of(Access kind)
    {
        switch (kind) {
        case Access::Read: return Conflict::AfterRead;
        case Access::Atomic: return Conflict::AfterAtomic;
        case Access::LongWrite: return Conflict::LongCopying;
        default: return Conflict::AfterWrite;
        }
    }
    bool is_written(const Did &now) const
    {
        for (size_t i = now.at; i < now.at + now.n; i++) {
            bool is_byte = false;
            for (const Did &before : all_) is_byte |= before.kind != Access::Read && i >= before.at && i < before.at + before.n;
            if (!is_byte) return false;
        }
        return true;
    }
    std::vector<Did> all_, copying_;
    std::vector<Wait> waits_;
};

class Walk
{
  public:
    explicit Walk(uint32_t seed) : random_(seed), shadow_(kBytes) { begin_block(); }
    // One step; false: the shadow is wrong.
    bool step()
    {
        const uint32_t what = (uint32_t)(random_() % 40);
        if (what == 0) shadow_.end_epoch(), epoch_++;
        if (what <= kWarps && what > 0) warp_epochs_[what - 1]++;
        if (what == 4) begin_block();
        if (what == 5) arrive();
        if (what == 6) wait();
        if (what <= 6) return true;
        Did now = any_access();
        const Conflict looked = shadow_.look(now.at, now.n, now.kind, now.thread, now.warp_epoch), said = touch(now);
        if (now.kind != Access::LongWrite && (looked.kind != said.kind || looked.thread != said.thread)) return false;
        if (said.kind == Conflict::None) {
            if (history_.is_wrong(now, said) || would_be_wrong(now)) return false;
            history_.note(now);
            n_right++;
            return true;
        }
        if (!history_.is_wrong(now, said)) return false;
        n_wrong[said.kind]++;
        begin_block();
        return true;
    }
    uint32_t n_right = 0, n_wrong[7] = {};

  private:
    Conflict touch(const Did &now)
    {
        if (now.kind != Access::LongWrite) return shadow_.touch(now.at, now.n, now.kind, now.thread, now.warp_epoch);
        return shadow_.touch_by_copy(now.at, now.n, now.word, now.phase, now.thread, now.warp_epoch);
    }
    // Whether any answer but None would have been right.
    bool would_be_wrong(const Did &now) const
    {
        for (uint16_t thread = 0; thread < 32 * kWarps; thread++) {
            if (thread % 32 >= kLanes) continue;
            for (uint8_t kind = Conflict::AfterRead; kind <= Conflict::LongCopying; kind++) {
                if (history_.is_wrong(now, {(Conflict::Kind)kind, thread})) return true;
            }
        }
        return false;
    }
    void begin_block()
    {
        shadow_.begin_block();
        history_.begin_block();
        for (uint16_t word = 0; word < kWords; word++) shadow_.add_word();
        epoch_++;
        // Most accesses would be of what nobody wrote: one thread writes much of it first.
        if (random_() % 4 == 0) return;
        for (size_t at = 0; at < kBytes; at += 8) {
            const Did write = {at, 8, Access::Write, 0, epoch_, warp_epochs_[0], 0, 0};
            shadow_.touch(at, 8, Access::Write, 0, warp_epochs_[0]);
            history_.note(write);
        }
        shadow_.end_epoch();
        epoch_++;
    }
    void arrive()
    {
        Did copy;
        const uint16_t thread = any_thread();
        if (!history_.take_copy(thread, &copy)) return;
        shadow_.arrive(copy.at, copy.n, thread, warp_epochs_[thread / 32]);
        copy.kind = Access::Write;
        copy.epoch = epoch_;
        copy.warp_epoch = warp_epochs_[thread / 32];
        history_.note(copy);
    }
    void wait()
    {
        const Did by = any_access();
        const Wait wait = {by, any_word(), (uint32_t)(random_() % (kPhases + 1))};
        shadow_.learn_phases(wait.word, wait.n, by.thread, by.warp_epoch);
        history_.note(wait);
    }
    uint16_t any_word() { return (uint16_t)(random_() % kWords); }
    uint16_t any_thread() { return (uint16_t)(random_() % kWarps * 32 + random_() % kLanes); }
    Did any_access()
    {
        static constexpr Access kinds[] = {Access::Read, Access::Read, Access::Read, Access::Write, Access::Atomic, Access::Atomic};
        Did now = {};
        now.kind = kinds[random_() % 6];
        now.n = (size_t)1 << random_() % 5;
        if (now.kind == Access::Atomic) now.n = 4;
        if (random_() % 50 == 0) now.kind = Access::AsyncWrite, now.n = kUnit;
        if (random_() % 20 == 0) now.kind = Access::LongWrite, now.n = kUnit;
        now.word = any_word();
        now.phase = (uint32_t)(random_() % kPhases);
        now.at = random_() % (kBytes / now.n) * now.n;
        now.thread = any_thread();
        now.epoch = epoch_;
        now.warp_epoch = warp_epochs_[now.thread / 32];
        return now;
    }

    std::mt19937 random_;
    Shadow shadow_;
    History history_;
    uint32_t epoch_ = 0, warp_epochs_[kWarps] = {};
};

} // namespace

TEST(Shadow, SaysWhatAllPairsSay)
{
    uint32_t n_right = 0, n_wrong[7] = {};
    for (uint32_t seed = 1; seed <= 200; seed++) {
        Walk walk(seed);
        for (uint32_t i = 0; i < 500; i++) ASSERT_TRUE(walk.step()) << "seed " << seed << ", step " << i;
        n_right += walk.n_right;
        for (uint32_t kind = 0; kind < 7; kind++) n_wrong[kind] += walk.n_wrong[kind];
    }
    EXPECT_GT(n_right, 20000u);
    for (uint8_t kind = Conflict::AfterRead; kind <= Conflict::LongCopying; kind++) EXPECT_GT(n_wrong[kind], 300u) << (int)kind;
}
