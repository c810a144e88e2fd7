// Writes a changed copy of a model file: other types, other values, other keys.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "format/dense.h"
#include "format/gguf_write.h"
#include "format/ternary.h"
}

namespace tn_test
{

struct model_tensor {
    std::string name;
    tn_dtype dtype;
    std::vector<uint64_t> ne; // innermost first
    std::vector<uint8_t> bytes;
};

struct model_changes {
    std::function<void(std::vector<model_tensor> &)> tensors = [](std::vector<model_tensor> &) {};
    std::string architecture;              // "": as it is; keys are renamed with it
    std::vector<std::string> dropped_keys; // full names as in the source
    std::function<void(tn_gguf_writer *)> more_keys = [](tn_gguf_writer *) {};
};

inline void copy_key(const tn_gguf *gguf, const tn_gguf_kv *kv, const model_changes &changes, const std::string &old_arch,
                     tn_gguf_writer *writer)
{
    std::string key(kv->key.data, kv->key.len);
    for (const auto &dropped : changes.dropped_keys)
        if (key == dropped) return;
    if (!changes.architecture.empty() && key.rfind(old_arch + ".", 0) == 0) key = changes.architecture + key.substr(old_arch.size());
    const tn_gguf_array *array = &kv->value.array;
    (void)gguf;
    switch (kv->type) {
    case TN_GGUF_U32: ASSERT_EQ(tn_gguf_writer_u32(writer, key.c_str(), static_cast<uint32_t>(kv->value.u)), TN_OK); break;
    case TN_GGUF_F32: ASSERT_EQ(tn_gguf_writer_f32(writer, key.c_str(), static_cast<float>(kv->value.f)), TN_OK); break;
    case TN_GGUF_BOOL: ASSERT_EQ(tn_gguf_writer_bool(writer, key.c_str(), kv->value.u != 0), TN_OK); break;
    case TN_GGUF_STRING: {
        std::string text(kv->value.str.data, kv->value.str.len);
        if (key == "general.architecture" && !changes.architecture.empty()) text = changes.architecture;
        ASSERT_EQ(tn_gguf_writer_str(writer, key.c_str(), text.c_str()), TN_OK);
        break;
    }
    case TN_GGUF_ARRAY:
        if (array->type == TN_GGUF_STRING) {
            std::vector<tn_str> strings;
            tn_str s;
            for (uint64_t at = 0; strings.size() < array->n && tn_gguf_array_next(array, &at, &s);) strings.push_back(s);
            ASSERT_EQ(tn_gguf_writer_str_array(writer, key.c_str(), strings.data(), strings.size()), TN_OK);
        } else if (array->type == TN_GGUF_I32) {
            std::vector<int32_t> values(array->n);
            memcpy(values.data(), array->data, values.size() * 4);
            ASSERT_EQ(tn_gguf_writer_i32_array(writer, key.c_str(), values.data(), values.size()), TN_OK);
        } else {
            FAIL() << "key " << key << " is an array of a type that this helper does not copy";
        }
        break;
    default: FAIL() << "key " << key << " is of a type that this helper does not copy";
    }
}

inline void rewrite_model(const std::string &in_path, const std::string &out_path, const model_changes &changes)
{
    tn_gguf *gguf = nullptr;
    ASSERT_EQ(tn_gguf_open(in_path.c_str(), nullptr, &gguf), TN_OK) << tn_error_last()->message;
    std::vector<model_tensor> tensors;
    for (size_t i = 0; i < tn_gguf_n_tensors(gguf); i++) {
        const tn_gguf_tensor *t = tn_gguf_tensor_at(gguf, i);
        tensors.push_back(
            {std::string(t->name.data, t->name.len), t->dtype, {t->ne, t->ne + t->n_dims}, {t->data, t->data + t->size_bytes}});
    }
    changes.tensors(tensors);
    tn_str arch;
    ASSERT_EQ(tn_gguf_get_str(gguf, "general.architecture", &arch), TN_OK);
    tn_gguf_writer *writer = nullptr;
    ASSERT_EQ(tn_gguf_writer_create(out_path.c_str(), true, &writer), TN_OK) << tn_error_last()->message;
    for (size_t i = 0; i < tn_gguf_n_kv(gguf); i++)
        ASSERT_NO_FATAL_FAILURE(copy_key(gguf, tn_gguf_kv_at(gguf, i), changes, std::string(arch.data, arch.len), writer));
    changes.more_keys(writer);
    for (const auto &t : tensors)
        ASSERT_EQ(tn_gguf_writer_tensor(writer, t.name.c_str(), t.dtype, static_cast<uint32_t>(t.ne.size()), t.ne.data()), TN_OK)
            << tn_error_last()->message;
    for (const auto &t : tensors) ASSERT_EQ(tn_gguf_writer_data(writer, t.bytes.data(), t.bytes.size()), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(tn_gguf_writer_finish(writer), TN_OK) << tn_error_last()->message;
    tn_gguf_writer_destroy(writer);
    tn_gguf_destroy(gguf);
}

// A ternary tensor's values, and the same values in another type with another scale.
inline std::vector<int8_t> ternary_codes(const model_tensor &t, float *scale)
{
    tn_gguf_tensor source = {};
    source.name = {t.name.data(), t.name.size()};
    source.n_dims = 2;
    source.ne[0] = t.ne[0], source.ne[1] = t.ne[1], source.ne[2] = source.ne[3] = 1;
    source.n_elements = t.ne[0] * t.ne[1];
    source.dtype = t.dtype;
    source.type_name = tn_dtype_get(t.dtype)->name;
    source.data = t.bytes.data();
    source.size_bytes = t.bytes.size();
    tn_ternary_tensor ternary;
    std::vector<int8_t> codes(source.n_elements);
    EXPECT_EQ(tn_ternary_open(&source, &ternary), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(tn_ternary_read_rows(&ternary, 0, ternary.n_rows, codes.data()), TN_OK) << tn_error_last()->message;
    *scale = ternary.scale;
    return codes;
}

inline model_tensor ternary_tensor(const model_tensor &like, tn_dtype dtype, const std::vector<int8_t> &codes, float scale,
                                   const tn_ternary_options &options = {})
{
    model_tensor out = {like.name, dtype, like.ne, {}};
    uint64_t bytes = 0;
    EXPECT_EQ(tn_dtype_size(dtype, like.ne[0], like.ne[0] * like.ne[1], &bytes), TN_OK);
    out.bytes.resize(bytes);
    EXPECT_EQ(tn_ternary_write_as(dtype, &options, codes.data(), static_cast<uint32_t>(like.ne[1]), static_cast<uint32_t>(like.ne[0]),
                                  scale, out.bytes.data()),
              TN_OK);
    return out;
}

inline bool is_ternary(const model_tensor &t) { return tn_dtype_get(t.dtype)->class_ == TN_CLASS_TERNARY; }

// A dense tensor's values in another dense type.
inline model_tensor dense_tensor(const model_tensor &t, tn_dtype dtype)
{
    const size_t n = t.ne[0] * (t.ne.size() > 1 ? t.ne[1] : 1);
    std::vector<float> values(n);
    tn_dense_to_f32(t.dtype, t.bytes.data(), n, values.data());
    model_tensor out = {t.name, dtype, t.ne, {}};
    uint64_t bytes = 0;
    EXPECT_EQ(tn_dtype_size(dtype, t.ne[0], n, &bytes), TN_OK);
    out.bytes.resize(bytes);
    EXPECT_EQ(tn_dense_from_f32(dtype, values.data(), n, out.bytes.data()), TN_OK);
    return out;
}

inline model_tensor *find_tensor(std::vector<model_tensor> &tensors, const std::string &name)
{
    for (auto &t : tensors)
        if (t.name == name) return &t;
    return nullptr;
}

} // namespace tn_test
