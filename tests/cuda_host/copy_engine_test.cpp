// The copy engine of the emulation: kernels with long copies, with one fault each and their twins without it.
#include "cuda/kernels/gpu.cuh"
#include "cuda_host/fault_rig.hpp"

#include <cstdlib>
#include <set>

using namespace cuda_host;

namespace
{

// Bytes come at times that differ from launch to launch; what is told must not.
void expect_always(const char *name, uint32_t fault, const std::vector<std::string> &parts)
{
    for (uint32_t i = 0; i < 20; i++) expect_fault(name, fault, parts);
}
void expect_never(const char *name, uint32_t fault)
{
    for (uint32_t i = 0; i < 20; i++) EXPECT_EQ(complaint(name, fault), "") << name << " " << fault;
}

const std::string kHere = " at tests/cuda_host/copy_engine_test.cpp:";

} // namespace

// ---- what is right ----

enum : uint32_t { kRounds = 7, kRoundBytes = 512 };

TN_FN void ask_round(const FaultParams &p, uint32_t round, TN_SHARED_ARG(int8_t, s), TN_SHARED_ARG(uint64_t, arrival))
{
    const uint8_t *from = reinterpret_cast<const uint8_t *>(p.in) + round * kRoundBytes;
    const uint32_t at = round % 2 * kRoundBytes;
    if (p.fault == 1) tn_bulk_copy(s, at, from, 128, arrival, round % 2); // before it is expected
    tn_bulk_expect(arrival, round % 2, kRoundBytes);
    if (p.fault != 1) tn_bulk_copy(s, at, from, 128, arrival, round % 2);
    tn_bulk_copy(s, at + 128, from + 128, kRoundBytes - 128, arrival, round % 2);
}

// Rounds through two places, of which one is filled while the other is read. 2: another thread asks. 3: it alone waits, on devices where
// it asks alone.
TN_KERNEL(long_copies, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 2 * kRoundBytes);
    TN_SHARED(uint64_t, arrival, 2);
    const uint32_t asking = p.fault == 2 ? 40 : 0;
    const bool is_mine = p.fault == 2 ? tn_bulk_is_mine(asking) : tn_bulk_is_mine();
    if (is_mine) {
        tn_bulk_init(arrival, 2);
        for (uint32_t round = 0; round < 2; round++) ask_round(p, round, s, arrival);
    }
    tn_sync();
    for (uint32_t round = 0; round < kRounds; round++) {
        if (p.fault != 3)
            tn_bulk_wait(arrival, round % 2, round / 2 % 2);
        else if (tn_bulk_is_mine())
            tn_bulk_wait_mine(arrival, round % 2, round / 2 % 2);
        tn_sync();
        for (uint32_t i = 0; i < 2; i++)
            p.out[round * 128 + i * 64 + tn_thread()] = s.as<uint32_t>()[round % 2 * 128 + i * 64 + tn_thread()];
        tn_sync();
        if (is_mine && round + 2 < kRounds) ask_round(p, round + 2, s, arrival);
    }
}

TEST(CopyEngine, CopiesWhatIsAskedFor)
{
    Memory<uint32_t> in(kRounds * 128);
    std::iota(in.data(), in.data() + in.size(), 1000u);
    for (int capability : {75, 80, 90, 120}) {
        const OnDevice device(capability);
        for (uint32_t way = 0; way < (capability >= 90 ? 4 : 3); way++) {
            for (uint32_t time = 0; time < 10; time++) {
                Memory<uint32_t> out(in.size());
                launch("long_copies", FaultParams{way, out.data(), in.data()});
                EXPECT_TRUE(std::equal(in.data(), in.data() + in.size(), out.data())) << capability << ", " << way;
            }
        }
    }
}

// Who waits alone knows alone, where each thread has a part of the copies.
TEST(CopyEngine, IsNotThereOnEarlierDevices)
{
    const OnDevice device(89);
    expect_always("long_copies", 3, {"to which a copy of thread ", "is under way (no tn_async_wait)"});
}

// Time goes by in barriers, and the bytes are those of the time at which they come.
TN_KERNEL(times, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 16);
    TN_SHARED(uint64_t, arrival, 1);
    if (tn_thread() == 0) {
        tn_bulk_init(arrival, 1);
        tn_bulk_expect(arrival, 0, 16);
        tn_bulk_copy(s, 0, reinterpret_cast<const uint8_t *>(p.out), 16, arrival, 0);
    }
    for (uint32_t time = 1; time < 40; time++) {
        tn_sync();
        if (tn_thread() == 63) p.out[0] = time;
    }
    tn_bulk_wait(arrival, 0, 0);
    if (tn_thread() == 0) p.out[4] = s.as<uint32_t>()[0];
}

TEST(CopyEngine, CopiesComeAtAnyTimeThatCanBeHadAgain)
{
    const auto time_of = [] {
        Memory<uint32_t> out(8, 0);
        launch("times", FaultParams{0, out.data(), nullptr});
        return out[4];
    };
    std::set<uint32_t> times;
    for (uint32_t i = 0; i < 50; i++) times.insert(time_of());
    EXPECT_GE(times.size(), 8u);
    EXPECT_GE(*times.rbegin(), 20u);
    for (uint32_t i = 0; i < 5; i++) {
        const uint32_t time = time_of();
        setenv("TN_CUDA_HOST_SEED", std::to_string(last_seed()).c_str(), 1);
        EXPECT_EQ(time_of(), time);
        unsetenv("TN_CUDA_HOST_SEED");
    }
}

// ---- who may touch what comes ----

// 64 bytes come by each of two phases. In front of the first phase's end (1 .. 5) or behind it (6 ..).
TN_KERNEL(touching, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 128);
    TN_SHARED(uint64_t, arrival, 1);
    const uint8_t *from = reinterpret_cast<const uint8_t *>(p.in);
    const uint32_t t = tn_thread();
    if (t == 0) {
        tn_bulk_init(arrival, 1);
        tn_bulk_expect(arrival, 0, 64);
        tn_bulk_copy(s, 0, from, 64, arrival, 0);
    }
    tn_sync();
    if (p.fault == 1 && t == 5) p.out[t] = (uint32_t)s[20];
    if (p.fault == 2 && t == 5) s[20] = 1;
    if (p.fault == 3 && t == 7) tn_shared_add(s.as<uint32_t>(), 3, t);
    if (p.fault == 4 && t == 33) p.out[t] = (uint32_t)s[64]; // behind them: nobody wrote
    if (p.fault == 5 && t == 0) p.out[t] = tn_shared_load16(s, 48).x;
    if (p.fault < 6 || t == 0) tn_bulk_wait(arrival, 0, 0);
    if (t == 0) p.out[t] = (uint32_t)s[20]; // it has waited
    if (p.fault == 6 && t == 1) p.out[t] = (uint32_t)s[20];
    tn_sync_warp();
    if (t == 31) p.out[t] = (uint32_t)s[20]; // it knows from its warp
    if (p.fault == 7 && t == 32) p.out[t] = (uint32_t)s[20];
    tn_sync();
    p.out[t] = (uint32_t)s[t];
    tn_sync();
    s[t] = (int8_t)t;
    tn_sync();
    if (t == 0) {
        tn_bulk_expect(arrival, 0, 64);
        tn_bulk_copy(s, 0, from, 64, arrival, 0);
    }
    if (p.fault == 8 && t == 40) p.out[t] = (uint32_t)s[63];  // it has known the first phase only
    if (p.fault == 9 && t == 40) tn_bulk_wait(arrival, 0, 0); // and learns nothing new so
    tn_sync();
    if (p.fault == 9 && t == 40) p.out[t] = (uint32_t)s[63];
    tn_bulk_wait(arrival, 0, 1);
    p.out[t] = (uint32_t)s[t];
}

TEST(CopyEngine, TouchingIsForThoseWhoKnowThatCopiesHaveCome)
{
    expect_never("touching", 0);
    expect_never("touching", 100); // one thread waits for the first phase
    const std::string under_way =
        ", to which a long copy is under way, as far as it knows (no tn_bulk_wait for arrival[0], asked for" + kHere;
    expect_always("touching", 1, {"thread 5 reads s[20]" + under_way});
    expect_always("touching", 2, {"thread 5 writes s[20]" + under_way});
    expect_always("touching", 3, {"thread 7 changes s[12]" + under_way});
    expect_always("touching", 4, {"thread 33 reads s[64], which nobody wrote"});
    expect_always("touching", 5, {"thread 0 reads s[48]" + under_way});
    expect_always("touching", 6, {"thread 1 reads s[20]" + under_way});
    expect_always("touching", 7, {"thread 32 reads s[20]" + under_way});
    expect_always("touching", 8, {"thread 40 reads s[63]" + under_way});
    expect_always("touching", 9, {"thread 40 came to tn_bulk_wait" + kHere, " for parity 0 of arrival[0], which may come and go unseen"});
}

// A copy to what threads touched before, or to what another copy comes to.
TN_KERNEL(overtaking, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 64);
    TN_SHARED(uint64_t, arrival, 2);
    const uint8_t *from = reinterpret_cast<const uint8_t *>(p.in);
    const uint32_t t = tn_thread();
    if (t == 62) tn_bulk_init(arrival, 2);
    s[t] = (int8_t)t;
    tn_sync();
    if (p.fault == 1 && t == 40) p.out[t] = (uint32_t)s[17];
    if (p.fault == 2 && t == 40) s[17] = 3;
    if (p.fault == 3 && t == 62) p.out[t] = (uint32_t)s[17]; // its own are before the copy only behind a barrier
    if (p.fault == 4 && t == 62) s[17] = 3;
    if (p.fault == 5 && t < 40) p.out[t] = (uint32_t)s[t];
    if (p.fault == 6 && t == 40) tn_shared_add(s.as<uint32_t>(), 4, 1u);
    if (p.fault == 7 && t >= 32) p.out[t] = (uint32_t)s[t];
    if (p.fault == 7) tn_sync_warp(); // orders those of the asking thread's warp
    if (t == 62) {
        tn_bulk_expect(arrival, 0, 64);
        tn_bulk_copy(s, 0, from, 64, arrival, 0);
        tn_bulk_expect(arrival, 1, 16);
        if (p.fault == 8) tn_bulk_copy(s, 48, from, 16, arrival, 1);
        tn_bulk_wait(arrival, 0, 0);
        if (p.fault != 8) tn_bulk_copy(s, 48, from, 16, arrival, 1);
        tn_bulk_wait(arrival, 1, 0);
    }
    if (p.fault == 7 && t == 3) {
        tn_bulk_wait(arrival, 0, 0);
        s[40] = 1; // behind the reads too
    }
}

TEST(CopyEngine, CopiesComeBehindWhateverWasDoneThere)
{
    expect_never("overtaking", 0);
    expect_never("overtaking", 7);
    expect_always("overtaking", 1, {"thread 62 copies to s[16], which thread 40 read with no barrier between"});
    expect_always("overtaking", 2, {"thread 62 copies to s[16], which thread 40 wrote with no barrier between"});
    expect_always("overtaking", 3, {"thread 62 copies to s[16], which thread 62 read with no barrier between"});
    expect_always("overtaking", 4, {"thread 62 copies to s[16], which thread 62 wrote with no barrier between"});
    expect_always("overtaking", 5, {"thread 62 copies to s[0], which thread 0 read with no barrier between"});
    expect_always("overtaking", 6, {"thread 62 copies to s[16], which thread 40 changed with no barrier between"});
    expect_always("overtaking", 8,
                  {"thread 62 copies to s[48], to which a long copy is under way, as far as it knows (no tn_bulk_wait for "
                   "arrival[0]"});
}

// ---- arrival words ----

TN_KERNEL(arrivals, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 64);
    TN_SHARED(uint64_t, arrival, 2);
    const uint8_t *from = reinterpret_cast<const uint8_t *>(p.in);
    const uint32_t t = tn_thread();
    if (t == 0 && p.fault != 1) tn_bulk_init(arrival, p.fault == 2 ? 1 : 2);
    if (p.fault == 3 && t == 0) tn_bulk_init(arrival + 1, 1);
    if (p.fault == 4 && t == 32) tn_bulk_expect(arrival, 0, 64);
    if (p.fault == 5 && t == 32) tn_bulk_copy(s, 0, from, 64, arrival, 0);
    if (p.fault == 6 && t == 32) tn_bulk_wait(arrival, 0, 0);
    tn_sync();
    if (p.fault == 7 && t == 0) tn_bulk_init(arrival, 1);
    if (t == 32) {
        tn_bulk_expect(arrival, 0, 64);
        tn_bulk_copy(s, 0, from, 64, arrival, 0);
        tn_bulk_expect(arrival, 1, 0); // a phase may be without bytes
    }
    if (p.fault == 8 && t == 32) tn_bulk_expect(arrival, 0, 64);
    if (p.fault == 9 && t == 33) tn_bulk_expect(arrival, 0, 64);
    if (p.fault == 14 && t < 32) return;
    if (p.fault == 14 && t == 32) tn_bulk_wait(arrival, 0, 0);
    if (p.fault == 14 && t == 32) tn_bulk_expect(arrival, 0, 16);
    if (p.fault == 14 && t >= 32) tn_shfl_xor(t, 1); // thread 33 is late, but nothing orders it
    if (p.fault == 14 && t == 33) tn_bulk_copy(s, 0, from, 16, arrival, 0);
    if (p.fault == 14) tn_shfl_xor(t, 1);
    tn_bulk_wait(arrival, 0, p.fault == 10 ? 1 : p.fault == 11 ? 2 : 0);
    tn_bulk_wait(arrival, 1, 0);
    if (p.fault != 12) tn_sync();
    if (t == 32) tn_bulk_expect(arrival, 1, 0); // others may still look for the end of the phase before
    if (p.fault == 13) tn_sync();
    if (p.fault == 13 && t == 0) tn_bulk_wait(arrival, 1, 0);
    tn_bulk_wait(arrival, 1, 1);
}

TEST(CopyEngine, ArrivalWordsAreMadeOnceAndUsedBehindABarrier)
{
    expect_never("arrivals", 0);
    expect_always("arrivals", 1, {"thread 63 came to tn_bulk_wait" + kHere, ", and nobody made arrival[0] (tn_bulk_init)"});
    expect_always("arrivals", 2, {"thread 32 came to tn_bulk_expect" + kHere, ", and nobody made arrival[1] (tn_bulk_init)"});
    expect_always("arrivals", 3, {"thread 0 came to tn_bulk_init" + kHere, ", and arrival[1] was made before"});
    const std::string unordered = " for arrival[0], which thread 0 made with no barrier between";
    expect_always("arrivals", 4, {"thread 32 came to tn_bulk_expect" + kHere, unordered});
    expect_always("arrivals", 5, {"thread 32 came to tn_bulk_copy" + kHere, unordered});
    expect_always("arrivals", 6, {"thread 32 came to tn_bulk_wait" + kHere, unordered});
    expect_always("arrivals", 7, {"thread 0 came to tn_bulk_init" + kHere, ", and arrival[0] was made before"});
}

TEST(CopyEngine, PhasesComeOneAfterAnother)
{
    const std::string under_way = ", and copies to arrival[0] that were expected" + kHere;
    expect_always("arrivals", 8, {"thread 32 came to tn_bulk_expect" + kHere, under_way, "are under way, as far as it knows"});
    expect_always("arrivals", 9, {"thread 33 came to tn_bulk_expect" + kHere, under_way});
    expect_always("arrivals", 14, {"thread 33 came to tn_bulk_copy" + kHere, under_way});
    expect_always("arrivals", 11, {"came to tn_bulk_wait" + kHere, " with 2 for a parity"});
    expect_always(
        "arrivals", 12,
        {"thread 32 came to tn_bulk_expect" + kHere, " for arrival[1], which thread ", " has waited for with no barrier between"});
    expect_always("arrivals", 13,
                  {"thread 0 came to tn_bulk_wait" + kHere,
                   " for parity 0 of arrival[1], which may come and go unseen: the next phase was begun" + kHere});
}

// The thread that asks is the last: whoever waits for the wrong parity before goes by, and knows nothing.
TN_KERNEL(parities, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 64);
    TN_SHARED(uint64_t, arrival, 1);
    if (tn_thread() == 62) tn_bulk_init(arrival, 1);
    tn_sync();
    if (p.fault == 1 && tn_thread() == 0) tn_bulk_wait(arrival, 0, 1);
    if (p.fault == 2) tn_bulk_wait(arrival, 0, 0); // nobody has asked
    if (tn_thread() == 62) {
        tn_bulk_expect(arrival, 0, 64);
        tn_bulk_copy(s, 0, reinterpret_cast<const uint8_t *>(p.in), 64, arrival, 0);
    }
    tn_sync();
    if (p.fault == 1 && tn_thread() == 0) p.out[0] = (uint32_t)s[0];
    tn_bulk_wait(arrival, 0, 0);
    if (p.fault == 3 && tn_thread() > 20) tn_bulk_wait(arrival, 0, 1); // a phase that nobody begins
    if (p.fault == 3) tn_sync();
    p.out[tn_thread()] = (uint32_t)s[tn_thread()];
}

TEST(CopyEngine, WaitsThatDoNotEnd)
{
    expect_never("parities", 0);
    expect_always("parities", 1,
                  {"thread 62 came to tn_bulk_expect" + kHere, " for arrival[0], which thread 0 has waited for with no barrier between"});
    const std::string for_ever = " for ever: nobody says by tn_bulk_expect what comes to arrival[0]";
    expect_always("parities", 2, {"thread 0 waits in tn_bulk_wait" + kHere, for_ever});
    expect_always("parities", 3, {"thread 21 waits in tn_bulk_wait" + kHere, for_ever});
}

// One thread begins the next phase while another may still look for the end of the first.
TN_KERNEL(overrun, FaultParams, 64)
{
    TN_SHARED(int8_t, s, 64);
    TN_SHARED(uint64_t, arrival, 1);
    const bool asks = tn_thread() == 5;
    if (asks) tn_bulk_init(arrival, 1);
    tn_sync();
    if (asks) {
        tn_bulk_expect(arrival, 0, 64);
        tn_bulk_copy(s, 0, reinterpret_cast<const uint8_t *>(p.in), 64, arrival, 0);
        tn_bulk_wait(arrival, 0, 0);
        if (p.fault == 1) tn_bulk_expect(arrival, 0, 0);
    }
    if (tn_thread() == 40) tn_bulk_wait(arrival, 0, 0);
    tn_sync();
    if (asks && p.fault != 1) tn_bulk_expect(arrival, 0, 0);
    tn_bulk_wait(arrival, 0, 1);
}

TEST(CopyEngine, PhasesAreNotOverrun)
{
    expect_never("overrun", 0);
    uint32_t n_unseen = 0, n_seen = 0; // by the time at which the copy comes
    for (uint32_t i = 0; i < 100; i++) {
        const std::string text = complaint("overrun", 1);
        n_unseen += contains(text, "thread 40 came to tn_bulk_wait" + kHere) && contains(text, ", which may come and go unseen");
        n_seen += contains(text, "thread 5 came to tn_bulk_expect" + kHere) && contains(text, "which thread 40 has waited for with no");
    }
    EXPECT_EQ(n_unseen + n_seen, 100u);
    EXPECT_GT(n_unseen, 5u);
    EXPECT_GT(n_seen, 5u);
}

// ---- sizes ----

TN_KERNEL(sizes, FaultParams, 64)
{
    TN_SHARED(uint64_t, arrival, 1);
    TN_SHARED(int8_t, s, 128);
    const uint8_t *from = reinterpret_cast<const uint8_t *>(p.in);
    const bool is_early = p.fault == 1 || p.fault == 2;
    if (tn_thread() == 0) {
        tn_bulk_init(arrival, 1);
        if (is_early) tn_bulk_copy(s, 64, from, 32, arrival, 0);
        if (p.fault == 6) tn_bulk_expect(arrival, 0, 0x100000);
        tn_bulk_expect(arrival, 0, p.fault == 2 ? 16 : p.fault == 3 ? 80 : p.fault == 4 ? 112 : p.fault == 5 ? 0 : 96);
        tn_bulk_copy(s, p.fault == 7 ? 8 : p.fault == 8 ? 80 : 0, from + (p.fault == 9 ? 8 : 0), p.fault == 10 ? 56 : 64, arrival, 0);
        if (!is_early) tn_bulk_copy(s, p.fault == 11 ? (uint32_t)-64 : 64, from, 32, arrival, 0);
        if (p.fault == 15) tn_bulk_copy(s + (size_t)-16, 0, from, 32, arrival, 0);
        if (p.fault == 12) tn_bulk_wait(arrival, 0, 0);
        if (p.fault == 12) tn_bulk_copy(s, 0, from, 16, arrival, 0); // of a phase that nobody begins
    }
    tn_sync();
    if (p.fault == 13 || p.fault == 14) {
        if (p.fault == 14 && tn_thread() == 0) tn_bulk_copy(s, 96, from, 16, arrival, 0);
        return;
    }
    tn_bulk_wait(arrival, 0, 0);
}

TEST(CopyEngine, BytesAreThoseThatAreExpected)
{
    expect_never("sizes", 0);
    expect_never("sizes", 1); // before they are expected
    const std::string more = " for more bytes than are expected for arrival[0]: ";
    expect_always("sizes", 2, {"thread 0 asks" + kHere, more + "32, and not 16 as said" + kHere});
    expect_always("sizes", 3, {"thread 0 asks" + kHere, more + "96, and not 80 as said" + kHere});
    expect_always(
        "sizes", 4,
        {"waits in tn_bulk_wait" + kHere, " for ever: of 112 bytes that were expected for arrival[0]" + kHere, ", 96 were asked for"});
    expect_always("sizes", 5, {"thread 0 asks" + kHere, more + "64, and not 0"});
    expect_always("sizes", 6, {"thread 0 came to tn_bulk_expect" + kHere, " with 1048576 bytes: a phase has 1048575 at most"});
    expect_always("sizes", 14, {"thread 0 asks" + kHere, more + "112, and not 96"});
}

TEST(CopyEngine, PlacesAndSizesAreWholeUnits)
{
    const std::string copy = "thread 0 came to tn_bulk_copy" + kHere, units = ": not whole units of 16 bytes, here and in global memory";
    expect_always("sizes", 7, {copy, " of 64 bytes to s[8]" + units});
    expect_always("sizes", 9, {copy, " of 64 bytes to s[0]" + units});
    expect_always("sizes", 10, {copy, " of 56 bytes to s[0]" + units});
    expect_always("sizes", 8, {copy, " of 64 bytes outside their array, 80 bytes from the begin of s[0]"});
    expect_always("sizes", 11, {copy, " of 32 bytes outside their array, 4294967232 bytes from the begin of s[0]"});
    expect_always("sizes", 15, {copy, " of 32 bytes outside their array, -16 bytes from the begin of s[0]"});
}

TEST(CopyEngine, BlocksDoNotEndBeforeTheirCopies)
{
    expect_always("sizes", 12, {"nobody expects 16 bytes to arrival[0] that were asked for" + kHere});
    expect_always("sizes", 13, {"nobody waits for the copies to arrival[0] that were expected" + kHere});
}

// ---- waits that are left out ----

TEST(CopyEngine, WaitsAreMetAndLeftOut)
{
    for (int capability : {80, 90}) {
        const OnDevice device(capability);
        expect_never("long_copies", 0);
        uint32_t n_waits = 0;
        for (const Barrier &barrier : barriers_met()) {
            const bool is_wait = barrier.what == (capability >= 90 ? "tn_bulk_wait" : "tn_async_wait");
            if (barrier.kernel != "long_copies" || !is_wait) continue;
            n_waits++;
            EXPECT_EQ(barrier.file, "tests/cuda_host/copy_engine_test.cpp");
            leave_out(barrier);
            const std::string text = complaint("long_copies", 0), text_alone = complaint("long_copies", 3); // of one of the two
            EXPECT_TRUE(contains(text, "under way") || (capability >= 90 && contains(text_alone, "under way"))) << text << text_alone;
            leave_out_nothing();
            expect_never("long_copies", 0);
        }
        EXPECT_GE(n_waits, 1u) << capability;
    }
}
