// The machine's memory modules as its firmware describes them (SMBIOS, DSP0134), from bytes that are not trusted.
#ifndef TN_CPU_SMBIOS_H
#define TN_CPU_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

typedef struct tn_smbios_memory {
    uint32_t n_modules;      // that are there
    uint32_t n_channels;     // that have a module; 0: the table does not name them
    double bytes_per_s;      // of all channels; 0: unknown
    const char *why_unknown; // static text; NULL where bytes_per_s is known
} tn_smbios_memory;

// Reads a table of structures, as Linux shows it in /sys/firmware/dmi/tables/DMI. Whatever the bytes are: nothing outside of them is read.
tn_smbios_memory tn_smbios_read_memory(const uint8_t *table, size_t n_bytes);

#endif
