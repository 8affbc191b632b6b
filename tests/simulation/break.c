// SPDX-License-Identifier: Apache-2.0
// Faults put in on purpose, to see that the simulation finds them.
#include <lauxlib.h>
#include <lua.h>

#include "engine-redis/scripts/scripts.h"
#include "tests/simulation/sim.h"

// -- generation: the scripts do not look at it; stays: who is ended by others stays present --------------

static struct bx_slice without(struct sim *s, struct bx_slice text, const char *piece, const char *instead) {
  const char *at = memmem(text.at, text.len, piece, strlen(piece));
  struct bx_buffer out = {0};
  struct bx_slice kept;

  if (at == NULL) return text;
  bx_buffer_add(&out, text.at, (size_t)(at - text.at));
  bx_buffer_slice(&out, bx_slice_of(instead));
  bx_buffer_add(&out, at + strlen(piece), (size_t)(text.at + text.len - at) - strlen(piece));
  kept = sim_keep(s, bx_buffer_view(&out));
  bx_buffer_fini(&out);
  return kept;
}

void sim_break_scripts(struct sim *s) {
  lua_State *lua = s->redis.model->lua;

  if (s->broken != SIM_BREAK_GENERATION && s->broken != SIM_BREAK_STAYS) return;
  lua_getfield(lua, LUA_REGISTRYINDEX, "scripts");
  for (size_t i = 0; i < er_script_count; i++) {
    struct bx_slice text = {er_scripts[i].text, er_scripts[i].length};

    if (s->broken == SIM_BREAK_STAYS) {
      text = without(s, text, "if not r or r.here then exit_all", "if r and r.here and r.n == me then exit_all");
    } else {
      text = without(s, text, "if r.n ~= n or decimal(r.g) ~= g then return nil,", "if false then return nil,");
      if (strcmp(er_scripts[i].name, "claim") == 0)
        text = without(s, text, "if decimal(r.g) ~= g then", "if false then");
    }
    BX_BUG_ON(luaL_loadbuffer(lua, text.at, text.len, "@user_script") != 0);
    lua_setfield(lua, -2, er_scripts[i].name);
  }
  lua_settop(lua, 0);
}

// -- mark-first: the mark is the head, whoever has not confirmed it ---------------------------------

// ns e n incarnation head sessions mark ...
void sim_break_tick(struct sim_node *n, struct bx_slice *args, char mark[24]) {
  (void)n;
  snprintf(mark, 24, "%.*s", (int)args[4].len, args[4].at);
  args[6] = bx_slice_of(mark);
}

// -- late-start: a subscription begins when Redis has answered --------------------------------------

static void (*subscribed)(struct bx_request *, enum bx_outcome, bx_position);

static void late(struct bx_request *r, enum bx_outcome outcome, bx_position position) {
  r->start = bx_journal_head(&r->session->server->journal);
  subscribed(r, outcome, position);
}

static void submit(struct bx_engine *engine, struct bx_request *r) {
  struct bx_server *server = engine->events.context;
  struct sim_node *n = server->env.context;

  if (r->kind == BX_REQUEST_SUBSCRIBE) {
    subscribed = r->done;
    r->done = late;
  }
  n->whole->submit(engine, r);
}

void sim_break_node(struct sim *s, struct sim_node *n) {
  struct bx_engine *engine = er_core_engine(n->core);

  if (s->broken != SIM_BREAK_LATE_START) return;
  n->whole = engine->ops;
  n->ops = *engine->ops;
  n->ops.submit = submit;
  engine->ops = &n->ops;
}
