// Generated tokens to text that may be shown: whole characters only, and nothing that may still turn out to be a stop string.
// All decisions are made byte by byte, so that the text does not depend on where tokens were cut.
#include "model/text_stream.h"

#include "base/alloc.h"
#include "base/params.h"
#include "base/str.h"
#include "model/unicode.h"

// A stop string and how far the text's end agrees with it (Knuth, Morris and Pratt's automaton).
typedef struct stop_matcher {
    char *text;
    size_t len;
    size_t *border; // [len] of the first i + 1 bytes: the longest proper beginning that is also their end
    size_t matched; // bytes of the longest beginning of `text` that the text so far ends with
} stop_matcher;

struct tn_text_stream {
    const tn_tokenizer *tokenizer;
    bool special;
    stop_matcher *stops;
    size_t n_stops;
    tn_utf8_mender mender;
    char *bytes; // of the token at hand
    size_t bytes_capacity;
    char *text; // what the last call gave out, then what is held back
    size_t text_len, text_capacity, n_given;
    bool stopped;
};

static tn_status stop_init(stop_matcher *stop, const char *text)
{
    size_t len = text ? strlen(text) : 0, bytes;
    if (len == 0) return tn_fail(TN_INVALID_ARGUMENT, "a stop string is empty: leave it out");
    for (size_t at = 0; at < len; at += bytes) {
        uint32_t c;
        bytes = tn_utf8_decode((const uint8_t *)text + at, len - at, &c);
        if (c == TN_CHAR_REPLACEMENT && bytes == 1) {
            return tn_fail(TN_INVALID_ARGUMENT, "a stop string is not UTF-8 at byte %zu and could never occur: correct it", at);
        }
    }
    stop->len = len;
    TN_TRY(tn_strdup(text, len, &stop->text));
    TN_TRY(tn_alloc_zero(len, sizeof *stop->border, &stop->border));
    for (size_t i = 1, k = 0; i < len; i++) {
        while (k > 0 && text[i] != text[k]) k = stop->border[k - 1];
        if (text[i] == text[k]) k++;
        stop->border[i] = k;
    }
    return TN_OK;
}

// Takes one more byte of text; true where the stop string is complete.
static bool stop_take(stop_matcher *stop, char byte)
{
    size_t k = stop->matched;
    while (k > 0 && stop->text[k] != byte) k = stop->border[k - 1];
    if (stop->text[k] == byte) k++;
    stop->matched = k;
    return k == stop->len;
}

tn_status tn_text_stream_create(const tn_tokenizer *tokenizer, const tn_text_stream_params *params, tn_text_stream **out_stream)
{
    TN_REQUIRE(out_stream);
    tn_status status;
    tn_text_stream *s = NULL;
    tn_text_stream_params p = TN_TEXT_STREAM_PARAMS_INIT;
    *out_stream = NULL;
    TN_REQUIRE(tokenizer);
    TN_TRY(TN_PARAMS_READ(tn_text_stream_params, special, params, &p));
    if (!p.stops && p.n_stops > 0) return tn_fail(TN_INVALID_ARGUMENT, "%zu stop strings at NULL: correct the call", p.n_stops);
    TN_TRY_GOTO(tn_alloc_zero(1, sizeof *s, &s));
    s->tokenizer = tokenizer;
    s->special = p.special;
    TN_TRY_GOTO(tn_alloc_zero(p.n_stops, sizeof *s->stops, &s->stops));
    s->n_stops = p.n_stops;
    for (size_t i = 0; i < p.n_stops; i++) TN_TRY_GOTO(stop_init(&s->stops[i], p.stops[i]));
    *out_stream = s;
    return TN_OK;
fail:
    tn_text_stream_destroy(s);
    return status;
}

void tn_text_stream_destroy(tn_text_stream *stream)
{
    if (!stream) return;
    for (size_t i = 0; i < stream->n_stops; i++) {
        tn_free(stream->stops[i].text);
        tn_free(stream->stops[i].border);
    }
    tn_free(stream->stops);
    tn_free(stream->bytes);
    tn_free(stream->text);
    tn_free(stream);
}

static tn_status read_token(tn_text_stream *s, int32_t token, size_t *out_len)
{
    TN_TRY(tn_tokenizer_decode_token(s->tokenizer, token, s->special, s->bytes, s->bytes_capacity, out_len));
    if (*out_len <= s->bytes_capacity) return TN_OK;
    TN_TRY(tn_grow(&s->bytes, &s->bytes_capacity, *out_len, 1));
    return tn_tokenizer_decode_token(s->tokenizer, token, s->special, s->bytes, s->bytes_capacity, out_len);
}

// Forgets what the last call gave out and makes room for the text of `n_bytes` more bytes (and of a character that was begun).
static tn_status make_room(tn_text_stream *s, size_t n_bytes)
{
    TN_TRY(tn_grow(&s->text, &s->text_capacity, s->text_len + 3 * (n_bytes + sizeof s->mender.bytes), 1));
    memmove(s->text, s->text + s->n_given, s->text_len - s->n_given);
    s->text_len -= s->n_given;
    s->n_given = 0;
    return TN_OK;
}

// Adds text; once a stop string is complete, cuts it off and takes no more. Of several that end at one byte the longest counts.
static void add_text(tn_text_stream *s, const uint8_t *text, size_t n)
{
    for (size_t i = 0; i < n && !s->stopped; i++) {
        size_t complete = 0;
        s->text[s->text_len++] = (char)text[i];
        for (size_t k = 0; k < s->n_stops; k++) {
            if (stop_take(&s->stops[k], (char)text[i]) && s->stops[k].len > complete) complete = s->stops[k].len;
        }
        s->stopped = complete > 0;
        s->text_len -= complete;
    }
}

// Bytes at the text's end that may become a stop string.
static size_t held_back(const tn_text_stream *s)
{
    size_t held = 0;
    for (size_t k = 0; k < s->n_stops && !s->stopped; k++) held = s->stops[k].matched > held ? s->stops[k].matched : held;
    return held;
}

size_t tn_text_stream_held(const tn_text_stream *stream) { return stream->text_len - stream->n_given; }

tn_status tn_text_stream_push(tn_text_stream *stream, int32_t token, const char **out_text, size_t *out_len, bool *out_stopped)
{
    TN_REQUIRE(stream);
    TN_REQUIRE(out_text);
    TN_REQUIRE(out_len);
    TN_REQUIRE(out_stopped);
    size_t n_bytes;
    *out_text = "";
    *out_len = 0;
    *out_stopped = stream->stopped;
    TN_TRY(read_token(stream, token, &n_bytes));
    TN_TRY(make_room(stream, n_bytes));
    for (size_t i = 0; i < n_bytes; i++) {
        uint8_t mended[TN_UTF8_MENDED_MAX];
        add_text(stream, mended, tn_utf8_mend(&stream->mender, (uint8_t)stream->bytes[i], mended));
    }
    stream->n_given = stream->text_len - held_back(stream);
    *out_text = stream->text;
    *out_len = stream->n_given;
    *out_stopped = stream->stopped;
    return TN_OK;
}

tn_status tn_text_stream_finish(tn_text_stream *stream, const char **out_text, size_t *out_len)
{
    TN_REQUIRE(stream);
    TN_REQUIRE(out_text);
    TN_REQUIRE(out_len);
    uint8_t mended[TN_UTF8_MENDED_MAX];
    *out_text = "";
    *out_len = 0;
    TN_TRY(make_room(stream, 0));
    add_text(stream, mended, tn_utf8_mend_end(&stream->mender, mended));
    stream->n_given = stream->text_len;
    *out_text = stream->text;
    *out_len = stream->n_given;
    // Ready for another answer.
    for (size_t k = 0; k < stream->n_stops; k++) stream->stops[k].matched = 0;
    stream->stopped = false;
    return TN_OK;
}
