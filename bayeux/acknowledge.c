// SPDX-License-Identifier: Apache-2.0
// Clients that acknowledge: CometD's ack extension. Where CometD counts batches, the number is a position of the
// journal. Messages go in answers to connects only; each answer tells the position up to which nothing is missing, and
// the next connect says which answer its client has had. The client carries the number, so no crash of a node and no
// broken connection leaves any doubt about what has arrived.
//
// Nothing is kept of who asked for it: a connect with a number is that of a client that acknowledges.
#include "bayeux/reader.h"
#include "bayeux/server_private.h"

#define MAX_POSITION 9007199254740991.0   // the largest safe integer of JavaScript
#define MAX_AHEAD 1000000                 // how far another node may have been ahead of this one

// -- texts -----------------------------------------------------------------------------------------

bool bx_ack_is_wanted(const struct bx_message *m) { return bx_ext_member(&m->ext, BX_LIT("ack")).type == BX_JSON_TRUE; }

bool bx_ack_read(const struct bx_message *m, bx_position *number) {
  struct bx_value ack = bx_ext_member(&m->ext, BX_LIT("ack"));
  double value;

  if (ack.type != BX_JSON_NUMBER || !bx_value_number(&ack, &value)) return false;
  *number = 0;   // -1: its client has had no answer
  if (value > 0) *number = (bx_position)(value < MAX_POSITION ? value : MAX_POSITION);
  return true;
}

void bx_ack_write(struct bx_server *server, struct bx_session *s, struct bx_buffer *out) {
  bx_buffer_printf(out, ",\"ext\":{\"ack\":%llu}", (unsigned long long)bx_session_tell(server, s));
}

// The object stays open: its bracket is taken off.
static void open_object(struct bx_buffer *object) {
  struct bx_value key;
  struct bx_scan s;

  if (object->len == 0) {
    bx_buffer_char(object, '{');
    return;
  }
  bx_scan_init(&s, bx_buffer_view(object), 64);
  bool some = bx_scan_enter(&s) && bx_scan_item(&s, &key);
  while (object->at[--object->len] != '}') continue;
  if (some) bx_buffer_char(object, ',');
}

void bx_ack_offer(struct bx_server *server, struct bx_session *s, struct bx_buffer *ext) {
  server->counters.acking_sessions++;
  open_object(ext);
  bx_buffer_printf(ext, "\"ack\":{\"enabled\":true,\"batch\":%llu}}", (unsigned long long)bx_session_tell(server, s));
}

// -- numbers ---------------------------------------------------------------------------------------

// Entries behind `sent` that a subscription still has to get are not behind the client: should this node die, the
// number is what the next one goes by.
bx_position bx_session_tell(struct bx_server *server, struct bx_session *s) {
  bool reading = s->outbox.count > 0 || s->reader != NULL;
  bx_position number = bx_session_sent(server, s);

  if (s->mark.asking > 0 && s->mark.asked_from < number) number = s->mark.asked_from;
  if (s->backfilled)
    bx_list_each (link, &s->subscriptions) {
      const struct bx_subscription *sub = bx_subscription_of(link);

      if ((sub->behind || (sub->upto != 0 && reading)) && sub->known < number) number = sub->known;
    }
  s->told = number;
  s->mark.pinged = s->state == BX_SESSION_LIVE && s->outbox.count == 0 ? server->engine->tick : 0;
  return number;
}

// Another node had sent more than its record tells, or than was known when the session was claimed from it. It did
// not know the subscriptions that were made here. Of a session that was never elsewhere all that was sent is known.
static void go_ahead(struct bx_server *server, struct bx_session *s, bx_position to) {
  if (!s->moved || s->state != BX_SESSION_AWAY || to > bx_journal_head(&server->journal) + MAX_AHEAD) {
    server->counters.bad_acks++;
    return;
  }
  bx_list_each (link, &s->subscriptions) {
    struct bx_subscription *sub = bx_subscription_of(link);

    if (sub->start >= to) continue;
    if (sub->adopted) {   // the record still says so, but bx_session_tell() stays below what is not read back
      sub->behind = false;
      sub->upto = 0;
    }
    if (sub->adopted || sub->behind) continue;
    sub->behind = s->backfilled = true;
    sub->from = sub->known = sub->start > s->cursor ? sub->start : s->cursor;
  }
  s->cursor = to;
  if (to > server->lost_from && to < server->lost_to) s->passed = to;   // before the rollback
  bx_session_changed(server, s, false);
}

void bx_session_acknowledge(struct bx_server *server, struct bx_session *s, bx_position number) {
  bx_position sent = bx_session_sent(server, s);

  if (s->pending && number < s->told) {
    if (number > sent) number = sent;
    if (number > s->conf) s->conf = number;
    if (s->connection != NULL) bx_session_read_again(server, s);
    bx_session_fall_back(server, s);
    return;
  }
  if (s->pending) {
    bx_session_confirm_all(server, s);
    bx_session_changed(server, s, true);
  }
  if (number > sent) go_ahead(server, s, number);
}

void bx_session_part(struct bx_server *server, struct bx_session *s) {
  if (!s->acks)
    bx_session_fall_back(server, s);
  else if (s->pending)
    s->settled = BX_ARRIVAL_LOST;   // should the next connect carry no number
}
