// Fuzz target: parses any bytes as a GGUF container and uses everything that the directory offers.
#include "base/status.h"
#include "format/gguf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void discard(void *user, tn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
}

// Reads all bytes, so that a sanitizer sees a range that is not in the file.
static unsigned sum(const uint8_t *bytes, uint64_t n)
{
    unsigned total = 0;
    for (uint64_t i = 0; i < n; ++i) total += bytes[i];
    return total;
}

static unsigned use_array(const tn_gguf_array *array)
{
    static const unsigned char element_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (array->type != TN_GGUF_STRING) return sum(array->data, array->n * element_bytes[array->type]);
    unsigned total = 0;
    uint64_t at = 0, n = 0;
    tn_str text;
    for (; tn_gguf_array_next(array, &at, &text); ++n) total += sum((const uint8_t *)text.data, text.len);
    if (n != array->n) abort();
    return total;
}

static unsigned use_key(const tn_gguf *gguf, const tn_gguf_kv *kv)
{
    // The getters take C strings: a key with a zero byte is another key to them, or none.
    char key[256];
    size_t n = kv->key.len < sizeof key - 1 ? kv->key.len : sizeof key - 1;
    memcpy(key, kv->key.data, n);
    key[n] = '\0';
    if (strlen(key) == kv->key.len && tn_gguf_find(gguf, key) != kv) abort();
    uint32_t u32;
    int32_t i32;
    float f32;
    bool flag;
    tn_str text;
    tn_gguf_array array;
    unsigned total = sum((const uint8_t *)kv->key.data, kv->key.len);
    if (tn_gguf_get_u32(gguf, key, &u32) == TN_OK) total += u32;
    if (tn_gguf_get_i32(gguf, key, &i32) == TN_OK) total += (unsigned)i32;
    if (tn_gguf_get_f32(gguf, key, &f32) == TN_OK) total += f32 > 0;
    if (tn_gguf_get_bool(gguf, key, &flag) == TN_OK) total += flag;
    if (tn_gguf_get_str(gguf, key, &text) == TN_OK) total += sum((const uint8_t *)text.data, text.len);
    for (int type = TN_GGUF_U8; type <= TN_GGUF_F64; ++type) {
        if (tn_gguf_get_array(gguf, key, (tn_gguf_type)type, &array) == TN_OK) total += use_array(&array);
    }
    if (kv->type == TN_GGUF_ARRAY) total += use_array(&kv->value.array);
    return total;
}

static unsigned use_tensor(const tn_gguf_tensor *tensor, const uint8_t *data, size_t size)
{
    uint64_t n = 1;
    for (size_t i = 0; i < 4; ++i) n *= tensor->ne[i];
    if (n != tensor->n_elements || n == 0 || tensor->type_name == NULL) abort();
    if (tensor->offset_bytes > size || tensor->size_bytes > size - tensor->offset_bytes) abort();
    if (tensor->data != data + tensor->offset_bytes) abort();
    uint64_t bytes;
    if (tensor->dtype != TN_DTYPE_OTHER) {
        if (tn_dtype_size(tensor->dtype, tensor->ne[0], n, &bytes) != TN_OK || bytes != tensor->size_bytes) abort();
    }
    return sum(tensor->data, tensor->size_bytes) + sum((const uint8_t *)tensor->name.data, tensor->name.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile unsigned sink;
    const tn_log quiet = {.write = discard};
    tn_gguf *gguf;
    tn_status status = tn_gguf_parse(data, size, "input", &quiet, &gguf);
    if (status != TN_OK) {
        if (gguf != NULL || tn_error_last()->message[0] == '\0') abort();
        return 0;
    }
    unsigned total = 0;
    for (size_t i = 0; i < tn_gguf_n_kv(gguf); ++i) total += use_key(gguf, tn_gguf_kv_at(gguf, i));
    for (size_t i = 0; i < tn_gguf_n_tensors(gguf); ++i) total += use_tensor(tn_gguf_tensor_at(gguf, i), data, size);
    sink = total;
    (void)sink;
    tn_gguf_destroy(gguf);
    return 0;
}
