// SPDX-License-Identifier: Apache-2.0
// Connections of clients to nodes: texts, pings, closes and resets on their way, in order, or lost.
//
// A poll's answer has arrived when the client's TCP has it: an ACK goes back, and the node's look at
// the socket tells. A wire that is cut silently tells neither side; the node finds out much later.
#include "tests/simulation/sim.h"

#include <stdarg.h>

#define PING_EVERY SIM_MS(1000)
#define ECHO_TIME SIM_MS(2000)

static void input(struct sim *, void *what);
static void output(struct sim *, void *what);

static struct sim_wire *wire_of(struct bx_connection *c) { return bx_container_of(c, struct sim_wire, c); }

static sim_time delay(struct sim *s) {
  return sim_chance(s, 3) ? sim_uniform(s, 2000, 120000) : sim_uniform(s, 100, 3000);
}

// -- parcels ----------------------------------------------------------------------------------------

static struct sim_parcel *parcel(struct sim *s, enum sim_parcel_kind kind, struct bx_slice text) {
  struct sim_parcel *p = sim_new(s, sizeof *p);

  p->kind = kind;
  p->text = sim_keep(s, text);
  return p;
}

static void post(struct sim_wire *w, bool to_node, struct sim_parcel *p, sim_time after) {
  struct sim *s = w->node->sim;
  sim_time *last = to_node ? &w->last_there : &w->last_here;

  p->sent = s->now;
  p->at = s->now + after;
  if (p->at < *last) p->at = *last;
  *last = p->at;
  bx_list_append(to_node ? &w->to_node : &w->to_client, &p->link);
  sim_at(s, p->at, to_node ? input : output, w);
}

static void tell(struct sim_wire *w, bool to_node, enum sim_parcel_kind kind) {
  post(w, to_node, parcel(w->node->sim, kind, (struct bx_slice){0}), delay(w->node->sim));
}

static struct sim_parcel *next(struct bx_list *list) {
  struct bx_list *link = bx_list_take(list);
  return link == NULL ? NULL : bx_container_of(link, struct sim_parcel, link);
}

// -- the node's side --------------------------------------------------------------------------------

static void wake(struct bx_connection *c) { wire_of(c)->woken = true; }

static void ask_close(struct bx_connection *c, unsigned code, const char *reason) {
  struct sim_wire *w = wire_of(c);

  SIM_TRACE(w->node->sim, "%s: closes the stream of c%u: %u %s", w->node->name, w->client->number, code, reason);
  w->close_asked = w->woken = true;
  w->parting = code == 1001;
}

static enum bx_arrival arrival(struct bx_connection *c) { return wire_of(c)->arrival; }

static void node_over(struct sim_wire *w, bool all_arrived) {
  if (!w->there || w->over) return;
  w->over = true;
  if (w->parting && !all_arrived && w->client->session != NULL) sim_incident(w->node->sim, w->client->session);
  if (w->answered) bx_connection_settle(&w->c, w->arrival == BX_ARRIVAL_PENDING ? BX_ARRIVAL_LOST : w->arrival);
  bx_connection_lost(&w->c, all_arrived);
  bx_connection_fini(&w->c);
  sim_node_woken(w->node);
}

// The node finds out about a peer that is not there any more.
static void find_out(struct sim *s, void *what) {
  struct sim_wire *w = what;

  if (!w->node->alive || w->over || sim_node_defer(w->node, find_out, w)) return;
  SIM_TRACE(s, "%s: finds c%u's %s dead", w->node->name, w->client->number, w->stream ? "stream" : "poll");
  node_over(w, false);
}

static void open_there(struct sim_wire *w) {
  static const struct bx_connection_ops ops = {wake, ask_close, arrival};

  w->there = true;
  bx_connection_init(&w->c, w->node->server, &ops, w->stream ? BX_CONNECTION_STREAM : BX_CONNECTION_POLL,
                     w->stream ? "websocket" : "long-polling", &w->node->mount, BX_LIT("10.0.0.1"));
}

static void take_text(struct sim_wire *w, struct bx_slice text) {
  struct sim *s = w->node->sim;

  if (!w->there && w->node->draining) {   // its listener is closed
    w->parting = w->over = true;
    tell(w, false, SIM_END);
    return;
  }
  if (!w->there) open_there(w);
  if (!bx_connection_receive(&w->c, text)) sim_fail(s, "wire", "a text was refused: %.*s", (int)text.len, text.at);
}

static void end_poll(struct sim *s, void *what) {
  struct sim_wire *w = what;

  if (!w->node->alive || sim_node_defer(w->node, end_poll, w)) return;
  (void)s;
  node_over(w, false);
}

static void take(struct sim_wire *w, struct sim_parcel *p) {
  struct sim *s = w->node->sim;

  switch (p->kind) {
  case SIM_TEXT: take_text(w, p->text); break;
  case SIM_PONG: bx_connection_pong(&w->c, p->position); break;
  case SIM_ECHO: node_over(w, true); break;
  case SIM_ACK:
    w->arrival = BX_ARRIVAL_YES;
    sim_in(s, sim_chance(s, 70) ? 0 : SIM_MS(sim_uniform(s, 1, 1000)), end_poll, w);
    break;
  case SIM_RESET:
    if (w->answered && w->arrival == BX_ARRIVAL_PENDING) w->arrival = w->had_it ? BX_ARRIVAL_RESET : BX_ARRIVAL_LOST;
    node_over(w, false);
    break;
  default: break;
  }
}

static void input(struct sim *s, void *what) {
  struct sim_wire *w = what;
  struct sim_parcel *p;

  if (w->lost || (w->node->alive && sim_node_defer(w->node, input, w))) return;
  p = next(&w->to_node);
  if (p == NULL) return;
  if (!w->node->alive || w->over) {
    if (p->kind == SIM_TEXT) tell(w, false, SIM_END);
    return;
  }
  (void)s;
  take(w, p);
  sim_node_woken(w->node);
}

// -- what leaves the node ---------------------------------------------------------------------------

static void send_to_client(struct sim_wire *w, struct bx_session *b, struct bx_slice text) {
  if (b != NULL && !w->stream && memmem(text.at, text.len, "\"data\":", 7) != NULL) sim_check_poll(w->node, b);
  post(w, false, parcel(w->node->sim, SIM_TEXT, text), delay(w->node->sim));
}

static void close_late(struct sim *s, void *what) {
  struct sim_wire *w = what;

  (void)s;
  if (w->node->alive && !sim_node_defer(w->node, close_late, w)) node_over(w, false);
}

static void drain_stream(struct sim_wire *w) {
  struct bx_gathered gathered;
  struct bx_buffer out = {0};
  struct bx_session *b;

  if (w->close_sent) return;   // nothing follows a close
  for (b = w->c.session; bx_connection_gather(&w->c, &out, &gathered); b = w->c.session) {
    if (gathered.frame != NULL) {
      bx_buffer_add(&out, bx_frame_array(gathered.frame), bx_frame_array_len(gathered.frame));
      bx_frame_unref(gathered.frame);
    }
    send_to_client(w, b, bx_buffer_view(&out));
    bx_buffer_clear(&out);
  }
  bx_buffer_fini(&out);
  if (!w->close_asked) return;
  w->close_sent = true;
  tell(w, false, SIM_CLOSE);
  sim_in(w->node->sim, ECHO_TIME, close_late, w);
}

static void drain_poll(struct sim_wire *w) {
  struct bx_session *b = w->c.session;
  struct bx_buffer out = {0};

  if (!w->answered && bx_connection_answer(&w->c, &out)) {
    w->answered = true;
    w->arrival = BX_ARRIVAL_PENDING;
    if (w->c.failed)
      tell(w, false, SIM_END);
    else
      send_to_client(w, b, bx_buffer_view(&out));
  }
  bx_buffer_fini(&out);
}

void sim_wire_drain(struct sim_node *n) {
  bx_list_each (link, &n->server->connections) {
    struct bx_connection *c = bx_container_of(link, struct bx_connection, link);
    struct sim_wire *w = wire_of(c);

    if (c->relayed || !w->woken || w->over) continue;
    w->woken = false;
    if (w->stream)
      drain_stream(w);
    else
      drain_poll(w);
  }
}

void sim_wire_ping(struct sim_node *n) {
  bx_list_each (link, &n->server->connections) {
    struct bx_connection *c = bx_container_of(link, struct bx_connection, link);
    struct sim_wire *w = wire_of(c);
    struct sim_parcel *p;
    bx_position position;

    if (c->relayed || !w->stream || w->close_asked || n->sim->now < w->last_ping + PING_EVERY) continue;
    if (!bx_connection_ping_position(c, &position)) continue;
    w->last_ping = n->sim->now;
    p = parcel(n->sim, SIM_PING, (struct bx_slice){0});
    p->position = position;
    post(w, false, p, delay(n->sim));
  }
}

// The process is gone: what its kernel had taken still leaves, or some of it.
void sim_wires_crash(struct sim_node *n) {
  bx_list_each (link, &n->server->connections) {
    struct bx_connection *c = bx_container_of(link, struct bx_connection, link);
    struct sim_wire *w = wire_of(c);
    size_t count = 0, kept;

    if (c->relayed) continue;
    bx_list_each (at, &w->to_client) count++;
    kept = sim_uniform(n->sim, 0, count);
    bx_list_each (at, &w->to_client) {
      if (kept == 0) bx_list_remove(at);
      if (kept > 0) kept--;
    }
    w->over = true;
    bx_connection_lost(c, false);
    bx_connection_fini(c);
    if (!n->sim->stopped) tell(w, false, SIM_END);
  }
}

// -- the client's side ------------------------------------------------------------------------------

static void pong(struct sim_wire *w, bx_position position) {
  struct sim *s = w->node->sim;
  struct sim_parcel *p = parcel(s, SIM_PONG, (struct bx_slice){0});

  p->position = position;
  post(w, true, p, delay(s) + (sim_chance(s, 10) ? SIM_MS(sim_uniform(s, 1, 300)) : 0));
}

// The client's TCP tells the node's. A client that uses one id for all has no other evidence: when it
// is late, and the session has moved meanwhile, the answer counts as lost.
static void acknowledge(struct sim_wire *w, sim_time way) {
  struct sim *s = w->node->sim;
  sim_time after = sim_chance(s, 95) ? sim_uniform(s, 50, 400) : delay(s);

  bool elsewhere = w->client->errand_wire != NULL && w->client->errand_wire->node != w->node;   // its session moves

  elsewhere |= w->client->session != NULL && w->client->session->doubled;

  if ((after > 400 || way > 2000 || elsewhere) && w->client->kind == SIM_CONSTANT && w->client->session != NULL)
    sim_incident(s, w->client->session);
  post(w, true, parcel(s, SIM_ACK, (struct bx_slice){0}), after);
}

static void output(struct sim *s, void *what) {
  struct sim_wire *w = what;
  struct sim_parcel *p;

  if (w->lost || (p = next(&w->to_client)) == NULL) return;
  if (w->abandoned) {
    if (p->kind == SIM_TEXT) w->had_it = sim_chance(s, 50);
    return;
  }
  switch (p->kind) {
  case SIM_TEXT:
    sim_client_text(w->client, w, p->text);
    if (!w->stream) acknowledge(w, s->now - p->sent);
    break;
  case SIM_PING: pong(w, p->position); break;
  case SIM_CLOSE:
    tell(w, true, SIM_ECHO);
    w->abandoned = true;
    sim_client_closed(w->client, w);
    break;
  case SIM_END:
    w->abandoned = true;
    sim_client_closed(w->client, w);
    break;
  default: break;
  }
}

struct sim_wire *sim_wire_open(struct sim_client *client, struct sim_node *node, bool stream) {
  struct sim_wire *w = sim_new(client->sim, sizeof *w);

  w->node = node;
  w->client = client;
  w->stream = stream;
  w->arrival = BX_ARRIVAL_PENDING;
  w->opened = client->sim->now;
  bx_list_init(&w->to_node);
  bx_list_init(&w->to_client);
  return w;
}

void sim_wire_send(struct sim_wire *w, const char *text, ...) {
  struct sim *s = w->node->sim;
  struct sim_parcel *p;
  char line[1024];
  va_list arguments;
  int len;

  va_start(arguments, text);
  len = vsnprintf(line, sizeof line, text, arguments);
  va_end(arguments);
  BX_BUG_ON(len < 0 || (size_t)len >= sizeof line);
  for (char *at = line; *at != '\0'; at++)
    if (*at == '\'') *at = '"';
  SIM_TRACE(s, "c%u -> %s: %s", w->client->number, w->node->name, line);
  p = parcel(s, SIM_TEXT, (struct bx_slice){line, (size_t)len});
  post(w, true, p, delay(s));
}

void sim_wire_cut(struct sim_wire *w, enum sim_cut how) {
  struct sim *s = w->node->sim;

  if (w->abandoned) return;
  SIM_TRACE(s, "c%u's %s to %s is cut%s", w->client->number, w->stream ? "stream" : "poll", w->node->name,
            how == SIM_CUT_SILENT ? " silently" : "");
  w->abandoned = true;
  if (how == SIM_CUT_SILENT) {
    w->lost = true;
    sim_in(s, SIM_MS(sim_uniform(s, 2000, 8000)), find_out, w);
  } else {
    tell(w, true, SIM_RESET);
  }
}
