// Tests of the protocol buffer reader: every kind of field, and bytes that are no message.
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "format/protobuf.h"
}

namespace
{

struct Read {
    std::vector<tn_protobuf_field> fields;
    tn_protobuf_step end = TN_PROTOBUF_FIELD;
};

Read read_all(const std::string &bytes)
{
    Read r;
    tn_protobuf at = tn_protobuf_of({bytes.data(), bytes.size()});
    tn_protobuf_field field;
    while ((r.end = tn_protobuf_next(&at, &field)) == TN_PROTOBUF_FIELD) r.fields.push_back(field);
    return r;
}

std::string bytes(std::initializer_list<int> all)
{
    std::string text;
    for (const int b : all) text += static_cast<char>(b);
    return text;
}

} // namespace

// 150 as field 1, "testing" as field 2: the examples of the format's own description.
TEST(Protobuf, ReadsFieldsOfEveryKind)
{
    const std::string message = bytes({0x08, 0x96, 0x01, 0x12, 0x07}) + "testing" + bytes({0x1d, 1, 2, 3, 4, 0x21, 8, 7, 6, 5, 4, 3, 2, 1});
    const Read r = read_all(message);
    ASSERT_EQ(4u, r.fields.size());
    EXPECT_EQ(TN_PROTOBUF_END, r.end);
    EXPECT_EQ(1u, r.fields[0].number);
    EXPECT_EQ(150u, r.fields[0].value);
    EXPECT_EQ(2u, r.fields[1].number);
    EXPECT_EQ("testing", std::string(r.fields[1].bytes.data, r.fields[1].bytes.len));
    EXPECT_EQ(TN_WIRE_32, r.fields[2].wire);
    EXPECT_EQ(0x04030201u, r.fields[2].value);
    EXPECT_EQ(0x0102030405060708u, r.fields[3].value);
    EXPECT_EQ(TN_PROTOBUF_END, read_all("").end);
}

TEST(Protobuf, ReadsNumbersOf64Bits)
{
    const Read r = read_all(bytes({0xc0, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})); // field 40: -1
    ASSERT_EQ(1u, r.fields.size());
    EXPECT_EQ(40u, r.fields[0].number);
    EXPECT_EQ(UINT64_MAX, r.fields[0].value);
}

TEST(Protobuf, RefusesWhatIsNoMessage)
{
    const std::string cases[] = {
        bytes({0x08}),                                                                   // a number is missing
        bytes({0x08, 0x80}),                                                             // it is cut short
        bytes({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}),       // 65 bits
        bytes({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0x01}), // 11 bytes
        bytes({0x12, 0x03, 'a', 'b'}),                                                   // a text is cut short
        bytes({0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'}),  // a length beyond all memory
        bytes({0x1d, 1, 2, 3}),                                                          // a 32-bit value is cut short
        bytes({0x21, 1, 2, 3, 4, 5, 6, 7}),                                              // a 64-bit value is cut short
        bytes({0x0b}),                                                                   // a group
        bytes({0x0e, 0}),                                                                // a kind that does not exist
        bytes({0x00, 0}),                                                                // field 0
        bytes({0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0}),                                  // a field number beyond 32 bits
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Read r = read_all(cases[i]);
        EXPECT_EQ(TN_PROTOBUF_BAD, r.end) << i;
        EXPECT_TRUE(r.fields.empty()) << i;
    }
}
