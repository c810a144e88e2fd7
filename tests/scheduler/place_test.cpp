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
    tn_place_request request = {devices, ngl != kNoNgl, ngl == kNoNgl ? 0 : ngl, nullptr};
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

// Two cards of one kind, a third whose driver is too old, and an emulated one.
std::vector<tn_device_desc> make_gpus()
{
    std::vector<tn_device_desc> descs = make_devices({"cpu0", "vulkan0", "vulkan1", "vulkan2", "soft0"});
    const char *const descriptions[] = {"AMD EPYC", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060", "AMD Radeon RX 580",
                                        "llvmpipe (256 bits)"};
    const char *const bus_ids[] = {"", "0000:01:00.0", "0001:0a:00.0", "0000:02:00.0", ""};
    for (size_t i = 0; i < descs.size(); i++) {
        snprintf(descs[i].description, sizeof descs[i].description, "%s", descriptions[i]);
        snprintf(descs[i].bus_id, sizeof descs[i].bus_id, "%s", bus_ids[i]);
    }
    snprintf(descs[3].unusable, sizeof descs[3].unusable, "its driver has Vulkan 1.1");
    return descs;
}

TEST(Place, DevicesAreNamedByNumberBusIdAndPartsOfTheirDescription)
{
    const std::vector<tn_device_desc> gpus = make_gpus();
    const std::vector<std::pair<const char *, const char *>> wishes = {
        {"1", "vulkan0"},
        {"0002", "vulkan1"},
        {"0", "cpu0"},
        {"pci:0000:01:00.0", "vulkan0"},
        {"pci:01:00.0", "vulkan0"},
        {"PCI:0001:0A:00.0", "vulkan1"},
        {"4090", "vulkan0"},
        {"rtx 3060", "vulkan1"},
        {"NVIDIA GeForce RTX 4090", "vulkan0"},
        {"epyc", "cpu0"},
        {"LLVM", "soft0"},
        {"soft0", "soft0"},
    };
    for (const auto &[wish, device] : wishes)
        EXPECT_EQ(place(gpus, wish, kNoNgl, 1), std::string(device) + ": embedding, layer 0, head") << wish;
    EXPECT_EQ(place(gpus, "4090, 3060", kNoNgl, 2), "vulkan0: embedding, layer 0 | vulkan1: layer 1, head");
    EXPECT_EQ(place(gpus, "5", kNoNgl, 1), "NOT_FOUND there is no device 5; devices here: cpu0, vulkan0, vulkan1, vulkan2, soft0");
    for (const char *wish : {"pci:0a:00.0", "pci:", "01:00.0", "pci:0000:01:00.1", "99999", "58", "RX", "vulkan", "1 "})
        EXPECT_EQ(place(gpus, wish, kNoNgl, 1).find(wish[0] == '1' ? "vulkan0" : "NOT_FOUND there is no device"), 0u) << wish;
}

TEST(Place, APartOfSeveralDescriptionsIsRefusedWithTheCandidates)
{
    EXPECT_EQ(
        place(make_gpus(), "geforce", kNoNgl, 1),
        "INVALID_ARGUMENT geforce means several devices: vulkan0 (NVIDIA GeForce RTX 4090), vulkan1 (NVIDIA GeForce RTX 3060): give one of "
        "these names");
    EXPECT_EQ(place(make_gpus(), "amd", kNoNgl, 1)
                  .find("INVALID_ARGUMENT amd means several devices: cpu0 (AMD EPYC), vulkan2 (AMD Radeon RX 580)"),
              0u);
}

TEST(Place, DevicesThatCannotBeUsedAreRefusedWithTheReasonAndNeverChosen)
{
    std::vector<tn_device_desc> gpus = make_gpus();
    for (const char *wish : {"vulkan2", "3", "pci:02:00.0", "radeon"})
        EXPECT_EQ(place(gpus, wish, kNoNgl, 1), "UNAVAILABLE device vulkan2 (AMD Radeon RX 580) cannot be used: its driver has Vulkan 1.1");
    snprintf(gpus[0].unusable, sizeof gpus[0].unusable, "it is broken");
    EXPECT_EQ(place(gpus, nullptr, kNoNgl, 1), "vulkan0: embedding, layer 0, head");
}

TEST(Place, ListsOfNamesAreKnownWithoutOtherDevices)
{
    const std::vector<tn_device_desc> cpus = make_devices({"cpu0", "cpu1"}), soft = make_devices({"soft0"});
    const auto known = [](const char *list, const std::vector<tn_device_desc> &descs) {
        return tn_place_is_known(list, descs.data(), static_cast<uint32_t>(descs.size()));
    };
    for (const char *list : {"cpu0", "cpu0,cpu1", " cpu1 , cpu0 ", ""}) EXPECT_TRUE(known(list, cpus)) << list;
    for (const char *list : {"vulkan0", "cpu0,vulkan0", "0", "cpu", "pci:01:00.0", "cpu2"}) EXPECT_FALSE(known(list, cpus)) << list;
    EXPECT_TRUE(known(nullptr, cpus));
    EXPECT_FALSE(known(nullptr, soft)) << "another backend may have a device to choose";
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
