// Pipelines by name and constants, float controls in SPIR-V, and the file of compiled shaders.
#include "format/temp_folder.h"
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

extern "C" {
#include "base/alloc.h"
#include "vulkan/vk_pipeline_file.h"
#include "vulkan/vk_shaders.h"
#include "vulkan/vk_spirv.h"
}

namespace vulkan_test
{
namespace
{

VkPipeline get(const OpenDevice &device, const char *shader, const std::vector<uint32_t> &constants)
{
    VkPipeline pipeline = VK_NULL_HANDLE;
    EXPECT_EQ(tn_vk_pipeline_get(device.vk(), shader, constants.data(), static_cast<uint32_t>(constants.size()), &pipeline), TN_OK)
        << last_error();
    EXPECT_NE(pipeline, VkPipeline(VK_NULL_HANDLE));
    return pipeline;
}

TEST(Pipelines, AreMadeOnceForEachShaderAndItsConstants)
{
    FaultLayer layer;
    {
        const Host host(&layer.hooks);
        const OpenDevice device(host);
        const VkPipeline first = get(device, "elementwise", {8, 0});
        EXPECT_NE(get(device, "elementwise", {8, 1}), first);
        EXPECT_NE(get(device, "elementwise", {8}), first) << "a constant that is not given has the shader's value, whichever that is";
        EXPECT_NE(get(device, "elementwise", {16, 0}), first);
        EXPECT_EQ(get(device, "elementwise", {8, 0}), first);
        EXPECT_EQ(layer.calls().at("vkCreateComputePipelines"), 4u);
    }
    EXPECT_TRUE(layer.alive().empty());
}

TEST(Pipelines, EveryShaderOfTheListCompilesInTheFormsThatTheDeviceRuns)
{
    const Host host;
    const OpenDevice device(host);
    for (uint32_t i = 0; i < tn_vk_n_shaders; i++) {
        const std::string name = tn_vk_shaders[i].name;
        if (!device.vk()->traits.has_dot && name.find("_dot") != std::string::npos) continue;
        if (!device.vk()->traits.has_shuffle && name.find("_shuffle") != std::string::npos) continue;
        for (uint32_t invocations : {8u, 64u}) get(device, name.c_str(), {invocations});
    }
}

TEST(Pipelines, ThatCannotBeMadeLeaveNothingBehind)
{
    FaultLayer layer;
    {
        const Host host(&layer.hooks);
        const OpenDevice device(host);
        VkPipeline pipeline;
        const std::vector<uint32_t> constants(TN_VK_CONSTANTS_MAX + 1, 8);
        EXPECT_EQ(tn_vk_pipeline_get(device.vk(), "elementwize", constants.data(), 1, &pipeline), TN_INTERNAL);
        EXPECT_EQ(tn_vk_pipeline_get(device.vk(), "elementwise", constants.data(), TN_VK_CONSTANTS_MAX + 1, &pipeline), TN_INTERNAL);
        for (const char *call : {"vkCreateShaderModule", "vkCreateComputePipelines"}) {
            layer.fail(call, 1, VK_ERROR_OUT_OF_DEVICE_MEMORY);
            EXPECT_EQ(tn_vk_pipeline_get(device.vk(), "elementwise", constants.data(), 2, &pipeline), TN_OUT_OF_MEMORY);
            EXPECT_EQ(last_error().find(std::string("OUT_OF_MEMORY shader elementwise: ") + call + " failed with"), 0u) << last_error();
            EXPECT_EQ(pipeline, VkPipeline(VK_NULL_HANDLE));
        }
        get(device, "elementwise", {8, 0});
    }
    EXPECT_TRUE(layer.alive().empty());
}

// ---- float controls ----

struct Instruction {
    uint32_t op;
    std::vector<uint32_t> operands;
    bool operator==(const Instruction &other) const { return op == other.op && operands == other.operands; }
};

std::vector<Instruction> parse(const uint32_t *words, size_t n)
{
    std::vector<Instruction> list;
    for (size_t at = 5; at < n; at += words[at] >> 16)
        list.push_back({words[at] & 0xffff, std::vector<uint32_t>(words + at + 1, words + at + (words[at] >> 16))});
    return list;
}

constexpr uint32_t kCapability = 17, kEntryPoint = 15, kExecutionMode = 16;

TEST(FloatControls, AreDeclaredForEveryEntryPointAndNothingElseChanges)
{
    for (uint32_t s = 0; s < tn_vk_n_shaders; s++) {
        const tn_vk_shader &shader = tn_vk_shaders[s];
        const std::vector<Instruction> before = parse(shader.words, shader.n_words);
        for (int which = 0; which < 4; which++) {
            uint32_t *words, n_words;
            ASSERT_EQ(tn_vk_spirv_declare(shader.words, shader.n_words, which & 1, which & 2, &words, &n_words), TN_OK);
            std::vector<Instruction> after = parse(words, n_words);
            EXPECT_EQ(memcmp(words, shader.words, 5 * sizeof *words), 0) << "the header";
            tn_free(words);
            size_t last_entry = 0, last_capability = 0, first_mode = after.size();
            uint32_t id = 0;
            for (size_t i = 0; i < after.size(); i++) {
                if (after[i].op == kEntryPoint) last_entry = i, id = after[i].operands[1];
                if (after[i].op == kCapability) last_capability = i;
                if (after[i].op == kExecutionMode) first_mode = std::min(first_mode, i);
            }
            EXPECT_LT(last_entry, first_mode);
            for (size_t i = 0; i <= last_capability; i++) EXPECT_EQ(after[i].op, kCapability);
            std::vector<Instruction> added;
            if (which & 1) added.push_back({kCapability, {4467}}), added.push_back({kExecutionMode, {id, 4462, 32}});
            if (which & 2) added.push_back({kCapability, {4466}}), added.push_back({kExecutionMode, {id, 4461, 32}});
            for (const Instruction &instruction : added) {
                const auto found = std::find(after.begin(), after.end(), instruction);
                ASSERT_NE(found, after.end()) << shader.name << " " << instruction.operands.back();
                after.erase(found);
            }
            EXPECT_EQ(after, before) << shader.name;
        }
    }
}

TEST(FloatControls, MakeModulesThatAreValid)
{
    const TempFolder temp;
    for (uint32_t s = 0; s < tn_vk_n_shaders; s++) {
        uint32_t *words, n_words;
        ASSERT_EQ(tn_vk_spirv_declare(tn_vk_shaders[s].words, tn_vk_shaders[s].n_words, true, true, &words, &n_words), TN_OK);
        temp.write("module.spv", std::string(reinterpret_cast<const char *>(words), n_words * sizeof *words));
        tn_free(words);
        EXPECT_EQ(system(("spirv-val --target-env vulkan1.2 " + temp.at("module.spv")).c_str()), 0) << tn_vk_shaders[s].name;
    }
}

TEST(FloatControls, AreRefusedInWhatIsNoModule)
{
    uint32_t *words, n_words;
    const uint32_t header[5] = {0x07230203, 0x10500, 0, 10, 0};
    const std::vector<std::vector<uint32_t>> bad = {
        {},
        {0x07230203, 0, 0},
        {1, 2, 3, 4, 5, 6},
        std::vector<uint32_t>(header, header + 5), // no entry point
        {header[0], header[1], 0, 10, 0, 0},       // an instruction of no words
        {header[0], header[1], 0, 10, 0, 4 << 16 | kEntryPoint, 5, 4},
        {header[0], header[1], 0, 10, 0, 2 << 16 | kEntryPoint, 5},
    };
    for (const std::vector<uint32_t> &module : bad) {
        EXPECT_EQ(tn_vk_spirv_declare(module.data(), static_cast<uint32_t>(module.size()), true, true, &words, &n_words), TN_INTERNAL);
        EXPECT_EQ(words, nullptr);
    }
}

// ---- the file ----

using Bytes = std::vector<uint8_t>;

Bytes slurp(const std::filesystem::path &path)
{
    std::ifstream file(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

void spill(const std::filesystem::path &path, const Bytes &bytes)
{
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
}

// A driver that keeps what a test says, behind the head of its own data.
class CacheFile : public testing::Test
{
  protected:
    CacheFile() : folder(temp.at("a/cache"))
    {
        layer.change_cache_data = [this](Bytes *data) { data->insert(data->end(), compiled.begin(), compiled.end()); };
        layer.on_create_cache = [this](const VkPipelineCacheCreateInfo &info) {
            const auto *bytes = static_cast<const uint8_t *>(info.pInitialData);
            given.assign(bytes, bytes + info.initialDataSize);
        };
    }
    // Opens a device, makes a pipeline or none, closes it; what the driver was given at first is in `given`.
    void session(bool makes_pipeline = true)
    {
        host.host.cache_folder = folder.c_str();
        host.host.log = {
            [](void *user, tn_log_level, const char *text) { static_cast<CacheFile *>(user)->log += std::string(text) + "\n"; }, this,
            TN_LOG_INFO};
        log.clear();
        const OpenDevice device(host);
        if (makes_pipeline) get(device, "elementwise", {8, 0});
    }
    std::vector<std::filesystem::path> files() const
    {
        std::vector<std::filesystem::path> list;
        if (std::filesystem::exists(folder)) {
            for (const auto &entry : std::filesystem::directory_iterator(folder)) list.push_back(entry.path());
        }
        return list;
    }
    TempFolder temp;
    std::string folder, log;
    FaultLayer layer;
    Host host{&layer.hooks};
    Bytes compiled = {1, 2, 3, 4, 5}, given;
};

TEST_F(CacheFile, IsMadeByTheFirstSessionAndUsedByTheNext)
{
    session(false);
    EXPECT_TRUE(files().empty()) << "nothing was compiled";
    session();
    ASSERT_EQ(files().size(), 1u);
    EXPECT_TRUE(given.empty());
    const auto path = files()[0];
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    session();
    ASSERT_GT(given.size(), compiled.size());
    EXPECT_EQ(Bytes(given.end() - 5, given.end()), compiled);
    EXPECT_EQ(log, "");
    const Bytes whole = slurp(path);
    EXPECT_EQ(Bytes(whole.end() - long(given.size()), whole.end()), given);
}

TEST_F(CacheFile, IsWrittenAgainOnlyWhereTheDriverHasMore)
{
    session();
    const auto written = [this] { return std::filesystem::last_write_time(files()[0]); };
    std::filesystem::last_write_time(files()[0], std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
    const auto before = written();
    session();
    EXPECT_EQ(written(), before);
    compiled.push_back(6);
    session();
    EXPECT_NE(written(), before);
    session();
    EXPECT_EQ(given.back(), 6);
    EXPECT_EQ(files().size(), 1u) << "no temporary file is left";
}

TEST_F(CacheFile, IsNotUsedWhereAnyByteIsAnother)
{
    session();
    const auto path = files()[0];
    const Bytes whole = slurp(path);
    for (size_t i = 0; i < whole.size(); i++) {
        Bytes damaged = whole;
        damaged[i] ^= 0x10;
        spill(path, damaged);
        session(false);
        ASSERT_TRUE(given.empty()) << i;
        ASSERT_NE(log.find("compiled shaders are not used: "), std::string::npos) << i;
    }
    for (size_t n = 0; n < whole.size(); n++) {
        spill(path, Bytes(whole.begin(), whole.begin() + long(n)));
        session(false);
        ASSERT_TRUE(given.empty()) << n;
    }
    Bytes longer = whole;
    longer.push_back(0);
    spill(path, longer);
    session(false);
    EXPECT_TRUE(given.empty());
    session(); // and is mended by whoever compiles
    EXPECT_EQ(slurp(path), whole);
}

TEST_F(CacheFile, IsNotUsedByAnotherDriverOrVersion)
{
    session();
    const auto path = files()[0];
    const Bytes whole = slurp(path);
    const std::vector<void (*)(VkPhysicalDeviceProperties *)> others = {
        [](VkPhysicalDeviceProperties *p) { p->vendorID++; },
        [](VkPhysicalDeviceProperties *p) { p->deviceID++; },
        [](VkPhysicalDeviceProperties *p) { p->driverVersion++; },
        [](VkPhysicalDeviceProperties *p) { p->pipelineCacheUUID[15]++; },
    };
    for (size_t i = 0; i < others.size(); i++) {
        layer.change_properties = others[i];
        session(false);
        EXPECT_TRUE(given.empty()) << i;
        EXPECT_EQ(log, "") << "its file has another name";
    }
    // Under the name of the other's.
    layer.change_properties = others[2];
    uint8_t key[TN_VK_CACHE_KEY_BYTES];
    {
        const OpenDevice device(host);
        memcpy(key, device.vk()->cache_key, sizeof key);
    }
    char *name;
    ASSERT_EQ(tn_vk_pipeline_file_path(folder.c_str(), key, tn_vk_shaders_hash, &name), TN_OK);
    spill(name, whole);
    chmod(name, 0600);
    session(false);
    EXPECT_TRUE(given.empty());
    EXPECT_NE(log.find("is damaged, or of another driver or version"), std::string::npos) << log;
    // A file of ours with a driver's head of something else: the driver would be handed what it does not check.
    Bytes foreign(40, 7);
    ASSERT_EQ(tn_vk_pipeline_file_write(name, key, tn_vk_shaders_hash, foreign.data(), foreign.size()), TN_OK);
    session(false);
    EXPECT_TRUE(given.empty());
    EXPECT_NE(log.find("is of another driver"), std::string::npos) << log;
    tn_free(name);
    char *other_shaders;
    ASSERT_EQ(tn_vk_pipeline_file_path(folder.c_str(), key, "0123", &other_shaders), TN_OK);
    EXPECT_NE(path, other_shaders);
    tn_free(other_shaders);
}

TEST_F(CacheFile, IsNotUsedWhereOthersMayWriteToIt)
{
    session();
    const auto path = files()[0];
    for (const mode_t mode : {0620, 0602}) {
        chmod(path.c_str(), mode);
        session(false);
        EXPECT_TRUE(given.empty());
        EXPECT_NE(log.find("is not a file that only this user may write: remove it"), std::string::npos) << log;
    }
    chmod(path.c_str(), 0600);
    const auto elsewhere = temp.at("elsewhere");
    std::filesystem::rename(path, elsewhere);
    std::filesystem::create_symlink(elsewhere, path);
    session(false);
    EXPECT_TRUE(given.empty());
    std::filesystem::remove(path);
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    session(false);
    EXPECT_TRUE(given.empty());
}

TEST_F(CacheFile, IsDoneWithoutWhereItCannotBeKept)
{
    spill(temp.at("a"), {1});
    session();
    EXPECT_NE(log.find("compiled shaders are not kept: "), std::string::npos) << log;
    std::filesystem::remove(temp.at("a"));
    for (uint32_t nth : {1u, 2u}) {
        layer.fail("vkGetPipelineCacheData", nth, VK_ERROR_OUT_OF_HOST_MEMORY);
        layer.change_cache_data = nullptr;
        session();
        EXPECT_TRUE(files().empty());
    }
    compiled.clear();
    layer.change_cache_data = [](Bytes *data) { data->assign(3, 0); };
    session();
    EXPECT_TRUE(files().empty()) << "a driver that keeps nothing";
}

TEST_F(CacheFile, IsGivenUpWhereTheDriverDoesNotTakeIt)
{
    session();
    layer.fail("vkCreatePipelineCache", 1, VK_ERROR_OUT_OF_HOST_MEMORY);
    layer.forget_calls();
    session(false);
    EXPECT_EQ(layer.calls().at("vkCreatePipelineCache"), 2u);
    EXPECT_TRUE(given.empty()) << "the second time, with nothing";
}

} // namespace
} // namespace vulkan_test
