// SPDX-License-Identifier: Apache-2.0
// One connection to Redis that is always being made, in use, or waited for.
//
// An attempt walks a table of set-up steps (with Sentinels: resolve, connect and ask one; then resolve,
// connect, AUTH, SELECT, CLIENT SETNAME, a look at the server, SCRIPT LOAD). When all are done the link is up, until anything goes wrong: a step that
// is refused, bytes that are no reply, an answer that is late, an answer that says this server is of
// no use now (NOSCRIPT, LOADING, READONLY, MASTERDOWN, NOAUTH, UNBLOCKED). Then it is closed at once,
// `down` says why, and the next attempt follows after a random part of a back-off of 50 ms to 2 s,
// which begins anew after a link that lived 5 s. It never gives up.
//
// Invariants: `down` comes once for every attempt, whether it had been up or not. Replies come in the
// order of the commands. What is unanswered at `down` never gets a reply: it may or may not have been
// done by Redis, and may still be done after it.
//
// Callbacks come from the loop (bytes, timers) only, never from inside a function of this page. Any
// function of this page may be called in them, er_link_destroy() too.
//
// Times are ms on the clock of uv_now(). The process must ignore SIGPIPE. No threads; names are
// resolved in libuv's pool, again at each attempt.
#pragma once

#include "engine-redis/core/reply.h"
#include "engine-redis/url.h"

struct uv_loop_s;
struct bx_wheel;
struct er_script;
struct er_link;

struct er_link_events {
  // Redis is there and looks as it should. `run_id` is that of INFO: another one, another process.
  void (*up)(void *context, const char *run_id);
  // In words for a log; no secrets. The text lives as long as the call.
  void (*down)(void *context, const char *reason);
  // To the oldest command without a reply. The tree lives as long as the call.
  void (*reply)(void *context, const struct er_reply *);
  // Something to be logged as a warning; `event` is a stable id.
  void (*notice)(void *context, const char *event, const char *text);
};

struct er_link_options {
  const struct er_url *url;          // copied
  const char *name;                  // of the connection in CLIENT LIST, without blanks; copied
  const struct er_script *scripts;   // loaded in set-up; theirs for as long as the link lives
  size_t script_count;               // 0: none, plain commands only
  bx_millis step_timeout;            // a set-up step is answered within this
  bx_millis answer_timeout;          // so is every command; the tail's has to be longer than its BLOCK
  unsigned replicas;                 // that are wanted; fewer are a notice
  size_t reply_limit;                // bytes of one reply; more closes the link. 0: 256 MB
  const struct er_link_events *events;
  void *context;
};

enum {
  ER_LINK_CONNECT_TIMEOUT = 2000,   // per address
  ER_LINK_BACKOFF_MIN = 50,
  ER_LINK_BACKOFF_MAX = 2000,
  ER_LINK_STEADY = 5000,
  ER_LINK_COMMANDS_MAX = 65536,   // unanswered; one more closes the link
};

// The first attempt begins with the loop's next turn. The wheel has to be advanced by uv_now(loop),
// as it was at some time of the turn.
struct er_link *er_link_create(struct uv_loop_s *, struct bx_wheel *, const struct er_link_options *);

// No callback comes after it. The loop has to run on until its handles are closed.
void er_link_destroy(struct er_link *);

// `name` is that of a loaded script (EVALSHA sha 0 args...), else of a command. Written when the loop
// next polls, so that the commands of a turn leave together. False: the link is not up, or is about to
// be closed; there will be no reply, and nothing was sent.
bool er_link_send(struct er_link *, const char *name, const struct bx_slice *args, size_t count);

// Gives this connection up: `down` with this reason comes in the next turn, then a new attempt.
// Nothing is sent and no reply comes any more. Without a connection it does nothing.
void er_link_close(struct er_link *, const char *reason);

// Whether a link is up, for those who drive something by it, and what ended the last attempt: an outage is
// one line in the log, however many attempts end in the same way. All zeros: never up.
struct er_outage {
  bool up;
  char reason[160];
};
void er_outage_end(struct er_outage *);                        // `up`
bool er_outage_goes_on(struct er_outage *, const char *why);   // `down`. True: news, `reason` says which
