// Hosts that are measured with small models, and what they keep of it.
#pragma once

#include <cstdlib>
#include <dirent.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" {
#include "runtime/calibrate.h"
#include "runtime/cost_file.h"
#include "runtime/host.h"
#include "runtime/host_costs.h"
}

namespace tn_test
{

class Folder
{
  public:
    Folder()
    {
        char name[] = "/tmp/tn_calibrate_XXXXXX";
        path = mkdtemp(name);
    }
    ~Folder()
    {
        for (const std::string &file : files()) unlink((path + "/" + file).c_str());
        rmdir(path.c_str());
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    std::vector<std::string> files() const
    {
        std::vector<std::string> names;
        DIR *dir = opendir(path.c_str());
        for (const dirent *entry = dir ? readdir(dir) : nullptr; entry; entry = readdir(dir)) {
            if (entry->d_name[0] != '.') names.push_back(entry->d_name);
        }
        if (dir) closedir(dir);
        return names;
    }
    std::string path;
};

inline std::string read_file(const std::string &path)
{
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

inline void log_line(void *user, tn_log_level, const char *message) { *static_cast<std::string *>(user) += std::string(message) + "\n"; }

// A host with two threads and the folder; what it logs.
class Host
{
  public:
    explicit Host(const char *folder, uint32_t n_threads = 2, uint32_t n_devices = 1)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = n_threads;
        params.n_cpu_devices = n_devices;
        params.cache_folder = folder;
        params.log = {log_line, &log, TN_LOG_DEBUG};
        EXPECT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
    }
    ~Host() { tn_host_close(host); }
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    tn_device *device(uint32_t index = 0)
    {
        tn_device *out = nullptr;
        EXPECT_EQ(tn_host_device(host, index, nullptr, &out), TN_OK) << tn_error_last()->message;
        return out;
    }
    std::string log;
    tn_host *host = nullptr;
};

inline tn_calibration_params small_params()
{
    tn_calibration_params params = {};
    params.time_ns = 200000000;
    params.cache_bytes = 32u << 20;
    params.memory_bytes = UINT64_C(1) << 30;
    params.small = true;
    return params;
}

inline tn_host_costs_params quick()
{
    tn_host_costs_params params = {};
    params.small = true;
    params.time_ns = 50000000;
    return params;
}

// The key in the folder's only file: what this machine and build are.
inline std::string key_in(const Folder &folder)
{
    const std::string text = read_file(folder.path + "/" + folder.files().at(0)), start = "\nkey ";
    const size_t at = text.find(start) + start.size();
    return text.substr(at, text.find('\n', at) - at);
}

} // namespace tn_test
