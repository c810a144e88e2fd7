// The list of kernels, the levels, and which kernel each level gets.
#include "matmul_fixture.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

namespace
{

std::map<tn_kernel_slot, void (*)(void)> slots_of(const tn_cpu_kernels &kernels)
{
    std::map<tn_kernel_slot, void (*)(void)> slots;
#define TN_SLOT_READ(slot, type) slots[TN_SLOT_##slot] = reinterpret_cast<void (*)(void)>(kernels.slot);
    TN_KERNEL_SLOTS(TN_SLOT_READ)
#undef TN_SLOT_READ
    return slots;
}

std::string names_of(tn_isa_set levels)
{
    std::string names;
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        if (tn_isa_set_has(levels, static_cast<tn_isa>(isa))) names += std::string(" ") + tn_isa_name(static_cast<tn_isa>(isa));
    }
    return names;
}

// Every set that a processor could have, those with holes too: one with AVX512-VNNI may lack AVX-VNNI.
TEST(Dispatch, GivesEverySlotTheHighestKernelOfTheLevels)
{
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    for (tn_isa_set levels = 1; levels < 1u << TN_ISA_COUNT_; levels += 2) {
        tn_cpu_kernels kernels;
        tn_cpu_dispatch(levels, &kernels);
        for (auto [slot, function] : slots_of(kernels)) {
            const tn_kernel_row *best = nullptr;
            for (uint32_t i = 0; i < n; i++) {
                if (rows[i].slot == slot && tn_isa_set_has(levels, rows[i].isa) && (!best || rows[i].isa >= best->isa)) best = &rows[i];
            }
            ASSERT_NE(best, nullptr) << "slot " << slot << " has no scalar kernel";
            EXPECT_EQ(function, best->function) << best->name << " of levels" << names_of(levels);
        }
    }
}

TEST(Dispatch, NamesEachKernelOnceAndByItsLevel)
{
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    std::set<std::string> names;
    for (uint32_t i = 0; i < n; i++) {
        const std::string name = rows[i].name, level = std::string("__") + tn_isa_name(rows[i].isa);
        EXPECT_TRUE(names.insert(name).second) << name << " is listed twice";
        EXPECT_EQ(name.rfind("tn_k_", 0), 0u) << name;
        ASSERT_GT(name.size(), level.size());
        EXPECT_EQ(name.substr(name.size() - level.size()), level);
        EXPECT_GE(rows[i].MR, 1u);
        EXPECT_GE(rows[i].NR, 1u);
        EXPECT_GE(rows[i].K_BLOCK, 1u);
    }
}

TEST(Isa, NamesAndParsesEveryLevel)
{
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        tn_isa parsed;
        ASSERT_EQ(tn_isa_parse(tn_isa_name(static_cast<tn_isa>(isa)), &parsed), TN_OK);
        EXPECT_EQ(parsed, static_cast<tn_isa>(isa));
    }
}

TEST(Isa, RefusesUnknownLevelsAndListsTheKnownOnes)
{
    tn_isa parsed = static_cast<tn_isa>(TN_ISA_COUNT_ - 1);
    for (const char *name : {"", "AVX2", "avx", "avx512", "NEON", "sve"})
        EXPECT_EQ(tn_isa_parse(name, &parsed), TN_INVALID_ARGUMENT) << name;
    EXPECT_EQ(parsed, TN_ISA_SCALAR);
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        EXPECT_NE(std::string(tn_error_last()->message).find(tn_isa_name(static_cast<tn_isa>(isa))), std::string::npos);
    }
}

TEST(Isa, SetsAreCutAtALevelAndKnowTheirHighest)
{
    const tn_isa last = static_cast<tn_isa>(TN_ISA_COUNT_ - 1), second = static_cast<tn_isa>(1);
    const tn_isa_set holed = 1u << TN_ISA_SCALAR | 1u << last;
    EXPECT_EQ(tn_isa_set_up_to(holed, last), holed);
    EXPECT_EQ(tn_isa_set_highest(holed), last);
    EXPECT_EQ(tn_isa_set_up_to(holed, second), 1u << TN_ISA_SCALAR);
    EXPECT_EQ(tn_isa_set_highest(tn_isa_set_up_to(holed, second)), TN_ISA_SCALAR);
    EXPECT_FALSE(tn_isa_set_has(holed, second));
}

// Levels by the line of features in /proc/cpuinfo, which the kernel writes.
TEST(Isa, FindsWhatTheOperatingSystemLists)
{
    std::ifstream file("/proc/cpuinfo");
    std::set<std::string> features;
    for (std::string line; features.empty() && std::getline(file, line);) {
        if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
        std::istringstream words(line.substr(line.find(':') + 1));
        features.insert(std::istream_iterator<std::string>(words), {});
    }
    if (features.empty()) GTEST_SKIP() << "/proc/cpuinfo lists no features here";
    const auto has = [&](std::initializer_list<const char *> names) {
        return std::all_of(names.begin(), names.end(), [&](const char *name) { return features.count(name) != 0; });
    };
    tn_isa_set expected = 1u << TN_ISA_SCALAR;
#if defined(__x86_64__)
    if (has({"ssse3", "sse4_1"})) expected |= 1u << TN_ISA_SSE41;
    const bool avx2 = has({"avx", "f16c", "avx2"});
    if (avx2) expected |= 1u << TN_ISA_AVX2;
    if (avx2 && has({"avx_vnni"})) expected |= 1u << TN_ISA_AVXVNNI;
    const bool avx512bw = avx2 && has({"avx512f", "avx512dq", "avx512bw", "avx512vl"}), avx512vnni = avx512bw && has({"avx512_vnni"});
    if (avx512bw) expected |= 1u << TN_ISA_AVX512BW;
    if (avx512vnni) expected |= 1u << TN_ISA_AVX512VNNI;
    if (avx512vnni && has({"avx512vbmi"})) expected |= 1u << TN_ISA_AVX512VBMI;
#else
    if (!has({"asimd"})) GTEST_SKIP() << "/proc/cpuinfo is another machine's: an emulator runs this";
    expected |= 1u << TN_ISA_NEON;
    if (has({"asimddp"})) expected |= 1u << TN_ISA_DOTPROD;
    if (has({"asimddp", "i8mm"})) expected |= 1u << TN_ISA_I8MM;
#endif
    EXPECT_EQ(names_of(tn_isa_available()), names_of(expected));
}

} // namespace
