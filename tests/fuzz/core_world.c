// SPDX-License-Identifier: Apache-2.0
// See core_world.h.
#include "tests/fuzz/core_world.h"

#include <stdio.h>

#include "bayeux/server.h"
#include "engine-redis/core/core.h"

#define MUST(condition) BX_BUG_ON(!(condition))
#define WIRES 2
#define CLIENTS 4
#define BASE 1000000u
#define FIELDS_MAX 12
#define FAR "0123456789abcdefghijklmnopqrst"   // sessions elsewhere: with a digit behind it

struct command {
  struct bx_list link;
  char name[16];
  struct er_reply args;   // of texts
};

struct wire {
  struct bx_connection c;
  bool open, woken, answered;
};

struct client {
  char id[32];   // empty: none
  uint32_t generation;
  const struct bx_session *session;
  bx_position conf;
};

struct world {
  struct bx_server *server;
  struct er_core *core;
  enum core_focus focus;
  struct bx_mount mount;
  bx_millis now;
  uint64_t seed, malformed, head;   // head: of the journal as the good replies tell it
  bool up[ER_LINKS], reset[ER_LINKS];
  struct bx_list commands[ER_LINKS];
  struct wire wires[WIRES];
  struct client clients[CLIENTS];
  unsigned next_client, published, answered;   // with listings
  const uint8_t *at, *end;
};

// -- input -----------------------------------------------------------------------------------------

static unsigned take(struct world *w) { return w->at < w->end ? *w->at++ : 0; }

static struct bx_slice take_line(struct world *w) {
  const uint8_t *from = w->at;

  while (w->at < w->end && *w->at != '\n') w->at++;
  struct bx_slice line = {(const char *)from, (size_t)(w->at - from)};
  if (w->at < w->end) w->at++;
  return line;
}

static const char *id_of(struct world *w, unsigned which, char to[40]) {
  if (which % 8 < CLIENTS && w->clients[which % 8].id[0] != '\0') return w->clients[which % 8].id;
  snprintf(to, 40, FAR "%u", which % 4);
  return to;
}

static struct bx_slice take_text(struct world *w, char to[40]) {
  static const char *const words[] = {"",
                                      "0",
                                      "1",
                                      "2",
                                      "live",
                                      "n1",
                                      "n2",
                                      "OK",
                                      "NONE",
                                      "MOVED",
                                      "EPOCH",
                                      "BAD",
                                      "LOST",
                                      "FENCED",
                                      "LATE",
                                      "FULL",
                                      "/a",
                                      "/a/*",
                                      "/**",
                                      "/a/b",
                                      "/meta/x",
                                      "{}",
                                      "{\"channel\":\"/a\",\"data\":1}",
                                      "[]",
                                      "[{\"channel\":\"/meta/connect\"}]",
                                      "ask",
                                      "yours",
                                      "call",
                                      "done",
                                      "lost",
                                      "ended",
                                      "moved",
                                      "unknown",
                                      "t",
                                      "id",
                                      "from",
                                      "raw",
                                      "replies",
                                      "q",
                                      "g",
                                      "deadline",
                                      "c",
                                      "m",
                                      "o",
                                      "k",
                                      "s",
                                      "e",
                                      "epoch",
                                      "probe",
                                      "n1:1",
                                      "n1:2",
                                      "-401",
                                      "=1000001",
                                      "1000000",
                                      "1000002",
                                      "1000000:1000001",
                                      "5:",
                                      ":5",
                                      "18446744073709551615",
                                      "99999999999999999",
                                      "1000005-0",
                                      "18446744073709551615-0",
                                      "5-5",
                                      "100000",
                                      "3",
                                      "x"};
  unsigned which = take(w);

  if (which == 255) return take_line(w);
  if (which < sizeof words / sizeof *words) return bx_slice_of(words[which]);
  if (which < 160) {
    snprintf(to, 40, "%llu", (unsigned long long)(w->head + which - 130));   // near the head
    return bx_slice_of(to);
  }
  return bx_slice_of(id_of(w, which, to));
}

// -- replies ---------------------------------------------------------------------------------------

// A text is a copy of exactly its length.
static struct bx_slice keep(struct bx_slice text) {
  char *to = bx_alloc(text.len + (text.len == 0));

  if (text.len > 0) memcpy(to, text.at, text.len);
  return (struct bx_slice){to, text.len};
}

static void set(struct er_reply *r, struct bx_slice text) {
  *r = (struct er_reply){.type = ER_REPLY_TEXT, .text = keep(text)};
}

static void empty(struct er_reply *r) {
  for (size_t i = 0; i < r->count; i++) empty(&r->items[i]);
  bx_free(r->items);
  bx_free((char *)r->text.at);
  *r = (struct er_reply){0};
}

static struct er_reply *push(struct er_reply *r) {
  r->type = ER_REPLY_ARRAY;
  r->items = bx_realloc(r->items, (r->count + 1) * sizeof *r->items);
  r->items[r->count] = (struct er_reply){0};
  return &r->items[r->count++];
}

static void push_text(struct er_reply *r, const char *text) { set(push(r), bx_slice_of(text)); }

static void push_u64(struct er_reply *r, uint64_t n) {
  char text[24];

  snprintf(text, sizeof text, "%llu", (unsigned long long)n);
  push_text(r, text);
}

static void any(struct world *w, struct er_reply *r, unsigned depth) {
  unsigned byte = take(w), kind = byte % 8, count = byte / 8 % 16;
  char text[40];

  if (kind == 0) {
    r->type = ER_REPLY_NIL;
  } else if (kind == 1) {
    *r = (struct er_reply){.type = ER_REPLY_INT, .number = (int64_t)take(w) - 8};
  } else if (kind == 2) {
    set(r, take_text(w, text));
    r->type = ER_REPLY_ERROR;
  } else if (kind < 5 || depth == 0) {
    set(r, take_text(w, text));
  } else {
    r->type = ER_REPLY_ARRAY;
    for (unsigned i = 0; i < count && w->at < w->end; i++) {
      struct er_reply item = {0};

      any(w, &item, depth - 1);
      *push(r) = item;
    }
  }
}

// One thing in it is something else, or it is shorter or longer.
static void damage(struct world *w, struct er_reply *r) {
  unsigned how = take(w);

  while (r->type == ER_REPLY_ARRAY && r->count > 0) {
    struct er_reply *item = &r->items[how % r->count];

    if (how >= 224) {
      empty(&r->items[--r->count]);
      return;
    }
    if (how >= 192) {
      any(w, push(r), 1);
      return;
    }
    if (item->type != ER_REPLY_ARRAY || how >= 128) {
      empty(item);
      any(w, item, 2);
      return;
    }
    r = item;
    how = take(w);
  }
  empty(r);
  any(w, r, 3);
}

// -- what a Redis would answer -----------------------------------------------------------------------

static void add_entry(struct er_reply *stream, uint64_t position, const char *const *fields) {
  struct er_reply *entry = push(stream), *list;
  char id[32];

  snprintf(id, sizeof id, "%llu-0", (unsigned long long)position);
  push_text(entry, id);
  list = push(entry);
  list->type = ER_REPLY_ARRAY;
  for (; *fields != NULL; fields++) push_text(list, *fields);
}

// Entries of the journal: good ones, jumps, epochs, and whatever fields.
static void add_journal(struct world *w, struct er_reply *entries) {
  static const char *const good[] = {"c", "/a/b", "m", "{\"channel\":\"/a/b\",\"data\":1}", "o", "n2:7", NULL};
  unsigned count = take(w) % 5, own;
  char origin[24], epoch[24], survived[24], text[40];
  struct er_reply *fields;

  for (unsigned i = 0; i <= count && w->at < w->end; i++) {
    unsigned how = take(w);

    switch (how % 6) {
    case 0: add_entry(entries, ++w->head, good); break;
    case 1:
      own = how / 6;
      snprintf(origin, sizeof origin, "n1:%u", own);
      add_entry(entries, ++w->head, (const char *const[]){"c", "/a", "m", "{}", "o", origin, NULL});
      break;
    case 2: add_entry(entries, w->head += how / 6, good); break;
    case 3:
      snprintf(survived, sizeof survived, "%llu", how & 64 ? (unsigned long long)w->head - how % 4 : 0ull);
      snprintf(epoch, sizeof epoch, "%u", 5 + how / 6);
      w->head += 1000000;
      add_entry(entries, w->head, (const char *const[]){"k", "epoch", "s", survived, "e", epoch, NULL});
      break;
    default:
      add_entry(entries, how & 128 ? w->head : ++w->head, (const char *const[]){NULL});
      fields = &entries->items[entries->count - 1].items[1];
      for (unsigned k = 0; k < how / 6 % FIELDS_MAX; k++) set(push(fields), take_text(w, text));
      break;
    }
  }
}

static void add_inbox(struct world *w, struct er_reply *entries) {
  static const char *const types[] = {"ask",   "call",    "lost", "ended", "yours",
                                      "moved", "unknown", "done", "here",  "busy"};
  unsigned count = take(w) % 4;
  char id[40], question[16], generation[16], text[40];
  struct er_reply *fields;

  for (unsigned i = 0; i <= count && w->at < w->end; i++) {
    unsigned how = take(w), with = take(w);

    snprintf(question, sizeof question, "%u", with / 16);
    snprintf(generation, sizeof generation, "%u", how / 64);
    add_entry(entries, w->head + i,
              (const char *const[]){"t", types[how % 9], "id", id_of(w, with, id), "q", question, "from", "n2", "g",
                                    generation, "deadline", how & 8 ? "99999999999" : "1", "replies", "[{}]", "raw",
                                    "[{\"channel\":\"/meta/subscribe\",\"subscription\":\"/b\"}]", NULL});
    fields = &entries->items[entries->count - 1].items[1];
    if (how & 16) continue;
    for (unsigned k = take(w) % FIELDS_MAX; k > 0; k--) {
      struct er_reply *field = &fields->items[take(w) % fields->count];

      empty(field);
      set(field, take_text(w, text));
    }
  }
}

static void answer_read(struct world *w, struct er_reply *r, unsigned which) {
  struct er_reply *stream = push(r), *entries;

  push_text(stream, which & 1 ? "t:inbox:n1" : "t:journal");
  entries = push(stream);
  entries->type = ER_REPLY_ARRAY;
  if (which & 1)
    add_inbox(w, entries);
  else
    add_journal(w, entries);
}

static void answer_record(struct world *w, struct er_reply *r) {
  unsigned how = take(w);
  uint64_t sent = w->head - how % 4;

  push_text(r, "OK");
  push_text(r, how & 4 ? "n1" : "n2");
  push_text(r, how & 8 ? "1" : "0");
  push_u64(r, how / 64);   // generation
  if (how & 16)
    push_text(r, "live");
  else
    push_u64(r, sent - how % 3);   // conf
  push_u64(r, sent);
  push_text(r, how & 1 ? "" : "5");   // connect id
  push_text(r, how & 2 ? "1" : "0");
  push_text(r, "20000");
  push_text(r, "");
  push_text(r, "1");
  push_text(r, "99999999");
  push_text(r, "/a/*");
  push_u64(r, sent);
  push_text(r, "/b");
  push_text(r, "1000000:1000001");
}

static void answer(struct world *w, const struct command *c, struct er_reply *r) {
  const char *name = c->name;

  if (strcmp(name, "XRANGE") == 0) {
    r->type = ER_REPLY_ARRAY;
    add_journal(w, r);
  } else if (strcmp(name, "XREAD") == 0) {
    unsigned which = take(w);

    if (which % 4 == 3) return;   // no news
    if (w->focus == CORE_JOURNAL) which &= ~1u;
    if (w->focus == CORE_INBOX) which |= 1;
    answer_read(w, r, which);
    if (which & 8) answer_read(w, r, which ^ 1);
  } else if (strcmp(name, "load") == 0 || strcmp(name, "claim") == 0) {
    answer_record(w, r);
  } else {
    push_text(r, "OK");
    if (strcmp(name, "hello") == 0) {
      push_u64(r, 5 + take(w) / 64);
      push_u64(r, w->head + 1);
      push_u64(r, take(w) & 1 ? w->head : 0);
      push_u64(r, w->head);
      push_u64(r, w->now);
      push_text(r, "0");
    } else if (strcmp(name, "append") == 0) {
      for (size_t i = 7; i + 3 < c->args.count; i += 4) push_u64(r, w->head + 1 + i / 4);
    } else if (strcmp(name, "create") == 0) {
      push_text(r, "1");
    } else if (strcmp(name, "tick") == 0) {
      push_text(r, "5");
      push_u64(r, w->now);
      push_u64(r, w->head);
    }
  }
}

// -- the environment -------------------------------------------------------------------------------

static void fill(void *context, void *bytes, size_t count) {
  struct world *w = context;

  for (size_t i = 0; i < count; i++) {
    w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
    ((unsigned char *)bytes)[i] = (unsigned char)(w->seed >> 56);
  }
}

static bx_millis now(void *context) { return ((struct world *)context)->now; }

static void event(void *context, enum bx_event event, const struct bx_session *s, struct bx_slice detail) {
  struct world *w = context;
  struct client *k;

  (void)detail;
  if (event != BX_EVENT_HANDSHAKE) return;
  k = &w->clients[w->next_client++ % CLIENTS];
  *k = (struct client){.session = NULL};
  memcpy(k->id, s->id, sizeof k->id - 1);
}

static void core_send(void *context, enum er_which which, const char *name, const struct bx_slice *args, size_t count) {
  struct world *w = context;
  struct command *c = bx_alloc(sizeof *c);

  MUST(w->up[which]);
  snprintf(c->name, sizeof c->name, "%s", name);
  c->args.type = ER_REPLY_ARRAY;
  for (size_t i = 0; i < count; i++) set(push(&c->args), args[i]);
  bx_list_init(&c->link);
  bx_list_append(&w->commands[which], &c->link);
}

static void core_reset(void *context, enum er_which which, const char *why) {
  MUST(why != NULL);
  ((struct world *)context)->reset[which] = true;
}

static void core_event(void *context, const char *id, struct bx_slice detail) {
  (void)detail;
  if (strcmp(id, "engine.malformed") == 0) ((struct world *)context)->malformed++;
}

static void wake(struct bx_connection *c) { bx_container_of(c, struct wire, c)->woken = true; }

static void ask_close(struct bx_connection *c, unsigned code, const char *reason) {
  (void)code;
  MUST(reason != NULL);
  wake(c);
}

static enum bx_arrival arrival(struct bx_connection *c) {
  (void)c;
  return BX_ARRIVAL_PENDING;
}

static const struct bx_connection_ops ops = {.wake = wake, .close = ask_close, .arrival = arrival};

// -- what must hold --------------------------------------------------------------------------------

static void check(struct world *w) {
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &w->server->states[state]) {
      struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      MUST(bx_session_conf(w->server, s) <= bx_session_sent(w->server, s));
    }
  for (unsigned i = 0; i < CLIENTS; i++) {
    struct client *k = &w->clients[i];
    const struct bx_session *s = bx_server_find_session(w->server, bx_slice_of(k->id));

    if (s == NULL) {
      k->session = NULL;   // another one may come to stand at its address
      continue;
    }
    if (s == k->session && s->generation == k->generation) MUST(k->conf <= bx_session_conf(w->server, s));
    k->session = s;
    k->generation = s->generation;
    k->conf = bx_session_conf(w->server, s);
  }
  MUST(er_core_counters(w->core)->malformed == w->malformed);
}

// -- links -----------------------------------------------------------------------------------------

static void drop(struct command *c) {
  bx_list_remove(&c->link);
  empty(&c->args);
  bx_free(c);
}

static void drop_all(struct world *w, enum er_which which) {
  bx_list_each (link, &w->commands[which]) drop(bx_container_of(link, struct command, link));
}

static void down(struct world *w, enum er_which which) {
  if (!w->up[which]) return;
  w->up[which] = w->reset[which] = false;
  er_core_down(w->core, which, w->now);
  drop_all(w, which);
}

static void up(struct world *w, enum er_which which) {
  if (w->up[which]) return;
  w->up[which] = true;
  er_core_up(w->core, which, BX_LIT("run"), w->now);
}

enum how { GOOD, DAMAGED, ANY };

static void reply(struct world *w, enum er_which which, enum how how) {
  struct er_reply r = {0};

  if (!w->up[which]) return;
  if (bx_list_empty(&w->commands[which])) {
    if (how == GOOD) return;
    any(w, &r, 3);   // an answer to nothing
  } else {
    struct command *c = bx_container_of(w->commands[which].next, struct command, link);

    if (how == ANY)
      any(w, &r, 4);
    else
      answer(w, c, &r);
    if (how == DAMAGED) damage(w, &r);
    drop(c);
  }
  er_core_reply(w->core, which, &r, w->now);
  empty(&r);
}

// -- clients ---------------------------------------------------------------------------------------

static void drain(struct wire *x) {
  struct bx_buffer out = {0};
  struct bx_gathered gathered;

  if (!x->open || !x->woken) return;
  x->woken = false;
  if (x->c.kind == BX_CONNECTION_POLL) {
    if (!x->answered) x->answered = bx_connection_answer(&x->c, &out);
  } else {
    while (bx_connection_gather(&x->c, &out, &gathered)) {
      bx_frame_unref(gathered.frame);
      bx_buffer_clear(&out);
    }
  }
  bx_buffer_fini(&out);
}

static void turn(struct world *w) {
  bool more = true;

  for (unsigned i = 0; i < 20 && more; i++) {
    more = bx_server_turn(w->server, w->now);
    check(w);
    for (unsigned k = 0; k < WIRES; k++) drain(&w->wires[k]);
    check(w);
  }
}

static void close(struct wire *x, unsigned how) {
  if (!x->open) return;
  if (x->answered) bx_connection_settle(&x->c, (enum bx_arrival)(how % 4));
  bx_connection_lost(&x->c, how & 4);
  bx_connection_fini(&x->c);
  x->open = false;
}

static void message(struct world *w, struct wire *x, unsigned verb, unsigned which) {
  static const char *const channels[] = {"/a", "/a/b", "/a/*", "/**"};
  const char *channel = channels[which / 8 % 4];
  char far_id[40], text[300];
  const char *id = id_of(w, which, far_id);

  switch (verb % 6) {
  case 0:
    snprintf(text, sizeof text,
             "{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"websocket\"]}");
    break;
  case 1:
    snprintf(text, sizeof text,
             "{\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"websocket\",\"id\":%u}", id,
             which / 32);
    break;
  case 2:
  case 3:
    snprintf(text, sizeof text, "{\"channel\":\"/meta/%s\",\"clientId\":\"%s\",\"subscription\":\"%s\"}",
             verb % 6 == 2 ? "subscribe" : "unsubscribe", id, channel);
    break;
  case 4: snprintf(text, sizeof text, "{\"channel\":\"%s\",\"data\":1,\"clientId\":\"%s\"}", channel, id); break;
  default: snprintf(text, sizeof text, "{\"channel\":\"/meta/disconnect\",\"clientId\":\"%s\"}", id); break;
  }
  if (x->open && x->c.kind == BX_CONNECTION_POLL) close(x, verb / 8);
  if (!x->open) {
    *x = (struct wire){.open = true};
    bx_connection_init(&x->c, w->server, &ops, verb & 128 ? BX_CONNECTION_POLL : BX_CONNECTION_STREAM,
                       verb & 128 ? "long-polling" : "websocket", &w->mount, BX_LIT("127.0.0.1:1"));
  }
  if (!bx_connection_receive(&x->c, bx_slice_of(text)) && x->c.kind == BX_CONNECTION_POLL) close(x, 0);
}

struct outside {
  struct bx_outside_publish o;
  struct world *w;
};

static void published(struct bx_outside_publish *o, enum bx_outcome outcome, bx_position position) {
  struct outside *p = bx_container_of(o, struct outside, o);

  MUST(outcome != BX_ACKNOWLEDGED || position > 0);
  p->w->answered++;
  bx_free(p);
}

static void publish(struct world *w, unsigned how) {
  for (unsigned i = 0; i <= how % 4; i++) {
    struct outside *p = bx_alloc(sizeof *p);

    p->w = w;
    p->o.done = published;
    w->published++;
    MUST(bx_server_publish(w->server, &p->o, BX_LIT("/a/b"), BX_LIT("1"), how & 8 ? BX_LIT("key") : BX_LIT("")) ==
         NULL);
  }
}

// -- the script ------------------------------------------------------------------------------------

static void settle(struct world *w) {
  turn(w);
  for (unsigned i = 0; i < 8 && !bx_list_empty(&w->commands[ER_COMMAND]); i++) {
    reply(w, ER_COMMAND, GOOD);
    turn(w);
  }
}

// What was asked for takes place before anything else comes over that link.
static void obey(struct world *w) {
  for (int which = 0; which < ER_LINKS; which++)
    if (w->reset[which]) down(w, (enum er_which)which);
}

static void listed(void *context, const struct er_node_info *nodes, size_t count) {
  struct world *w = context;
  uint64_t sum = 0;

  for (size_t i = 0; i < count; i++) sum += nodes[i].node.len + nodes[i].role.len + nodes[i].address.len + nodes[i].age;
  MUST(nodes != NULL || sum == 0);
  w->answered++;
}

// The rare ones: so many ticks that others are reaped, the directory of nodes, leave.
static void rarely(struct world *w, unsigned how) {
  switch (how % 4) {
  case 0:
    for (unsigned i = 0; i < 60 && w->up[ER_COMMAND] && !w->reset[ER_COMMAND]; i++) {
      er_core_tick(w->core, w->now += ER_TICK);
      if (!bx_list_empty(&w->commands[ER_COMMAND])) reply(w, ER_COMMAND, GOOD);
    }
    break;
  case 1:
    w->published++;
    er_core_ask_nodes(w->core, listed, w);
    break;
  case 2: er_core_leave(w->core, w->now); break;
  default: settle(w); break;
  }
  MUST(er_core_mark(w->core) <= bx_journal_head(&w->server->journal));
}

static void step(struct world *w) {
  unsigned byte = take(w);
  enum er_which which = byte & 16 ? ER_TAIL : ER_COMMAND;
  struct wire *x = &w->wires[(byte >> 4) % WIRES];
  unsigned verb;

  switch (byte & 15) {
  case 0: up(w, which); break;
  case 1:
    if (byte > 128) down(w, which);
    break;
  case 2: er_core_tick(w->core, w->now += ER_TICK); break;
  case 3: turn(w); break;
  case 4: w->now += 10 * take(w); break;
  case 5:
  case 6: reply(w, which, GOOD); break;
  case 7:
  case 8: reply(w, w->focus == CORE_RECORD ? ER_COMMAND : ER_TAIL, DAMAGED); break;
  case 9: reply(w, which, DAMAGED); break;
  case 10: reply(w, which, ANY); break;
  case 11:
  case 12:
    verb = take(w);
    message(w, x, verb, take(w));
    turn(w);
    break;
  case 13: publish(w, byte >> 4); break;
  case 14: close(x, byte >> 5); break;
  default: rarely(w, byte >> 4); break;
  }
  obey(w);
  check(w);
}

// A node that reads, with two sessions that have subscriptions, one of them with a stream.
static void prepare(struct world *w) {
  const uint8_t *at = w->at, *end = w->end;

  w->at = w->end;   // good answers without choices
  up(w, ER_COMMAND);
  settle(w);
  if (bx_list_empty(&w->commands[ER_TAIL])) up(w, ER_TAIL);
  reply(w, ER_TAIL, GOOD);   // an empty page
  for (unsigned i = 0; i < 2; i++) {
    message(w, &w->wires[0], 0, 0);
    settle(w);
    message(w, &w->wires[0], 2, i | 16);
    settle(w);
  }
  MUST(w->next_client == 2);
  message(w, &w->wires[1], 1, 1);
  settle(w);
  w->at = at;
  w->end = end;
  obey(w);
}

void core_world_run(const uint8_t *data, size_t size, enum core_focus focus) {
  struct world w = {.focus = focus, .now = 100000, .seed = 1, .head = BASE, .at = data, .end = data + size};
  struct bx_env env = {.context = &w, .random = fill, .now = now, .event = event};
  struct er_core_env core_env = {.context = &w, .send = core_send, .reset = core_reset, .event = core_event};
  struct er_core_options options = {.ns = BX_LIT("t"),
                                    .node = BX_LIT("n1"),
                                    .role = BX_LIT("broker"),
                                    .address = BX_LIT("here"),
                                    .command_timeout = 2000,
                                    .life = 5000,
                                    .journal_messages = 100};
  struct bx_server_options server_options = {.message = {.depth = 8, .batch = 20, .members = 16},
                                             .journal = {.messages = 40, .bytes = 1 << 16, .age = 300000},
                                             .max_sessions = 8,
                                             .max_subscriptions = 5,
                                             .max_channel_length = 100,
                                             .max_channel_depth = 8,
                                             .max_outbox_bytes = 1000,
                                             .max_replies_bytes = 1 << 16,
                                             .handshake_rate = 100};
  struct bx_counters left;

  for (int i = 0; i < ER_LINKS; i++) bx_list_init(&w.commands[i]);
  w.mount = (struct bx_mount){.path = BX_LIT("/bayeux"), .timeout = 2000};
  w.core = er_core_create(&core_env, &options, w.now);
  w.server = bx_server_create(&env, &server_options, er_core_engine(w.core), w.now);
  if (take(&w) != 0) prepare(&w);
  while (w.at < w.end) step(&w);
  for (unsigned i = 0; i < WIRES; i++) close(&w.wires[i], 0);
  bx_server_destroy(w.server, &left);
  MUST(w.published == w.answered);
  MUST(left.sessions == 0 && left.frames == 0 && left.batches == 0 && left.subscriptions == 0 && left.connections == 0);
  MUST(left.live + left.reading + left.away + left.closing == 0);
  for (int i = 0; i < ER_LINKS; i++) drop_all(&w, (enum er_which)i);
}
