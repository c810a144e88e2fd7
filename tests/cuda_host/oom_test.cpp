// Each allocation, of ternion or of the driver, fails in turn while a device is listed, opened, used and closed: OUT_OF_MEMORY, and nothing
// is left.
#include "cuda_host/device_rig.hpp"
#include "support/fail_alloc.hpp"

namespace cuda_test
{
namespace
{

tn_status use(tn_device *device)
{
    alignas(64) static const uint8_t bytes[100] = {1};
    uint8_t read[100];
    tn_buffer *buffer = nullptr, *mapped = nullptr;
    tn_status status = tn_cuda_buffer_create(device, sizeof bytes, &buffer);
    if (status == TN_OK) status = tn_cuda_buffer_write(buffer, 0, bytes, sizeof bytes);
    if (status == TN_OK) status = tn_cuda_buffer_map(device, bytes, sizeof bytes, &mapped);
    if (status == TN_OK) status = tn_cuda_buffer_read(mapped, 0, read, sizeof read);
    tn_cuda_buffer_destroy(buffer);
    tn_cuda_buffer_destroy(mapped);
    return status;
}

tn_status use_everything()
{
    const Host host;
    uint32_t n = 0;
    tn_device_desc desc;
    tn_device *device = nullptr;
    tn_status status = tn_cuda_device_count(&host.host, &n);
    if (status == TN_OK) status = tn_cuda_device_describe(&host.host, 0, &desc);
    if (status == TN_OK) status = tn_cuda_device_open(&host.host, 0, &device);
    if (status == TN_OK) status = use(device);
    tn_cuda_device_close(device);
    return status;
}

class OutOfMemory : public DriverTest, public testing::WithParamInterface<tn_test::FailMode>
{
};

TEST_P(OutOfMemory, IsAStatusThatLeavesNothing)
{
    ASSERT_EQ(use_everything(), TN_OK) << last_error();
    long n_refused = 0;
    for (long nth = 1;; nth++) {
        tn_status status;
        long failed;
        {
            const tn_test::FailAlloc fail(nth, GetParam());
            status = use_everything();
            failed = fail.failed();
        }
        EXPECT_EQ(cuda_driver::alive(), Lines()) << nth;
        if (failed == 0) {
            EXPECT_EQ(status, TN_OK) << last_error();
            break;
        }
        ASSERT_EQ(status, TN_OUT_OF_MEMORY) << nth << " " << last_error();
        n_refused++;
        ASSERT_LT(nth, 1000);
    }
    EXPECT_GE(n_refused, 8); // the driver's table, a device, its modules, staging and two buffers of it, two buffers
}

INSTANTIATE_TEST_SUITE_P(Modes, OutOfMemory, testing::Values(tn_test::FailMode::once, tn_test::FailMode::forever),
                         [](const testing::TestParamInfo<tn_test::FailMode> &mode) {
                             return mode.param == tn_test::FailMode::once ? "Once" : "Forever";
                         });

} // namespace
} // namespace cuda_test
