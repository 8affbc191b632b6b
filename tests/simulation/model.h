// SPDX-License-Identifier: Apache-2.0
// A Redis for the simulator: the commands that Mora uses, over memory, on a virtual clock, and the
// very Lua files that a Redis gets, run by lua5.1. tests/redis holds it to a real one: the same
// cases, equal replies.
//
// What it keeps of Redis: a script runs as a whole and is not rolled back; redis.call raises,
// redis.pcall returns {err}; a script's first write is refused when memory is full (unless the
// command frees some) or writes are refused at all, later ones never; keys expire when somebody
// looks; globals may not be made.
// What it does not: `~` trims in steps of `trim_step` entries (100); ZSCAN answers all at once; XREAD never
// blocks (the caller watches `writes`); replies to other commands than Mora's.
//
// Not here: links, replicas, crashes. The simulator makes them of snapshots and of run_id.
#pragma once

#include "engine-redis/core/reply.h"
#include "tests/simulation/model_keys.h"

struct lua_State;

struct sim_redis {
  struct sim_keys keys;
  uint64_t clock;         // microseconds since 1970; the owner moves it, in any direction
  char run_id[41];        // what INFO tells: a process run of the server
  bool full;              // used memory is over maxmemory
  const char *refusing;   // NULL, or the error that any write gets ("READONLY ...", "NOREPLICAS ...")
  unsigned trim_step;     // entries that `~` trims at once
  uint64_t writes;        // commands that wrote, so that a reader that waits can see that there is news
  struct lua_State *lua;
  bool scripted, dirty;   // inside a script; it has written
};

struct sim_redis *sim_redis_create(uint64_t clock, const char *run_id);   // compiles the scripts: milliseconds
void sim_redis_destroy(struct sim_redis *);

// Runs a script by its name ("append": argv[0] is the namespace), a plain command, or EVAL (text, "0",
// arguments). The reply is the caller's, who destroys it. Statuses are texts.
struct er_reply *sim_redis_call(struct sim_redis *, const char *name, const struct bx_slice *argv, size_t argc);
void sim_reply_destroy(struct er_reply *);

// A copy of all keys (expiries are times of the clock, and go on).
struct sim_keys *sim_redis_snapshot(const struct sim_redis *);
void sim_redis_restore(struct sim_redis *, const struct sim_keys *);   // a snapshot may be restored more than once
void sim_snapshot_destroy(struct sim_keys *);

// -- between model.c and model_lua.c -------------------------------------------------------------

// argv[0] is the name. Never NULL. `status`, if not NULL, tells whether the text is a status.
struct er_reply *sim_command(struct sim_redis *, const struct bx_slice *argv, size_t argc, bool *status);
void sim_lua_init(struct sim_redis *);
void sim_lua_fini(struct sim_redis *);
// NULL: there is no script of this name.
struct er_reply *sim_lua_run(struct sim_redis *, const char *name, const struct bx_slice *argv, size_t argc);
struct er_reply *sim_lua_eval(struct sim_redis *, struct bx_slice text, const struct bx_slice *argv, size_t argc);

struct er_reply *sim_reply_text(struct bx_slice);
struct er_reply *sim_reply_error(const char *format, ...) BX_PRINTF(1, 2);
struct er_reply *sim_reply_array(size_t count);                      // of NILs
void sim_reply_move(struct er_reply *item, struct er_reply *from);   // `from` is freed
