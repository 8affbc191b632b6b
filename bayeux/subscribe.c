// SPDX-License-Identifier: Apache-2.0
// /meta/subscribe and /meta/unsubscribe.
#include "bayeux/server_private.h"

// The reply: Faye writes the error in front of the subscription when a parameter or the client is
// what is wrong, behind it when the channel is.
static void reply(struct bx_batch *batch, uint32_t index, enum bx_fault fault, struct bx_slice error,
                  const struct bx_access_answer *access) {
  const struct bx_message *m = &batch->messages.at[index];
  bool good = fault == BX_NO_FAULT, late = fault == BX_FAULT_CHANNEL;
  struct bx_buffer *out = bx_reply_open(batch, index, true, good);

  if (!good && !late) bx_reply_error_member(out, error);
  bx_buffer_lit(out, ",\"subscription\":");
  if (bx_value_truthy(&m->subscription))
    bx_buffer_slice(out, m->subscription.raw);
  else
    bx_buffer_lit(out, "[]");
  if (late) bx_reply_error_member(out, error);
  if (fault == BX_FAULT_CLIENT) bx_reply_chosen_advice(batch->server, out);
  if (access != NULL && access->verdict != BX_ALLOW) bx_reply_denial_advice(out, access);
  if (access != NULL && good) bx_reply_ext(out, access->ext);
  bx_reply_close(batch, index);
}

static enum bx_fault wrong(const struct bx_call *call, struct bx_buffer *error) {
  const struct bx_message *m = call->message;

  if (m->error.type != BX_JSON_NONE)
    bx_buffer_lit(error, "400::Bad request");
  else if (!bx_value_truthy(&m->subscription))
    bx_buffer_lit(error, "402:subscription:Missing required parameter");
  else
    return bx_client_fault(call, error);
  return BX_FAULT_OTHER;
}

// One pattern: good, or the error is written.
static bool check(struct bx_server *server, const struct bx_value *item, struct bx_slice pattern,
                  struct bx_buffer *error) {
  enum bx_channel_kind kind = item->type == BX_JSON_STRING ? bx_channel_classify(pattern) : BX_CHANNEL_INVALID;

  if (kind == BX_CHANNEL_INVALID) {
    bx_error_text(error, "405", item, "Invalid channel");
  } else if (bx_channel_is_meta(pattern) || bx_channel_is_service(pattern)) {
    bx_error_text(error, "403", item, "Forbidden channel");
  } else if (pattern.len > server->options.max_channel_length ||
             bx_channel_depth(pattern) > server->options.max_channel_depth) {
    BX_OVER(&server->counters, channel_name);
    bx_error_text(error, "405", item, "Channel too long");
  } else {
    return true;
  }
  return false;
}

// Decodes the item behind the names before it; the slices are made when all are there.
static bool take_item(struct bx_server *server, struct bx_pending *p, const struct bx_value *item, size_t *ends,
                      size_t *count) {
  size_t from = p->names.len;
  struct bx_slice pattern;

  if (item->type == BX_JSON_STRING) bx_value_decode(item, &p->names);
  pattern = (struct bx_slice){p->names.at + from, p->names.len - from};
  if (!check(server, item, pattern, &p->error)) return false;
  ends[(*count)++] = p->names.len;
  return true;
}

// Patterns up to the first bad one.
static void take_patterns(struct bx_server *server, struct bx_pending *p, const struct bx_value *subscription) {
  size_t count = 0, cap = 1, *ends = bx_alloc(sizeof *ends);
  struct bx_value ignored, item;
  struct bx_scan s;

  if (subscription->type != BX_JSON_ARRAY) {
    take_item(server, p, subscription, ends, &count);
  } else {
    bx_scan_init(&s, subscription->raw, 64);
    if (!bx_scan_enter(&s)) BX_BUG_ON(true);   // it was scanned before
    while (bx_scan_item(&s, &ignored) && bx_scan_value(&s, &item)) {
      if (count == cap) ends = bx_realloc(ends, (cap *= 2) * sizeof *ends);
      if (!take_item(server, p, &item, ends, &count)) break;
    }
  }
  p->request.patterns = bx_alloc((count + 1) * sizeof *p->request.patterns);
  p->request.pattern_count = count;
  for (size_t i = 0, from = 0; i < count; from = ends[i++])
    p->request.patterns[i] = (struct bx_slice){p->names.at + from, ends[i] - from};
  bx_free(ends);
}

static void tell(struct bx_server *server, enum bx_event event, struct bx_session *s, struct bx_slice pattern) {
  if (server->env.event != NULL) server->env.event(server->env.context, event, s, pattern);
}

static void apply(struct bx_pending *p) {
  struct bx_server *server = p->batch->server;

  for (size_t i = 0; i < p->request.pattern_count; i++) {
    struct bx_slice pattern = p->request.patterns[i];

    if (p->request.kind == BX_REQUEST_SUBSCRIBE) {
      if (bx_session_subscribe(server, p->session, pattern, p->request.start))
        tell(server, BX_EVENT_SUBSCRIBE, p->session, pattern);
    } else if (bx_session_unsubscribe(server, p->session, pattern)) {
      tell(server, BX_EVENT_UNSUBSCRIBE, p->session, pattern);
    }
  }
}

// The connection hears of its new subscription before it gets messages for it.
static void hold_back_messages(struct bx_batch *batch) {
  if (batch->subscribed || batch->connection == NULL) return;
  batch->subscribed = true;
  batch->connection->unsaid++;
}

// Those that are being recorded count, too. What is there already is not one more.
static bool has_room(struct bx_server *server, const struct bx_pending *p) {
  const struct bx_session *s = p->session;
  size_t count = s->subscription_count + s->asked;

  for (size_t i = 0; i < p->request.pattern_count; i++) {
    const struct bx_topic *t = bx_topics_find(&server->topics, p->request.patterns[i]);
    count += t == NULL || bx_session_find_subscription(s, t) == NULL;
  }
  return count <= server->options.max_subscriptions;
}

// -- who is present --------------------------------------------------------------------------------

// Of one message. A list has at most presence_members names of BX_MAX_USER bytes, of which each may need an escape.
#define LISTED_CHANNELS 16
#define LISTED_BYTES (256 << 10)   // then no further list
#define LISTED_IN_TEXT 64          // of all messages of a text: it is short, what it asks for is not

// The lists that a message asks for, one after the other.
struct lists {
  struct bx_presence_query query;
  struct bx_pending *pending;
  struct bx_buffer text;
  size_t next, listed;   // patterns: to be looked at, asked for
};

static bool wants_lists(const struct bx_pending *p) {
  const struct bx_message *m = &p->batch->messages.at[p->index];

  return p->request.kind == BX_REQUEST_SUBSCRIBE && m->ext.type == BX_JSON_OBJECT &&
         bx_ext_member(&m->ext, BX_LIT("presence")).type == BX_JSON_TRUE;
}

static void finish(struct bx_pending *p) {
  reply(p->batch, p->index, p->error.len > 0 ? BX_FAULT_CHANNEL : BX_NO_FAULT, bx_buffer_view(&p->error),
        &(struct bx_access_answer){.ext = bx_buffer_view(&p->ext)});
  bx_pending_destroy(p);
}

// With what came with the permission; both are objects.
static void add_lists(struct bx_buffer *ext, struct bx_slice lists) {
  bool first = true;

  if (ext->len > 0) ext->len--;
  for (size_t i = 1; i < ext->len; i++) first &= strchr(" \t\r\n", ext->at[i]) != NULL;
  if (ext->len == 0) bx_buffer_char(ext, '{');
  if (!first) bx_buffer_char(ext, ',');
  bx_buffer_lit(ext, "\"presence\":{");
  bx_buffer_slice(ext, lists);
  bx_buffer_lit(ext, "}}");
}

static void list_next(struct lists *l);

// Without an answer the channel is left out: the subscription is made all the same.
static void listed(struct bx_presence_query *q, const struct bx_presence_list *list) {
  struct lists *l = bx_container_of(q, struct lists, query);

  if (list != NULL) {
    if (l->text.len > 0) bx_buffer_char(&l->text, ',');
    bx_buffer_json_string(&l->text, q->request.id);
    bx_buffer_lit(&l->text, ":{");
    bx_presence_write(list, &l->text);
    bx_buffer_char(&l->text, '}');
    if (list->member_count < list->users) q->server->counters.presence_cut++;
  }
  list_next(l);
}

static void list_next(struct lists *l) {
  struct bx_pending *p = l->pending;
  struct bx_server *server = p->batch->server;

  while (l->next < p->request.pattern_count) {
    struct bx_slice pattern = p->request.patterns[l->next++];

    if (!bx_server_counts(server, pattern)) continue;
    if (l->listed++ == LISTED_CHANNELS || l->text.len > LISTED_BYTES || p->batch->listed == LISTED_IN_TEXT) {
      server->counters.presence_cut++;
      break;
    }
    p->batch->listed++;
    l->query.done = listed;
    bx_server_presence(server, &l->query, pattern, server->options.presence_members, false);
    return;
  }
  if (l->listed > 0) add_lists(&p->ext, bx_buffer_view(&l->text));
  finish(p);
  bx_buffer_fini(&l->text);
  bx_free(l);
}

// Behind the subscription, so that nobody is missing: who comes later is told of on the companion.
static void list(struct bx_pending *p) {
  struct lists *l = bx_alloc(sizeof *l);

  l->pending = p;
  list_next(l);
}

// -- subscriptions ---------------------------------------------------------------------------------

static void recorded(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_pending *p = bx_pending_of(request);
  const struct bx_message *m = &p->batch->messages.at[p->index];

  (void)position;
  if (request->kind == BX_REQUEST_SUBSCRIBE) p->session->asked -= (uint32_t)request->pattern_count;
  if (p->session->acks && p->session->connection != NULL) bx_connection_wake(p->session->connection);
  if (bx_pending_follow(p)) return;
  if (outcome != BX_ACKNOWLEDGED || p->session->state == BX_SESSION_CLOSING) {
    bool ended = outcome == BX_ACKNOWLEDGED && p->session->why != BX_END_MOVED;
    enum bx_fault fault = ended || outcome == BX_NO_SESSION ? BX_FAULT_CLIENT : BX_FAULT_OTHER;

    bx_buffer_clear(&p->error);
    if (fault == BX_FAULT_CLIENT)
      bx_error_text(&p->error, "401", &m->client_id, BX_UNKNOWN_CLIENT);
    else
      bx_error_text(&p->error, "503", &m->client_id, "Not available");
    reply(p->batch, p->index, fault, bx_buffer_view(&p->error), NULL);
  } else {
    apply(p);
    if (request->kind == BX_REQUEST_SUBSCRIBE) hold_back_messages(p->batch);
    if (wants_lists(p))
      list(p);
    else
      finish(p);
    return;
  }
  bx_pending_destroy(p);
}

// Denied as a whole: a client that may not have one of them is not to guess which of them it got.
static void decided(struct bx_pending *p, const struct bx_access_answer *a) {
  const struct bx_message *m = &p->batch->messages.at[p->index];

  if (a->verdict == BX_ALLOW) {
    bx_buffer_slice(&p->ext, a->ext);
    bx_pending_submit(p);
    return;
  }
  p->session->asked -= (uint32_t)p->request.pattern_count;
  bx_buffer_clear(&p->error);
  bx_access_error(a, &m->subscription, &p->error);
  reply(p->batch, p->index, BX_FAULT_CHANNEL, bx_buffer_view(&p->error), a);
  bx_pending_destroy(p);
}

// Where this node stands; or where the session stood elsewhere, if that is further on: what it went past
// there was in the journal before this message came.
static bx_position start_of(const struct bx_server *server, const struct bx_session *s) {
  bx_position head = bx_journal_head(&server->journal), sent = bx_session_sent(server, s);

  return sent > head ? sent : head;
}

void bx_verb_subscribe(struct bx_call *call, bool subscribe) {
  enum bx_request_kind kind = subscribe ? BX_REQUEST_SUBSCRIBE : BX_REQUEST_UNSUBSCRIBE;
  struct bx_server *server = call->batch->server;
  struct bx_buffer error = {0};
  enum bx_fault fault = wrong(call, &error);
  struct bx_pending *p;

  if (fault != BX_NO_FAULT) {
    reply(call->batch, call->index, fault, bx_buffer_view(&error), NULL);
    bx_buffer_fini(&error);
    return;
  }
  p = bx_pending_create(call, kind, recorded);
  p->request.start = start_of(server, call->session);
  take_patterns(server, p, &call->message->subscription);
  if (subscribe && !has_room(server, p)) {
    BX_OVER(&server->counters, channels);
    bx_buffer_clear(&p->error);
    bx_error_text(&p->error, "403", &call->message->subscription, "Too many subscriptions");
    reply(call->batch, call->index, BX_FAULT_CHANNEL, bx_buffer_view(&p->error), NULL);
    bx_pending_destroy(p);
    return;
  }
  if (!subscribe) {
    bx_pending_submit(p);
    return;
  }
  call->session->asked += (uint32_t)p->request.pattern_count;
  p->decided = decided;
  bx_pending_ask(call, p, BX_ACCESS_SUBSCRIBE, p->request.patterns, p->request.pattern_count);
}
