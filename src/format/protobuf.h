// Protocol buffers, read only and field by field: what SentencePiece's files need.
#ifndef TN_FORMAT_PROTOBUF_H
#define TN_FORMAT_PROTOBUF_H

#include "base/str.h"

// A position in one message. Plain data; borrows the bytes.
typedef struct tn_protobuf {
    const uint8_t *at, *end;
} tn_protobuf;

typedef enum tn_protobuf_wire { TN_WIRE_VARINT = 0, TN_WIRE_64 = 1, TN_WIRE_BYTES = 2, TN_WIRE_32 = 5 } tn_protobuf_wire;

typedef struct tn_protobuf_field {
    uint32_t number;
    tn_protobuf_wire wire;
    uint64_t value; // VARINT, 32, 64
    tn_str bytes;   // BYTES: a text, or a message of its own; borrowed
} tn_protobuf_field;

typedef enum tn_protobuf_step { TN_PROTOBUF_FIELD, TN_PROTOBUF_END, TN_PROTOBUF_BAD } tn_protobuf_step;

tn_protobuf tn_protobuf_of(tn_str message);
// Reads the next field. BAD: the bytes are not a message (cut short, a length beyond the end, groups); nothing more can be read then.
tn_protobuf_step tn_protobuf_next(tn_protobuf *reader, tn_protobuf_field *out);

#endif
