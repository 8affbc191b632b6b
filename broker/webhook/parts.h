// SPDX-License-Identifier: Apache-2.0
// Inside of broker/webhook.
#pragma once

#include "bayeux/buffer.h"
#include "broker/webhook/webhook.h"

// -- event.c: what is sent ---------------------------------------------------------------------------

struct bk_webhook_event {
  const char *prefix;   // of the id: of a pod, or of a process; NULL: none
  struct bx_slice id;
  uint64_t time;   // ms since 1970
  struct bx_slice kind, client, user, detail;
};
// False: a kind that is not told; nothing is written.
bool bk_webhook_write_event(struct bx_buffer *, const struct bk_webhook_event *);
// "t=<seconds>,v1=<hex>[,v1=<hex>]...", terminated: of "<seconds>.<body>", by each secret.
void bk_webhook_write_signature(struct bx_buffer *, struct cf_strings secrets, uint64_t seconds, struct bx_slice body);

// -- sources -----------------------------------------------------------------------------------------

struct bk_webhook_given {
  bool again;               // who asked has told without a break: nobody else did since the answer before
  struct bx_slice events;   // JSON objects, separated by commas
  size_t count;
  uint64_t missed;   // dropped in front of them
};

struct bk_webhook_source {
  // The next `limit` events (0: nothing, it is just said that this node goes on). `told`: those that were
  // given last are told; else they are given again. `done` comes once, perhaps from inside; NULL: somebody else
  // tells, or there is nobody to ask.
  void (*next)(struct bk_webhook_source *, bool told, size_t limit);
  void (*destroy)(struct bk_webhook_source *);
  void (*done)(void *context, const struct bk_webhook_given *);
  void *context;
  bx_millis lease;   // how long an answer holds; 0: for ever
};

struct bk_webhook_source *bk_webhook_stream_create(struct er_core *, const char *pod);

struct bk_webhook_source *bk_webhook_queue_create(const char *node, uint64_t max);
void bk_webhook_queue_add(struct bk_webhook_source *, struct bk_webhook_event *);   // gives it an id
uint64_t bk_webhook_queue_length(const struct bk_webhook_source *);
