// What the library itself wants to know of a text stream.
#ifndef TN_MODEL_TEXT_STREAM_H
#define TN_MODEL_TEXT_STREAM_H

#include "ternion/tokenizer.h"

// Bytes of whole characters that tokens have written and that are held back, because they may become a stop string.
size_t tn_text_stream_held(const tn_text_stream *stream);

#endif
