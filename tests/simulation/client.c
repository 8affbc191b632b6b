// SPDX-License-Identifier: Apache-2.0
// Virtual clients: pollers whose connect ids change, pollers with one id for all, websockets; in a third of the
// runs half of them acknowledge. Each has one connect under way and at most one other request, goes to any node, loses patience and repeats.
#include "bayeux/message.h"
#include "tests/simulation/sim.h"

#include <stdlib.h>

static const char *const channels[] = {"/c/0", "/c/1", "/c/2", "/c/3", "/d/0", "/d/1"};
static const char *const patterns[] = {"/c/0", "/c/1", "/c/2", "/c/3", "/d/0", "/d/1", "/c/*", "/d/**"};

static void act(struct sim *, void *what);
static void connect(struct sim_client *);

static struct sim_node *some_node(struct sim_client *c, unsigned home_percent) {
  struct sim *s = c->sim;

  if (!sim_chance(s, home_percent)) c->home = (unsigned)sim_uniform(s, 0, s->node_count - 1);
  return s->nodes[c->home];
}

// Not drawn with the others' numbers: a run without such clients is what it was before there were any.
static bool acknowledges(uint64_t seed, unsigned number) {
  uint64_t x = (seed ^ seed >> 7) * 0xD1342543DE82EF95ull;

  if ((x >> 40) % 3 != 0) return false;
  x = (x + number + 1) * 0x9E3779B97F4A7C15ull;
  return (x >> 60) % 2 == 0;
}

void sim_client_start(struct sim *s, unsigned number) {
  struct sim_client *c = &s->clients[number];

  *c = (struct sim_client){.sim = s, .number = number, .kind = (enum sim_kind)sim_uniform(s, 0, SIM_KINDS - 1)};
  c->acks = acknowledges(s->seed, number);
  c->home = (unsigned)sim_uniform(s, 0, s->node_count - 1);
  c->roams = (unsigned)sim_uniform(s, 0, 60);
  sim_in(s, SIM_MS(sim_uniform(s, 300, 1500)), act, c);
}

// -- the connect loop -------------------------------------------------------------------------------

static void stop_waiting(struct sim_client *c) {
  if (c->connecting) c->repeat = true;
  c->connecting = false;
  c->wire = NULL;
  c->not_before = c->sim->now + SIM_MS(sim_uniform(c->sim, 1, 300));
}

// The double of a client that polls two nodes at once: what one answer carried may be taken as arrived
// because the other loop went on. Losing an answer is then the client's own loss.
static void lose(struct sim_client *c, struct sim_wire *w) {
  if (c->session == NULL) return;
  sim_incident(c->sim, c->session);
  if (c->session->doubled && (w == c->wire || w == c->second)) c->session->excused = true;
}

void sim_client_closed(struct sim_client *c, struct sim_wire *w) {
  if (!w->parting) lose(c, w);
  if (w == c->second) c->second = NULL;
  if (w == c->errand_wire) {
    c->errand_wire = NULL;
    c->errand_at = 0;   // no patience is needed
  }
  if (w == c->wire) stop_waiting(c);
}

void sim_client_cut(struct sim_client *c, struct sim_wire *w, enum sim_cut how) {
  if (w->abandoned) return;
  lose(c, w);
  sim_wire_cut(w, how);
  if (how == SIM_CUT_RESET) sim_client_closed(c, w);
}

static void send_connect(struct sim_client *c, struct sim_wire *w, uint32_t id) {
  char text[16], ext[48] = "";

  snprintf(text, sizeof text, "%u", id);
  if (c->acks) {
    snprintf(ext, sizeof ext, ",'ext':{'ack':%llu}", (unsigned long long)c->told);
    if (c->told > c->session->loaded_sent) c->session->loaded_sent = c->told;   // it is believed
  }
  if (c->session->since_connect == 0) c->session->since_connect = c->sim->now;
  sim_wire_send(w, "[{'channel':'/meta/connect','clientId':'%s','connectionType':'%s','id':'%s'%s}]", c->session->id,
                w->stream ? "websocket" : "long-polling", c->kind == SIM_CONSTANT ? "c" : text, ext);
}

static void connect(struct sim_client *c) {
  struct sim *s = c->sim;

  if (c->session == NULL || c->connecting || c->gone || s->now < c->not_before) return;
  if (c->wire == NULL || !c->wire->stream)
    c->wire = sim_wire_open(c, some_node(c, 100 - c->roams), c->kind == SIM_SOCKET);
  if (!c->repeat || c->acks) c->connect_id++;
  c->repeat = false;
  c->connecting = true;
  c->connect_at = s->now;
  c->patience = SIM_MS(SIM_TIMEOUT + sim_uniform(s, 800, 6000));
  send_connect(c, c->wire, c->connect_id);
}

void sim_client_double(struct sim_client *c) {
  if (c->session == NULL || c->kind == SIM_SOCKET || c->acks || c->second != NULL || c->gone) return;
  c->session->doubled = true;
  if (c->wire != NULL && c->wire->lost) c->session->excused = true;
  c->second = sim_wire_open(c, c->sim->nodes[sim_uniform(c->sim, 0, c->sim->node_count - 1)], false);
  send_connect(c, c->second, 100000 + ++c->second_id);
}

// I12: nothing waits for ever at a node that has time.
static void check_patience(struct sim_client *c, struct sim_wire *w, sim_time since, sim_time limit, const char *what) {
  struct sim_node *n = w == NULL ? NULL : w->node;

  if (n == NULL || w->lost || w->abandoned || !n->alive || n->stalled > since || c->sim->now < since + limit) return;
  sim_fail(c->sim, "I12", "c%u's %s at %s has no answer after %.0f ms", c->number, what, n->name,
           (double)(c->sim->now - since) / 1000);
}

static void lose_patience(struct sim_client *c) {
  struct sim *s = c->sim;
  struct sim_wire *w = c->wire;

  if (!c->connecting || s->now < c->connect_at + c->patience) return;
  check_patience(c, w, c->connect_at, SIM_MS(SIM_TIMEOUT + 2 * SIM_COMMAND_TIMEOUT + 1500), "connect");
  SIM_TRACE(s, "c%u gives up its connect", c->number);
  sim_client_cut(c, w, SIM_CUT_RESET);
  if (c->wire == w) stop_waiting(c);
}

// -- other requests ---------------------------------------------------------------------------------

static void begin_errand(struct sim_client *c, enum sim_errand errand) {
  struct sim *s = c->sim;
  bool over_stream = c->kind == SIM_SOCKET && c->wire != NULL && errand != SIM_HANDSHAKE && sim_chance(s, 50);

  c->errand = errand;
  c->errand_id++;
  c->errand_at = s->now;
  c->errand_patience = SIM_MS(sim_uniform(s, 3000, 8000));
  c->errand_wire = over_stream ? c->wire : sim_wire_open(c, some_node(c, 60), false);
}

static void end_errand(struct sim_client *c) {
  c->errand = SIM_IDLE;
  c->errand_wire = NULL;
  c->publish = NULL;
}

static void handshake(struct sim_client *c) {
  begin_errand(c, SIM_HANDSHAKE);
  sim_wire_send(
      c->errand_wire,
      "[{'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling'],'id':'e%u'%s}]",
      c->errand_id, c->acks ? ",'ext':{'ack':true}" : "");
}

static void subscribe(struct sim_client *c, const char *pattern, bool on) {
  struct sim_sub *sub = sim_sub_of(c->session, bx_slice_of(pattern));

  if (!on) sub->acked = false;   // from here on nothing is owed
  if (!on) sub->unsubscribing = true;
  snprintf(c->pattern, sizeof c->pattern, "%s", pattern);
  begin_errand(c, on ? SIM_SUBSCRIBE : SIM_UNSUBSCRIBE);
  sim_wire_send(c->errand_wire, "[{'channel':'/meta/%s','clientId':'%s','subscription':'%s','id':'e%u'}]",
                on ? "subscribe" : "unsubscribe", c->session->id, pattern, c->errand_id);
}

static void publish(struct sim_client *c) {
  struct sim_publish *p = sim_publish_new(c->sim, channels[sim_uniform(c->sim, 0, 5)]);

  if (p == NULL) return;
  begin_errand(c, SIM_PUBLISH);
  c->publish = p;
  p->open++;
  sim_wire_send(c->errand_wire, "[{'channel':'%s','data':%u,'clientId':'%s','id':'e%u'}]", p->channel, p->n,
                c->session->id, c->errand_id);
}

static void disconnect(struct sim_client *c) {
  c->session->disconnect_asked = true;
  c->session->over = true;
  begin_errand(c, SIM_DISCONNECT);
  sim_wire_send(c->errand_wire, "[{'channel':'/meta/disconnect','clientId':'%s','id':'e%u'}]", c->session->id,
                c->errand_id);
}

// The request may have been executed, or may still be.
static void unsure(struct sim_client *c) {
  if (c->errand == SIM_UNSUBSCRIBE && c->session != NULL) sim_sub_of(c->session, bx_slice_of(c->pattern))->murky = true;
  if (c->publish != NULL) {
    c->publish->open--;
    c->publish->unknown++;
  }
  end_errand(c);
}

static void watch_errand(struct sim_client *c) {
  if (c->errand == SIM_IDLE || (c->errand_wire != NULL && c->sim->now < c->errand_at + c->errand_patience)) return;
  if (c->errand_wire != NULL) {
    check_patience(c, c->errand_wire, c->errand_at, SIM_MS(2 * SIM_COMMAND_TIMEOUT + 1500), "request");
    SIM_TRACE(c->sim, "c%u gives up its request e%u", c->number, c->errand_id);
    if (!c->errand_wire->stream) sim_wire_cut(c->errand_wire, SIM_CUT_RESET);
  }
  unsure(c);
}

// What it wants: first its subscriptions, then now and then something.
static void next_errand(struct sim_client *c) {
  struct sim *s = c->sim;
  unsigned dice = (unsigned)sim_uniform(s, 0, 999);

  for (unsigned i = 0; i < 2; i++) {
    const char *pattern = patterns[(c->number * 3 + i * 5) % 8];
    struct sim_sub *sub = sim_sub_of(c->session, bx_slice_of(pattern));

    if (sub->acked || sub->unsubscribing) continue;
    subscribe(c, pattern, true);
    return;
  }
  if (s->now > SIM_MS(33000)) return;
  if (dice < 60) {
    publish(c);
  } else if (dice < 80) {
    subscribe(c, patterns[sim_uniform(s, 0, 7)], true);
  } else if (dice < 90) {
    const char *pattern = patterns[sim_uniform(s, 0, 7)];
    if (sim_sub_of(c->session, bx_slice_of(pattern))->acked) subscribe(c, pattern, false);
  } else if (dice < 92 && !s->calm) {
    disconnect(c);
  }
}

// -- answers ----------------------------------------------------------------------------------------

static void session_over(struct sim_client *c) {
  c->session->over = true;
  c->session = NULL;
  c->repeat = c->connecting = false;
  if (c->wire != NULL && !c->wire->abandoned) sim_wire_cut(c->wire, SIM_CUT_RESET);
  c->wire = NULL;
  if (c->second != NULL && !c->second->abandoned) sim_wire_cut(c->second, SIM_CUT_RESET);
  c->second = NULL;
  if (c->errand != SIM_IDLE) unsure(c);
  if (c->leaving) c->gone = true;
}

// 401: there has to be a reason.
static void told_gone(struct sim_client *c) {
  struct sim_session *session = c->session;

  SIM_TRACE(c->sim, "c%u is told that %.6s is unknown", c->number, session->id);
  if (session->events == 0 && !session->disconnect_asked && c->sim->last_rollback < session->created)
    sim_fail(c->sim, "I10", "c%u (%.6s) is told 401, and its session has not ended", c->number, session->id);
  session->told = true;
  session_over(c);
}

static const struct bx_value *member(const struct bx_messages *m, const struct bx_message *message, const char *name) {
  for (uint32_t i = message->first; i < message->first + message->count; i++)
    if (bx_slice_equal(m->members[i].name, bx_slice_of(name))) return &m->members[i].value;
  return NULL;
}

static bool fails_with(const struct bx_message *m, const char *code) {
  return m->error.type == BX_JSON_STRING && bx_slice_starts(bx_value_inside(&m->error), bx_slice_of(code));
}

// 0: it is not there.
static uint64_t number_behind(const struct bx_value *object, const char *mark) {
  const char *at = object->type == BX_JSON_OBJECT ? memmem(object->raw.at, object->raw.len, mark, strlen(mark)) : NULL;

  return at == NULL ? 0 : strtoull(at + strlen(mark), NULL, 10);
}

static uint64_t interval(const struct bx_message *m) { return number_behind(&m->advice, "\"interval\":"); }

// Messages come with the answer to a connect that tells a number, and not without.
static void check_numbered(struct sim_client *c, const struct bx_messages *all) {
  unsigned messages = 0, numbers = 0;

  for (size_t i = 0; i < all->count; i++) {
    messages += member(all, &all->at[i], "successful") == NULL;
    numbers += number_behind(&all->at[i].ext, "\"ack\":") > 0;
  }
  if (c->acks ? messages > 0 && numbers != 1 : numbers > 0)
    sim_fail(c->sim, "wire", "c%u gets %u messages with %u numbers", c->number, messages, numbers);
}

static void connected(struct sim_client *c, struct sim_wire *w, const struct bx_message *m, bool good) {
  if (c->session == NULL) return;
  if (!good && fails_with(m, "401")) {
    told_gone(c);
    return;
  }
  if (!good) sim_fail(c->sim, "wire", "a connect failed: %.*s", (int)m->error.raw.len, m->error.raw.at);
  c->session->last_connect = c->session->since_connect;
  c->session->since_connect = 0;
  if (number_behind(&m->ext, "\"ack\":") > 0) c->told = number_behind(&m->ext, "\"ack\":");
  if (w == c->second) {
    c->second = NULL;
    return;
  }
  if (w != c->wire) return;
  c->connecting = c->repeat = false;
  if (!w->stream) c->wire = NULL;
  c->not_before = c->sim->now + SIM_MS(interval(m));
}

static void welcomed(struct sim_client *c, const struct bx_message *m, bool good) {
  sim_time asked = c->errand_at;

  end_errand(c);
  if (!good || c->leaving || c->session != NULL) return;
  c->session = sim_session_new(c, bx_value_inside(&m->client_id));
  c->session->created = asked;
  c->told = number_behind(&m->ext, "\"batch\":");
  if (c->acks != (c->told > 0))
    sim_fail(c->sim, "wire", "c%u asked for numbers, or did not: %llu", c->number, (unsigned long long)c->told);
  c->repeat = c->connecting = false;
  c->not_before = c->sim->now;
  SIM_TRACE(c->sim, "c%u is %.6s", c->number, c->session->id);
}

static void done(struct sim_client *c, const struct bx_message *m, bool good) {
  struct sim_publish *p = c->publish;
  enum sim_errand errand = c->errand;
  bool unknown = fails_with(m, "504");

  if (p != NULL) {
    c->publish = NULL;
    sim_publish_told(c->sim, p,
                     good                   ? BX_ACKNOWLEDGED
                     : unknown              ? BX_UNKNOWN
                     : fails_with(m, "401") ? BX_NO_SESSION
                                            : BX_REFUSED);
  }
  if (c->session != NULL && (errand == SIM_SUBSCRIBE || errand == SIM_UNSUBSCRIBE)) {
    struct sim_sub *sub = sim_sub_of(c->session, bx_slice_of(c->pattern));

    if (good && errand == SIM_SUBSCRIBE) sub->acked = true;
    if (good && errand == SIM_SUBSCRIBE && !sub->executed) sim_fail(c->sim, "wire", "a subscription nobody executed");
    if (errand == SIM_UNSUBSCRIBE) sub->unsubscribing = false;
    if (!good && errand == SIM_UNSUBSCRIBE) sub->murky = true;
  }
  end_errand(c);
  if (errand == SIM_DISCONNECT && c->session != NULL && (good || fails_with(m, "401"))) {
    c->session->disconnected = true;
    session_over(c);
  } else if (!good && fails_with(m, "401") && c->session != NULL) {
    told_gone(c);
  }
}

static void take(struct sim_client *c, struct sim_wire *w, const struct bx_messages *all, const struct bx_message *m) {
  const struct bx_value *successful = member(all, m, "successful");
  bool good = successful != NULL && successful->type == BX_JSON_TRUE;
  char id[16];

  snprintf(id, sizeof id, "e%u", c->errand_id);
  if (successful == NULL) {
    uint32_t n = (uint32_t)strtoul(m->data.raw.at, NULL, 10);
    if (c->session != NULL) sim_ledger_received(c->sim, c->session, n);
  } else if (bx_value_is(&m->channel, BX_LIT("/meta/connect"))) {
    connected(c, w, m, good);
  } else if (c->errand != SIM_IDLE && bx_value_is(&m->id, bx_slice_of(id))) {
    if (c->errand == SIM_HANDSHAKE)
      welcomed(c, m, good);
    else
      done(c, m, good);
  }
}

void sim_client_text(struct sim_client *c, struct sim_wire *w, struct bx_slice text) {
  static const struct bx_message_limits limits = {.depth = 32, .batch = 10000, .members = 64};
  struct bx_messages messages = {0};

  SIM_TRACE(c->sim, "c%u <- %s: %.*s", c->number, w->node->name, (int)(text.len < 600 ? text.len : 600), text.at);
  if (bx_messages_parse(&messages, text, &limits) != BX_PARSE_OK)
    sim_fail(c->sim, "wire", "not JSON: %.*s", (int)text.len, text.at);
  check_numbered(c, &messages);
  for (size_t i = 0; i < messages.count && !c->sim->failed; i++) take(c, w, &messages, &messages.at[i]);
  bx_messages_fini(&messages);
  connect(c);
}

// -- life -------------------------------------------------------------------------------------------

static void act(struct sim *s, void *what) {
  struct sim_client *c = what;

  if (c->gone) return;
  sim_in(s, SIM_MS(sim_uniform(s, 20, 250)), act, c);
  watch_errand(c);
  lose_patience(c);
  if (c->session == NULL) {
    if (c->errand == SIM_IDLE && !c->leaving) handshake(c);
    return;
  }
  if (c->errand == SIM_IDLE) {
    if (c->leaving || c->session->disconnect_asked)
      disconnect(c);
    else
      next_errand(c);
  }
  if (!c->session->over) connect(c);
}

void sim_client_leave(struct sim_client *c, bool politely) {
  SIM_TRACE(c->sim, "c%u leaves%s", c->number, politely ? "" : " without a word");
  c->leaving = true;
  if (politely) return;
  c->gone = true;
  if (c->wire != NULL) sim_wire_cut(c->wire, sim_chance(c->sim, 50) ? SIM_CUT_SILENT : SIM_CUT_RESET);
  if (c->second != NULL) sim_wire_cut(c->second, SIM_CUT_RESET);
}

// -- publishers without sessions --------------------------------------------------------------------

struct outside {
  struct bx_outside_publish publish;
  struct sim_node *node;
  struct sim_publish *p;
  unsigned tries;
  sim_time at;
};

static void submit(struct sim *, void *what);

static void outside_done(struct bx_outside_publish *o, enum bx_outcome outcome, bx_position position) {
  struct outside *out = bx_container_of(o, struct outside, publish);
  struct sim *s = out->node->sim;

  (void)position;
  out->at = 0;
  if (!out->node->alive) outcome = BX_UNKNOWN;   // its process is gone: the publisher heard nothing
  if (s->stopped) return;
  if (outcome == BX_ACKNOWLEDGED || out->p->once[0] == '\0' || out->tries == 3) {
    sim_publish_told(s, out->p, outcome);
    return;
  }
  out->p->open++;
  sim_publish_told(s, out->p, outcome);
  sim_in(s, SIM_MS(sim_uniform(s, 1, 2000)), submit, out);
}

static void check_answered(struct sim *s, void *what) {
  struct outside *out = what;

  if (out->at == 0 || !out->node->alive || out->node->stalled > out->at || s->now < out->at + SIM_MS(6000)) return;
  sim_fail(s, "I12", "publish %u has no outcome at %s", out->p->n, out->node->name);
}

static void submit(struct sim *s, void *what) {
  struct outside *old = what, *out = sim_new(s, sizeof *out);

  *out = *old;   // the one before is the engine's no more, but its check may still come
  old->at = 0;
  memset(&out->publish, 0, sizeof out->publish);
  out->node = s->nodes[sim_uniform(s, 0, s->node_count - 1)];
  if (!out->node->alive || out->node->stalled > s->now) {
    sim_in(s, SIM_MS(100), submit, out);
    return;
  }
  out->tries++;
  out->at = s->now;
  out->publish.done = outside_done;
  SIM_TRACE(s, "publish %u on %s at %s%s%s", out->p->n, out->p->channel, out->node->name,
            out->p->once[0] ? " once " : "", out->p->once);
  char data[16];
  snprintf(data, sizeof data, "%u", out->p->n);
  bx_server_publish(out->node->server, &out->publish, bx_slice_of(out->p->channel), bx_slice_of(data),
                    bx_slice_of(out->p->once));
  sim_node_woken(out->node);
  sim_in(s, SIM_MS(6000), check_answered, out);
}

void sim_publisher_act(struct sim *s, void *unused) {
  (void)unused;
  if (s->now > SIM_MS(33000)) return;
  for (uint64_t i = sim_uniform(s, 1, 3); i > 0; i--) {
    struct sim_publish *p = sim_publish_new(s, channels[sim_uniform(s, 0, 5)]);
    struct outside *out = sim_new(s, sizeof *out);

    if (p == NULL) return;
    if (sim_chance(s, 20)) snprintf(p->once, sizeof p->once, "k%u", p->n);
    p->open++;
    out->p = p;
    submit(s, out);
  }
  sim_in(s, SIM_MS(sim_uniform(s, 10, 500)), sim_publisher_act, NULL);
}
