// SPDX-License-Identifier: Apache-2.0
// What a client may get back, whatever it sent. The last thing may be cut off.
// With FUZZ_SHOW in the environment it is printed.
#pragma once

#include "bayeux/base.h"

// A row of HTTP answers: status lines, headers, bodies as their lengths say, of the kind that their
// types say (JSON, a script that calls one function with JSON, a stream of events). After a 101 for
// websockets, frames.
void host_check_answers(struct bx_slice bytes);

// Frames of the server: unmasked, known opcodes, whole messages; texts are JSON arrays; close codes
// exist; nothing comes behind a close.
void host_check_frames(struct bx_slice bytes);
