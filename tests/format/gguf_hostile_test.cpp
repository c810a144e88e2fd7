// Tests of damaged and hostile GGUF files: each is refused with a status and a message that names the cause and the place.
#include "gguf_support.hpp"

namespace
{

using namespace tn_test;

// One key and one tensor, to be damaged.
struct Sample {
    GgufMap map;
    Bytes bytes;
    Sample()
    {
        GgufBuilder b;
        b.kv("general.name", "sample").tensor<float>("weight", {8, 4}, 0, std::vector<float>(32, 1.0f));
        bytes = b.build(&map);
    }
};

template <typename T> Bytes patched(size_t at, T value)
{
    Sample s;
    patch(s.bytes, at, value);
    return s.bytes;
}

std::string at_byte(size_t at) { return "at byte " + std::to_string(at); }

TEST(GgufHostile, TheSampleItselfIsFine) { EXPECT_EQ(parse(Sample().bytes).status, TN_OK); }

TEST(GgufHostile, AWrongMagicShowsItsBytes)
{
    expect_refused({}, TN_BAD_FILE, {"at byte 0", "empty"});
    expect_refused({'G', 'G'}, TN_BAD_FILE, {"2 bytes", "no GGUF header"});
    expect_refused(patched<uint32_t>(0, 0x6a677467), TN_BAD_FILE, {"at byte 0", "67 74 67 6a", "GGUF"});
    const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\n";
    expect_refused(Bytes(pointer.begin(), pointer.end()), TN_BAD_FILE, {"Git LFS pointer", "git lfs pull"});
}

TEST(GgufHostile, WrongVersionsAreTold)
{
    expect_refused(patched<uint32_t>(4, 0), TN_BAD_FILE, {"at byte 4", "version 0"});
    expect_refused(patched<uint32_t>(4, 1), TN_UNSUPPORTED, {"version 1", "obsolete"});
    expect_refused(patched<uint32_t>(4, 4), TN_UNSUPPORTED, {"version 4", "newer ternion"});
    expect_refused(patched<uint32_t>(4, 0xFFFFFFFF), TN_UNSUPPORTED, {"version 4294967295"});
}

TEST(GgufHostile, TheOtherEndiannessIsNamed)
{
    expect_refused(patched<uint32_t>(4, 0x03000000), TN_UNSUPPORTED, {"at byte 4", "big-endian"});
    expect_refused(patched<uint32_t>(4, 0x02000000), TN_UNSUPPORTED, {"big-endian"});
}

TEST(GgufHostile, EveryPrefixOfAFileIsRefused)
{
    GgufBuilder b;
    b.kv("general.name", "x").kv<uint16_t>("n", 3).kv_array<std::string>("s", {"ab", "c"}).kv_array<float>("f", {1, 2});
    b.tensor("t", {32, 2}, 8, 68).tensor("u", {128, 2}, 36, 96);
    const Bytes bytes = b.build();
    ASSERT_EQ(parse(bytes).status, TN_OK);
    for (size_t n = 0; n < bytes.size(); ++n) {
        const Gguf g = parse(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)));
        ASSERT_EQ(g.status, TN_BAD_FILE) << n;
        ASSERT_NE(g.message.find("at byte "), std::string::npos) << g.message;
        ASSERT_NE(g.message.find("get another copy"), std::string::npos) << g.message;
    }
}

// CVE-2024-21802, CVE-2024-21825, CVE-2024-21836, CVE-2024-23496, CVE-2024-23605: counts and lengths larger than the file.
TEST(GgufHostile, CountsAreBoundedByTheBytesLeft)
{
    for (uint64_t n : {UINT64_C(100), UINT64_C(1) << 31, UINT64_C(1) << 60, UINT64_C(0x0124924924924925), UINT64_MAX}) {
        expect_refused(patched<uint64_t>(8, n), TN_BAD_FILE, {"at byte 8", "number of tensors"});
        expect_refused(patched<uint64_t>(16, n), TN_BAD_FILE, {"at byte 16", "number of keys"});
    }
    expect_refused(patched<int64_t>(16, -1), TN_BAD_FILE, {"number of keys is -1"});
}

TEST(GgufHostile, MoreTensorsThanAreThereRunIntoTheData)
{
    Sample s;
    patch<uint64_t>(s.bytes, 8, 4); // the bytes are there, but they are no tensor infos
    EXPECT_NE(parse(s.bytes).status, TN_OK);
}

TEST(GgufHostile, AbsurdCountsAreRefusedEvenWhereTheFileIsLargeEnough)
{
    Bytes bytes(24 + (size_t{1} << 22) * 2);
    std::memcpy(bytes.data(), "GGUF", 4);
    patch<uint32_t>(bytes, 4, 3);
    patch<uint64_t>(bytes, 16, 300000);
    expect_refused(bytes, TN_UNSUPPORTED, {"number of keys is 300000", "at most 262144"});
}

TEST(GgufHostile, StringLengthsAreBounded)
{
    const Sample s;
    const size_t key = s.map.kvs[0], value = key + 8 + 12 + 4;
    for (uint64_t n : {UINT64_C(10000), UINT64_C(1) << 31, UINT64_C(0x7FFFFFFFFFFFFFFF), UINT64_MAX}) {
        expect_refused(patched<uint64_t>(key, n), TN_BAD_FILE, {at_byte(key), "name of a key", "length"});
        expect_refused(patched<uint64_t>(value, n), TN_BAD_FILE, {at_byte(value), "key \"general.name\"", "the value has a length"});
        expect_refused(patched<uint64_t>(s.map.tensors[0].name, n), TN_BAD_FILE, {at_byte(s.map.tensors[0].name), "name of a tensor"});
    }
}

TEST(GgufHostile, KeysMustHaveANameAndBeThereOnce)
{
    GgufBuilder empty, twice;
    empty.kv<uint64_t>("", 1);
    expect_refused(empty.build(), TN_BAD_FILE, {"at byte 24", "empty"});
    twice.kv<uint8_t>("a.b", 1).kv<uint8_t>("other", 1).kv("a.b", "x");
    const Bytes bytes = twice.build();
    const size_t second = bytes.size() - 1 - 8 - 4 - 3;
    expect_refused(bytes, TN_BAD_FILE, {at_byte(second), "key \"a.b\" is there twice"});
}

TEST(GgufHostile, UnknownValueTypesAreRefused)
{
    const size_t at = Sample().map.kvs[0] + 8 + 12;
    for (int32_t type : {13, 255, -1, INT32_MIN}) {
        expect_refused(patched(at, type), TN_BAD_FILE, {at_byte(at), "key \"general.name\"", "is " + std::to_string(type)});
    }
}

TEST(GgufHostile, ArraysAreChecked)
{
    const auto array = [](uint32_t type, uint64_t n, size_t payload) {
        Bytes raw;
        put<uint32_t>(raw, type);
        put<uint64_t>(raw, n);
        raw.resize(raw.size() + payload);
        return GgufBuilder().kv_raw("arr", kArray, raw).build();
    };
    const size_t type_at = 24 + 8 + 3 + 4;
    EXPECT_EQ(parse(array(kU8, 4, 4)).status, TN_OK);
    expect_refused(array(kArray, 1, 12), TN_BAD_FILE, {at_byte(type_at), "array of arrays"});
    expect_refused(array(13, 1, 12), TN_BAD_FILE, {at_byte(type_at), "type of an array's elements is 13"});
    expect_refused(array(kU8, 5, 4), TN_BAD_FILE, {at_byte(type_at + 4), "5 elements"});
    expect_refused(array(kF64, 2, 15), TN_BAD_FILE, {"2 elements"});
    expect_refused(array(kF64, UINT64_C(1) << 61, 16), TN_BAD_FILE, {"elements"});       // times 8 wraps to 0
    expect_refused(array(kF64, (UINT64_C(1) << 61) + 1, 16), TN_BAD_FILE, {"elements"}); // ... to 8
    expect_refused(array(kU8, UINT64_MAX, 16), TN_BAD_FILE, {"elements"});
    expect_refused(array(kString, 3, 16), TN_BAD_FILE, {"3 elements"});
    expect_refused(array(kString, UINT64_C(1) << 61, 16), TN_BAD_FILE, {"elements"});
}

// CVE-2025-49847: the length of a vocabulary entry.
TEST(GgufHostile, StringsInArraysAreBounded)
{
    for (uint64_t n : {UINT64_C(3), UINT64_C(0x80000000), UINT64_C(0xFFFFFFFF), UINT64_MAX}) {
        Bytes raw;
        put<uint32_t>(raw, kString);
        put<uint64_t>(raw, 2);
        put_str(raw, "ok");
        put<uint64_t>(raw, n);
        raw.resize(raw.size() + 2);
        expect_refused(GgufBuilder().kv_raw("tokenizer.ggml.tokens", kArray, raw).build(), TN_BAD_FILE,
                       {"key \"tokenizer.ggml.tokens\"", "a string of an array has a length of " + std::to_string(n), "2 are left"});
    }
}

// Public crash of 2026: alignment 0x80000000.
TEST(GgufHostile, AlignmentsMustBeSensible)
{
    for (uint32_t alignment : {0u, 1u, 4u, 3u, 48u, 131072u, 0x80000000u, 0xFFFFFFFFu}) {
        GgufBuilder b;
        b.kv<uint32_t>("general.alignment", alignment).tensor<float>("w", {1}, 0, {1});
        expect_refused(b.build(), TN_BAD_FILE, {"at byte 32", "general.alignment is " + std::to_string(alignment), "power of two"});
    }
    GgufBuilder wide, text_value;
    wide.kv<uint64_t>("general.alignment", 32);
    expect_refused(wide.build(), TN_BAD_FILE, {"general.alignment is of type u64"});
    text_value.kv("general.alignment", "32");
    expect_refused(text_value.build(), TN_BAD_FILE, {"general.alignment is of type string"});
}

TEST(GgufHostile, TensorNamesAreChecked)
{
    GgufBuilder longest, too_long, empty, twice;
    longest.tensor<float>(std::string(63, 'n'), {1}, 0, {1});
    EXPECT_EQ(parse(longest.build()).status, TN_OK);
    too_long.tensor<float>(std::string(64, 'n'), {1}, 0, {1});
    expect_refused(too_long.build(), TN_BAD_FILE, {"at byte 24", "64 bytes"});
    empty.tensor<float>("", {1}, 0, {1});
    expect_refused(empty.build(), TN_BAD_FILE, {"0 bytes"});
    twice.tensor<float>("w", {1}, 0, {1}).tensor<float>("v", {1}, 0, {1}).tensor<float>("w", {1}, 0, {1});
    GgufMap map;
    const Bytes bytes = twice.build(&map);
    expect_refused(bytes, TN_BAD_FILE, {at_byte(map.tensors[2].name + 8), "tensor \"w\" is there twice"});
}

TEST(GgufHostile, DimensionsAreChecked)
{
    const Sample s;
    const auto tensor = s.map.tensors[0];
    for (uint32_t n : {0u, 5u, 0xFFFFFFFFu}) {
        expect_refused(patched(tensor.n_dims, n), TN_BAD_FILE,
                       {at_byte(tensor.n_dims), "tensor \"weight\"", std::to_string(n) + " dimensions"});
    }
    // A zero dimension made a public reader divide by zero.
    for (int64_t ne : {INT64_C(0), INT64_C(-1), INT64_MIN}) {
        expect_refused(patched(tensor.ne, ne), TN_BAD_FILE,
                       {at_byte(tensor.ne), "tensor \"weight\"", "dimension 0 is " + std::to_string(ne)});
        expect_refused(patched(tensor.ne + 8, ne), TN_BAD_FILE, {at_byte(tensor.ne + 8), "dimension 1 is " + std::to_string(ne)});
    }
}

// CVE-2026-33298, CVE-2026-53923: products of dimensions that wrap in 64 or 32 bits.
TEST(GgufHostile, ProductsOfDimensionsMustNotWrap)
{
    Sample s;
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne, UINT64_C(1) << 32);
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne + 8, UINT64_C(1) << 32); // wraps to 0
    expect_refused(s.bytes, TN_BAD_FILE, {"tensor \"weight\"", "more than 2^63"});
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne + 8, (UINT64_C(1) << 32) + 1); // wraps to 2^32
    expect_refused(s.bytes, TN_BAD_FILE, {"more than 2^63"});
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne, UINT64_C(1) << 62); // fits, but the bytes wrap to 0
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne + 8, UINT64_C(1));
    expect_refused(s.bytes, TN_BAD_FILE, {"tensor \"weight\"", "overflow"});
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne, (UINT64_C(1) << 32) + 8); // 8 in 32 bits
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne + 8, UINT64_C(4));
    expect_refused(s.bytes, TN_BAD_FILE, {"tensor \"weight\"", "end after"});
}

// CVE-2026-7482: a tensor larger than the file leaked the memory behind it.
TEST(GgufHostile, TensorsMustLieInTheFile)
{
    Sample s;
    patch<uint64_t>(s.bytes, s.map.tensors[0].ne + 8, 5);
    expect_refused(s.bytes, TN_BAD_FILE, {"tensor \"weight\"", "its 160 bytes at offset 0", "128 bytes of data"});
    expect_refused(patched<uint64_t>(s.map.tensors[0].offset, 32), TN_BAD_FILE, {"its 128 bytes at offset 32"});
    expect_refused(patched<uint64_t>(s.map.tensors[0].offset, 128), TN_BAD_FILE, {"offset 128"});
    expect_refused(patched<uint64_t>(s.map.tensors[0].offset, 160), TN_BAD_FILE, {"offset 160 is past"});
    expect_refused(patched<uint64_t>(s.map.tensors[0].offset, UINT64_MAX - 31), TN_BAD_FILE, {"is past the 128 bytes"});
    expect_refused(patched<uint64_t>(s.map.tensors[0].offset, 8), TN_BAD_FILE, {"offset 8 is not a multiple of the alignment 32"});
    expect_refused(patched<uint64_t>(s.map.tensors[0].offset, UINT64_MAX), TN_BAD_FILE, {"not a multiple"});
}

TEST(GgufHostile, AFileThatEndsBeforeItsDataSaysSo)
{
    Sample s;
    ASSERT_LT(s.map.meta_end, s.map.data);
    s.bytes.resize(s.map.meta_end);
    expect_refused(s.bytes, TN_BAD_FILE, {at_byte(s.map.meta_end), "ends before the data"});
}

TEST(GgufHostile, TypeIdsMustBeKnown)
{
    const size_t at = Sample().map.tensors[0].type;
    for (int32_t id : {48, 99, 1000, INT32_MAX}) {
        expect_refused(patched(at, id), TN_UNSUPPORTED,
                       {at_byte(at), "tensor \"weight\"", "type id " + std::to_string(id) + " is unknown"});
    }
    for (int32_t id : {-1, INT32_MIN}) {
        expect_refused(patched(at, id), TN_BAD_FILE, {at_byte(at), "type id " + std::to_string(id) + " is negative"});
    }
}

TEST(GgufHostile, RowsMustBeWholeBlocks)
{
    GgufBuilder q8, tq;
    q8.tensor("w", {48, 2}, 8, 102); // 96 elements are 3 blocks, but no row is
    expect_refused(q8.build(), TN_BAD_FILE, {"tensor \"w\"", "rows of 48", "Q8_0"});
    tq.tensor("w", {128, 2}, 35, 66);
    expect_refused(tq.build(), TN_BAD_FILE, {"tensor \"w\"", "rows of 128", "TQ2_0"});
}

TEST(GgufHostile, TensorsMustNotOverlap)
{
    GgufBuilder b;
    b.tensor<float>("a", {16}, 0, std::vector<float>(16, 1.0f)).tensor<float>("b", {16}, 0, std::vector<float>(16, 1.0f));
    GgufMap map;
    Bytes bytes = b.build(&map);
    patch<uint64_t>(bytes, map.tensors[1].offset, 32);
    expect_refused(bytes, TN_BAD_FILE, {"tensor \"b\"", "overlaps that of tensor \"a\""});
    patch<uint64_t>(bytes, map.tensors[1].offset, 0);
    expect_refused(bytes, TN_BAD_FILE, {"overlaps"});
    patch<uint64_t>(bytes, map.tensors[0].offset, 32); // the order of the infos does not matter
    expect_refused(bytes, TN_BAD_FILE, {"tensor \"a\"", "overlaps that of tensor \"b\""});
}

TEST(GgufHostile, TensorsOfUnknownSizeMustNotShareAPlace)
{
    GgufBuilder b;
    b.tensor("a", {16}, 45, 32).tensor("b", {16}, 45, 32);
    GgufMap map;
    Bytes bytes = b.build(&map);
    EXPECT_EQ(parse(bytes).status, TN_OK);
    patch<uint64_t>(bytes, map.tensors[1].offset, 0);
    expect_refused(bytes, TN_BAD_FILE, {"overlaps"});
}

// CVE-2025-53630 and CVE-2026-27940: many tensors whose padded sizes add up to more than 64 bits.
TEST(GgufHostile, SumsOfSizesCannotWrap)
{
    GgufBuilder b;
    for (int i = 0; i < 5; ++i) b.tensor<float>("t" + std::to_string(i), {8}, 0, std::vector<float>(8, 0.0f));
    GgufMap map;
    Bytes bytes = b.build(&map);
    for (const auto &tensor : map.tensors) patch<uint64_t>(bytes, tensor.ne, UINT64_C(1) << 60); // 2^62 bytes each
    expect_refused(bytes, TN_BAD_FILE, {"tensor \"t0\"", "4611686018427387904 bytes"});
}

TEST(GgufHostile, NamesInMessagesAreHarmless)
{
    GgufBuilder b;
    b.kv<uint8_t>("evil\x1b[2J\nkey", 1).kv<uint8_t>("evil\x1b[2J\nkey", 1);
    const Gguf g = parse(b.build());
    EXPECT_EQ(g.status, TN_BAD_FILE);
    EXPECT_NE(g.message.find("key \"evil\\x1b[2J\\nkey\" is there twice"), std::string::npos) << g.message;
    GgufBuilder longer;
    longer.kv_raw(std::string(100000, 'k'), 77, {});
    const Gguf h = parse(longer.build());
    EXPECT_EQ(h.status, TN_BAD_FILE);
    EXPECT_NE(h.message.find("is 77"), std::string::npos) << h.message; // the cause survives a long name
}

TEST(GgufHostile, ChangedBytesNeverCrash)
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").kv_array<std::string>("tokens", {"ab", "c"}).kv_array<bool>("flags", {true, false});
    b.tensor("t", {32, 2}, 8, 68).tensor("u", {128, 2}, 36, 96).tensor("v", {256}, 34, 54);
    b.kv<uint32_t>("general.alignment", 32);
    const Bytes bytes = b.build();
    size_t n_refused = 0, n_accepted = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        for (uint8_t value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
            Bytes changed = bytes;
            changed[i] = value;
            const Gguf g = parse(changed);
            ++(g.status == TN_OK ? n_accepted : n_refused);
            ASSERT_TRUE(g.status == TN_OK || g.status == TN_BAD_FILE || g.status == TN_UNSUPPORTED) << tn_status_name(g.status);
        }
    }
    EXPECT_GT(n_refused, 500u);
    EXPECT_GT(n_accepted, 100u);
}

} // namespace
