// The firmware's table of memory modules: tables written by hand after DSP0134, damaged ones, and random bytes.
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "cpu/smbios.h"
}

namespace
{

struct Module {
    unsigned size = 16384, width = 64, speed = 4800, configured = 4800;
    std::string device = "DIMM 0", bank = "P0 CHANNEL A";
    size_t length = 0x5c;
    unsigned extended = 0, extended_configured = 0;
};

using Table = std::vector<uint8_t>;

void put(Table &table, size_t at, unsigned value, size_t n)
{
    for (size_t i = 0; i < n && at + i < table.size(); i++) table[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

void add_strings(Table &table, const std::vector<std::string> &strings)
{
    for (const std::string &s : strings) table.insert(table.end(), s.c_str(), s.c_str() + s.size() + 1);
    if (strings.empty()) table.push_back(0);
    table.push_back(0);
}

void add(Table &table, const Module &m)
{
    Table formatted(m.length, 0);
    formatted[0] = 17;
    formatted[1] = static_cast<uint8_t>(m.length);
    put(formatted, 0x0a, m.width, 2);
    put(formatted, 0x0c, m.size, 2);
    put(formatted, 0x10, 1, 1);
    put(formatted, 0x11, 2, 1);
    put(formatted, 0x15, m.speed, 2);
    put(formatted, 0x20, m.configured, 2);
    put(formatted, 0x54, m.extended, 4);
    put(formatted, 0x58, m.extended_configured, 4);
    table.insert(table.end(), formatted.begin(), formatted.end());
    add_strings(table, {m.device, m.bank});
}

Table table_of(const std::vector<Module> &modules)
{
    Table table = {0, 24}; // a BIOS structure first, with strings that look like structures
    table.resize(24);
    add_strings(table, {"\x11\x5cvendor", "version"});
    table.insert(table.end(), {126, 4, 0, 1, 0, 0}); // inactive, without strings
    for (const Module &m : modules) add(table, m);
    table.insert(table.end(), {127, 4, 0, 9, 0, 0});
    return table;
}

// From a heap block of exactly that size, so that a sanitizer sees every byte too far.
tn_smbios_memory read(const Table &table, size_t n)
{
    std::unique_ptr<uint8_t[]> exact(new uint8_t[n]);
    std::copy_n(table.begin(), n, exact.get());
    return tn_smbios_read_memory(exact.get(), n);
}
tn_smbios_memory read(const Table &table) { return read(table, table.size()); }

Module at(const char *device, const char *bank)
{
    Module m;
    m.device = device;
    m.bank = bank;
    return m;
}

TEST(Smbios, AServersChannelsAreCountedOnceEach)
{
    const Table table =
        table_of({at("DIMM 0", "P0 CHANNEL A"), at("DIMM 1", "P0 CHANNEL A"), at("DIMM 0", "P0 CHANNEL B"), at("DIMM 0", "P1 CHANNEL A")});
    const tn_smbios_memory memory = read(table);
    EXPECT_EQ(memory.n_modules, 4u);
    EXPECT_EQ(memory.n_channels, 3u);
    EXPECT_EQ(memory.bytes_per_s, 3 * 4800e6 * 8);
    EXPECT_EQ(memory.why_unknown, nullptr);
}

TEST(Smbios, ADesktopsChannelsAreNamedByTheDevice)
{
    const Table table = table_of({at("Controller0-ChannelA-DIMM0", "BANK 0"), at("Controller0-ChannelA-DIMM1", "BANK 1"),
                                  at("Controller1-ChannelA-DIMM0", "BANK 2")});
    EXPECT_EQ(read(table).n_channels, 2u);
    EXPECT_EQ(read(table).bytes_per_s, 2 * 4800e6 * 8);
}

TEST(Smbios, EmptySlotsDoNotCount)
{
    Module empty = at("DIMM 0", "P0 CHANNEL C");
    empty.size = empty.speed = empty.configured = empty.width = 0;
    const tn_smbios_memory memory = read(table_of({at("DIMM 0", "P0 CHANNEL A"), empty}));
    EXPECT_EQ(memory.n_modules, 1u);
    EXPECT_EQ(memory.bytes_per_s, 4800e6 * 8);
    EXPECT_STREQ(read(table_of({empty})).why_unknown, "the firmware lists no memory modules");
}

TEST(Smbios, TheSpeedThatIsSetCountsAndTheSlowestModules)
{
    Module fast = at("DIMM 0", "P0 CHANNEL A"), slow = at("DIMM 0", "P0 CHANNEL B");
    fast.speed = 5600;
    fast.configured = 5200;
    slow.speed = 4800;
    slow.configured = 0; // not told: what it can
    EXPECT_EQ(read(table_of({fast})).bytes_per_s, 5200e6 * 8);
    EXPECT_EQ(read(table_of({fast, slow})).bytes_per_s, 2 * 4800e6 * 8);
    Module extended = fast;
    extended.speed = extended.configured = 0xffff;
    extended.extended = 70000;
    extended.extended_configured = 66000;
    EXPECT_EQ(read(table_of({extended})).bytes_per_s, 66000e6 * 8);
    Module old = fast; // before version 2.7 there was no configured speed
    old.length = 0x1b;
    EXPECT_EQ(read(table_of({old})).bytes_per_s, 5600e6 * 8);
}

TEST(Smbios, WhatTheTableDoesNotTellIsUnknownWithAReason)
{
    Module m = at("DIMM 0", "P0 CHANNEL A");
    m.speed = m.configured = 0; // as hypervisors write it
    EXPECT_EQ(read(table_of({m})).bytes_per_s, 0);
    EXPECT_STREQ(read(table_of({m})).why_unknown, "the firmware does not tell speed and width of the memory modules");
    m = at("DIMM 0", "P0 CHANNEL A");
    for (unsigned width : {0u, 0xffffu, 63u}) {
        m.width = width;
        EXPECT_EQ(read(table_of({m})).bytes_per_s, 0) << width;
    }
    EXPECT_STREQ(read(table_of({at("DIMM_A1", "Not Specified")})).why_unknown,
                 "the firmware does not name the channels of the memory modules");
    EXPECT_EQ(read(table_of({at("DIMM 0", "P0 CHANNEL A"), at("A2", "channel")})).bytes_per_s, 0) << "one module without a channel";
    EXPECT_EQ(read(table_of({at("", "")})).bytes_per_s, 0);
}

TEST(Smbios, ATableThatEndsAnywhereIsReadUpToThere)
{
    const Table table = table_of({at("DIMM 0", "P0 CHANNEL A"), at("DIMM 0", "P0 CHANNEL B")});
    for (size_t n = 0; n <= table.size(); n++) EXPECT_LE(read(table, n).n_modules, 2u) << n;
    EXPECT_EQ(read(table, table.size() - 6).n_modules, 2u) << "without an end";
}

TEST(Smbios, LengthsAndStringsThatLieAreRefused)
{
    const Table good = table_of({at("DIMM 0", "P0 CHANNEL A")});
    for (size_t i = 0; i < good.size(); i++) {
        for (int value : {0, 1, 3, 4, 0x7f, 0xff}) {
            Table bad = good;
            bad[i] = static_cast<uint8_t>(value);
            EXPECT_LE(read(bad).n_channels, 1u) << "byte " << i << " is " << value;
        }
    }
    std::vector<Module> many(300, at("DIMM 0", ""));
    for (size_t i = 0; i < many.size(); i++) many[i].bank = "P0 CHANNEL " + std::to_string(i);
    EXPECT_EQ(read(table_of(many)).bytes_per_s, 0) << "more channels than any machine has";
    Module long_name = at("DIMM 0", "P0 CHANNEL A");
    long_name.bank = std::string(500, 'x') + "CHANNEL A";
    EXPECT_EQ(read(table_of({long_name})).bytes_per_s, 0);
}

TEST(Smbios, RandomBytesDoNoHarm)
{
    std::mt19937 random(20260101);
    for (int i = 0; i < 20000; i++) {
        Table table = i % 2 ? table_of({at("DIMM 0", "P0 CHANNEL A"), at("DIMM 1", "P0 CHANNEL B")}) : Table(random() % 300);
        const size_t n_changes = i % 2 ? 1 + random() % 8 : table.size();
        for (size_t k = 0; k < n_changes && !table.empty(); k++)
            table[random() % table.size()] = static_cast<uint8_t>(random() % 3 ? random() : 17);
        const tn_smbios_memory memory = read(table);
        EXPECT_EQ(memory.bytes_per_s == 0, memory.why_unknown != nullptr);
        EXPECT_GE(memory.bytes_per_s, 0);
    }
}

} // namespace
