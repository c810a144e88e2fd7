// JSON documents of checkpoints: a thin layer over jansson that turns its failures into statuses.
#include "format/json.h"

#include "base/file_map.h"

#include <jansson.h>

tn_status tn_json_parse(const char *bytes, size_t size, const char *path, tn_json **out_root)
{
    *out_root = NULL;
    json_error_t error;
    json_t *root = json_loadb(size > 0 ? bytes : "", size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return tn_fail(TN_OUT_OF_MEMORY, "'%s': no memory for its JSON text", path);
        return tn_fail(TN_BAD_FILE, "'%s': JSON line %d column %d: %s; get another copy of the file", path, error.line, error.column,
                       error.text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return tn_fail(TN_BAD_FILE, "'%s': its JSON text is not an object; get another copy of the file", path);
    }
    *out_root = root;
    return TN_OK;
}

tn_status tn_json_open(const char *path, uint64_t limit_bytes, tn_json **out_root)
{
    *out_root = NULL;
    tn_file_map map = {0};
    TN_TRY(tn_file_map_open(path, &map));
    tn_status status = TN_OK;
    if (map.size_bytes > limit_bytes) {
        status = tn_fail(TN_BAD_FILE, "'%s' has %zu bytes, more than the %llu that such a file may have; check that it is the right file",
                         path, map.size_bytes, (unsigned long long)limit_bytes);
        goto fail;
    }
    TN_TRY_GOTO(tn_json_parse((const char *)map.data, map.size_bytes, path, out_root));
    TN_TRY_GOTO(tn_file_map_check(&map, path));
    tn_file_map_close(&map);
    return TN_OK;
fail:
    tn_json_destroy(*out_root);
    *out_root = NULL;
    tn_file_map_close(&map);
    return status;
}

void tn_json_destroy(tn_json *root) { json_decref(root); }

const tn_json *tn_json_get(const tn_json *object, const char *key) { return json_object_get(object, key); }

const tn_json *tn_json_at(const tn_json *array, size_t index) { return json_array_get(array, index); }

size_t tn_json_size(const tn_json *value) { return json_is_object(value) ? json_object_size(value) : json_array_size(value); }

bool tn_json_next(const tn_json *object, void **at, tn_str *out_key, const tn_json **out_value)
{
    // jansson steps through objects by a pointer to non-const, but changes nothing.
    json_t *mutable_object = (json_t *)(uintptr_t)object;
    *at = *at ? json_object_iter_next(mutable_object, *at) : json_object_iter(mutable_object);
    if (!*at) return false;
    out_key->data = json_object_iter_key(*at);
    out_key->len = json_object_iter_key_len(*at);
    *out_value = json_object_iter_value(*at);
    return true;
}

bool tn_json_absent(const tn_json *value) { return !value || json_is_null(value); }
bool tn_json_is_object(const tn_json *value) { return json_is_object(value); }
bool tn_json_is_array(const tn_json *value) { return json_is_array(value); }
bool tn_json_is_true(const tn_json *value) { return json_is_true(value); }
bool tn_json_is_bool(const tn_json *value) { return json_is_boolean(value); }

bool tn_json_str(const tn_json *value, tn_str *out)
{
    if (!json_is_string(value)) return false;
    out->data = json_string_value(value);
    out->len = json_string_length(value);
    return true;
}

bool tn_json_u64(const tn_json *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

bool tn_json_f64(const tn_json *value, double *out)
{
    if (!json_is_number(value)) return false;
    *out = json_number_value(value);
    return true;
}
