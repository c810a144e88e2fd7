// A walk through everything that the runtime does with a Vulkan device, call by call, in which one call may fail: what must then be true is
// checked on the way, and the walk goes on with the same objects.
#ifndef TN_TESTS_VULKAN_FAULT_WALK_HPP
#define TN_TESTS_VULKAN_FAULT_WALK_HPP

#include "conformance/cases.h"
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <optional>

namespace vulkan_test
{

// Ways through memory and shaders.
struct Form {
    const char *name;
    bool staged;         // device memory is not mapped
    bool coherent;       // else mapped memory is flushed
    const char *kernels; // tn_backend_host.vulkan_kernels
};
inline void PrintTo(const Form &form, std::ostream *os) { *os << form.name; }

// The model and what it comes to, by src/ref; made once, since only the device's side fails.
struct Lesson {
    Lesson();
    conformance::Model model;
    std::vector<conformance::Token> tokens;
    std::vector<std::vector<float>> want; // logits
    std::vector<float> embedding;         // of the first token
    std::vector<float> before_head;       // the last token's row
};

// What the first call that failed said.
struct Failure {
    std::string call;
    tn_status status;
    std::string message, device;
};

// How far a walk goes: bytes go through buffers; a program of one op runs; all of it.
enum class Part { bytes, embedding, whole };

enum class AfterFailure {
    again, // the call is made once more and must succeed, unless the device is lost: then it must be refused
    stop,  // everything is torn down
};

class Walk
{
  public:
    Walk(const Lesson &lesson, const Form &form, FaultLayer *layer, std::string cache_folder, AfterFailure after = AfterFailure::again);
    ~Walk();
    Walk(const Walk &) = delete;
    Walk &operator=(const Walk &) = delete;
    // From the driver's loading to its end.
    void run(Part part = Part::whole);
    // The same in parts, of which `use` may be repeated on one device until that is lost.
    bool open();
    void use(Part part = Part::whole);
    void close();
    bool is_lost() const { return lost_; }
    const std::optional<Failure> &failure() const { return failure_; }
    void forget_failure()
    {
        failure_.reset();
        step_bore_it_ = false;
    }
    // What fails is not a function of the driver's: whether it did.
    std::function<bool()> has_failed;
    // It failed in a step, and the step did not.
    bool step_bore_it() const { return step_bore_it_; }

  private:
    bool attempt(const std::string &what, const std::function<tn_status()> &call);
    bool attempt_step(const std::string &what, const std::function<tn_status()> &call);
    void check_refusal(const std::string &what, tn_status status);
    bool create_buffer(const char *what, uint64_t bytes, tn_buffer **out);
    bool pack_weights();
    bool use_buffers();
    bool create_program(uint32_t first_node, uint32_t end_node, uint32_t in_value, uint32_t out_value, tn_program **out);
    bool embed();
    bool decode();
    bool step(size_t begin, size_t end, std::vector<uint32_t> pages, std::vector<uint32_t> copies, tn_buffer *out);
    bool steps_in_flight();
    bool hops();
    bool submit(const std::string &what, tn_program *program, const conformance::Step &arrays, tn_buffer *in, tn_buffer *out);
    bool read_rows(const std::vector<std::vector<float>> &want, tn_buffer *out);
    std::vector<std::vector<float>> logits(size_t begin, size_t end) const;
    void destroy_all();
    tn_program_stats stats_ = {};
    std::vector<uint64_t> node_ns_;

    const Lesson &lesson_;
    FaultLayer *layer_;
    const std::string cache_folder_;
    const AfterFailure after_;
    tn_backend_keep keep_ = {};
    tn_backend_host host_ = {};
    tn_device *device_ = nullptr;
    std::vector<tn_packed_weight> weights_;
    tn_buffer *packed_ = nullptr, *kv_ = nullptr, *mapped_ = nullptr, *outs_[2] = {};
    tn_program *program_ = nullptr, *twin_ = nullptr, *head_ = nullptr;
    bool lost_ = false, step_bore_it_ = false;
    std::optional<Failure> failure_;
};

} // namespace vulkan_test

#endif
