// Int8 codes in the two forms that shaders write and read, written again for tests: words of a row of codes, k from 0.
#ifndef TN_TESTS_VULKAN_CODE_FORMS_HPP
#define TN_TESTS_VULKAN_CODE_FORMS_HPP

#include <cstdint>
#include <vector>

namespace vulkan_test
{

constexpr uint32_t kDot = 0, kMul = 1; // CODE_FORM

// n_padded, a multiple of 4: codes from codes.size() on are 0.
inline std::vector<uint32_t> words_of_codes(const std::vector<int8_t> &codes, uint32_t n_padded, uint32_t form)
{
    std::vector<uint32_t> words;
    for (uint32_t k = 0; k < n_padded; k += 4) {
        int32_t c[4];
        for (uint32_t i = 0; i < 4; i++) c[i] = k + i < codes.size() ? codes[k + i] : 0;
        if (form == kDot) {
            uint32_t word = 0;
            for (uint32_t i = 0; i < 4; i++) word |= uint32_t(uint8_t(c[i])) << (8 * i);
            words.push_back(word);
        } else {
            words.push_back(uint32_t(c[0] * 65536 + c[2]));
            words.push_back(uint32_t(c[1] * 65536 + c[3]));
        }
    }
    return words;
}

} // namespace vulkan_test

#endif
