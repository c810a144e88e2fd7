// That the programs of this folder run the AVX-VNNI level wherever its stand-in can run.
#include "support/isa_levels.hpp"

#include <gtest/gtest.h>

TEST(Evex, TheLevelIsThereWhereAvx512VnniIs)
{
    const tn_isa_set levels = tn_isa_available();
    EXPECT_EQ(tn_isa_set_has(levels, TN_ISA_AVXVNNI), tn_isa_set_has(levels, TN_ISA_AVX512VNNI));
    if (!tn_isa_set_has(levels, TN_ISA_AVXVNNI)) GTEST_SKIP() << "this CPU lacks AVX512-VNNI, by which AVX-VNNI is tested";
    EXPECT_EQ(tn_isa_set_highest(tn_isa_set_up_to(levels, TN_ISA_AVXVNNI)), TN_ISA_AVXVNNI);
}
