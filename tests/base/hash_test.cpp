// The hash is XXH3-64 by its published values, so that files written by other builds are understood.
#include <gtest/gtest.h>
#include <vector>

extern "C" {
#include "base/hash.h"
}

TEST(Hash, GivesThePublishedValues)
{
    // The sanity buffer of the reference implementation's tests; lengths on both sides of its code paths.
    std::vector<uint8_t> bytes(2367);
    uint64_t generator = 2654435761u;
    for (uint8_t &byte : bytes) {
        byte = static_cast<uint8_t>(generator >> 56);
        generator *= 11400714785074694797u;
    }
    EXPECT_EQ(tn_hash(bytes.data(), 0), 0x2D06800538D394C2u);
    EXPECT_EQ(tn_hash(bytes.data(), 1), 0xC44BDFF4074EECDBu);
    EXPECT_EQ(tn_hash(bytes.data(), 6), 0x27B56A84CD2D7325u);
    EXPECT_EQ(tn_hash(bytes.data(), 12), 0xA713DAF0DFBB77E7u);
    EXPECT_EQ(tn_hash(bytes.data(), 2367), 0xCB37AEB9E5D361EDu);
}
