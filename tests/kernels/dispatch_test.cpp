// The list of kernels, the levels, and which kernel each level gets.
#include "matmul_fixture.h"

#include <map>
#include <set>

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

TEST(Dispatch, GivesEverySlotTheHighestKernelAtOrBelowTheLevel)
{
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        tn_cpu_kernels kernels;
        tn_cpu_dispatch(static_cast<tn_isa>(isa), &kernels);
        for (auto [slot, function] : slots_of(kernels)) {
            const tn_kernel_row *best = nullptr;
            for (uint32_t i = 0; i < n; i++) {
                if (rows[i].slot == slot && rows[i].isa <= static_cast<tn_isa>(isa) && (!best || rows[i].isa >= best->isa)) best = &rows[i];
            }
            ASSERT_NE(best, nullptr) << "slot " << slot << " has no scalar kernel";
            EXPECT_EQ(function, best->function) << best->name << " at level " << tn_isa_name(static_cast<tn_isa>(isa));
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
    tn_isa parsed = TN_ISA_AVX2;
    for (const char *name : {"", "AVX2", "avx", "avx512"}) EXPECT_EQ(tn_isa_parse(name, &parsed), TN_INVALID_ARGUMENT) << name;
    EXPECT_EQ(parsed, TN_ISA_SCALAR);
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        EXPECT_NE(std::string(tn_error_last()->message).find(tn_isa_name(static_cast<tn_isa>(isa))), std::string::npos);
    }
}

#if defined(__x86_64__)
TEST(Isa, DetectsWhatTheCompilersRuntimeDetects)
{
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    EXPECT_EQ(tn_isa_detect(), avx512 ? TN_ISA_AVX512VNNI : avx2 ? TN_ISA_AVX2 : TN_ISA_SCALAR);
}
#endif

} // namespace
