// Measured limits: which figures there are, and that they are possible. How fast a machine is, no test says.
#include <cmath>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "backend/builtin.h"
#include "cpu/cpu_theory.h"
#include "cpu/kernel.h"
#include "ternion/device.h"
}

namespace
{

struct Limits {
    std::vector<tn_device_limit> figures;
    size_t stop_after = SIZE_MAX;
    tn_status status = TN_OK;
    Limits(tn_host *host, uint32_t n_threads, size_t stop = SIZE_MAX, uint32_t index = 0) : stop_after(stop)
    {
        tn_device_limits_params params = TN_DEVICE_LIMITS_PARAMS_INIT;
        params.n_threads = n_threads;
        params.time_ms = 1;
        params.user = this;
        params.told = [](void *user, const tn_device_limit *limit) {
            auto *self = static_cast<Limits *>(user);
            self->figures.push_back(*limit);
            return self->figures.size() < self->stop_after;
        };
        status = tn_host_device_limits(host, index, &params);
    }
};

struct Host {
    tn_host *host = nullptr;
    explicit Host(uint32_t n_threads, const char *isa = nullptr)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = n_threads;
        params.cpu_isa_max = isa;
        EXPECT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
    }
    ~Host() { tn_host_close(host); }
};

TEST(Limits, EveryLevelAndNumberOfThreadsHasAFigure)
{
    Host host(3);
    const Limits limits(host.host, 0);
    ASSERT_EQ(limits.status, TN_OK) << tn_error_last()->message;
    std::set<std::string> seen;
    for (const tn_device_limit &l : limits.figures) {
        const std::string what = std::string(l.kind == TN_LIMIT_MEMORY_READ ? "read" : l.name) + std::to_string(l.n_threads);
        EXPECT_TRUE(seen.insert(what).second) << what << " twice";
        EXPECT_TRUE(std::isfinite(l.best) && l.best > 0) << what;
        EXPECT_GT(l.median, 0) << what;
        EXPECT_LE(l.median, l.best) << what;
        EXPECT_TRUE(std::isfinite(l.theoretical) && l.theoretical >= 0) << what;
    }
    std::set<std::string> expected;
    for (const char *n : {"1", "2", "3"}) {
        expected.insert(std::string("read") + n);
        uint32_t n_rows;
        const tn_kernel_row *rows = tn_cpu_kernel_rows(&n_rows);
        for (uint32_t i = 0; i < n_rows; i++) {
            if (rows[i].slot == TN_SLOT_peak_dot && tn_isa_set_has(tn_isa_available(), rows[i].isa))
                expected.insert(std::string(tn_isa_name(rows[i].isa)) + n);
        }
    }
    EXPECT_EQ(seen, expected);
}

TEST(Limits, KeepToTheLevelsThatTheHostAllows)
{
    Host host(1, "scalar");
    const Limits limits(host.host, 1);
    ASSERT_EQ(limits.status, TN_OK);
    ASSERT_EQ(limits.figures.size(), 2u);
    EXPECT_EQ(limits.figures[0].kind, TN_LIMIT_MEMORY_READ);
    EXPECT_EQ(limits.figures[1].kind, TN_LIMIT_INT8_DOT);
    EXPECT_STREQ(limits.figures[0].name, "scalar");
    EXPECT_STREQ(limits.figures[1].name, "scalar");
}

TEST(Limits, AreCancelledByTheCallerAndWrongCallsRefused)
{
    Host host(2, "scalar");
    EXPECT_EQ(Limits(host.host, 0, 1).status, TN_CANCELLED);
    EXPECT_EQ(Limits(host.host, 0, 1).figures.size(), 1u);
    EXPECT_EQ(Limits(host.host, 3).status, TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("it has 2"), std::string::npos) << tn_error_last()->message;
    EXPECT_EQ(Limits(host.host, 1, SIZE_MAX, 99).status, TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_host_device_limits(host.host, 0, nullptr), TN_INVALID_ARGUMENT) << "there is nobody to tell";
    EXPECT_EQ(tn_host_device_limits(nullptr, 0, nullptr), TN_INVALID_ARGUMENT);
}

TEST(Theory, TheClockIsPossible)
{
    const double hz = tn_cpu_clock_hz();
    EXPECT_GT(hz, 1e6);
    EXPECT_LT(hz, 1e10);
}

TEST(Theory, DataSheetsAreFoundByVendorFamilyModelAndLevel)
{
#if defined(__x86_64__)
    const auto rate = [](const char *vendor, uint32_t family, uint32_t model, tn_isa isa) {
        tn_cpu_identity cpu = {};
        snprintf(cpu.vendor, sizeof cpu.vendor, "%s", vendor);
        cpu.family = family;
        cpu.model = model;
        return tn_cpu_products_per_cycle(&cpu, isa);
    };
    EXPECT_EQ(rate("AuthenticAMD", 0x19, 0x11, TN_ISA_AVX512VNNI), 64u); // EPYC 9004
    EXPECT_EQ(rate("AuthenticAMD", 0x19, 0x11, TN_ISA_AVXVNNI), 0u);
    EXPECT_EQ(rate("AuthenticAMD", 0x19, 0x01, TN_ISA_AVX512VNNI), 0u); // EPYC 7003 has no AVX-512
    EXPECT_EQ(rate("AuthenticAMD", 0x19, 0x11, TN_ISA_AVX512BW), 64u);
    EXPECT_EQ(rate("AuthenticAMD", 0x19, 0x11, TN_ISA_SSE41), 32u);
    EXPECT_EQ(rate("AuthenticAMD", 0x17, 0x31, TN_ISA_SSE41), 16u); // EPYC 7002
    EXPECT_EQ(rate("AuthenticAMD", 0x15, 0x02, TN_ISA_SSE41), 0u);  // two cores of Piledriver share their vector unit
    EXPECT_EQ(rate("AuthenticAMD", 0x1a, 0x02, TN_ISA_AVX512VNNI), 128u);
    EXPECT_EQ(rate("AuthenticAMD", 0x1a, 0x02, TN_ISA_AVX512BW), 128u);
    EXPECT_EQ(rate("GenuineIntel", 6, 0x17, TN_ISA_SSE41), 16u); // Core 2 of 45 nm
    EXPECT_EQ(rate("GenuineIntel", 6, 0x0f, TN_ISA_SSE41), 0u);  // of 65 nm, without SSE4.1
    EXPECT_EQ(rate("GenuineIntel", 6, 0x2c, TN_ISA_SSE41), 16u); // Xeon 5600
    EXPECT_EQ(rate("GenuineIntel", 6, 0x2c, TN_ISA_AVX2), 0u);
    EXPECT_EQ(rate("GenuineIntel", 6, 0x9e, TN_ISA_SSE41), 32u);   // Core of generation 8
    EXPECT_EQ(rate("GenuineIntel", 6, 0x55, TN_ISA_AVX512BW), 0u); // one or two units
    EXPECT_EQ(rate("GenuineIntel", 6, 0x6a, TN_ISA_AVX512BW), 128u);
    EXPECT_EQ(rate("GenuineIntel", 6, 0x8f, TN_ISA_AVX512VNNI), 128u);
    EXPECT_EQ(rate("GenuineIntel", 6, 0x3f, TN_ISA_AVX2), 32u);
    EXPECT_EQ(rate("GenuineIntel", 0x19, 0x11, TN_ISA_AVX2), 0u);
    EXPECT_EQ(rate("", 0, 0, TN_ISA_AVX2), 0u);
    EXPECT_NE(std::string(tn_cpu_identify().vendor), "");
#else
    tn_cpu_identity cpu = {"arm", 0x41, 0xd0c};
    EXPECT_EQ(tn_cpu_products_per_cycle(&cpu, TN_ISA_DOTPROD), 32u);
    EXPECT_EQ(tn_cpu_products_per_cycle(&cpu, TN_ISA_I8MM), 0u);
#endif
}

#if defined(__x86_64__)
// What holds for every processor of the table: half the vector is half the products, and the wide vectors of one unit are one width.
TEST(Theory, LevelsOfOneProcessorFitTogether)
{
    uint32_t known = 0;
    for (const char *vendor : {"AuthenticAMD", "GenuineIntel"}) {
        for (uint32_t family = 6; family <= 0x1a; family++) {
            for (uint32_t model = 0; model < 256; model++) {
                tn_cpu_identity cpu = {};
                snprintf(cpu.vendor, sizeof cpu.vendor, "%s", vendor);
                cpu.family = family;
                cpu.model = model;
                const auto rate = [&cpu](tn_isa isa) { return tn_cpu_products_per_cycle(&cpu, isa); };
                const std::string what = std::string(vendor) + " family " + std::to_string(family) + " model " + std::to_string(model);
                if (rate(TN_ISA_AVX2) != 0) {
                    EXPECT_EQ(2 * rate(TN_ISA_SSE41), rate(TN_ISA_AVX2)) << what;
                }
                EXPECT_EQ(rate(TN_ISA_AVX512BW), rate(TN_ISA_AVX512VNNI)) << what;
                known += rate(TN_ISA_SSE41) != 0;
            }
        }
    }
    EXPECT_GT(known, 512u); // two whole families are in the table
}
#endif

} // namespace
