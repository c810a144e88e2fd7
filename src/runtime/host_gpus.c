// What the system says of GPUs without a driver.
#include "runtime/host.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

// NVIDIA's driver, its form on embedded boards, the GPU of Windows below Linux, and what Mesa's drivers open.
static const char *const nodes[] = {"/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg", "/dev/dri/renderD*"};

bool tn_host_may_have_gpus(const tn_host *host)
{
    (void)host;
    bool found = false;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes && !found; i++) {
        glob_t matches;
        found = glob(nodes[i], GLOB_NOSORT, NULL, &matches) == 0;
        globfree(&matches);
    }
    return found;
}
