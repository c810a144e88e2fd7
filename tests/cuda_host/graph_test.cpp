// Edges between the kernels of a list.
#include "cuda_host/device_rig.hpp"

extern "C" {
#include "cuda/cuda_launch.h"
}

namespace cuda_test
{
namespace
{

class Graph : public DriverTest
{
  protected:
    static tn_cuda_launch launch_of(tn_cuda_kernel kernel)
    {
        tn_cuda_launch launch = {};
        launch.kernel = kernel;
        launch.grid[0] = launch.grid[1] = launch.grid[2] = 1;
        return launch;
    }
    // Of the graph that is made of a step's frame with two kernels in it.
    static Lines edges_of(const OpenDevice &device)
    {
        std::vector<tn_cuda_launch> launches;
        for (const tn_cuda_kernel kernel : {TN_CUDA_begin, TN_CUDA_row, TN_CUDA_element, TN_CUDA_end})
            launches.push_back(launch_of(kernel));
        tn_cuda_list list = {};
        list.launches = launches.data();
        list.n_launches = (uint32_t)launches.size();
        EXPECT_EQ(tn_cuda_enter(device.cuda()), TN_OK);
        EXPECT_EQ(tn_cuda_leave(device.cuda(), tn_cuda_graph_create(device.cuda(), &list)), TN_OK) << last_error();
        const Lines edges = cuda_driver::edges();
        EXPECT_EQ(tn_cuda_context_push(device.cuda()), TN_OK);
        tn_cuda_graph_destroy(device.cuda(), &list);
        EXPECT_EQ(tn_cuda_context_pop(device.cuda()), TN_OK);
        return edges;
    }
};

// But behind the first one, whose words all others read before they wait; and where the driver compiled PTX for older devices none does,
// since the kernels then do not wait.
TEST_F(Graph, KernelsBeginEarlyOnDevicesThatCan)
{
    const std::pair<int, int> cases[] = {{75, 75}, {89, 80}, {90, 90}, {90, 80}, {120, 120}, {120, 89}, {120, 90}};
    for (const auto &[capability, compiled_for] : cases) {
        SCOPED_TRACE("sm_" + std::to_string(capability) + " with code for sm_" + std::to_string(compiled_for));
        cuda_driver::options().capability = capability;
        cuda_driver::options().compiled_for = compiled_for;
        const Host host;
        const OpenDevice device(host);
        const Lines early = {"begin -> row", "row ~> element", "element ~> end"},
                    late = {"begin -> row", "row -> element", "element -> end"};
        EXPECT_EQ(edges_of(device), compiled_for >= 90 ? early : late);
    }
}

} // namespace
} // namespace cuda_test
