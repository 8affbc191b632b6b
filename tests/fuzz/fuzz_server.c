// SPDX-License-Identifier: Apache-2.0
// The server under a script of bytes: texts of clients on a few streams and polls, turns, time, cuts,
// pongs, acknowledgements, slow sockets, answers that arrive or do not, a decider that makes up its mind at
// once or later, publishes from elsewhere, sessions that are ended from outside, a drain.
//
// After every step conf <= sent <= head for every session, and no conf falls; whatever is written is
// JSON; at the end nothing is left. The first byte chooses limits. Then each step is a byte: what to do
// (low bits) and with which connection (high bits), and what follows it is its argument; a text is one
// of the verbs below, or the bytes up to the next newline.
#include "bayeux/access.h"
#include "bayeux/control.h"
#include "bayeux/memory_engine.h"
#include "bayeux/server.h"

#include <stdio.h>

#define MUST(condition) BX_BUG_ON(!(condition))
#define WIRES 3
#define CLIENTS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct wire {
  struct bx_connection c;
  struct world *w;
  bool open, stuck, woken, answered, closed;
  enum bx_arrival arrival;
  bx_position ping;
};

struct client {
  char id[32];   // empty: none
  bx_position conf;
};

struct world {
  struct bx_server *server;
  struct bx_access access;
  struct bx_list undecided;   // requests of the decider
  struct bx_mount mount;
  bx_millis now;
  uint64_t seed;
  struct wire wires[WIRES];
  struct client clients[CLIENTS];
  unsigned next_client, texts;
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

// -- the environment -------------------------------------------------------------------------------

static void fill(void *context, void *bytes, size_t count) {
  struct world *w = context;

  for (size_t i = 0; i < count; i++) {
    w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
    ((unsigned char *)bytes)[i] = (unsigned char)(w->seed >> 56);
  }
}

static bx_millis now(void *context) { return ((struct world *)context)->now; }

// Clients are known by the handshakes that were granted.
static void event(void *context, enum bx_event event, const struct bx_session *s, struct bx_slice detail) {
  struct world *w = context;
  struct client *k;

  (void)detail;
  if (event != BX_EVENT_HANDSHAKE) return;
  k = &w->clients[w->next_client++ % CLIENTS];
  memcpy(k->id, s->id, sizeof k->id);
  k->conf = 0;
}

static struct wire *wire_of(struct bx_connection *c) { return bx_container_of(c, struct wire, c); }

static void wake(struct bx_connection *c) { wire_of(c)->woken = true; }

static void ask_close(struct bx_connection *c, unsigned code, const char *reason) {
  MUST(code == 1000 || code == 1001 || code == 1013);
  MUST(reason != NULL);
  wire_of(c)->closed = wire_of(c)->woken = true;
}

static enum bx_arrival arrival(struct bx_connection *c) { return wire_of(c)->arrival; }

static const struct bx_connection_ops ops = {.wake = wake, .close = ask_close, .arrival = arrival};

// -- what must hold --------------------------------------------------------------------------------

static void check(struct world *w) {
  for (unsigned i = 0; i < CLIENTS; i++) {
    struct client *k = &w->clients[i];
    struct bx_session *s = bx_server_find_session(w->server, bx_slice_of(k->id));
    bx_position conf, sent;

    if (s == NULL) continue;
    conf = bx_session_conf(w->server, s);
    sent = bx_session_sent(w->server, s);
    MUST(k->conf <= conf && conf <= sent && sent <= bx_journal_head(&w->server->journal));
    MUST((s->connection != NULL) == (s->state == BX_SESSION_LIVE || s->state == BX_SESSION_READING));
    MUST(s->outbox.count == 0 || s->connection != NULL);
    k->conf = conf;
  }
}

static void check_text(struct bx_slice text) {
  struct bx_scan s;
  struct bx_value v;

  bx_scan_init(&s, text, 64);
  MUST(bx_scan_value(&s, &v) && bx_scan_end(&s));
  MUST(v.type == BX_JSON_ARRAY);
}

// -- who may do what ---------------------------------------------------------------------------------

static struct world *world_of(struct bx_access *access) { return bx_container_of(access, struct world, access); }

static unsigned any(struct world *w, unsigned count) {
  unsigned char byte;

  fill(w, &byte, 1);
  return byte % count;
}

static enum bx_verdict answer(struct world *w, const struct bx_access_request *r, struct bx_access_answer *a) {
  unsigned choice = any(w, 8);

  if (choice == 0) a->error = any(w, 2) ? BX_LIT("403::No") : (struct bx_slice){0};
  if (choice == 0) a->reconnect = any(w, 2) ? "none" : NULL;
  if (r->verb == BX_ACCESS_HANDSHAKE) a->user = any(w, 2) ? BX_LIT("somebody") : (struct bx_slice){0};
  if (choice > 4) a->ext = BX_LIT("{\"some\":[1]}");
  a->unjournalled = any(w, 8) == 0;
  a->forward_ext = any(w, 2);
  return a->verdict = choice == 0 ? BX_DENY : choice == 1 ? BX_UNAVAILABLE : BX_ALLOW;
}

static bool is_server(struct bx_access *access, const struct bx_message *m) {
  (void)m;
  return any(world_of(access), 4) == 0;
}

static enum bx_verdict ask(struct bx_access *access, struct bx_access_request *r, struct bx_access_answer *a) {
  struct world *w = world_of(access);

  if (any(w, 3) > 0) return answer(w, r, a);
  bx_list_append(&w->undecided, &r->link);
  return BX_LATER;
}

static void cancel(struct bx_access *access, struct bx_access_request *r) {
  (void)access;
  bx_list_remove(&r->link);
}

static void unknown(struct bx_access *access, struct bx_slice channel, struct bx_buffer *error) {
  if (any(world_of(access), 2)) bx_buffer_lit(error, "401::");
  if (error->len > 0) bx_buffer_slice(error, channel);
}

static const struct bx_access_ops decider = {.is_server = is_server, .ask = ask, .cancel = cancel, .unknown = unknown};

static void decide(struct world *w) {
  struct bx_list *link = bx_list_take(&w->undecided);

  if (link == NULL) return;
  struct bx_access_request *r = bx_container_of(link, struct bx_access_request, link);
  struct bx_access_answer a = {0};
  answer(w, r, &a);
  bx_access_decide(w->server, r, &a);
}

struct end {
  struct bx_kick kick;
  char id[32];
};

static void ended(struct bx_kick *k, enum bx_outcome outcome) {
  MUST(outcome == BX_ACKNOWLEDGED || outcome == BX_NO_SESSION || outcome == BX_REFUSED);
  bx_free(bx_container_of(k, struct end, kick));
}

static void kick(struct world *w, unsigned which) {
  struct end *e = bx_alloc(sizeof *e);

  e->kick.done = ended;
  memcpy(e->id, w->clients[which % CLIENTS].id, sizeof e->id);
  bx_server_kick(w->server, &e->kick, bx_slice_of(e->id));
}

// -- connections -----------------------------------------------------------------------------------

static void drain(struct wire *x) {
  struct bx_buffer out = {0};
  struct bx_gathered gathered;

  if (!x->open || !x->woken || x->stuck) return;
  x->woken = false;
  if (x->c.kind == BX_CONNECTION_POLL) {
    if (!x->answered && bx_connection_answer(&x->c, &out)) {
      x->answered = true;
      check_text(bx_buffer_view(&out));
    }
  } else {
    while (bx_connection_gather(&x->c, &out, &gathered)) {
      if (gathered.frame != NULL)
        check_text((struct bx_slice){bx_frame_array(gathered.frame), bx_frame_array_len(gathered.frame)});
      else
        check_text(bx_buffer_view(&out));
      bx_frame_unref(gathered.frame);
      bx_buffer_clear(&out);
    }
  }
  bx_buffer_fini(&out);
}

static void turn(struct world *w, unsigned most) {
  bool more = true;

  for (unsigned i = 0; i < most && more; i++) {
    more = bx_server_turn(w->server, w->now);
    check(w);
    for (unsigned k = 0; k < WIRES; k++) drain(&w->wires[k]);
    check(w);
  }
}

static void open(struct world *w, struct wire *x, bool stream) {
  *x = (struct wire){.w = w, .open = true, .arrival = BX_ARRIVAL_PENDING};
  bx_connection_init(&x->c, w->server, &ops, stream ? BX_CONNECTION_STREAM : BX_CONNECTION_POLL,
                     stream ? "websocket" : "long-polling", &w->mount, BX_LIT("127.0.0.1:1"));
}

static void close(struct world *w, struct wire *x, unsigned how) {
  if (!x->open) return;
  if (x->answered) bx_connection_settle(&x->c, (enum bx_arrival)(how % 4));
  bx_connection_lost(&x->c, x->closed && how % 2);
  bx_connection_fini(&x->c);
  x->open = false;
  check(w);
}

// -- texts -----------------------------------------------------------------------------------------

// What a client that acknowledges says: true, or a number near the one it was told last.
static void ack(struct world *w, struct bx_buffer *text, unsigned verb, const char *id) {
  const struct bx_session *s = bx_server_find_session(w->server, bx_slice_of(id));

  if (!(verb & 16)) return;
  if (verb % 8 == 0)
    bx_buffer_printf(text, ",\"ext\":{\"ack\":true}");
  else
    bx_buffer_printf(text, ",\"ext\":{\"ack\":%lld}",
                     (s ? (long long)bx_session_sent(w->server, s) : 0) + 1 - (long long)(verb >> 5 & 3));
}

static void message(struct world *w, struct bx_buffer *text, unsigned verb, unsigned which) {
  static const char *const channels[] = {"/a", "/a/b", "/a/*", "/a/**", "/**", "/service/x", "/a/b/c/d", "/b"};
  const char *id = w->clients[which % CLIENTS].id, *channel = channels[which / CLIENTS % 8];
  unsigned hold = which / 32 * 100;

  switch (verb % 8) {
  case 0:
    bx_buffer_printf(
        text, "{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"websocket\"]");
    ack(w, text, verb, id);
    bx_buffer_char(text, '}');
    break;
  case 1:
  case 2:
    bx_buffer_printf(text,
                     "{\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"websocket\",\"id\":%u,"
                     "\"advice\":{\"timeout\":%u}",
                     id, verb % 8 == 1 ? 1 : w->texts, hold);
    ack(w, text, verb, id);
    bx_buffer_char(text, '}');
    break;
  case 3:
  case 4:
    bx_buffer_printf(text, "{\"channel\":\"/meta/%s\",\"clientId\":\"%s\",\"subscription\":[\"%s\",\"/b\"]}",
                     verb % 8 == 3 ? "subscribe" : "unsubscribe", id, channel);
    break;
  case 5:
  case 6:
    bx_buffer_printf(text, "{\"channel\":\"%s\",\"data\":\"%0*u\",\"clientId\":\"%s\"}", channel,
                     verb % 8 == 6 ? 300 : 1, w->texts, verb & 8 ? id : "");
    break;
  default: bx_buffer_printf(text, "{\"channel\":\"/meta/disconnect\",\"clientId\":\"%s\"}", id); break;
  }
}

static void receive(struct world *w, struct wire *x, struct bx_slice text) {
  char *copy = bx_alloc(text.len);   // of exactly this length

  if (text.len > 0) memcpy(copy, text.at, text.len);
  w->texts++;
  if (!bx_connection_receive(&x->c, (struct bx_slice){copy, text.len}) && x->c.kind == BX_CONNECTION_POLL)
    close(w, x, 0);
  bx_free(copy);
  check(w);
}

// An open stream takes a text; else a poll or a stream is opened for it.
static void text(struct world *w, struct wire *x, unsigned count) {
  struct bx_buffer out = {0};

  if (x->open && x->c.kind == BX_CONNECTION_POLL) close(w, x, take(w));
  if (!x->open) open(w, x, take(w) & 1);
  if (count == 0) {
    receive(w, x, take_line(w));
    return;
  }
  bx_buffer_char(&out, '[');
  for (unsigned i = 0; i < count; i++) {
    unsigned verb = take(w);

    if (i > 0) bx_buffer_char(&out, ',');
    message(w, &out, verb, take(w));
  }
  bx_buffer_char(&out, ']');
  receive(w, x, bx_buffer_view(&out));
  bx_buffer_fini(&out);
}

// -- from elsewhere --------------------------------------------------------------------------------

struct outside {
  struct bx_outside_publish o;
  char once[2];
};

static void published(struct bx_outside_publish *o, enum bx_outcome outcome, bx_position position) {
  MUST(outcome == BX_REFUSED || (outcome == BX_ACKNOWLEDGED && position > 0));
  bx_free(bx_container_of(o, struct outside, o));
}

static void publish(struct world *w, unsigned how) {
  for (unsigned i = 0; i < 1u << how % 8; i++) {
    struct outside *p = bx_alloc(sizeof *p);

    p->o.done = published;
    p->once[0] = (char)('a' + how / 8);
    MUST(bx_server_publish(w->server, &p->o, how & 8 ? BX_LIT("/a/b") : BX_LIT("/b"), BX_LIT("1.0"),
                           how > 200 ? bx_slice_of(p->once) : (struct bx_slice){0}) == NULL);
  }
}

static void outside(struct world *w, unsigned what) {
  if (what == 255)
    bx_server_drain(w->server);
  else if (what >= 240)
    kick(w, what);
  else
    decide(w);
}

// -- the script ------------------------------------------------------------------------------------

static void step(struct world *w) {
  unsigned byte = take(w);
  struct wire *x = &w->wires[(byte >> 4) % WIRES];

  switch (byte & 15) {
  case 0: text(w, x, 0); break;
  case 1:
  case 2:
  case 3: text(w, x, byte & 3); break;
  case 4: turn(w, 1); break;
  case 5: turn(w, 100); break;
  case 6: w->now += take(w); break;
  case 7: w->now += 40 * take(w); break;
  case 8: close(w, x, take(w)); break;
  case 9:
    if (x->open) x->stuck = x->c.kind == BX_CONNECTION_STREAM && !x->stuck;
    break;
  case 10:
    if (!x->open || !bx_connection_ping_position(&x->c, &x->ping)) x->ping = 0;
    break;
  case 11:
    if (x->open) bx_connection_pong(&x->c, x->ping + (take(w) == 255));
    break;
  case 12: x->arrival = (enum bx_arrival)(take(w) % 4); break;
  case 13:
  case 14: publish(w, take(w)); break;
  default: outside(w, take(w)); break;
  }
  check(w);
}

// Each session is given back once.
static int tallies;

static const char *admit(void *context, struct bx_slice address, void **tally) {
  (void)context;
  (void)address;
  if (tallies == CLIENTS - 1) return "429::Too many";
  tallies++;
  *tally = &tallies;
  return NULL;
}

static void leave(void *context, void *tally) {
  (void)context;
  MUST(tally == &tallies && tallies-- > 0);
}

static struct bx_server_options choose(unsigned byte) {
  bool small = byte & 1, brief = byte & 2;

  return (struct bx_server_options){
      .message = {.depth = 8, .batch = small ? 4 : 100, .members = 16},
      .journal = {.messages = small ? 40 : 10000, .bytes = brief ? 2000 : 1 << 20, .age = brief ? 1000 : 300000},
      .max_sessions = CLIENTS,
      .max_subscriptions = small ? 3 : 50,
      .max_channel_length = 100,
      .max_channel_depth = byte & 4 ? 3 : 64,
      .max_outbox_bytes = byte & 8 ? 100 : 65536,
      .max_lag = byte & 32 ? 6 : 0,
      .retry = byte & 32 ? 2000 : 0,
      .max_replies_bytes = byte & 16 ? 1000 : 1 << 20,
  };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct world w = {.now = 1000, .seed = 1, .at = data, .end = data + size};
  struct bx_env env = {.context = &w, .random = fill, .now = now, .admit = admit, .leave = leave, .event = event};
  unsigned first = take(&w);
  struct bx_server_options options = choose(first);
  struct bx_counters left;

  w.mount = (struct bx_mount){.path = BX_LIT("/bayeux"), .timeout = 2000};
  w.server =
      bx_server_create(&env, &options, bx_memory_engine_create(1700000000, 8, (struct bx_table_key){1, 2}), w.now);
  bx_list_init(&w.undecided);
  w.access.ops = &decider;
  if (first & 64) bx_server_guard(w.server, &w.access);
  while (w.at < w.end) step(&w);
  for (unsigned i = 0; i < WIRES; i++) close(&w, &w.wires[i], 0);
  bx_server_destroy(w.server, &left);
  MUST(left.sessions == 0 && left.frames == 0 && left.batches == 0 && left.subscriptions == 0 && left.connections == 0);
  MUST(tallies == 0);
  MUST(left.live + left.reading + left.away + left.closing == 0);
  return 0;
}
