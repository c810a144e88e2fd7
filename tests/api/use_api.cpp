// The public API from C++: the same headers, the same initialisers.
#include "ternion/ternion.h"

#include <cstdio>
#include <cstring>

int main()
{
    tn_session_params session = TN_SESSION_PARAMS_INIT;
    tn_batch batch = TN_BATCH_INIT;
    tn_host_params host_params = TN_HOST_PARAMS_INIT;
    if (session.struct_size != sizeof session || session.n_ctx != 0 || batch.tokens != nullptr || host_params.n_threads != 0) {
        std::fprintf(stderr, "use_api.cpp: an initialiser leaves something unset\n");
        return 1;
    }
    host_params.n_threads = 1;
    tn_host *host = nullptr;
    if (tn_host_open(&host_params, &host) != TN_OK) {
        std::fprintf(stderr, "use_api.cpp: %s\n", tn_error_last()->message);
        return 1;
    }
    tn_device_info info;
    const bool found = tn_host_device_count(host) >= 1 && tn_host_device_info(host, 0, &info) == TN_OK && std::strlen(info.name) > 0;
    tn_host_close(host);
    if (!found) std::fprintf(stderr, "use_api.cpp: this host has no device\n");
    return found ? 0 : 1;
}
