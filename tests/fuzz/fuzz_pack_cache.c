// The reader of packed weights on any bytes: nothing is read outside of them, and no bytes are accepted but those that were written.
#include "runtime/pack_cache.h"

#include <stdlib.h>
#include <string.h>

enum { BODY_BYTES = 200 };

static void expect(bool holds)
{
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tn_pack_key key = {.body_bytes = BODY_BYTES};
    expect(tn_text_printf(&key.place, "place") == TN_OK && tn_text_printf(&key.bytes, "the key of a model") == TN_OK);
    const tn_status status = tn_pack_cache_verify(data, size, &key);
    if (status == TN_OK) {
        // The corpus has the one file that fits: its body counts from 0.
        const size_t body = (size_t)tn_pack_cache_body_offset(&key);
        expect(size == body + BODY_BYTES);
        for (size_t i = 0; i < BODY_BYTES; i++) expect(data[body + i] == (uint8_t)i);
    } else {
        expect(status == TN_BAD_FILE || status == TN_NOT_FOUND);
        expect(tn_error_last()->message[0] != '\0');
    }
    tn_pack_key_deinit(&key);
    return 0;
}
