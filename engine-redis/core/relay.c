// SPDX-License-Identifier: Apache-2.0
// One question at a time, by turns on two links:
//
//   resting --ask--> asking --AT--> reading --entries, or a second without--> writing --OK--> reading ...
//                      |  AT '': finding (the newest entry) --> writing, with nothing in it
//   HELD, EPOCH, FULL, an error, a link that went down: resting, for a second
#include <stdio.h>

#include "engine-redis/core/keys.h"
#include "engine-redis/core/private.h"
#include "engine-redis/core/relay.h"

#define REST 1000               // ms
#define READ_COUNT 256          // entries
#define BATCH_BYTES (1 << 20)   // of their texts in one call; one entry may be more
#define BLOCK "1000"            // ms; below the life of the lease, which a call without entries renews

enum state { RESTING, ASKING, FINDING, READING, WRITING };

struct er_relay {
  struct er_core_env env;
  struct er_relay_options options;
  struct er_relay_counters *counters;
  char *strings;
  bx_millis now, rested_at;
  bool up[ER_LINKS];
  unsigned pending[ER_LINKS];   // replies to come, the oldest perhaps to a question that was given up
  struct bx_buffer run;         // of the other pod's Redis
  enum state state;
  bx_position cursor, to;   // confirmed there; what the call under way makes it
  char read_at[48];         // the id behind which reading goes on
  unsigned count;           // entries of a read: as many as went into one call, of late
  char said[16];            // the refusal that was logged last
};

static struct bx_slice keep(char **at, struct bx_slice text) {
  struct bx_slice kept = {memcpy(*at, text.at, text.len), text.len};
  *at += text.len;
  return kept;
}

struct er_relay *er_relay_create(const struct er_core_env *env, const struct er_relay_options *o,
                                 struct er_relay_counters *counters) {
  struct er_relay *r = bx_alloc(sizeof *r);
  char *at = bx_alloc(o->ns.len + o->pod.len + o->node.len + 1);

  r->env = *env;
  r->options = *o;
  r->counters = counters;
  r->count = READ_COUNT;
  r->strings = at;
  r->options.ns = keep(&at, o->ns);
  r->options.pod = keep(&at, o->pod);
  r->options.node = keep(&at, o->node);
  return r;
}

void er_relay_destroy(struct er_relay *r) {
  if (r == NULL) return;
  bx_buffer_fini(&r->run);
  bx_free(r->strings);
  bx_free(r);
}

static void event(struct er_relay *r, const char *id, const char *format, ...) BX_PRINTF(3, 4);
static void event(struct er_relay *r, const char *id, const char *format, ...) {
  char text[200];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  r->env.event(r->env.context, id, bx_slice_of(text));
}

static void rest(struct er_relay *r) {
  r->state = RESTING;
  r->rested_at = r->now + REST;
}

static void send(struct er_relay *r, enum er_which which, const char *command, struct er_arguments *a,
                 enum state next) {
  r->pending[which]++;
  r->state = next;
  er_arguments_send(a, &r->env, which, command, r->options.ns);
}

// -- to the other pod ------------------------------------------------------------------------------

static void begin_call(struct er_relay *r, struct er_arguments *a, bool knows, bool moves) {
  er_arguments_text(a, r->options.pod);
  er_arguments_text(a, r->options.node);
  er_arguments_text(a, bx_buffer_view(&r->run));
  if (knows)
    er_arguments_u64(a, r->cursor);
  else
    er_arguments_text(a, BX_LIT(""));
  if (moves)
    er_arguments_u64(a, r->to);
  else
    er_arguments_text(a, BX_LIT(""));
  er_arguments_u64(a, 2 * r->options.journal_messages);
}

static void ask(struct er_relay *r) {
  struct er_arguments a = {0};

  begin_call(r, &a, false, false);
  send(r, ER_COMMAND, "relay", &a, ASKING);
}

// -- from this one ---------------------------------------------------------------------------------

static void add_journal(const struct er_relay *r, struct er_arguments *a) {
  struct bx_buffer key = {0};

  bx_buffer_slice(&key, r->options.ns);
  bx_buffer_slice(&key, BX_LIT(ER_KEY_JOURNAL));
  er_arguments_text(a, bx_buffer_view(&key));
  bx_buffer_fini(&key);
}

static void find(struct er_relay *r) {
  struct er_arguments a = {0};

  add_journal(r, &a);
  for (const char *const *word = (const char *const[]){"+", "-", "COUNT", "1", NULL}; *word; word++)
    er_arguments_text(&a, bx_slice_of(*word));
  send(r, ER_TAIL, "XREVRANGE", &a, FINDING);
}

static void read(struct er_relay *r) {
  struct er_arguments a = {0};

  for (const char *const *word = (const char *const[]){"BLOCK", BLOCK, "COUNT", NULL}; *word; word++)
    er_arguments_text(&a, bx_slice_of(*word));
  er_arguments_u64(&a, r->count);
  er_arguments_text(&a, BX_LIT("STREAMS"));
  add_journal(r, &a);
  er_arguments_text(&a, bx_slice_of(r->read_at));
  send(r, ER_TAIL, "XREAD", &a, READING);
}

static void go_to(struct er_relay *r, bx_position cursor) {
  r->cursor = r->to = cursor;
  snprintf(r->read_at, sizeof r->read_at, "%llu-0", (unsigned long long)cursor);
}

// An entry that was published here, and not one that only means something here.
static bool is_carried(const struct er_reply *fields) {
  struct bx_slice kind = er_entry_field(fields, "k");

  return er_entry_field(fields, "p").len == 0 &&
         (kind.len == 0 || bx_slice_equal(kind, BX_LIT("revoke")) || bx_slice_equal(kind, BX_LIT("revoke-token")));
}

static void add_entry(struct er_arguments *a, const struct er_reply *fields) {
  er_arguments_text(a, er_entry_field(fields, "k"));
  er_arguments_text(a, er_entry_field(fields, "c"));
  er_arguments_text(a, er_entry_field(fields, "m"));
  er_arguments_text(a, er_entry_field(fields, "o"));
}

// Positions follow each other but for an epoch: what is missing was trimmed before it was read.
static void note_gap(struct er_relay *r, bx_position position, const struct er_reply *fields) {
  if (r->to == 0 || position <= r->to + 1 || bx_slice_equal(er_entry_field(fields, "k"), BX_LIT("epoch"))) return;
  r->counters->relay_gaps++;
  event(r, "pod.gap", "%llu to %llu", (unsigned long long)r->to + 1, (unsigned long long)position - 1);
}

// What does not fit is read again: large entries are read few at a time.
static void adapt_count(struct er_relay *r, size_t used, size_t count) {
  if (used < count)
    r->count = (unsigned)used;
  else if (r->count < READ_COUNT)
    r->count = 2 * r->count < READ_COUNT ? 2 * r->count : READ_COUNT;
}

static void write(struct er_relay *r, const struct er_reply *entries) {
  struct er_arguments a = {0}, call = {0};
  size_t bytes = 0, i = 0, count = entries == NULL ? 0 : entries->count;

  for (; i < count && bytes < BATCH_BYTES; i++) {
    const struct er_reply *entry = &entries->items[i], *fields = er_reply_item(entry, 1);
    struct bx_slice id = er_reply_text(entry, 0);
    bx_position position;

    if (id.len < sizeof r->read_at) snprintf(r->read_at, sizeof r->read_at, "%.*s", (int)id.len, id.at);
    if (!er_entry_position(id, &position)) continue;
    note_gap(r, position, fields);
    r->to = position;
    if (!is_carried(fields)) continue;
    add_entry(&a, fields);
    bytes = a.bytes.len;
  }
  adapt_count(r, i, count);
  begin_call(r, &call, true, true);
  for (size_t n = 0, from = 0; n < a.count; from = a.ends[n++])
    er_arguments_text(&call, (struct bx_slice){a.bytes.at == NULL ? "" : a.bytes.at + from, a.ends[n] - from});
  bx_free(a.ends);
  bx_buffer_fini(&a.bytes);
  send(r, ER_COMMAND, "relay", &call, WRITING);
}

// -- answers ---------------------------------------------------------------------------------------

// Waiting for the lease is how most relays live; anything else is told once.
static void refused(struct er_relay *r, const struct er_reply *reply) {
  struct bx_slice word = er_reply_is_error(reply) ? reply->text : er_reply_text(reply, 0);
  char short_word[sizeof r->said];

  snprintf(short_word, sizeof short_word, "%.*s",
           (int)(word.len < sizeof short_word ? word.len : sizeof short_word - 1), word.at);
  if (strcmp(short_word, r->said) != 0 && strcmp(short_word, "HELD") != 0)
    event(r, "pod.waits", "%.*s", (int)(word.len < 120 ? word.len : 120), word.at);
  memcpy(r->said, short_word, sizeof r->said);
  rest(r);
}

static void there(struct er_relay *r, const struct er_reply *reply) {
  uint64_t number;

  if (er_reply_is(reply, "AT") && er_reply_u64(reply, 1, &number)) {
    go_to(r, number);
    read(r);
  } else if (er_reply_is(reply, "AT") && r->state == ASKING) {
    find(r);
  } else if (er_reply_is(reply, "OK") && er_reply_u64(reply, 1, &number)) {
    r->counters->relayed += number;
    r->cursor = r->to;
    r->said[0] = 0;
    read(r);
  } else {
    refused(r, reply);
  }
}

static void found(struct er_relay *r, const struct er_reply *reply) {
  struct er_arguments a = {0};
  bx_position newest = 0;

  if (reply->type != ER_REPLY_ARRAY ||
      (reply->count > 0 && !er_entry_position(er_reply_text(er_reply_item(reply, 0), 0), &newest))) {
    refused(r, reply);
    return;
  }
  go_to(r, newest);
  begin_call(r, &a, false, true);
  send(r, ER_COMMAND, "relay", &a, WRITING);
}

static void here(struct er_relay *r, const struct er_reply *reply) {
  if (er_reply_is_error(reply))
    refused(r, reply);
  else if (r->state == FINDING)
    found(r, reply);
  else
    write(r, er_reply_item(er_reply_item(reply, 0), 1));
}

// -- driven ----------------------------------------------------------------------------------------

void er_relay_up(struct er_relay *r, enum er_which which, struct bx_slice run_id, bx_millis now) {
  r->now = now;
  r->up[which] = true;
  if (which == ER_COMMAND) {
    bx_buffer_clear(&r->run);
    bx_buffer_slice(&r->run, run_id);
  }
  r->state = RESTING;
  if (r->up[ER_COMMAND] && r->up[ER_TAIL]) ask(r);
}

void er_relay_down(struct er_relay *r, enum er_which which, bx_millis now) {
  r->now = now;
  r->up[which] = false;
  r->pending[which] = 0;
  rest(r);
}

void er_relay_reply(struct er_relay *r, enum er_which which, const struct er_reply *reply, bx_millis now) {
  bool awaited =
      which == ER_COMMAND ? r->state == ASKING || r->state == WRITING : r->state == FINDING || r->state == READING;

  r->now = now;
  if (--r->pending[which] > 0 || !awaited) return;   // to a question that was given up
  if (which == ER_COMMAND)
    there(r, reply);
  else
    here(r, reply);
}

void er_relay_tick(struct er_relay *r, bx_millis now) {
  r->now = now;
  if (r->state == RESTING && r->up[ER_COMMAND] && r->up[ER_TAIL] && now >= r->rested_at) ask(r);
}

const char *er_relay_state(const struct er_relay *r) {
  if (!r->up[ER_COMMAND] || !r->up[ER_TAIL]) return "down";
  return r->state == READING || r->state == WRITING ? "relaying" : "waiting";
}

bx_position er_relay_cursor(const struct er_relay *r) { return r->cursor; }
