// Forced placements, as the text that users see.
#include <cstdio>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "base/status.h"
#include "scheduler/place.h"
}

namespace
{

std::vector<tn_device_desc> make_devices(std::initializer_list<const char *> names)
{
    std::vector<tn_device_desc> descs;
    for (const char *name : names) {
        tn_device_desc desc = {};
        snprintf(desc.name, sizeof desc.name, "%s", name);
        desc.is_software = strncmp(name, "soft", 4) == 0;
        descs.push_back(desc);
    }
    return descs;
}

constexpr int32_t kNoNgl = INT32_MIN;

// The placement as text, or the status' name and the message.
std::string place(const std::vector<tn_device_desc> &descs, const char *devices, int32_t ngl, uint32_t n_layers)
{
    tn_place_request request = {devices, ngl != kNoNgl, ngl == kNoNgl ? 0 : ngl};
    std::vector<uint32_t> units(n_layers + 2, 99);
    tn_status status = tn_place_forced(&request, n_layers, descs.data(), static_cast<uint32_t>(descs.size()), units.data());
    if (status != TN_OK) return std::string(tn_status_name(status)) + " " + tn_error_last()->message;
    char text[512];
    size_t len = tn_place_print(units.data(), n_layers, descs.data(), text, sizeof text);
    EXPECT_EQ(len, strlen(text));
    return text;
}

const std::vector<tn_device_desc> kHost = make_devices({"cuda0", "cuda1", "cpu0", "cpu1", "soft0"});

TEST(Place, WithoutAWishEverythingIsOnTheFirstDevice)
{
    EXPECT_EQ(place(kHost, nullptr, kNoNgl, 6), "cuda0: embedding, layers 0-5, head");
    EXPECT_EQ(place(make_devices({"soft0", "cpu0"}), nullptr, kNoNgl, 2), "cpu0: embedding, layers 0-1, head");
}

TEST(Place, LayersAreSharedEvenlyInTheOrderOfTheList)
{
    EXPECT_EQ(place(kHost, "cpu0,cpu1", kNoNgl, 6), "cpu0: embedding, layers 0-2 | cpu1: layers 3-5, head");
    EXPECT_EQ(place(kHost, "cpu1, cpu0", kNoNgl, 5), "cpu1: embedding, layers 0-2 | cpu0: layers 3-4, head");
    EXPECT_EQ(place(kHost, "cuda0,cuda1,cpu0", kNoNgl, 7), "cuda0: embedding, layers 0-2 | cuda1: layers 3-4 | cpu0: layers 5-6, head");
    EXPECT_EQ(place(kHost, "cpu0,cpu1,cpu0", kNoNgl, 3), "cpu0: embedding, layer 0 | cpu1: layer 1 | cpu0: layer 2, head");
}

TEST(Place, MoreDevicesThanLayersLeavesDevicesOut)
{
    EXPECT_EQ(place(kHost, "cpu0,cpu1", kNoNgl, 1), "cpu0: embedding, layer 0, head");
    EXPECT_EQ(place(kHost, "cpu0,cpu1", kNoNgl, 0), "cpu0: embedding, head");
}

TEST(Place, SoftwareDevicesAreTakenWhenNamed) { EXPECT_EQ(place(kHost, "soft0", kNoNgl, 2), "soft0: embedding, layers 0-1, head"); }

TEST(Place, NglPutsTheLastLayersOnTheListAndTheRestOnTheFirstCpu)
{
    EXPECT_EQ(place(kHost, "cuda0", 0, 4), "cpu0: embedding, layers 0-3, head");
    EXPECT_EQ(place(kHost, "cuda0", 1, 4), "cpu0: embedding, layers 0-2 | cuda0: layer 3 | cpu0: head");
    EXPECT_EQ(place(kHost, "cuda0", 4, 4), "cpu0: embedding | cuda0: layers 0-3 | cpu0: head");
    EXPECT_EQ(place(kHost, "cuda0", 5, 4), "cpu0: embedding | cuda0: layers 0-3, head");
    EXPECT_EQ(place(kHost, "cuda0", 99, 4), "cpu0: embedding | cuda0: layers 0-3, head");
    EXPECT_EQ(place(kHost, "cuda0", -1, 4), "cpu0: embedding | cuda0: layers 0-3, head");
}

TEST(Place, NglSharesItsLayersOverTheWholeList)
{
    EXPECT_EQ(place(kHost, "cuda0,cuda1", 3, 6), "cpu0: embedding, layers 0-2 | cuda0: layers 3-4 | cuda1: layer 5 | cpu0: head");
    EXPECT_EQ(place(kHost, nullptr, 2, 4), "cpu0: embedding, layers 0-1 | cuda0: layers 2-3 | cpu0: head");
    EXPECT_EQ(place(kHost, "cpu1", 2, 4), "cpu0: embedding, layers 0-1 | cpu1: layers 2-3 | cpu0: head");
    EXPECT_EQ(place(kHost, "cuda0", 9, 0), "cpu0: embedding | cuda0: head");
}

TEST(Place, AnUnknownDeviceIsNotFoundAndTheMessageListsWhatThereIs)
{
    EXPECT_EQ(place(kHost, "cpu0,gpu7", kNoNgl, 4), "NOT_FOUND there is no device gpu7; devices here: cuda0, cuda1, cpu0, cpu1, soft0");
    EXPECT_EQ(place(make_devices({"cuda0"}), "cuda0", 1, 4).find("NOT_FOUND there is no CPU device"), 0u);
    EXPECT_EQ(place(make_devices({"soft0"}), nullptr, kNoNgl, 4).find("NOT_FOUND"), 0u);
}

TEST(Place, MalformedWishesAreInvalid)
{
    for (const char *list : {"", ",", "cpu0,", ",cpu0", "cpu0,,cpu1", "  "})
        EXPECT_EQ(place(kHost, list, kNoNgl, 4).find("INVALID_ARGUMENT"), 0u) << "'" << list << "'";
    EXPECT_EQ(place(kHost, "cpu0", -2, 4).find("INVALID_ARGUMENT"), 0u);
}

TEST(Place, PrintingIntoALittleTextReturnsTheFullLength)
{
    const std::vector<uint32_t> units = {2, 2, 3, 3};
    const std::string full = "cpu0: embedding, layer 0 | cpu1: layer 1, head";
    char text[64];
    for (size_t capacity = 0; capacity <= full.size() + 1; capacity++) {
        memset(text, '#', sizeof text);
        ASSERT_EQ(tn_place_print(units.data(), 2, kHost.data(), text, capacity), full.size());
        ASSERT_EQ(std::string(text, capacity ? strlen(text) : 0), full.substr(0, capacity ? capacity - 1 : 0));
        ASSERT_EQ(text[capacity], '#') << "nothing is written past the capacity";
    }
}

} // namespace
