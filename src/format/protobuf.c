// Protocol buffers' wire format: a key of field number and kind, then the value.
#include "format/protobuf.h"

enum { KEY_WIRE_BITS = 3, VARINT_BYTES_MAX = 10 };

tn_protobuf tn_protobuf_of(tn_str message)
{
    const uint8_t *at = (const uint8_t *)message.data;
    return (tn_protobuf){at, at + message.len};
}

// Seven bits a byte, lowest first; the last byte has its top bit clear.
static bool read_varint(tn_protobuf *reader, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && reader->at < reader->end; i++) {
        const uint8_t byte = *reader->at++;
        if (i == VARINT_BYTES_MAX - 1 && byte > 1) return false; // beyond 64 bits
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80) continue;
        *out = value;
        return true;
    }
    return false;
}

static bool read_fixed(tn_protobuf *reader, size_t n, uint64_t *out)
{
    if ((size_t)(reader->end - reader->at) < n) return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += n;
    return true;
}

static bool read_bytes(tn_protobuf *reader, tn_str *out)
{
    uint64_t n;
    if (!read_varint(reader, &n) || n > (uint64_t)(reader->end - reader->at)) return false;
    *out = (tn_str){(const char *)reader->at, (size_t)n};
    reader->at += n;
    return true;
}

static bool read_value(tn_protobuf *reader, tn_protobuf_field *out)
{
    switch (out->wire) {
    case TN_WIRE_VARINT: return read_varint(reader, &out->value);
    case TN_WIRE_64: return read_fixed(reader, 8, &out->value);
    case TN_WIRE_BYTES: return read_bytes(reader, &out->bytes);
    case TN_WIRE_32: return read_fixed(reader, 4, &out->value);
    default: return false; // groups, which nobody writes any more
    }
}

tn_protobuf_step tn_protobuf_next(tn_protobuf *reader, tn_protobuf_field *out)
{
    uint64_t key;
    *out = (tn_protobuf_field){0};
    if (reader->at == reader->end) return TN_PROTOBUF_END;
    if (!read_varint(reader, &key) || key >> KEY_WIRE_BITS == 0 || key >> KEY_WIRE_BITS > UINT32_MAX) return TN_PROTOBUF_BAD;
    out->number = (uint32_t)(key >> KEY_WIRE_BITS);
    out->wire = (tn_protobuf_wire)(key & 7);
    return read_value(reader, out) ? TN_PROTOBUF_FIELD : TN_PROTOBUF_BAD;
}
