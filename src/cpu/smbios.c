// Memory devices (type 17) of an SMBIOS table: modules, the channels that their locators name, width and speed.
#include "cpu/smbios.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

// Offsets in a structure of type 17.
enum {
    TYPE_MEMORY_DEVICE = 17,
    TYPE_END = 127,
    HEADER_BYTES = 4,
    DATA_WIDTH = 0x0a, // bits
    SIZE = 0x0c,       // 0: no module here
    DEVICE_LOCATOR = 0x10,
    BANK_LOCATOR = 0x11,
    SPEED = 0x15, // transfers a second / 10^6
    CONFIGURED_SPEED = 0x20,
    EXTENDED_SPEED = 0x54, // where SPEED is ffff
    EXTENDED_CONFIGURED_SPEED = 0x58,
    CHANNELS_MAX = 256,
    NAME_MAX_BYTES = 64,
};

typedef struct structure {
    const uint8_t *bytes;
    size_t n_bytes;      // of the formatted part
    const char *strings; // each ends with 0; at most n_string_bytes
    size_t n_string_bytes;
} structure;

typedef struct channels {
    uint32_t n;
    char names[CHANNELS_MAX][NAME_MAX_BYTES];
} channels;

static uint32_t word_at(const structure *s, size_t offset, size_t width)
{
    uint32_t value = 0;
    if (offset + width > s->n_bytes) return 0;
    for (size_t i = 0; i < width; i++) value |= (uint32_t)s->bytes[offset + i] << (8 * i);
    return value;
}

// Takes the structure at *at; false at the end, or where the table ends inside of it.
static bool next_structure(const uint8_t *table, size_t n_bytes, size_t *at, structure *out)
{
    if (n_bytes - *at < HEADER_BYTES) return false;
    const size_t length = table[*at + 1];
    if (length < HEADER_BYTES || length > n_bytes - *at) return false;
    *out = (structure){.bytes = table + *at, .n_bytes = length};
    // Strings follow, up to two zeros; without strings the two zeros stand alone.
    const size_t strings = *at + length;
    size_t end = strings;
    while (end + 1 < n_bytes && (table[end] || table[end + 1])) end++;
    if (end + 1 >= n_bytes) return false;
    out->strings = (const char *)table + strings;
    out->n_string_bytes = end + 1 - strings;
    *at = end + 2;
    return true;
}

// String `index` (from 1) of a structure; NULL where there is none.
static const char *string_at(const structure *s, size_t offset)
{
    uint32_t index = word_at(s, offset, 1);
    const char *text = s->strings, *end = s->strings + s->n_string_bytes;
    if (index == 0) return NULL;
    while (--index && text < end) text += strlen(text) + 1;
    return text < end && *text ? text : NULL;
}

// The part of a locator that names the channel, "P0 CHANNEL A" or "Controller1-ChannelB"; false where it names none.
static bool channel_name(const char *locator, char name[NAME_MAX_BYTES])
{
    static const char word[] = "channel";
    for (const char *at = locator; at && *at; at++) {
        if (strncasecmp(at, word, sizeof word - 1) != 0) continue;
        const char *end = at + sizeof word - 1;
        while (*end == ' ' || *end == '_' || *end == '-') end++;
        const char *id = end;
        while (isalnum((unsigned char)*end)) end++;
        const size_t n = (size_t)(end - locator);
        if (end == id || n >= NAME_MAX_BYTES) return false;
        memcpy(name, locator, n);
        name[n] = '\0';
        return true;
    }
    return false;
}

static bool add_channel(channels *c, const structure *s)
{
    char name[NAME_MAX_BYTES];
    if (!channel_name(string_at(s, BANK_LOCATOR), name) && !channel_name(string_at(s, DEVICE_LOCATOR), name)) return false;
    for (uint32_t i = 0; i < c->n; i++) {
        if (strcmp(c->names[i], name) == 0) return true;
    }
    if (c->n == CHANNELS_MAX) return false;
    memcpy(c->names[c->n++], name, sizeof name);
    return true;
}

// Transfers a second that the module runs at, in 10^6; 0: unknown.
static uint32_t speed_of(const structure *s)
{
    uint32_t speed = word_at(s, CONFIGURED_SPEED, 2);
    if (speed == 0xffff) speed = word_at(s, EXTENDED_CONFIGURED_SPEED, 4) & 0x7fffffff;
    if (speed == 0) speed = word_at(s, SPEED, 2);
    if (speed == 0xffff) speed = word_at(s, EXTENDED_SPEED, 4) & 0x7fffffff;
    return speed;
}

tn_smbios_memory tn_smbios_read_memory(const uint8_t *table, size_t n_bytes)
{
    tn_smbios_memory memory = {0};
    channels named = {0};
    uint32_t speed = UINT32_MAX, width = UINT32_MAX;
    bool all_named = true;
    structure s;
    for (size_t at = 0; next_structure(table, n_bytes, &at, &s) && s.bytes[0] != TYPE_END;) {
        if (s.bytes[0] != TYPE_MEMORY_DEVICE || word_at(&s, SIZE, 2) == 0) continue;
        memory.n_modules++;
        const uint32_t module_width = word_at(&s, DATA_WIDTH, 2), module_speed = speed_of(&s);
        if (module_width < width) width = module_width;
        if (module_speed < speed) speed = module_speed; // channels run as fast as the slowest module
        all_named = add_channel(&named, &s) && all_named;
    }
    if (memory.n_modules == 0) {
        memory.why_unknown = "the firmware lists no memory modules";
    } else if (speed == 0 || width == 0 || width == 0xffff || width % 8 != 0) {
        memory.why_unknown = "the firmware does not tell speed and width of the memory modules";
    } else if (!all_named) {
        memory.why_unknown = "the firmware does not name the channels of the memory modules";
    } else {
        memory.n_channels = named.n;
        memory.bytes_per_s = 1e6 * speed * (width / 8.0) * named.n;
    }
    return memory;
}
