// SPDX-License-Identifier: Apache-2.0
// A server on a Redis core under a script of bytes: replies of Redis, good, damaged or arbitrary; links
// that come and go; ticks, turns, time; clients that ask for sessions that are elsewhere.
//
// After every step conf <= sent for every session, no conf falls, and nothing was sent over a link that
// is down; every request is done once; what is skipped is counted; at the end nothing is left.
//
// Bytes: the first says how far the node has come. Then each step is a byte: what to do (low bits), with
// what (high bits), and its arguments. A text is a byte that names a word of `words`, or 255 and the
// bytes up to the next newline. What comes most often is the focus of a target.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum core_focus { CORE_JOURNAL, CORE_RECORD, CORE_INBOX };

void core_world_run(const uint8_t *data, size_t size, enum core_focus);
