// SPDX-License-Identifier: Apache-2.0
// The commands of the model. A command checks its arguments and types before it touches a key.
#include "tests/simulation/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { WRITES = 1, TAKES = 2, STATUS = 4 };   // TAKES: refused when memory is full

struct call {
  struct sim_redis *r;
  const struct bx_slice *argv;   // without the name
  size_t argc;
  struct er_reply *reply;   // what the command sets; NIL until then
  bool failed;
};

struct kind {
  const char *name;
  size_t least;   // arguments
  unsigned flags;
  void (*run)(struct call *);
};

static uint64_t now_ms(const struct call *c) { return c->r->clock / 1000; }

// -- replies -------------------------------------------------------------------------------------

static struct bx_slice copied(struct bx_slice s) {
  char *at = bx_alloc(s.len + 1);
  if (s.len) memcpy(at, s.at, s.len);
  return (struct bx_slice){at, s.len};
}

static void reply_clear(struct er_reply *r) {
  bx_free((char *)r->text.at);
  for (size_t i = 0; i < r->count; i++) reply_clear(&r->items[i]);
  bx_free(r->items);
  *r = (struct er_reply){.type = ER_REPLY_NIL};
}

void sim_reply_destroy(struct er_reply *r) {
  if (!r) return;
  reply_clear(r);
  bx_free(r);
}

static void set_text(struct er_reply *r, struct bx_slice text) {
  *r = (struct er_reply){.type = ER_REPLY_TEXT, .text = copied(text)};
}

static void set_array(struct er_reply *r, size_t count) {
  *r = (struct er_reply){.type = ER_REPLY_ARRAY, .count = count, .items = bx_alloc((count ? count : 1) * sizeof *r)};
  for (size_t i = 0; i < count; i++) r->items[i].type = ER_REPLY_NIL;
}

static void set_number(struct er_reply *r, int64_t number) {
  *r = (struct er_reply){.type = ER_REPLY_INT, .number = number};
}

static void set_double(struct er_reply *r, double value) {
  char text[40];
  snprintf(text, sizeof text, "%.17g", value);
  set_text(r, bx_slice_of(text));
}

static void set_id(struct er_reply *r, struct sim_id id) {
  char text[48];
  snprintf(text, sizeof text, "%llu-%llu", (unsigned long long)id.ms, (unsigned long long)id.seq);
  set_text(r, bx_slice_of(text));
}

struct er_reply *sim_reply_text(struct bx_slice text) {
  struct er_reply *r = bx_alloc(sizeof *r);
  set_text(r, text);
  return r;
}

struct er_reply *sim_reply_array(size_t count) {
  struct er_reply *r = bx_alloc(sizeof *r);
  set_array(r, count);
  return r;
}

static void set_error(struct er_reply *r, const char *text) {
  set_text(r, bx_slice_of(text));
  r->type = ER_REPLY_ERROR;
}

struct er_reply *sim_reply_error(const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  struct er_reply *r = bx_alloc(sizeof *r);
  set_error(r, text);
  return r;
}

void sim_reply_move(struct er_reply *item, struct er_reply *from) {
  reply_clear(item);
  *item = *from;
  bx_free(from);
}

static void fail(struct call *c, const char *text) {
  reply_clear(c->reply);
  set_error(c->reply, text);
  c->failed = true;
}

static void syntax(struct call *c) { fail(c, "ERR syntax error"); }

// -- arguments -----------------------------------------------------------------------------------

static bool is(struct bx_slice s, const char *word) {
  return s.len == strlen(word) && strncasecmp(s.at, word, s.len) == 0;
}

static bool to_double(struct bx_slice s, double *out) {
  char text[64], *end;
  if (s.len == 0 || s.len >= sizeof text) return false;
  memcpy(text, s.at, s.len);
  text[s.len] = 0;
  *out = strtod(text, &end);
  return *end == 0 && !isnan(*out);
}

static int64_t integer(struct call *c, size_t i) {
  char text[32], *end;
  struct bx_slice s = i < c->argc ? c->argv[i] : (struct bx_slice){NULL, 0};
  if (s.len > 0 && s.len < sizeof text) {
    memcpy(text, s.at, s.len);
    text[s.len] = 0;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (*end == 0 && errno == 0 && text[0] != ' ' && text[0] != '+') return n;
  }
  fail(c, "ERR value is not an integer or out of range");
  return 0;
}

// "<ms>" or "<ms>-<seq>".
static bool to_id(struct bx_slice s, uint64_t seq, struct sim_id *id) {
  const char *dash = s.len ? memchr(s.at, '-', s.len) : NULL;
  size_t head = dash ? (size_t)(dash - s.at) : s.len;
  *id = (struct sim_id){0, seq};
  return er_text_u64((struct bx_slice){s.at, head}, &id->ms) &&
         (!dash || er_text_u64((struct bx_slice){dash + 1, s.len - head - 1}, &id->seq));
}

// The value of argv[i], which must be of the type; NULL: there is none, or the call has failed.
static struct sim_value *want(struct call *c, size_t i, enum sim_type type) {
  struct sim_value *v = sim_keys_find(&c->r->keys, c->argv[i], now_ms(c));
  if (!v || v->type == type) return v;
  fail(c, "WRONGTYPE Operation against a key holding the wrong kind of value");
  return NULL;
}

static struct sim_value *want_or_add(struct call *c, size_t i, enum sim_type type) {
  struct sim_value *v = want(c, i, type);
  return v || c->failed ? v : sim_keys_add(&c->r->keys, c->argv[i], type);
}

static void drop_if_empty(struct call *c, struct sim_value *v) {
  if (v->count == 0) sim_keys_remove(&c->r->keys, v);
}

// -- the server ----------------------------------------------------------------------------------

static void ping(struct call *c) { set_text(c->reply, BX_LIT("PONG")); }

static void time_(struct call *c) {
  char text[32];
  set_array(c->reply, 2);
  snprintf(text, sizeof text, "%llu", (unsigned long long)(c->r->clock / 1000000));
  set_text(&c->reply->items[0], bx_slice_of(text));
  snprintf(text, sizeof text, "%llu", (unsigned long long)(c->r->clock % 1000000));
  set_text(&c->reply->items[1], bx_slice_of(text));
}

static void info(struct call *c) {
  char text[256];
  snprintf(text, sizeof text,
           "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:%s\r\n"
           "# Memory\r\nused_memory:%d\r\nmaxmemory:%d\r\nmaxmemory_policy:noeviction\r\n",
           c->r->run_id, c->r->full ? 2000 : 1000, 1500);
  set_text(c->reply, bx_slice_of(text));
}

static void flushall(struct call *c) {
  sim_keys_clear(&c->r->keys);
  set_text(c->reply, BX_LIT("OK"));
}

static void dbsize(struct call *c) {
  sim_keys_expire(&c->r->keys, now_ms(c));
  set_number(c->reply, (int64_t)c->r->keys.table.count);
}

// -- keys ----------------------------------------------------------------------------------------

static void type(struct call *c) {
  static const char *const names[] = {"string", "hash", "set", "zset", "stream"};
  struct sim_value *v = sim_keys_find(&c->r->keys, c->argv[0], now_ms(c));
  set_text(c->reply, bx_slice_of(v ? names[v->type] : "none"));
}

static void del(struct call *c) {
  int64_t count = 0;
  for (size_t i = 0; i < c->argc; i++) {
    struct sim_value *v = sim_keys_find(&c->r->keys, c->argv[i], now_ms(c));
    if (v) sim_keys_remove(&c->r->keys, v);
    count += v != NULL;
  }
  set_number(c->reply, count);
}

static void exists(struct call *c) {
  int64_t count = 0;
  for (size_t i = 0; i < c->argc; i++) count += sim_keys_find(&c->r->keys, c->argv[i], now_ms(c)) != NULL;
  set_number(c->reply, count);
}

static void expire_at(struct call *c, int64_t at) {
  struct sim_value *v = c->failed ? NULL : sim_keys_find(&c->r->keys, c->argv[0], now_ms(c));
  if (c->failed) return;
  set_number(c->reply, v != NULL);
  if (v && at <= (int64_t)now_ms(c))
    sim_keys_remove(&c->r->keys, v);
  else if (v)
    v->expire = (uint64_t)at;
}

static void expire(struct call *c) { expire_at(c, (int64_t)now_ms(c) + integer(c, 1) * 1000); }
static void pexpire(struct call *c) { expire_at(c, (int64_t)now_ms(c) + integer(c, 1)); }
static void pexpireat(struct call *c) { expire_at(c, integer(c, 1)); }

static void pexpiretime(struct call *c) {
  struct sim_value *v = sim_keys_find(&c->r->keys, c->argv[0], now_ms(c));
  set_number(c->reply, !v ? -2 : v->expire ? (int64_t)v->expire : -1);
}

static void pttl(struct call *c) {
  struct sim_value *v = sim_keys_find(&c->r->keys, c->argv[0], now_ms(c));
  set_number(c->reply, !v ? -2 : v->expire ? (int64_t)(v->expire - now_ms(c)) : -1);
}

static void get(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_STRING);
  if (v) set_text(c->reply, v->text);
}

// SET key value [PX ms]
static void set(struct call *c) {
  int64_t life = 0;
  bool fresh = c->argc == 5 && is(c->argv[4], "NX");
  if ((c->argc == 4 || fresh) && is(c->argv[2], "PX"))
    life = integer(c, 3);
  else if (c->argc != 2)
    syntax(c);
  if (c->failed) return;
  struct sim_value *v = sim_keys_find(&c->r->keys, c->argv[0], now_ms(c));
  if (v && fresh) return;
  if (v) sim_keys_remove(&c->r->keys, v);
  v = sim_keys_add(&c->r->keys, c->argv[0], SIM_STRING);
  sim_value_text(v, c->argv[1]);
  v->expire = life ? now_ms(c) + (uint64_t)life : 0;
  set_text(c->reply, BX_LIT("OK"));
}

// -- hashes and sets -----------------------------------------------------------------------------

static void hget(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_HASH);
  struct sim_item *item = v ? sim_value_find(v, c->argv[1]) : NULL;
  if (item) set_text(c->reply, item->value);
}

static void hmget(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_HASH);
  if (c->failed) return;
  set_array(c->reply, c->argc - 1);
  for (size_t i = 1; v && i < c->argc; i++) {
    struct sim_item *item = sim_value_find(v, c->argv[i]);
    if (item) set_text(&c->reply->items[i - 1], item->value);
  }
}

static void hset(struct call *c) {
  if (c->argc % 2 == 0) {
    fail(c, "ERR wrong number of arguments for 'hset' command");
    return;
  }
  struct sim_value *v = want_or_add(c, 0, SIM_HASH);
  int64_t new = 0;
  for (size_t i = 1; v && i < c->argc; i += 2) new += sim_value_set(v, c->argv[i], c->argv[i + 1]);
  if (v) set_number(c->reply, new);
}

static void hsetnx(struct call *c) {
  struct sim_value *v = want_or_add(c, 0, SIM_HASH);
  if (!v) return;
  bool new = !sim_value_find(v, c->argv[1]);
  if (new) sim_value_set(v, c->argv[1], c->argv[2]);
  set_number(c->reply, new);
}

static void hgetall(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_HASH);
  if (c->failed) return;
  set_array(c->reply, v ? 2 * v->count : 0);
  for (size_t i = 0; v && i < v->count; i++) {
    set_text(&c->reply->items[2 * i], v->items[i].name);
    set_text(&c->reply->items[2 * i + 1], v->items[i].value);
  }
}

static void hexists(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_HASH);
  if (!c->failed) set_number(c->reply, v && sim_value_find(v, c->argv[1]));
}

// Removes members: HDEL, SREM, ZREM.
static void remove_items(struct call *c, enum sim_type of) {
  struct sim_value *v = want(c, 0, of);
  if (c->failed) return;
  int64_t count = 0;
  for (size_t i = 1; v && i < c->argc; i++) {
    struct sim_item *item = sim_value_find(v, c->argv[i]);
    if (item) sim_value_drop(v, item);
    count += item != NULL;
  }
  set_number(c->reply, count);
  if (v) drop_if_empty(c, v);
}

static void hdel(struct call *c) { remove_items(c, SIM_HASH); }
static void srem(struct call *c) { remove_items(c, SIM_SET); }
static void zrem(struct call *c) { remove_items(c, SIM_ZSET); }

static void sadd(struct call *c) {
  struct sim_value *v = want_or_add(c, 0, SIM_SET);
  int64_t new = 0;
  for (size_t i = 1; v && i < c->argc; i++) new += sim_value_set(v, c->argv[i], (struct bx_slice){NULL, 0});
  if (v) set_number(c->reply, new);
}

static void smembers(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_SET);
  if (c->failed) return;
  set_array(c->reply, v ? v->count : 0);
  for (size_t i = 0; v && i < v->count; i++) set_text(&c->reply->items[i], v->items[i].name);
}

static void count_items(struct call *c, enum sim_type of) {
  struct sim_value *v = want(c, 0, of);
  if (!c->failed) set_number(c->reply, v ? (int64_t)v->count : 0);
}

static void hlen(struct call *c) { count_items(c, SIM_HASH); }
static void scard(struct call *c) { count_items(c, SIM_SET); }
static void zcard(struct call *c) { count_items(c, SIM_ZSET); }

// -- sorted sets ---------------------------------------------------------------------------------

// ZADD key score member
static void zadd(struct call *c) {
  double score;
  if (c->argc != 3 || !to_double(c->argv[1], &score)) {
    fail(c, "ERR value is not a valid float");
    return;
  }
  struct sim_value *v = want_or_add(c, 0, SIM_ZSET);
  if (v) set_number(c->reply, sim_value_score(v, c->argv[2], score));
}

static void zscore(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_ZSET);
  struct sim_item *item = v ? sim_value_find(v, c->argv[1]) : NULL;
  if (item) set_double(c->reply, item->score);
}

static void zpairs(struct er_reply *reply, const struct sim_value *v) {
  set_array(reply, v ? 2 * v->count : 0);
  for (size_t i = 0; v && i < v->count; i++) {
    set_text(&reply->items[2 * i], v->items[i].name);
    set_double(&reply->items[2 * i + 1], v->items[i].score);
  }
}

// ZRANGE key 0 -1 WITHSCORES
static void zrange(struct call *c) {
  if (c->argc != 4 || !is(c->argv[1], "0") || !is(c->argv[2], "-1") || !is(c->argv[3], "WITHSCORES")) {
    syntax(c);
    return;
  }
  struct sim_value *v = want(c, 0, SIM_ZSET);
  if (!c->failed) zpairs(c->reply, v);
}

// ZSCAN key cursor [COUNT n]: everything at once, as Redis does with a small one.
static void zscan(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_ZSET);
  if (c->failed) return;
  set_array(c->reply, 2);
  set_text(&c->reply->items[0], BX_LIT("0"));
  zpairs(&c->reply->items[1], v);
}

struct bound {
  double at;
  bool open;
};

static bool to_bound(struct bx_slice s, struct bound *b) {
  b->open = s.len && s.at[0] == '(';
  if (b->open) s = (struct bx_slice){s.at + 1, s.len - 1};
  return to_double(s, &b->at);
}

// The items of argv[1]..argv[2]: [*from, *to) of v.
static struct sim_value *score_range(struct call *c, size_t *from, size_t *to) {
  struct bound low, high;
  if (!to_bound(c->argv[1], &low) || !to_bound(c->argv[2], &high)) {
    fail(c, "ERR min or max is not a float");
    return NULL;
  }
  struct sim_value *v = want(c, 0, SIM_ZSET);
  *from = *to = 0;
  if (!v) return NULL;
  while (*from < v->count && (v->items[*from].score < low.at || (low.open && v->items[*from].score == low.at))) ++*from;
  *to = *from;
  while (*to < v->count && (v->items[*to].score < high.at || (!high.open && v->items[*to].score == high.at))) ++*to;
  return v;
}

// ZRANGEBYSCORE key min max [LIMIT 0 n]
static void zrangebyscore(struct call *c) {
  int64_t limit = -1;
  if (c->argc == 6 && is(c->argv[3], "LIMIT") && is(c->argv[4], "0"))
    limit = integer(c, 5);
  else if (c->argc != 3)
    syntax(c);
  if (c->failed) return;
  size_t from, to;
  struct sim_value *v = score_range(c, &from, &to);
  if (c->failed) return;
  if (limit >= 0 && to - from > (size_t)limit) to = from + (size_t)limit;
  set_array(c->reply, to - from);
  for (size_t i = from; v && i < to; i++) set_text(&c->reply->items[i - from], v->items[i].name);
}

static void zremrangebyscore(struct call *c) {
  size_t from, to;
  struct sim_value *v = score_range(c, &from, &to);
  if (c->failed) return;
  set_number(c->reply, (int64_t)(to - from));
  if (!v) return;
  while (to-- > from) sim_value_drop(v, &v->items[to]);
  drop_if_empty(c, v);
}

// -- streams -------------------------------------------------------------------------------------

struct trim {
  bool by_id, about, given;
  int64_t length;
  struct sim_id id;
};

// MAXLEN|MINID [=|~] threshold at argv[i]; returns the index behind it.
static size_t read_trim(struct call *c, size_t i, struct trim *t) {
  *t = (struct trim){0};
  if (i >= c->argc || (!is(c->argv[i], "MAXLEN") && !is(c->argv[i], "MINID"))) return i;
  t->given = true;
  t->by_id = is(c->argv[i++], "MINID");
  if (i < c->argc && (is(c->argv[i], "~") || is(c->argv[i], "="))) t->about = is(c->argv[i++], "~");
  if (!t->by_id)
    t->length = integer(c, i);
  else if (i >= c->argc || !to_id(c->argv[i], 0, &t->id))
    syntax(c);
  return i + 1;
}

static size_t apply_trim(struct sim_value *v, const struct trim *t, unsigned step) {
  if (!t->given) return 0;
  size_t length = v->end - v->first, count = 0;
  if (t->by_id)
    while (count < length && sim_id_compare(v->entries[v->first + count].id, t->id) < 0) count++;
  else if (length > (size_t)t->length)
    count = length - (size_t)t->length;
  if (t->about) count -= count % step;
  sim_stream_trim(v, count);
  return count;
}

static bool next_id(struct call *c, struct bx_slice text, const struct sim_value *v, struct sim_id *id) {
  struct sim_id last = v ? v->last : (struct sim_id){0, 0};
  if (is(text, "*")) {
    *id = (struct sim_id){now_ms(c), 0};
    if (id->ms <= last.ms) *id = (struct sim_id){last.ms, last.seq + 1};
    return true;
  }
  if (!to_id(text, 0, id))
    fail(c, "ERR Invalid stream ID specified as stream command argument");
  else if (id->ms == 0 && id->seq == 0)
    fail(c, "ERR The ID specified in XADD must be greater than 0-0");
  else if (sim_id_compare(*id, last) <= 0)
    fail(c, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
  return !c->failed;
}

// XADD key [MAXLEN|MINID [=|~] n] id field value ...
static void xadd(struct call *c) {
  struct trim t;
  size_t i = read_trim(c, 1, &t);
  if (c->failed) return;
  if (i + 3 > c->argc || (c->argc - i) % 2 == 0) {
    fail(c, "ERR wrong number of arguments for 'xadd' command");
    return;
  }
  struct sim_value *v = want(c, 0, SIM_STREAM);
  struct sim_id id;
  if (c->failed || !next_id(c, c->argv[i], v, &id)) return;
  if (!v) v = sim_keys_add(&c->r->keys, c->argv[0], SIM_STREAM);
  sim_stream_add(v, id, c->argv + i + 1, c->argc - i - 1);
  apply_trim(v, &t, c->r->trim_step);
  set_id(c->reply, id);
}

static void xtrim(struct call *c) {
  struct trim t;
  size_t i = read_trim(c, 1, &t);
  if (!c->failed && (!t.given || i != c->argc)) syntax(c);
  struct sim_value *v = c->failed ? NULL : want(c, 0, SIM_STREAM);
  if (!c->failed) set_number(c->reply, v ? (int64_t)apply_trim(v, &t, c->r->trim_step) : 0);
}

static void xlen(struct call *c) {
  struct sim_value *v = want(c, 0, SIM_STREAM);
  if (!c->failed) set_number(c->reply, v ? (int64_t)(v->end - v->first) : 0);
}

static void set_entries(struct er_reply *reply, const struct sim_entry *entries, size_t count) {
  set_array(reply, count);
  for (size_t i = 0; i < count; i++) {
    set_array(&reply->items[i], 2);
    set_id(&reply->items[i].items[0], entries[i].id);
    set_array(&reply->items[i].items[1], entries[i].count);
    for (size_t j = 0; j < entries[i].count; j++) set_text(&reply->items[i].items[1].items[j], entries[i].fields[j]);
  }
}

// XRANGE key from to [COUNT n]
static void xrange(struct call *c) {
  struct sim_id from = {0, 0}, to = {UINT64_MAX, UINT64_MAX};
  bool open = c->argv[1].len && c->argv[1].at[0] == '(';
  struct bx_slice low = {c->argv[1].at + open, c->argv[1].len - open};
  if ((!is(low, "-") && !to_id(low, 0, &from)) || (!is(c->argv[2], "+") && !to_id(c->argv[2], UINT64_MAX, &to))) {
    fail(c, "ERR Invalid stream ID specified as stream command argument");
    return;
  }
  int64_t limit = INT64_MAX;
  if (c->argc == 5 && is(c->argv[3], "COUNT"))
    limit = integer(c, 4);
  else if (c->argc != 3)
    syntax(c);
  struct sim_value *v = c->failed ? NULL : want(c, 0, SIM_STREAM);
  if (c->failed) return;
  size_t i = v ? v->first : 0, count = 0, end = v ? v->end : 0;
  while (i < end && sim_id_compare(v->entries[i].id, from) < (open ? 1 : 0)) i++;
  while (i + count < end && (int64_t)count < limit && sim_id_compare(v->entries[i + count].id, to) <= 0) count++;
  set_entries(c->reply, v ? v->entries + i : NULL, count);
}

// XREAD [COUNT n] [BLOCK ms] STREAMS key... id...: NIL when there is nothing now.
static void xread(struct call *c) {
  int64_t limit = INT64_MAX;
  size_t i = 0;
  for (; i + 1 < c->argc && !is(c->argv[i], "STREAMS"); i += 2) {
    if (is(c->argv[i], "COUNT"))
      limit = integer(c, i + 1);
    else if (!is(c->argv[i], "BLOCK"))
      syntax(c);
    if (c->failed) return;
  }
  size_t streams = i < c->argc ? (c->argc - i - 1) / 2 : 0, found = 0;
  if (streams == 0 || (c->argc - i - 1) % 2) {
    syntax(c);
    return;
  }
  size_t keys = i + 1;
  struct er_reply *all = sim_reply_array(streams);
  for (size_t s = 0; s < streams && !c->failed; s++) {
    struct sim_id after;
    if (!to_id(c->argv[keys + streams + s], 0, &after))
      fail(c, "ERR Invalid stream ID specified as stream command argument");
    struct sim_value *v = c->failed ? NULL : want(c, keys + s, SIM_STREAM);
    if (!v) continue;
    size_t at = v->end;
    while (at > v->first && sim_id_compare(v->entries[at - 1].id, after) > 0) at--;
    size_t count = v->end - at;
    if (count == 0) continue;
    set_array(&all->items[found], 2);
    set_text(&all->items[found].items[0], c->argv[keys + s]);
    set_entries(&all->items[found].items[1], v->entries + at, (int64_t)count > limit ? (size_t)limit : count);
    found++;
  }
  all->count = found;   // the rest are NILs and own nothing
  if (c->failed || found == 0)
    sim_reply_destroy(all);
  else
    sim_reply_move(c->reply, all);
}

// XINFO STREAM key, in the order of Redis; only what Mora reads is true, besides length.
static void xinfo(struct call *c) {
  if (!is(c->argv[0], "STREAM")) {
    syntax(c);
    return;
  }
  struct sim_value *v = want(c, 1, SIM_STREAM);
  if (c->failed) return;
  if (!v) {
    fail(c, "ERR no such key");
    return;
  }
  set_array(c->reply, 6);
  set_text(&c->reply->items[0], BX_LIT("length"));
  set_number(&c->reply->items[1], (int64_t)(v->end - v->first));
  set_text(&c->reply->items[2], BX_LIT("last-generated-id"));
  set_id(&c->reply->items[3], v->last);
  set_text(&c->reply->items[4], BX_LIT("entries-added"));
  set_number(&c->reply->items[5], (int64_t)v->added);
}

// -- dispatch ------------------------------------------------------------------------------------

static const struct kind kinds[] = {
    {"PING", 0, STATUS, ping},
    {"TIME", 0, 0, time_},
    {"INFO", 0, 0, info},
    {"DBSIZE", 0, 0, dbsize},
    {"FLUSHALL", 0, WRITES | STATUS, flushall},
    {"TYPE", 1, STATUS, type},
    {"DEL", 1, WRITES, del},
    {"EXISTS", 1, 0, exists},
    {"EXPIRE", 2, WRITES, expire},
    {"PEXPIRE", 2, WRITES, pexpire},
    {"PEXPIREAT", 2, WRITES, pexpireat},
    {"PEXPIRETIME", 1, 0, pexpiretime},
    {"PTTL", 1, 0, pttl},
    {"GET", 1, 0, get},
    {"SET", 2, WRITES | TAKES | STATUS, set},
    {"HGET", 2, 0, hget},
    {"HMGET", 2, 0, hmget},
    {"HSET", 3, WRITES | TAKES, hset},
    {"HSETNX", 3, WRITES | TAKES, hsetnx},
    {"HGETALL", 1, 0, hgetall},
    {"HDEL", 2, WRITES, hdel},
    {"HEXISTS", 2, 0, hexists},
    {"HLEN", 1, 0, hlen},
    {"SADD", 2, WRITES | TAKES, sadd},
    {"SREM", 2, WRITES, srem},
    {"SMEMBERS", 1, 0, smembers},
    {"SCARD", 1, 0, scard},
    {"ZADD", 3, WRITES | TAKES, zadd},
    {"ZREM", 2, WRITES, zrem},
    {"ZSCORE", 2, 0, zscore},
    {"ZCARD", 1, 0, zcard},
    {"ZRANGE", 3, 0, zrange},
    {"ZRANGEBYSCORE", 3, 0, zrangebyscore},
    {"ZREMRANGEBYSCORE", 3, WRITES, zremrangebyscore},
    {"ZSCAN", 2, 0, zscan},
    {"XADD", 4, WRITES | TAKES, xadd},
    {"XTRIM", 3, WRITES, xtrim},
    {"XLEN", 1, 0, xlen},
    {"XRANGE", 3, 0, xrange},
    {"XREAD", 3, 0, xread},
    {"XINFO", 2, 0, xinfo},
};

static const char *refusal(const struct sim_redis *r, const struct kind *kind) {
  if (!(kind->flags & WRITES) || (r->scripted && r->dirty)) return NULL;
  if (r->refusing) return r->refusing;
  return r->full && (kind->flags & TAKES) ? "OOM command not allowed when used memory > 'maxmemory'." : NULL;
}

struct er_reply *sim_command(struct sim_redis *r, const struct bx_slice *argv, size_t argc, bool *status) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const struct kind *kind = &kinds[i];
    if (!is(argv[0], kind->name)) continue;
    if (argc - 1 < kind->least) return sim_reply_error("ERR wrong number of arguments for '%s' command", kind->name);
    const char *refused = refusal(r, kind);
    if (refused) return sim_reply_error("%s", refused);
    struct call c = {r, argv + 1, argc - 1, bx_alloc(sizeof *c.reply), false};
    c.reply->type = ER_REPLY_NIL;
    // Redis too takes a script for a writer from the call of a command that writes, whatever it did.
    if (kind->flags & WRITES) {
      r->dirty = true;
      r->writes++;
    }
    kind->run(&c);
    if (status) *status = kind->flags & STATUS;
    return c.reply;
  }
  return sim_reply_error("ERR unknown command '%.*s'", (int)argv[0].len, argv[0].at);
}

struct er_reply *sim_redis_call(struct sim_redis *r, const char *name, const struct bx_slice *argv, size_t argc) {
  struct er_reply *reply = sim_lua_run(r, name, argv, argc);
  if (reply) return reply;
  if (strcmp(name, "EVAL") == 0 && argc >= 2 && is(argv[1], "0")) return sim_lua_eval(r, argv[0], argv + 2, argc - 2);
  struct bx_slice *all = bx_alloc((argc + 1) * sizeof *all);
  all[0] = bx_slice_of(name);
  if (argc) memcpy(all + 1, argv, argc * sizeof *argv);
  reply = sim_command(r, all, argc + 1, NULL);
  bx_free(all);
  return reply;
}

// -- life ----------------------------------------------------------------------------------------

struct sim_redis *sim_redis_create(uint64_t clock, const char *run_id) {
  struct sim_redis *r = bx_alloc(sizeof *r);
  r->clock = clock;
  snprintf(r->run_id, sizeof r->run_id, "%s", run_id);
  r->trim_step = 100;
  sim_keys_init(&r->keys);
  sim_lua_init(r);
  return r;
}

void sim_redis_destroy(struct sim_redis *r) {
  if (!r) return;
  sim_lua_fini(r);
  sim_keys_fini(&r->keys);
  bx_free(r);
}

struct sim_keys *sim_redis_snapshot(const struct sim_redis *r) {
  struct sim_keys *s = bx_alloc(sizeof *s);
  sim_keys_init(s);
  sim_keys_copy(s, &r->keys);
  return s;
}

void sim_redis_restore(struct sim_redis *r, const struct sim_keys *s) {
  sim_keys_clear(&r->keys);
  sim_keys_copy(&r->keys, s);
  r->writes++;
}

void sim_snapshot_destroy(struct sim_keys *s) {
  if (!s) return;
  sim_keys_fini(s);
  bx_free(s);
}
