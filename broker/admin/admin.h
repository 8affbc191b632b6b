// SPDX-License-Identifier: Apache-2.0
// The admin listener: inspection of the server as JSON, metrics, publishing, watching channels, control of sessions.
// Every route but the health ones asks for the token when one is set.
//
// Lifetime: create after the transport; destroy after the server, when the listeners are closed (the
// publisher's last completions come from the server's end).
#pragma once

#include "broker/access/authority.h"
#include "broker/host/http.h"
#include "broker/publish/owed.h"
#include "broker/transport/transport.h"
#include "broker/webhook/webhook.h"
#include "engine-redis/node.h"

struct bk_admin;
struct bk_board;

struct bk_admin_options {
  struct bk_loop *loop;
  struct bx_server *server;
  struct bk_transport *transport;
  struct er_core *core;                   // NULL: the memory engine
  const struct er_node *engine;           // of the core; NULL as that
  const char *node;                       // id of this process
  const char *token;                      // NULL: open
  size_t max_message;                     // bytes of one message's data
  struct bk_listener *const *listeners;   // of the process; may grow until the loop runs
  const size_t *listener_count;
  struct bk_guard *guard;
  struct bk_authority *authority;   // NULL: there is none
  struct bk_webhook *webhook;       // likewise
  struct bk_owed *owed;             // answers that a drain waits for
  struct bk_board *board;           // of all workers, see numbers.h; NULL: this process is the whole broker
  size_t slot;                      // of this worker
  void (*drain)(void *context);     // asked to drain, by somebody who may
  void *drain_context;
};

struct bk_admin *bk_admin_create(const struct bk_admin_options *);
void bk_admin_destroy(struct bk_admin *);

// Rows for a listener: writes at most `room` and returns how many there are.
size_t bk_admin_routes(struct bk_admin *, struct bk_route *rows, size_t room);

// Ends every /v1/tail, as the stream it is: the reader sees that it was no accident.
void bk_admin_drain(struct bk_admin *);

// An entry was appended: for those who watch channels.
void bk_admin_appended(struct bk_admin *, const struct bx_entry *);

// The end of a turn: the other workers see what this one has counted.
void bk_admin_post_numbers(struct bk_admin *);
