// Umbrella header: the whole public API.
#ifndef TERNION_TERNION_H
#define TERNION_TERNION_H

#include "ternion/base.h"
#include "ternion/batch.h"
#include "ternion/chat.h"
#include "ternion/convert.h"
#include "ternion/device.h"
#include "ternion/eval.h"
#include "ternion/model.h"
#include "ternion/placement.h"
#include "ternion/sampler.h"
#include "ternion/session.h"
#include "ternion/synth.h"
#include "ternion/tokenizer.h"

#endif
