// The emulated multiprocessor of one thread of the host: what the parts of the emulation share. It stays from launch to launch.
#ifndef TN_TESTS_CUDA_HOST_MACHINE_HPP
#define TN_TESTS_CUDA_HOST_MACHINE_HPP

#include "cuda_host/emulation.hpp"
#include "cuda_host/fiber.hpp"

#include <cstring>
#include <random>

namespace cuda_host
{

constexpr uint32_t kMaxThreads = 1024;      // a block
constexpr size_t kSharedBytes = 227 * 1024; // what a block can have on the largest devices

// A copy to shared memory under way.
struct Copy {
    size_t at, n_bytes;
    uint8_t bytes[16];
    uint32_t group;
};

// A product of a warpgroup as one of its threads asked for it.
struct Wgmma {
    int32_t *d;
    const uint32_t *a;
    uint32_t n;
    uint64_t b;
    uint32_t group;
    Place place;
};

// A word that long copies arrive at. Of a phase that is under way the hardware knows whether a thread has come, and how many more bytes it
// has said than have come, which are less than none where it says so after they came. What is asked for is checked by phases that a thread
// has begun, by saying how many bytes come: `n_begun`.
struct Arrival {
    size_t at;
    uint32_t phase = 0;
    bool has_come = false;
    int64_t n_due = 0;
    uint32_t n_begun = 0;
    uint32_t n_expected = 0, n_asked = 0; // bytes, in the phase that was begun last
    uint32_t n_early = 0;                 // asked for in the next one, before that is begun
    Place begun = {}, asked = {};         // last
};
struct LongCopy {
    size_t to;
    const uint8_t *from;
    uint32_t n_bytes;
    uint16_t word;
    uint64_t due; // when so many threads have left off
};
struct CopyEngine {
    std::vector<Arrival> arrivals; // by the shadow's numbers
    std::vector<LongCopy> copies;  // under way
    uint64_t now = 0, due = UINT64_MAX;
    std::minstd_rand random;
};

// Of the one that is made.
struct Operands {
    static constexpr uint32_t kDepth = 32;
    uint8_t a[64][kDepth];
    int8_t b[256][kDepth]; // by columns
};

struct Fiber {
    Thread thread = {};
    Context context;
    bool has_returned = false;
    const char *waits_in = nullptr; // what, where it waits
    Place place = {};
    std::vector<Copy> copies;      // that nobody waited for yet, oldest first
    uint32_t n_committed = 0;      // groups of copies
    bool waits_for_copies = false; // for a phase of that arrival word to end, of that parity
    uint16_t word = 0;
    uint32_t parity = 0;
    bool has_fenced = false;          // since it met a barrier of the block
    bool has_waited = false;          // for the kernel before
    std::vector<Wgmma> wgmmas;        // that are not made yet, oldest first
    uint32_t n_wgmma_groups = 0;      // that were committed
    bool has_wgmma_fence = false;     // for the group that is open
    bool has_unfenced_copies = false; // that arrived since its last tn_async_fence
    bool has_unseen_copies = false;   // the same, when it came to the last barrier of the block
};

struct Warp {
    uint32_t n_arrived, n_blocked, n_returned; // lanes that wait in a collective, wait in a barrier of the block, have returned
    uint32_t n_in_group;                       // lanes that wait for their warpgroup
    uint32_t epoch;                            // ends with every tn_sync_warp
    uint32_t side;
    const Fiber *first;       // that arrived
    uint32_t slots[2][32][6]; // two sides: one is read while the other is filled
};

// Fences since the last barrier of the block, and additions to global memory.
struct Publishing {
    const Fiber *fenced = nullptr, *fenced_too = nullptr; // two of the threads
    uint32_t n_fenced = 0;                                // of the threads
    const Fiber *added = nullptr;                         // having a fence of its own before
    bool several_added = false;
    const Fiber *adder = nullptr; // with or without
    bool several_adders = false;
    bool is_acquired = false; // a fence of the adder's behind it
};

class Machine
{
  public:
    Machine();
    ~Machine();

    bool begin(const Kernel &of, const void *of_params, const Launch &launch);
    bool run_block();
    void returned();

    // Leaves the running thread until somebody wakes it.
    void wait(const char *what, const Place &place)
    {
        current->waits_in = what;
        current->place = place;
        run_next(Leave::ToComeBack);
    }
    void wake(Fiber &fiber);
    Warp &warp_of(const Fiber &fiber) { return warps[fiber.thread.thread / 32]; }
    Fiber *warpgroup_of(const Fiber &fiber) { return &fibers[fiber.thread.thread / 128 * 128]; }
    // Of the running thread's warpgroup, a thread that waits there for the others; nullptr: none does.
    const Fiber *waits_in_warpgroup(const Fiber &fiber);

    // Notes what is wrong; give_up then leaves the block for good.
    __attribute__((format(printf, 2, 3))) void note(const char *format, ...);
    [[noreturn]] void give_up();
    std::string name_of(size_t at) const; // the element of an array that byte `at` of shared memory is of
    void note_conflict(const Conflict &conflict, size_t at, Access kind);

    void meet_block(const char *what, const Place &place);
    bool meet_warpgroup(const char *what, const Place &place); // true: of the last thread to come, before it wakes the others
    void wake_warpgroup();
    uint32_t (*meet_warp(const char *what, const Place &place, const uint32_t *words, uint32_t n))[6];
    // The arrival word that the running thread names, which may be touched so.
    uint16_t word_of(const char *what, const Place &place, const InShared &word, Access kind);
    void make_word(const Place &place, const InShared &word);
    uint32_t known_phases(uint16_t word);
    void end_phase(uint16_t word); // if it has ended
    void wait_for_copies(uint16_t word, uint32_t parity, const Place &place);
    bool end_copies(); // of the block; false: noted what is wrong
    void publish(const Fiber &added);
    void add(const Fiber &adder);
    bool end_publishing(); // false: noted what is wrong
    bool check_counting(const Publishing &was, uint32_t n_fenced);
    bool is_left_out(const Place &place) const { return left_out.line == place.line && is_left_out_here(place); }
    bool is_left_out_here(const Place &place) const;
    void met(const char *what, const Place &place);

    const Kernel *kernel = nullptr;
    const void *params = nullptr;
    Block grid = {};
    uint32_t seed = 0, n_launches = 0;
    std::string complaint;

    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Stacks stacks;
    Context scheduler;
    Fiber *current = nullptr;
    std::vector<Fiber *> ready; // a ring
    size_t first_ready = 0, n_ready = 0;
    bool is_abandoned = false;

    uint32_t n_arrived = 0, n_returned = 0; // threads in the block's barrier; that have returned
    const Fiber *first = nullptr;           // that arrived
    Place last_sync = {};
    uint32_t side = 0;
    bool last_or[2] = {false, false};
    Publishing publishing;
    uint32_t n_fenced_before = 0;   // threads with fences between the last two barriers
    const Fiber *counted = nullptr; // counted the block between the last two barriers, with no fence behind

    std::unique_ptr<uint8_t, decltype(&std::free)> shared;
    size_t shared_most = kSharedBytes, shared_used = 0;
    std::unique_ptr<Operands> operands = std::make_unique<Operands>();
    Array dynamic = {};
    std::vector<Array> arrays;
    Shadow shadow;
    CopyEngine engine;

    struct Met {
        const Kernel *kernel;
        const char *what;
        Place place;
        std::string test;
    };
    std::vector<Met> barriers;
    Barrier left_out = {"", "", "", 0};
    std::vector<const Kernel *> launched;
    std::string test = "-"; // under way

  private:
    void run_next(Leave leave);
    void copy_due();
    bool copy_next(); // false: no copy is under way
    void end_copy(const LongCopy &copy);
    [[noreturn]] void complain_of_waiting();
    [[noreturn]] void complain_of_return(const Fiber &me);
    [[noreturn]] void complain_of_meeting(const char *what, const Place &place, const Fiber &other);
    [[noreturn]] void complain_of_absence(const char *what, const Place &place, const Fiber &absent);
};

Machine &machine();
const std::vector<Kernel> &all_kernels();
extern __thread Machine *running __attribute__((tls_model("initial-exec"))); // the same, while a launch runs
const char *short_name(const char *file);                                    // from the source tree's root
std::string text_of(const Place &place);
inline bool is_same(const Place &a, const Place &b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

} // namespace cuda_host

#endif
