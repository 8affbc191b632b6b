// SPDX-License-Identifier: Apache-2.0
// Sessions that move between nodes: taken in from a record, let go into one, and messages that another
// node took for a session that lives here.
#include "bayeux/reader.h"
#include "bayeux/server_private.h"

// -- in --------------------------------------------------------------------------------------------

struct bx_session *bx_session_adopt(struct bx_server *server, const struct bx_record *r) {
  struct bx_session *s = bx_session_create(server, r->id);

  s->recorded = true;
  s->moved = true;
  s->generation = r->generation;
  s->conf = r->conf;
  s->cursor = s->written = r->sent;
  s->pending = r->sent > r->conf;
  s->told = r->sent;
  if (r->sent > server->lost_from && r->sent < server->lost_to) s->passed = r->sent;   // before the rollback
  s->settled = BX_ARRIVAL_PENDING;   // TCP knows nothing here of an answer that was given elsewhere
  s->connect_id = r->connect_id;
  s->has_connect_id = r->has_connect_id;
  s->ids_vary = r->ids_vary;
  s->born = r->created;
  if (bx_user_is_valid(r->user)) bx_session_set_user(s, r->user);
  if (bx_token_is_valid(r->token)) bx_session_set_token(s, r->token);
  s->life = r->life;
  for (size_t i = 0; i < r->subscription_count; i++)
    bx_session_restore(server, s, r->subscriptions[i].pattern, r->subscriptions[i].start, r->subscriptions[i].upto);
  bx_wheel_set(&server->wheel, &s->expiry, server->now + r->remaining);
  server->counters.moves++;
  return s;
}

// -- out -------------------------------------------------------------------------------------------

// What TCP knows of the last answer goes into the record: only this node can ask.
static void weigh(struct bx_server *server, struct bx_session *s) {
  enum bx_arrival arrival = bx_session_arrival(s);

  if (!s->pending || s->acks) return;
  if (arrival == BX_ARRIVAL_LOST || arrival == BX_ARRIVAL_RESET || (s->from_stream && arrival != BX_ARRIVAL_YES))
    bx_session_fall_back(server, s);   // no connect id speaks for a stream
  else if (arrival == BX_ARRIVAL_YES && (s->from_stream || !s->ids_vary))
    bx_session_confirm_all(server, s);
}

void bx_session_settle(struct bx_server *server, struct bx_session *s) {
  if (s->state == BX_SESSION_AWAY) weigh(server, s);
}

void bx_session_release(struct bx_server *server, struct bx_session *s, struct bx_record *out) {
  if (s->connection != NULL) bx_session_supersede(server, s);
  weigh(server, s);
  if (s->answered != NULL) s->answered->receipt = NULL;
  s->answered = NULL;
  bx_table_remove(&server->sessions, &s->node);
  s->released = true;
  *out = (struct bx_record){.id = bx_session_id(s),
                            .generation = s->generation,
                            .conf = bx_session_conf(server, s),
                            .sent = bx_session_sent(server, s),
                            .connect_id = s->connect_id,
                            .has_connect_id = s->has_connect_id,
                            .ids_vary = s->ids_vary,
                            .life = s->life};
}

void bx_session_unrelease(struct bx_server *server, struct bx_session *s) {
  BX_BUG_ON(!s->released || bx_server_find_session(server, bx_session_id(s)) != NULL);
  bx_table_insert(&server->sessions, &s->node, s->node.key);
  s->released = false;
}

// -- messages from another node --------------------------------------------------------------------

struct relay {
  struct bx_connection connection;
  struct bx_list link;
  struct bx_remote_call *call;
};

static void wake(struct bx_connection *c) {
  struct relay *r = bx_container_of(c, struct relay, connection);

  bx_list_remove(&r->link);
  bx_list_append(&c->server->relays, &r->link);
}

static enum bx_arrival arrival(struct bx_connection *c) {
  (void)c;
  return BX_ARRIVAL_YES;
}

static void finish(struct relay *r) {
  bx_list_remove(&r->link);
  bx_connection_lost(&r->connection, false);
  bx_connection_fini(&r->connection);
  bx_free(r);
}

void bx_relay_open(struct bx_server *server, struct bx_remote_call *call, bool relayed) {
  static const struct bx_connection_ops ops = {.wake = wake, .arrival = arrival};
  static const struct bx_mount nowhere = {.path = {"", 0}};
  struct relay *r = bx_alloc(sizeof *r);

  bx_list_init(&r->link);
  r->call = call;
  bx_connection_init(&r->connection, server, &ops, BX_CONNECTION_POLL, "relay", &nowhere, BX_LIT(""));
  r->connection.inside = true;
  r->connection.relayed = relayed;
  if (bx_connection_receive(&r->connection, call->text)) return;
  call->done(call, BX_LIT("[]"));
  finish(r);
}

void bx_relays_run(struct bx_server *server) {
  struct bx_list todo, *link;
  struct bx_buffer out = {0};

  bx_list_init(&todo);
  bx_list_splice(&todo, &server->relays);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct relay *r = bx_container_of(link, struct relay, link);

    bx_buffer_clear(&out);
    if (!bx_connection_answer(&r->connection, &out)) continue;
    r->call->done(r->call, bx_buffer_view(&out));
    finish(r);
  }
  bx_buffer_fini(&out);
}

void bx_relays_close(struct bx_server *server) {
  bx_list_each (link, &server->connections) {
    struct bx_connection *c = bx_container_of(link, struct bx_connection, link);
    struct relay *r = bx_container_of(c, struct relay, connection);

    if (!c->inside) continue;
    r->call->done(r->call, BX_LIT("[]"));
    finish(r);
  }
}

// -- the journal breaks ----------------------------------------------------------------------------

// A pass that is under way would follow links into entries that are void now.
static void restart_readers(struct bx_server *server) {
  bx_list_each (link, &server->states[BX_SESSION_READING]) {
    struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

    bx_reader_stop(s);
    bx_reader_start(server, s);
  }
}

static void read_all_again(struct bx_server *server) {
  restart_readers(server);
  bx_list_each (link, &server->states[BX_SESSION_LIVE])
    bx_session_read_again(server, bx_container_of(link, struct bx_session, state_link));
}

// What is in front of it is of no use any more: whoever has not read that would have to read past the gap,
// also one that comes later. Who stands below finds himself lost when he reads on: the live ones at once.
void bx_server_gap(struct bx_server *server, bx_position from, bx_position to) {
  (void)from;
  server->counters.gaps++;
  read_all_again(server);
  bx_journal_gap(&server->journal, to);
  bx_server_revoked(server, (struct bx_slice){0});   // a revocation may have stood there
  bx_list_splice(&server->readers, &server->ahead);
}

// Those of the journal that is gone. A session that is in the new one already has a position there.
static void lose_all(struct bx_server *server, bx_position first) {
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &server->states[state]) {
      struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      if (bx_session_sent(server, s) >= first) continue;
      bx_session_lose(server, s);
      bx_session_close(server, s, BX_END_LOST);   // its record is gone
    }
}

// What is in an outbox is on its way.
static void note_passed(struct bx_server *server, bx_position head) {
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &server->states[state]) {
      struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      s->passed = s->state == BX_SESSION_LIVE ? head : s->cursor;
    }
}

uint64_t bx_server_epoch(struct bx_server *server, uint64_t epoch, bx_position first, bx_position survived) {
  bx_position head = bx_journal_head(&server->journal);
  uint64_t entries;

  (void)epoch;
  if (survived == 0) {
    server->losing_all = true;
    lose_all(server, first);
    server->losing_all = false;
  }
  restart_readers(server);
  note_passed(server, head);
  server->lost_from = survived;
  server->lost_to = first;
  // Past `first` already: the entry of this epoch had been trimmed, and what is here came behind a gap.
  entries = head >= first ? 0 : bx_journal_cut(&server->journal, survived);
  bx_journal_jump(&server->journal, head);   // sessions stay where they are, above what is void now
  return entries;
}
