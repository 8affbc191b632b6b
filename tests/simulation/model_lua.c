// SPDX-License-Identifier: Apache-2.0
// Scripts of the model: the sandbox of Redis as far as Mora's scripts may use it.
#include "tests/simulation/model.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bayeux/buffer.h"
#include "engine-redis/scripts/scripts.h"

static struct sim_redis *self(lua_State *lua) {
  lua_getfield(lua, LUA_REGISTRYINDEX, "model");
  struct sim_redis *r = lua_touserdata(lua, -1);
  lua_pop(lua, 1);
  return r;
}

// -- replies of commands, as Lua sees them -------------------------------------------------------

static void push_field(lua_State *lua, const char *name, struct bx_slice text) {
  lua_newtable(lua);
  lua_pushlstring(lua, text.at ? text.at : "", text.len);
  lua_setfield(lua, -2, name);
}

static void push(lua_State *lua, const struct er_reply *r, bool status) {
  luaL_checkstack(lua, 3, "reply");
  switch (r->type) {
  case ER_REPLY_NIL: lua_pushboolean(lua, 0); break;
  case ER_REPLY_INT: lua_pushnumber(lua, (lua_Number)r->number); break;
  case ER_REPLY_TEXT:
    if (status)
      push_field(lua, "ok", r->text);
    else
      lua_pushlstring(lua, r->text.at ? r->text.at : "", r->text.len);
    break;
  case ER_REPLY_ERROR: push_field(lua, "err", r->text); break;
  case ER_REPLY_ARRAY:
    lua_createtable(lua, (int)r->count, 0);
    for (size_t i = 0; i < r->count; i++) {
      push(lua, &r->items[i], false);
      lua_rawseti(lua, -2, (int)i + 1);
    }
    break;
  }
}

static int command(lua_State *lua, bool raises) {
  int argc = lua_gettop(lua);
  if (argc == 0) return luaL_error(lua, "Please specify at least one argument for this redis.call()");
  struct bx_slice *argv = lua_newuserdata(lua, (size_t)argc * sizeof *argv);   // gone with the stack, also on errors
  for (int i = 0; i < argc; i++) {
    if (!lua_isstring(lua, i + 1))
      return luaL_error(lua, "Lua redis lib command arguments must be strings or integers");
    if (lua_type(lua, i + 1) == LUA_TNUMBER) {
      char digits[32];
      int length = snprintf(digits, sizeof digits, "%.17g", lua_tonumber(lua, i + 1));
      lua_pushlstring(lua, digits, (size_t)length);
      lua_replace(lua, i + 1);
    }
    argv[i].at = lua_tolstring(lua, i + 1, &argv[i].len);
  }
  bool status = false;
  struct er_reply *r = sim_command(self(lua), argv, (size_t)argc, &status);
  bool error = r->type == ER_REPLY_ERROR;
  push(lua, r, status);
  sim_reply_destroy(r);
  return error && raises ? lua_error(lua) : 1;
}

static int redis_call(lua_State *lua) { return command(lua, true); }
static int redis_pcall(lua_State *lua) { return command(lua, false); }

static int field_reply(lua_State *lua, const char *name) {
  size_t len;
  const char *text = luaL_checklstring(lua, 1, &len);
  push_field(lua, name, (struct bx_slice){text, len});
  return 1;
}

static int error_reply(lua_State *lua) { return field_reply(lua, "err"); }
static int status_reply(lua_State *lua) { return field_reply(lua, "ok"); }

static int no_global(lua_State *lua) {
  return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", luaL_checkstring(lua, 2));
}

// -- what a script returns -----------------------------------------------------------------------

static struct bx_slice text_at(lua_State *lua, int index) {
  struct bx_slice s;
  s.at = lua_tolstring(lua, index, &s.len);
  return s;
}

static struct er_reply *returned(lua_State *lua);

static struct er_reply *returned_table(lua_State *lua) {
  struct er_reply *reply = NULL;
  lua_getfield(lua, -1, "err");
  if (lua_isstring(lua, -1)) {
    struct bx_slice text = text_at(lua, -1);
    reply = sim_reply_error("%.*s", (int)text.len, text.at);
  }
  lua_pop(lua, 1);
  if (reply) return reply;
  lua_getfield(lua, -1, "ok");
  if (lua_isstring(lua, -1)) reply = sim_reply_text(text_at(lua, -1));
  lua_pop(lua, 1);
  if (reply) return reply;
  // As Redis: up to the first nil.
  size_t count = 0;
  for (;; count++) {
    lua_rawgeti(lua, -1, (int)count + 1);
    bool end = lua_isnil(lua, -1);
    lua_pop(lua, 1);
    if (end) break;
  }
  reply = sim_reply_array(count);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(lua, -1, (int)i + 1);
    sim_reply_move(&reply->items[i], returned(lua));
    lua_pop(lua, 1);
  }
  return reply;
}

static struct er_reply *returned(lua_State *lua) {
  struct er_reply *reply;
  switch (lua_type(lua, -1)) {
  case LUA_TSTRING: return sim_reply_text(text_at(lua, -1));
  case LUA_TTABLE: return returned_table(lua);
  case LUA_TNUMBER:
  case LUA_TBOOLEAN:
    reply = sim_reply_array(0);
    reply->type = lua_isnumber(lua, -1) || lua_toboolean(lua, -1) ? ER_REPLY_INT : ER_REPLY_NIL;
    reply->number = lua_isnumber(lua, -1) ? (int64_t)lua_tonumber(lua, -1) : 1;
    return reply;
  default:
    reply = sim_reply_array(0);
    reply->type = ER_REPLY_NIL;
    return reply;
  }
}

// Runs the function on the top of the stack.
static struct er_reply *run(struct sim_redis *r, const struct bx_slice *argv, size_t argc) {
  lua_State *lua = r->lua;
  BX_BUG_ON(argc > (size_t)INT32_MAX);
  lua_createtable(lua, (int)argc, 0);
  for (size_t i = 0; i < argc; i++) {
    lua_pushlstring(lua, argv[i].at ? argv[i].at : "", argv[i].len);
    lua_rawseti(lua, -2, (int)i + 1);
  }
  lua_pushliteral(lua, "ARGV");
  lua_insert(lua, -2);
  lua_rawset(lua, LUA_GLOBALSINDEX);

  r->scripted = true;
  r->dirty = false;
  int failed = lua_pcall(lua, 0, 1, 0);
  r->scripted = false;
  // Redis adds the place to an error of a command, and ERR to one of Lua.
  struct er_reply *reply;
  if (failed && lua_type(lua, -1) == LUA_TSTRING)
    reply = sim_reply_error("ERR %s", lua_tostring(lua, -1));
  else
    reply = returned(lua);
  lua_settop(lua, 0);
  return reply;
}

struct er_reply *sim_lua_run(struct sim_redis *r, const char *name, const struct bx_slice *argv, size_t argc) {
  lua_settop(r->lua, 0);
  lua_getfield(r->lua, LUA_REGISTRYINDEX, "scripts");
  lua_getfield(r->lua, -1, name);
  return lua_isnil(r->lua, -1) ? NULL : run(r, argv, argc);
}

struct er_reply *sim_lua_eval(struct sim_redis *r, struct bx_slice text, const struct bx_slice *argv, size_t argc) {
  lua_settop(r->lua, 0);
  if (luaL_loadbuffer(r->lua, text.at, text.len, "@user_script"))
    return sim_reply_error("ERR %s", lua_tostring(r->lua, -1));
  return run(r, argv, argc);
}

// -- the sandbox ---------------------------------------------------------------------------------

static void open_library(lua_State *lua, const char *name, lua_CFunction open) {
  lua_pushcfunction(lua, open);
  lua_pushstring(lua, name);
  lua_call(lua, 1, 0);
}

static void protect_globals(lua_State *lua) {
  static const char *const removed[] = {"print", "dofile", "loadfile", "newproxy"};
  for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
    lua_pushnil(lua);
    lua_setglobal(lua, removed[i]);
  }
  lua_newtable(lua);
  lua_pushcfunction(lua, no_global);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, no_global);
  lua_setfield(lua, -2, "__newindex");
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  lua_insert(lua, -2);
  lua_setmetatable(lua, -2);
  lua_pop(lua, 1);
}

void sim_lua_init(struct sim_redis *r) {
  static const luaL_Reg functions[] = {{"call", redis_call},
                                       {"pcall", redis_pcall},
                                       {"error_reply", error_reply},
                                       {"status_reply", status_reply},
                                       {NULL, NULL}};
  lua_State *lua = r->lua = luaL_newstate();
  BX_BUG_ON(!lua);
  open_library(lua, "", luaopen_base);
  open_library(lua, LUA_TABLIBNAME, luaopen_table);
  open_library(lua, LUA_STRLIBNAME, luaopen_string);
  open_library(lua, LUA_MATHLIBNAME, luaopen_math);
  luaL_register(lua, "redis", functions);
  lua_pushlightuserdata(lua, r);
  lua_setfield(lua, LUA_REGISTRYINDEX, "model");
  protect_globals(lua);

  lua_settop(lua, 0);
  lua_newtable(lua);
  for (size_t i = 0; i < er_script_count; i++) {
    const struct er_script *s = &er_scripts[i];
    int failed = luaL_loadbuffer(lua, s->text, s->length, "@user_script");
    if (failed) fprintf(stderr, "%s.lua: %s\n", s->name, lua_tostring(lua, -1));
    BX_BUG_ON(failed);
    lua_setfield(lua, -2, s->name);
  }
  lua_setfield(lua, LUA_REGISTRYINDEX, "scripts");
}

void sim_lua_fini(struct sim_redis *r) { lua_close(r->lua); }
