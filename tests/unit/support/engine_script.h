// SPDX-License-Identifier: Apache-2.0
// What every engine has to do, as scripts of requests that leave a transcript. Engines pass when their
// transcripts are equal to the expected ones: positions are written relative to the first head, and
// nothing in them depends on time.
//
//   appended 1 /a {"n":1}     an entry was told: its position, channel, text
//   to sessions: up to 1      what was appended is delivered
//   done b acknowledged 2     a request was: its name, the outcome, the position if it is a publish's
//   -- words                  the script says what it does
//
// Between two words what was appended stands in one order, completions of publishes in another, and those of requests
// about records in a third. How they mesh is the engine's (`apart`): each publish may be completed before the next one
// is appended, and a record may need a way of its own.
#pragma once

#include "bayeux/buffer.h"
#include "bayeux/engine.h"

// The engine under test. `settle` runs turns until it has nothing more to tell.
struct engine_host {
  struct bx_engine *(*create)(struct engine_host *);
  void (*start)(struct engine_host *, struct bx_engine *);   // when the events are set; NULL: it needs none
  void (*settle)(struct engine_host *, struct bx_engine *);
  bool apart;
};

struct engine_script {
  const char *name;
  // Appends to `out`; creates and destroys its engine.
  void (*run)(struct engine_host *, struct bx_buffer *out);
  const char *transcript;
};

extern const struct engine_script engine_scripts[];   // ends with a row without a name

// Runs one, asserts that its transcript is the expected one and that no frame is left.
void engine_script_check(struct engine_host *, const struct engine_script *);
