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

std::string split(const char *devices, const char *parts, int32_t ngl, uint32_t n_layers)
{
    const tn_place_request request = {devices, ngl != kNoNgl, ngl == kNoNgl ? 0 : ngl, parts};
    std::vector<uint32_t> units(n_layers + 2, 99);
    const tn_status status = tn_place_forced(&request, n_layers, kHost.data(), static_cast<uint32_t>(kHost.size()), units.data());
    if (status != TN_OK) return std::string(tn_status_name(status)) + " " + tn_error_last()->message;
    char text[512];
    tn_place_print(units.data(), n_layers, kHost.data(), text, sizeof text);
    return text;
}

TEST(Place, SplitsGiveEachDeviceItsPartOfTheLayers)
{
    EXPECT_EQ(split("cuda0,cuda1", "3,1", kNoNgl, 8), "cuda0: embedding, layers 0-5 | cuda1: layers 6-7, head");
    EXPECT_EQ(split("cuda0,cuda1", " 1 , 3 ", kNoNgl, 8), "cuda0: embedding, layers 0-1 | cuda1: layers 2-7, head");
    EXPECT_EQ(split("cuda0,cuda1", "0.5/0.5", kNoNgl, 5), "cuda0: embedding, layers 0-2 | cuda1: layers 3-4, head");
    EXPECT_EQ(split("cuda0,cuda1", "0,1", kNoNgl, 3), "cuda1: embedding, layers 0-2, head");
    EXPECT_EQ(split("cuda0,cuda1,cpu0", "1,1", kNoNgl, 4), "cuda0: embedding, layers 0-1 | cuda1: layers 2-3, head") << "fewer parts";
    EXPECT_EQ(split(nullptr, "1,1,1,1", kNoNgl, 4), "cuda0: embedding, layer 0 | cuda1: layer 1 | cpu0: layer 2 | cpu1: layer 3, head");
    EXPECT_EQ(split("cuda0,cuda1", "1,1", 4, 8), "cpu0: embedding, layers 0-3 | cuda0: layers 4-5 | cuda1: layers 6-7 | cpu0: head");
    EXPECT_EQ(split("cuda0", "1,2", kNoNgl, 4), "INVALID_ARGUMENT the split 1,2 has more numbers than the 1 devices");
    EXPECT_EQ(split("cuda0,cuda1", "0,0", kNoNgl, 4), "INVALID_ARGUMENT the split 0,0 gives no device any layer");
    for (const char *parts : {"", ",", "1,", "1,x", "-1,2", "nan,1", "inf", "1e10,1", "1;2"})
        EXPECT_EQ(split("cuda0,cuda1", parts, kNoNgl, 4).rfind("INVALID_ARGUMENT '" + std::string(parts) + "' is no split", 0), 0u)
            << parts;
}

// Three layers of two matrices and a norm each, a tied embedding, a table that every layer reads.
class Overrides : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        add(TN_LAYER_EMBED, "token_embd.weight", TN_WEIGHT_DENSE, 100);
        for (int32_t layer = 0; layer < 3; layer++) {
            const std::string prefix = "blk." + std::to_string(layer) + ".";
            add(layer, prefix + "attn_norm.weight", TN_WEIGHT_DENSE, 1);
            add(layer, prefix + "attn_q.weight", TN_WEIGHT_TERNARY, 8);
            add(layer, "rope_table", TN_WEIGHT_TABLE, 64);
            add(layer, prefix + "ffn_up.weight", TN_WEIGHT_TERNARY, 8);
        }
        add(TN_LAYER_HEAD, "output.weight", TN_WEIGHT_DENSE, 100);
        for (size_t i = 0; i < weights.size(); i++) weights[i].name = names[i].c_str();
        graph.n_layers = 3;
        graph.nodes = nodes.data();
        graph.n_nodes = static_cast<uint32_t>(nodes.size());
        graph.weights = weights.data();
        graph.n_weights = static_cast<uint32_t>(weights.size());
    }
    void add(int32_t layer, const std::string &name, tn_weight_kind kind, uint32_t n_rows)
    {
        tn_node node = {};
        tn_weight_source weight = {};
        node.layer = layer;
        node.weight = static_cast<uint32_t>(weights.size());
        weight.kind = kind;
        weight.n_rows = n_rows;
        nodes.push_back(node);
        weights.push_back(weight);
        names.push_back(name);
    }
    // All of it on cuda0, moved.
    std::string moved(std::vector<const char *> overrides)
    {
        std::vector<uint32_t> units(5, 0);
        const tn_status status = tn_place_override(overrides.data(), static_cast<uint32_t>(overrides.size()), &graph, kHost.data(),
                                                   static_cast<uint32_t>(kHost.size()), units.data());
        if (status != TN_OK) return std::string(tn_status_name(status)) + " " + tn_error_last()->message;
        char text[512];
        tn_place_print(units.data(), 3, kHost.data(), text, sizeof text);
        return text;
    }
    tn_graph graph = {};
    std::vector<tn_node> nodes;
    std::vector<tn_weight_source> weights;
    std::vector<std::string> names;
};

TEST_F(Overrides, MoveWholeUnitsAndTheFirstThatFitsCounts)
{
    EXPECT_EQ(moved({"blk\\.1\\.=cpu0"}), "cuda0: embedding, layer 0 | cpu0: layer 1 | cuda0: layer 2, head");
    EXPECT_EQ(moved({"blk=cpu0"}), "cuda0: embedding | cpu0: layers 0-2 | cuda0: head");
    EXPECT_EQ(moved({"^output=cpu1", "token_embd= cpu1 "}), "cpu1: embedding | cuda0: layers 0-2 | cpu1: head");
    EXPECT_EQ(moved({"blk\\.0=cpu1", "blk=cpu0"}), "cuda0: embedding | cpu1: layer 0 | cpu0: layers 1-2 | cuda0: head");
    EXPECT_EQ(moved({"blk\\.2.*(attn_q|ffn_up)=cpu0"}), "cuda0: embedding, layers 0-1 | cpu0: layer 2 | cuda0: head");
    EXPECT_EQ(moved({".=cpu0"}), "cpu0: embedding, layers 0-2, head");
}

TEST_F(Overrides, OfPartsOfALayerOrOfNothingAreRefused)
{
    EXPECT_EQ(moved({"ffn=cpu0"}).rfind("INVALID_ARGUMENT ffn=cpu0 fits 1 of the 2 matrices of layer 0: layers are placed whole", 0), 0u);
    EXPECT_EQ(moved({"attn_norm=cpu0"}).rfind("NOT_FOUND attn_norm=cpu0 fits no tensor", 0), 0u) << "vectors go with the rest";
    EXPECT_EQ(moved({"rope_table=cpu0"}).rfind("NOT_FOUND rope_table=cpu0 fits no tensor", 0), 0u);
    EXPECT_EQ(moved({"blk\\.7\\.=cpu0"}).rfind("NOT_FOUND blk\\.7\\.=cpu0 fits no tensor", 0), 0u);
    EXPECT_EQ(moved({"blk.[0=cpu0"}).rfind("INVALID_ARGUMENT 'blk.[0' is no regular expression: ", 0), 0u);
    EXPECT_EQ(moved({"blk=gpu9"}).rfind("NOT_FOUND there is no device gpu9", 0), 0u);
    for (const char *text : {"", "=", "=cpu0", "blk", "blk="})
        EXPECT_EQ(moved({text}).rfind("INVALID_ARGUMENT '" + std::string(text) + "' moves no tensors", 0), 0u) << text;
    EXPECT_EQ(moved({(std::string(300, 'a') + "=cpu0").c_str()}).rfind("INVALID_ARGUMENT 'aaaa", 0), 0u);
}

TEST(Place, LimitsOfMemoryAreByDevice)
{
    const auto limits = [](const char *text) {
        std::vector<uint64_t> bytes(kHost.size(), 0);
        const tn_status status = tn_place_memory_limits(text, kHost.data(), static_cast<uint32_t>(kHost.size()), bytes.data());
        std::string all = status == TN_OK ? "" : std::string(tn_status_name(status)) + " " + tn_error_last()->message;
        for (size_t i = 0; i < bytes.size() && status == TN_OK; i++) all += std::to_string(bytes[i]) + (i + 1 < bytes.size() ? "," : "");
        return all;
    };
    EXPECT_EQ(limits(nullptr), "0,0,0,0,0");
    EXPECT_EQ(limits("cuda0=4G,cpu0=512M"), "4294967296,0,536870912,0,0");
    EXPECT_EQ(limits(" cpu1 = 1.5k , 0=7, soft0=1TB"), "7,0,0,1536,1099511627776");
    for (const char *text : {"", ",", "cpu0", "cpu0=", "=4G", "cpu0=0", "cpu0=-1", "cpu0=4X", "cpu0=4GG", "cpu0=nan", "cpu0=1e30",
                             "cpu0=1,", "cpu0=0x2", "cpu0=4Gi B", "cpu0=4iB", "cpu0=10%"})
        EXPECT_EQ(limits(text).rfind("INVALID_ARGUMENT '", 0), 0u) << text << ": " << limits(text);
    EXPECT_EQ(limits("cuda0=4GiB,cpu0=512MiB,soft0=2MB,cuda1=3b"), "4294967296,3,536870912,0,2097152");
    EXPECT_EQ(limits("cpu0=10%"), "INVALID_ARGUMENT 'cpu0=10%' is no limit of memory: 10% is no size: write it like 4G, 512M or 1.5GiB");
    EXPECT_EQ(limits("cpu0=1e99G"), "INVALID_ARGUMENT 'cpu0=1e99G' is no limit of memory: 1e99G is out of range: give 1 byte or more, and "
                                    "less than 900000T");
    EXPECT_EQ(limits("cpu0=1G,cuda0=1G,2=2M"), "INVALID_ARGUMENT cpu0 has two limits of memory: leave one of them out");
    EXPECT_EQ(limits("cuda7=4G").rfind("NOT_FOUND there is no device cuda7", 0), 0u);
}

TEST(Place, AssumptionsAreOfMemorySpeedAndPresence)
{
    const uint32_t n = static_cast<uint32_t>(kHost.size());
    uint64_t memory[5] = {0};
    double speeds[5] = {1, 1, 1, 1, 1};
    bool off[5] = {false};
    ASSERT_EQ(tn_place_assume("cuda0.mem=4G,cpu1.speed=0.5, cuda1 = off,cuda0.mem=3G", kHost.data(), n, memory, speeds, off), TN_OK)
        << tn_error_last()->message;
    EXPECT_EQ(memory[0], 3ull << 30) << "the last one counts";
    EXPECT_EQ(speeds[3], 0.5);
    EXPECT_TRUE(off[1]);
    EXPECT_FALSE(off[0] || off[2] || off[3] || off[4]);
    for (const char *text :
         {"", ",", "cuda0", "cuda0=on", "cuda0.mem=", "cuda0.speed=0", "cuda0.speed=1e9", "cuda0.speed=2x", "cuda0.speed=0x2", ".mem=4G"})
        EXPECT_EQ(tn_place_assume(text, kHost.data(), n, memory, speeds, off), TN_INVALID_ARGUMENT) << text;
    const auto refused = [&](const char *text) {
        const tn_status status = tn_place_assume(text, kHost.data(), n, memory, speeds, off);
        return std::string(tn_status_name(status)) + " " + tn_error_last()->message;
    };
    EXPECT_EQ(refused("cuda0.size=3"),
              "INVALID_ARGUMENT 'cuda0.size=3' cannot be assumed: size is no figure of a device: write mem or speed");
    EXPECT_EQ(refused("cuda0.speed=1e4"), "INVALID_ARGUMENT 'cuda0.speed=1e4' cannot be assumed: 1e4 is no factor between 0.001 and 1000");
    EXPECT_EQ(refused("cuda0.mem=10%"),
              "INVALID_ARGUMENT 'cuda0.mem=10%' cannot be assumed: 10% is no size: write it like 4G, 512M or 1.5GiB");
    EXPECT_EQ(refused("cuda7.mem=4G").rfind("NOT_FOUND there is no device cuda7; devices here: ", 0), 0u);
    EXPECT_EQ(refused("cuda7.size=4G").rfind("NOT_FOUND there is no device cuda7.size; devices here: ", 0), 0u);
}

// CUDA and Vulkan list the same two cards.
TEST(Place, ACardThatTwoDriversListIsOne)
{
    std::vector<tn_device_desc> descs = make_devices({"cpu0", "cuda0", "cuda1", "vulkan0", "vulkan1", "vulkan2", "soft0"});
    const char *const bus_ids[] = {"", "0000:01:00.0", "0000:02:00.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:03:00.0"};
    for (size_t i = 0; i < descs.size(); i++) snprintf(descs[i].bus_id, sizeof descs[i].bus_id, "%s", bus_ids[i]);
    const auto list = [&descs]() {
        uint32_t devices[8], n_listed = 0;
        std::string all;
        EXPECT_EQ(tn_place_list(nullptr, descs.data(), static_cast<uint32_t>(descs.size()), 8, devices, &n_listed), TN_OK);
        for (uint32_t i = 0; i < n_listed; i++) all += std::string(descs[devices[i]].name) + " ";
        return all;
    };
    EXPECT_EQ(list(), "cpu0 cuda0 cuda1 vulkan2 ");
    EXPECT_EQ(place(descs, "gpu0", kNoNgl, 0), "cuda0: embedding, head");
    EXPECT_EQ(place(descs, "GPU1", kNoNgl, 0), "cuda1: embedding, head");
    EXPECT_EQ(place(descs, "gpu2", kNoNgl, 0), "vulkan2: embedding, head");
    EXPECT_EQ(place(descs, "gpu3", kNoNgl, 0).rfind("NOT_FOUND there is no device gpu3", 0), 0u);
    EXPECT_EQ(place(descs, "vulkan0", kNoNgl, 0), "vulkan0: embedding, head") << "named, it is used";
    snprintf(descs[1].unusable, sizeof descs[1].unusable, "it is broken");
    EXPECT_EQ(list(), "cpu0 cuda1 vulkan0 vulkan2 ") << "the other driver takes over";
    EXPECT_EQ(place(descs, "gpu0", kNoNgl, 0).rfind("UNAVAILABLE device cuda0", 0), 0u);
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
