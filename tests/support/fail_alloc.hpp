// Makes chosen allocations of the code under test fail. A test program compiles fail_alloc.cpp in and is linked with
// -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=posix_memalign, which sends its calls through there.
#ifndef TN_TESTS_FAIL_ALLOC_HPP
#define TN_TESTS_FAIL_ALLOC_HPP

namespace tn_test
{

enum class FailMode { once, forever };

// While an object lives, the `nth` allocation of the program (counted from 1; 0: none) fails, or it and all after it. One at a time.
class FailAlloc
{
  public:
    explicit FailAlloc(long nth, FailMode mode = FailMode::once);
    ~FailAlloc();
    FailAlloc(const FailAlloc &) = delete;
    FailAlloc &operator=(const FailAlloc &) = delete;
    long seen() const;   // allocations since construction
    long failed() const; // of them, made to fail
};

} // namespace tn_test

#endif
