// Metadata entries as text, for people.
#include "base/escape.h"
#include "model/model_internal.h"

#include <inttypes.h>
#include <stdio.h>

static const uint64_t n_elements_shown = 8;

// Text that fills a buffer and then stops; always terminated.
typedef struct out_text {
    char *data;
    size_t len, capacity;
} out_text;

static void put(out_text *out, const char *text)
{
    for (; *text && out->len + 1 < out->capacity; text++) out->data[out->len++] = *text;
    if (out->capacity) out->data[out->len] = '\0';
}

// Escaped, so that a file cannot drive the terminal.
static void put_escaped(out_text *out, tn_str s)
{
    if (out->len < out->capacity) out->len += tn_escape(s.data, s.len, out->data + out->len, out->capacity - out->len);
}

static void put_number(out_text *out, tn_gguf_type type, uint64_t u, int64_t i, double f)
{
    char text[40];
    switch (type) {
    case TN_GGUF_I8:
    case TN_GGUF_I16:
    case TN_GGUF_I32:
    case TN_GGUF_I64: snprintf(text, sizeof text, "%" PRId64, i); break;
    case TN_GGUF_F32: snprintf(text, sizeof text, "%.9g", f); break;
    case TN_GGUF_F64: snprintf(text, sizeof text, "%.17g", f); break;
    case TN_GGUF_BOOL: snprintf(text, sizeof text, "%s", u ? "true" : "false"); break;
    default: snprintf(text, sizeof text, "%" PRIu64, u); break;
    }
    put(out, text);
}

static void put_element(out_text *out, tn_gguf_type type, const uint8_t *data)
{
    switch (type) {
    case TN_GGUF_I8: put_number(out, type, 0, (int8_t)data[0], 0); break;
    case TN_GGUF_I16: {
        int16_t v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, 0, v, 0);
        break;
    }
    case TN_GGUF_I32: {
        int32_t v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, 0, v, 0);
        break;
    }
    case TN_GGUF_I64: {
        int64_t v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, 0, v, 0);
        break;
    }
    case TN_GGUF_U16: {
        uint16_t v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, v, 0, 0);
        break;
    }
    case TN_GGUF_U32: {
        uint32_t v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, v, 0, 0);
        break;
    }
    case TN_GGUF_U64: {
        uint64_t v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, v, 0, 0);
        break;
    }
    case TN_GGUF_F32: {
        float v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, 0, 0, (double)v);
        break;
    }
    case TN_GGUF_F64: {
        double v;
        memcpy(&v, data, sizeof v);
        put_number(out, type, 0, 0, v);
        break;
    }
    default: put_number(out, type, data[0], 0, 0); break;
    }
}

static size_t element_bytes(tn_gguf_type type)
{
    switch (type) {
    case TN_GGUF_U16:
    case TN_GGUF_I16: return 2;
    case TN_GGUF_U32:
    case TN_GGUF_I32:
    case TN_GGUF_F32: return 4;
    case TN_GGUF_U64:
    case TN_GGUF_I64:
    case TN_GGUF_F64: return 8;
    default: return 1;
    }
}

static void put_array(out_text *out, const tn_gguf_array *array)
{
    uint64_t at = 0;
    tn_str s;
    put(out, "[");
    for (uint64_t i = 0; i < array->n && i < n_elements_shown; i++) {
        if (i) put(out, ", ");
        if (array->type == TN_GGUF_STRING) {
            if (!tn_gguf_array_next(array, &at, &s)) break;
            put(out, "\"");
            put_escaped(out, s);
            put(out, "\"");
        } else {
            put_element(out, array->type, array->data + i * element_bytes(array->type));
        }
    }
    if (array->n > n_elements_shown) {
        char rest[48];
        snprintf(rest, sizeof rest, ", ... %" PRIu64 " in all", array->n);
        put(out, rest);
    }
    put(out, "]");
}

static const char *array_type_name(tn_gguf_type type)
{
    static const char *const names[] = {"[u8]",   "[i8]",     "[u16]",   "[i16]", "[u32]", "[i32]", "[f32]",
                                        "[bool]", "[string]", "[array]", "[u64]", "[i64]", "[f64]"};
    return (unsigned)type < sizeof names / sizeof names[0] ? names[type] : "[?]";
}

size_t tn_model_metadata_count(const tn_model *model) { return tn_gguf_n_kv(tn_model_gguf(model)); }

tn_status tn_model_metadata(const tn_model *model, size_t index, const char **out_key, const char **out_type, char *value, size_t capacity)
{
    TN_REQUIRE(model);
    TN_REQUIRE(out_key);
    TN_REQUIRE(out_type);
    *out_key = *out_type = NULL;
    if (capacity) {
        TN_REQUIRE(value);
        value[0] = '\0';
    }
    if (index >= tn_model_metadata_count(model)) return tn_fail(TN_INVALID_ARGUMENT, "there is no metadata entry %zu", index);
    const tn_gguf_kv *kv = tn_gguf_kv_at(tn_model_gguf(model), index);
    out_text out = {value, 0, capacity};
    put(&out, "");
    *out_key = tn_model_key(model, index);
    *out_type = kv->type == TN_GGUF_ARRAY ? array_type_name(kv->value.array.type) : tn_gguf_type_name(kv->type);
    if (kv->type == TN_GGUF_STRING) {
        put_escaped(&out, kv->value.str);
    } else if (kv->type == TN_GGUF_ARRAY) {
        put_array(&out, &kv->value.array);
    } else {
        put_number(&out, kv->type, kv->value.u, kv->value.i, kv->value.f);
    }
    return TN_OK;
}
