// SPDX-License-Identifier: Apache-2.0
#include "bayeux/presence.h"

#include "bayeux/server.h"
#include "bayeux/session.h"

struct place {
  struct bx_table_node node;   // key: the channel
  struct bx_presence *presence;
  struct bx_table members;
  uint64_t sessions;
  char channel[];
};

struct member {
  struct bx_table_node node;   // key: the user
  struct place *place;
  struct bx_timer grace;   // armed while it has no session
  uint64_t sessions;
  char user[];
};

struct bx_presence {
  struct bx_server *server;
  struct bx_table places;
};

bool bx_companion_of(struct bx_slice channel, struct bx_slice *of) {
  size_t prefix = sizeof BX_COMPANION - 1;

  if (channel.len < prefix + 2 || !bx_slice_starts(channel, BX_LIT(BX_COMPANION "/"))) return false;
  *of = (struct bx_slice){channel.at + prefix, channel.len - prefix};
  return true;
}

// -- telling ---------------------------------------------------------------------------------------

struct said {
  struct bx_outside_publish publish;
  struct bx_buffer channel;
};

static void was_said(struct bx_outside_publish *publish, enum bx_outcome outcome, bx_position position) {
  struct said *s = bx_container_of(publish, struct said, publish);

  (void)position;
  if (outcome == BX_ACKNOWLEDGED) publish->server->counters.presence_told++;
  bx_buffer_fini(&s->channel);
  bx_free(s);
}

void bx_presence_write_user(struct bx_slice user, struct bx_buffer *out) {
  if (user.len == 0)
    bx_buffer_lit(out, "null");
  else
    bx_buffer_json_string(out, user);
}

// `m` NULL: the event is about the channel.
static void say(struct place *place, const char *event, const struct member *m) {
  struct said *s = bx_alloc(sizeof *s);
  struct bx_buffer data = {0};

  bx_buffer_lit(&s->channel, BX_COMPANION);
  bx_buffer_slice(&s->channel, place->node.key);
  bx_buffer_printf(&data, "{\"event\":\"%s\"", event);
  if (m != NULL) bx_buffer_lit(&data, ",\"user\":");
  if (m != NULL) bx_presence_write_user(m->node.key, &data);
  bx_buffer_printf(&data, ",\"users\":%llu}", (unsigned long long)place->members.count);
  s->publish.done = was_said;
  // Of a channel that may be subscribed to, and whose companion is not too long.
  BX_BUG_ON(bx_server_publish(place->presence->server, &s->publish, bx_buffer_view(&s->channel), bx_buffer_view(&data),
                              (struct bx_slice){0}) != NULL);
  bx_buffer_fini(&data);
}

// -- members ---------------------------------------------------------------------------------------

static void place_free(struct place *place) {
  bx_table_remove(&place->presence->places, &place->node);
  bx_table_fini(&place->members);
  bx_free(place);
}

static struct member *member_of(struct bx_timer *timer) { return bx_container_of(timer, struct member, grace); }

static void left(struct bx_timer *timer) {
  struct member *m = member_of(timer);
  struct place *place = m->place;

  bx_table_remove(&place->members, &m->node);
  say(place, "leave", m);
  bx_free(m);
  if (place->members.count > 0) return;
  say(place, "vacated", NULL);
  place_free(place);
}

static struct place *find_place(const struct bx_presence *p, struct bx_slice channel) {
  struct bx_table_node *node = bx_table_find(&p->places, channel);

  return node == NULL ? NULL : bx_container_of(node, struct place, node);
}

static struct place *get_place(struct bx_presence *p, struct bx_slice channel) {
  struct place *place = find_place(p, channel);

  if (place != NULL) return place;
  place = bx_alloc(sizeof *place + channel.len);
  place->presence = p;
  memcpy(place->channel, channel.at, channel.len);
  bx_table_init(&place->members, p->server->secret);
  bx_table_insert(&p->places, &place->node, (struct bx_slice){place->channel, channel.len});
  return place;
}

static struct member *find_member(const struct place *place, struct bx_slice user) {
  struct bx_table_node *node = bx_table_find(&place->members, user);

  return node == NULL ? NULL : bx_container_of(node, struct member, node);
}

static void join(struct place *place, struct bx_slice user) {
  struct member *m = bx_alloc(sizeof *m + user.len + 1);

  m->place = place;
  if (user.len > 0) memcpy(m->user, user.at, user.len);
  bx_timer_init(&m->grace, left);
  m->sessions = 1;
  bx_table_insert(&place->members, &m->node, (struct bx_slice){m->user, user.len});
  if (place->members.count == 1) say(place, "occupied", NULL);
  say(place, "join", m);
}

void bx_presence_enter(struct bx_presence *p, struct bx_slice channel, struct bx_slice user) {
  struct place *place = get_place(p, channel);
  struct member *m = find_member(place, user);

  place->sessions++;
  if (m == NULL) {
    join(place, user);
    return;
  }
  m->sessions++;
  bx_wheel_cancel(&p->server->wheel, &m->grace);
}

void bx_presence_leave(struct bx_presence *p, struct bx_slice channel, struct bx_slice user) {
  struct place *place = find_place(p, channel);
  struct member *m = place == NULL ? NULL : find_member(place, user);

  BX_BUG_ON(m == NULL || m->sessions == 0);
  place->sessions--;
  if (--m->sessions == 0)
    bx_wheel_set(&p->server->wheel, &m->grace, p->server->now + p->server->options.presence_grace);
}

// -- life ------------------------------------------------------------------------------------------

struct bx_presence *bx_presence_create(struct bx_server *server) {
  struct bx_presence *p = bx_alloc(sizeof *p);

  p->server = server;
  bx_table_init(&p->places, server->secret);
  return p;
}

static bool drop_member(struct bx_table_node *node, void *context) {
  struct member *m = bx_container_of(node, struct member, node);

  (void)context;
  bx_wheel_cancel(&m->place->presence->server->wheel, &m->grace);
  bx_table_remove(&m->place->members, node);
  bx_free(m);
  return true;
}

static bool drop_place(struct bx_table_node *node, void *context) {
  struct place *place = bx_container_of(node, struct place, node);

  (void)context;
  bx_table_each(&place->members, drop_member, NULL);
  place_free(place);
  return true;
}

void bx_presence_destroy(struct bx_presence *p) {
  if (p == NULL) return;
  bx_table_each(&p->places, drop_place, NULL);
  bx_table_fini(&p->places);
  bx_free(p);
}

// -- what a channel is -----------------------------------------------------------------------------

// The companion has to be a channel, too.
static bool has_companion(const struct bx_server_options *o, struct bx_slice channel) {
  return channel.len + sizeof BX_COMPANION - 1 <= o->max_channel_length &&
         bx_channel_depth(channel) < o->max_channel_depth;
}

bool bx_server_counts(const struct bx_server *server, struct bx_slice channel) {
  struct bx_access *access = server->access;
  struct bx_slice of;

  return access != NULL && access->ops->counts != NULL && bx_channel_classify(channel) == BX_CHANNEL_NAME &&
         !bx_companion_of(channel, &of) && has_companion(&server->options, channel) &&
         access->ops->counts(access, channel);
}

// -- lists -----------------------------------------------------------------------------------------

struct collecting {
  struct bx_presence_list *list;
  size_t limit;
};

static bool collect(struct bx_table_node *node, void *context) {
  const struct member *m = bx_container_of(node, struct member, node);
  struct collecting *c = context;

  c->list->members[c->list->member_count++] = (struct bx_presence_member){m->node.key, m->sessions};
  return c->list->member_count < c->limit;
}

static void collect_clients(struct bx_server *server, struct bx_slice channel, size_t limit,
                            struct bx_presence_list *list) {
  const struct bx_topic *t = bx_topics_find(&server->topics, channel);

  for (uint32_t i = 0; t != NULL && i < t->count && list->client_count < limit; i++) {
    const struct bx_subscription *sub = t->places[i].subscription;

    if (sub->present)
      list->clients[list->client_count++] =
          (struct bx_presence_client){bx_session_id(sub->session), bx_session_user(sub->session)};
  }
}

static void list_here(struct bx_presence_query *q) {
  struct bx_server *server = q->server;
  struct place *place = server->presence == NULL ? NULL : find_place(server->presence, q->request.id);
  struct bx_presence_list list = {0};
  size_t limit = q->request.limit;

  if (place != NULL) {
    size_t members = place->members.count < limit ? place->members.count : limit;
    size_t clients = !q->request.with_clients ? 0 : place->sessions < limit ? place->sessions : limit;

    list.users = place->members.count;
    list.sessions = place->sessions;
    list.members = bx_alloc((members + 1) * sizeof *list.members);
    list.clients = bx_alloc((clients + 1) * sizeof *list.clients);
    if (members > 0) bx_table_each(&place->members, collect, &(struct collecting){&list, members});
    collect_clients(server, q->request.id, clients, &list);
  }
  q->done(q, &list);
  bx_free(list.members);
  bx_free(list.clients);
}

static void listed(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_presence_query *q = bx_container_of(request, struct bx_presence_query, request);

  (void)position;
  if (outcome != BX_ACKNOWLEDGED)
    q->done(q, NULL);
  else if (q->server->engine->ops->locates)
    q->done(q, request->present);
  else
    list_here(q);
}

void bx_server_presence(struct bx_server *server, struct bx_presence_query *q, struct bx_slice channel, size_t limit,
                        bool clients) {
  q->server = server;
  q->request = (struct bx_request){
      .kind = BX_REQUEST_PRESENCE, .done = listed, .id = channel, .limit = limit, .with_clients = clients};
  bx_list_init(&q->request.link);
  server->counters.presence_lists++;
  server->engine->ops->submit(server->engine, &q->request);
}

void bx_presence_write(const struct bx_presence_list *list, struct bx_buffer *out) {
  bx_buffer_printf(out, "\"users\":%llu,\"sessions\":%llu,\"members\":[", (unsigned long long)list->users,
                   (unsigned long long)list->sessions);
  for (size_t i = 0; i < list->member_count; i++) {
    if (i > 0) bx_buffer_char(out, ',');
    bx_buffer_lit(out, "{\"user\":");
    bx_presence_write_user(list->members[i].user, out);
    bx_buffer_printf(out, ",\"sessions\":%llu}", (unsigned long long)list->members[i].sessions);
  }
  bx_buffer_char(out, ']');
  if (list->member_count < list->users) bx_buffer_lit(out, ",\"more\":true");
}
