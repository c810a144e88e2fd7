// Opening GGUF bytes and files in tests: RAII and the reason of a failure.
#ifndef TN_TESTS_FORMAT_GGUF_SUPPORT_HPP
#define TN_TESTS_FORMAT_GGUF_SUPPORT_HPP

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "format/gguf.h"
}

#include "support/gguf_builder.hpp"

namespace tn_test
{

inline std::string last_error() { return tn_error_last()->message; }

inline std::string text(tn_str s) { return std::string(s.data, s.len); }

// What a parse or open gave. `bytes` is an exact heap copy, so that sanitizers see a read past its end.
struct Gguf {
    tn_status status = TN_OK;
    std::string message; // of a failure
    std::vector<std::string> log;
    std::unique_ptr<uint8_t[]> bytes;
    tn_gguf *gguf = nullptr;

    Gguf() = default;
    Gguf(Gguf &&other) noexcept
        : status(other.status), message(std::move(other.message)), log(std::move(other.log)), bytes(std::move(other.bytes)),
          gguf(std::exchange(other.gguf, nullptr))
    {
    }
    Gguf &operator=(Gguf &&) = delete;
    ~Gguf() { tn_gguf_destroy(gguf); }
    operator const tn_gguf *() const { return gguf; }
};

inline tn_log log_to(std::vector<std::string> *lines)
{
    tn_log log{};
    log.write = [](void *user, tn_log_level, const char *message) { static_cast<std::vector<std::string> *>(user)->emplace_back(message); };
    log.user = lines;
    return log;
}

inline Gguf parse(const Bytes &bytes)
{
    Gguf result;
    result.bytes.reset(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), result.bytes.get());
    const tn_log log = log_to(&result.log);
    result.status = tn_gguf_parse(result.bytes.get(), bytes.size(), "m.gguf", &log, &result.gguf);
    if (result.status != TN_OK) {
        EXPECT_EQ(result.gguf, nullptr);
        EXPECT_EQ(tn_error_last()->status, result.status);
        result.message = last_error();
    }
    return result;
}

inline Gguf open(const std::string &path)
{
    Gguf result;
    const tn_log log = log_to(&result.log);
    result.status = tn_gguf_open(path.c_str(), &log, &result.gguf);
    if (result.status != TN_OK) {
        EXPECT_EQ(result.gguf, nullptr);
        result.message = last_error();
    }
    return result;
}

// The bytes must be refused with `status` and a message that has the place and all of `parts`.
inline void expect_refused(const Bytes &bytes, tn_status status, const std::vector<std::string> &parts)
{
    const Gguf result = parse(bytes);
    EXPECT_EQ(tn_status_name(result.status), std::string(tn_status_name(status))) << result.message;
    EXPECT_EQ(result.message.rfind("m.gguf: at byte ", 0), 0u) << result.message;
    EXPECT_EQ(result.message.find('\n'), std::string::npos);
    for (const auto &part : parts)
        EXPECT_NE(result.message.find(part), std::string::npos) << "no \"" << part << "\" in: " << result.message;
}

} // namespace tn_test

#endif
