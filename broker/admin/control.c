// SPDX-License-Identifier: Apache-2.0
// Control: sessions are ended or lose subscriptions, the broker drains. What was asked of any node
// holds on all of them when the answer comes; a connection on another node is closed within a moment.
#include "bayeux/control.h"

#include "broker/admin/parts.h"
#include "broker/host/log.h"

enum {
  MAX_ID = 64,     // a longer one is nobody's
  AT_ONCE = 100,   // sessions of a user that are worked on at the same time
};

// A request under way. It is answered when nothing is open.
struct deed {
  struct bk_asked asked;
  struct bk_admin *admin;
  struct bx_buffer subject;   // the client, the user, or the name of the token
  bool of_user, of_token;     // of many sessions; of_token: those that it opened
  bool too_many;              // revocations of tokens
  void (*each)(struct deed *, struct bx_slice id);
  struct bx_members members;
  struct bx_revocation revocation;
  bool revoked;
  struct bx_buffer *ids;   // of a user's sessions, those from `next` on are still to be worked on
  size_t id_count, next;
  bool going_on;
  struct bx_buffer channel;   // unsubscribe: a subscription, or (covered) all that this pattern covers
  bool covered;
  size_t open;   // sessions that are worked on, and 1 while they are looked for
  size_t done;   // sessions that were ended, or have lost something
  size_t absent, failed;
  size_t taken;    // unsubscribe of a user: subscriptions
  json_t *names;   // unsubscribe: what was taken away
};

static struct bx_slice subject_of(const struct deed *d) { return bx_buffer_view(&d->subject); }

static void release(struct bk_asked *asked) {
  struct deed *d = bx_container_of(asked, struct deed, asked);
  json_decref(d->names);
  for (size_t i = 0; i < d->id_count; i++) bx_buffer_fini(&d->ids[i]);
  bx_free(d->ids);
  bx_buffer_fini(&d->subject);
  bx_buffer_fini(&d->channel);
  bx_free(d);
}

static struct deed *deed_begin(struct bk_admin *a, struct bx_slice subject) {
  struct deed *d = bx_alloc(sizeof *d);
  *d = (struct deed){.admin = a, .open = 1};
  bx_buffer_slice(&d->subject, subject);
  return d;
}

// Of a user: sessions that ended by themselves meanwhile are none that are left.
static json_t *told_of_user(const struct deed *d) {
  json_t *body = json_pack("{s:o}", d->of_token ? "token" : "user", bk_admin_string(subject_of(d)));
  if (d->revoked) {   // every node ends what it has: nobody knows the number
    json_object_set_new(body, "revoked", json_true());
    return body;
  }
  json_object_set_new(body, d->names ? "clients" : "ended", json_integer((json_int_t)d->done));
  if (d->names) json_object_set_new(body, "unsubscribed", json_integer((json_int_t)d->taken));
  return body;
}

static void answer(struct deed *d, struct bk_exchange *x) {
  if (d->failed == 0 && d->of_user) {
    bk_admin_answer(x, told_of_user(d));
  } else if (d->too_many) {
    bk_exchange_refuse(x, 503, "so many tokens are revoked that one more has no room");
  } else if (d->failed > 0) {
    bk_exchange_refuse(x, 503, "Redis does not answer: ask again");
  } else if (d->absent > 0) {
    bk_exchange_refuse(x, 404, "no such client");
  } else {
    json_t *body = json_pack("{s:o}", "client", bk_admin_string(subject_of(d)));
    if (d->names)
      json_object_set(body, "unsubscribed", d->names);
    else
      json_object_set_new(body, "ended", json_true());
    bk_admin_answer(x, body);
  }
}

static void close_one(struct deed *d) {
  d->open--;
  if (d->going_on) return;   // one that was done at once
  d->going_on = true;
  while (d->next < d->id_count && d->open < AT_ONCE) d->each(d, bx_buffer_view(&d->ids[d->next++]));
  d->going_on = false;
  if (d->open > 0) return;
  struct bk_exchange *x = bk_asked_answer(&d->asked);
  if (x) answer(d, x);
  bk_asked_done(&d->asked);
}

static void count(struct deed *d, enum bx_outcome outcome) {
  if (outcome == BX_ACKNOWLEDGED)
    d->done++;
  else if (outcome == BX_NO_SESSION)
    d->absent++;
  else
    d->failed++;
}

// -- of a user -------------------------------------------------------------------------------------

static void listed(struct bx_members *m, enum bx_outcome outcome, const struct bx_slice *ids, size_t count) {
  struct deed *d = bx_container_of(m, struct deed, members);
  if (outcome != BX_ACKNOWLEDGED) d->failed++;
  d->ids = bx_alloc((count + 1) * sizeof *d->ids);
  for (size_t i = 0; i < count; i++)
    if (ids[i].len <= MAX_ID) bx_buffer_slice(&d->ids[d->id_count++], ids[i]);
  close_one(d);
}

// ?user=. False: nobody is called so, which was answered.
static bool read_user(struct bk_exchange *x, struct bx_buffer *user) {
  bk_query_get(bk_exchange_query(x), "user", user);
  if (bx_user_is_valid(bx_buffer_view(user))) return true;
  bk_exchange_refuse(x, 400, "expected ?user=, of 1 to %d bytes of text", BX_MAX_USER);
  bx_buffer_fini(user);
  return false;
}

static void for_each_of_user(struct deed *d, void (*each)(struct deed *, struct bx_slice)) {
  d->of_user = true;
  d->each = each;
  d->members.done = listed;
  bx_server_members(d->admin->options.server, &d->members, subject_of(d), d->of_token);
}

// -- ending ----------------------------------------------------------------------------------------

struct kick {
  struct bx_kick kick;
  struct deed *deed;
  char id[MAX_ID + 1];
};

static void kicked(struct bx_kick *kick, enum bx_outcome outcome) {
  struct kick *k = bx_container_of(kick, struct kick, kick);
  struct deed *d = k->deed;
  if (outcome == BX_ACKNOWLEDGED) bk_info("client.kicked", bk_sl("client", kick->request.id));
  count(d, outcome);
  bx_free(k);
  close_one(d);
}

static void kick_one(struct deed *d, struct bx_slice id) {
  struct kick *k = bx_alloc(sizeof *k);
  memcpy(k->id, id.at, id.len);
  k->deed = d;
  k->kick.done = kicked;
  d->open++;
  bx_server_kick(d->admin->options.server, &k->kick, (struct bx_slice){k->id, id.len});
}

void bk_admin_kick(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_slice id = bk_exchange_parameter(x, "id");
  if (id.len > MAX_ID) {
    bk_exchange_refuse(x, 404, "no such client");
    return;
  }
  struct deed *d = deed_begin(a, id);
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  kick_one(d, id);
  close_one(d);
}

void bk_admin_kick_user(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_buffer user = {0};
  if (!read_user(x, &user)) return;
  struct deed *d = deed_begin(a, bx_buffer_view(&user));
  bx_buffer_fini(&user);
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  for_each_of_user(d, kick_one);
}

// -- revocation ------------------------------------------------------------------------------------

// Then those that no living node has, or that are on their way from one to another.
static void revocation_done(struct bx_revocation *r, enum bx_outcome outcome, bx_position position) {
  struct deed *d = bx_container_of(r, struct deed, revocation);
  (void)position;
  if (outcome == BX_ACKNOWLEDGED) {
    if (d->of_token)
      bk_info("token.revoked", bk_sl("token", subject_of(d)));
    else
      bk_info("user.revoked", bk_sl("user", subject_of(d)));
    for_each_of_user(d, kick_one);
    return;
  }
  d->too_many = outcome == BX_DENIED;
  if (d->too_many) d->admin->counters.tokens_refused++;
  d->failed++;
  close_one(d);
}

void bk_admin_revoke(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_buffer user = {0};
  if (!read_user(x, &user)) return;
  struct deed *d = deed_begin(a, bx_buffer_view(&user));
  bx_buffer_fini(&user);
  d->revoked = true;
  d->revocation.done = revocation_done;
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  bx_server_revoke(a->options.server, &d->revocation, subject_of(d));
}

// -- of a token ------------------------------------------------------------------------------------

// How long it is revoked: until it expires, if that is known. Scripts of Redis count exactly up to 2^53.
static bx_millis lasting_of(const struct bk_admin *a, uint64_t until) {
  static const uint64_t latest = 4000000000000000;
  uint64_t now = bk_wall_clock();
  if (until == 0) return a->options.guard->options->revoked_for;
  if (until > latest) until = latest;
  return until > now ? until - now : 1;
}

// Seconds of a request, in ms. What is over, however long, has no time left.
static uint64_t millis_of(json_int_t seconds) {
  if (seconds < 1) return 1;
  return (uint64_t)seconds > UINT64_MAX / 1000 ? UINT64_MAX : (uint64_t)seconds * 1000;
}

// {"token": its name or itself, "expires": seconds since 1970}. NULL: it was answered. *lasting: ms.
static struct deed *token_begin(struct bk_admin *a, struct bk_exchange *x, bx_millis *lasting) {
  struct bx_slice body = bk_exchange_body(x);
  json_t *asked = json_loadb(body.at ? body.at : "", body.len, JSON_REJECT_DUPLICATES, NULL);
  const json_t *token = json_object_get(asked, "token"), *expires = json_object_get(asked, "expires");
  struct bx_slice text = {json_string_value(token), json_string_length(token)};
  struct bx_buffer name = {0};
  uint64_t until = 0;
  bool good = text.len > 0 && (!expires || json_is_integer(expires)) && json_object_size(asked) == (expires ? 2 : 1);
  bool known = !good || bk_guard_name_token(a->options.guard, text, &name, &until);
  if (expires) until = millis_of(json_integer_value(expires));
  json_decref(asked);
  struct deed *d = NULL;
  if (!known) {
    bk_exchange_refuse(x, 400, "no key verifies this token: send its name, as /v1/clients/<id> tells it");
  } else if (good && bx_token_is_valid(bx_buffer_view(&name))) {
    d = deed_begin(a, bx_buffer_view(&name));
    d->of_token = true;
    *lasting = lasting_of(a, until);
  } else {
    bk_exchange_refuse(x, 400,
                       "expected {\"token\": \"jti:...\", \"sha256:...\", \"secret:...\" or the token itself}, perhaps "
                       "with \"expires\": seconds since 1970");
  }
  bx_buffer_fini(&name);
  return d;
}

void bk_admin_kick_token(struct bk_admin *a, struct bk_exchange *x) {
  bx_millis lasting;
  struct deed *d = token_begin(a, x, &lasting);
  if (!d) return;
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  for_each_of_user(d, kick_one);
}

void bk_admin_revoke_token(struct bk_admin *a, struct bk_exchange *x) {
  bx_millis lasting;
  struct deed *d = token_begin(a, x, &lasting);
  if (!d) return;
  d->revoked = true;
  d->revocation.done = revocation_done;
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  bx_server_revoke_token(a->options.server, &d->revocation, subject_of(d), lasting);
}

// -- taking subscriptions away ---------------------------------------------------------------------

static void stripped(void *context, enum bx_outcome outcome, const json_t *names, size_t taken) {
  struct deed *d = context;
  for (size_t i = 0; i < taken && !d->of_user; i++) json_array_append(d->names, json_array_get(names, i));
  d->taken += taken;
  if (taken > 0 || !d->of_user || outcome == BX_REFUSED) count(d, outcome);
  close_one(d);
}

static void strip_one(struct deed *d, struct bx_slice id) {
  d->open++;
  bk_admin_strip(d->admin, id, bx_buffer_view(&d->channel), d->covered, stripped, d);
}

// {"channel": "/a"}, or {"pattern": "/a/**"} for all that it covers.
static bool read_channel(struct deed *d, struct bx_slice body) {
  json_t *asked = json_loadb(body.at ? body.at : "", body.len, JSON_REJECT_DUPLICATES, NULL);
  const json_t *channel = json_object_get(asked, "channel"), *pattern = json_object_get(asked, "pattern");
  const json_t *name = channel ? channel : pattern;
  bool good = json_is_string(name) && json_object_size(asked) == 1;
  if (good) bx_buffer_add(&d->channel, json_string_value(name), json_string_length(name));
  d->covered = pattern != NULL;
  json_decref(asked);
  return good && bx_channel_classify(bx_buffer_view(&d->channel)) != BX_CHANNEL_INVALID;
}

// NULL: it was answered.
static struct deed *strip_begin(struct bk_admin *a, struct bk_exchange *x, struct bx_slice subject) {
  struct deed *d = deed_begin(a, subject);
  if (!read_channel(d, bk_exchange_body(x))) {
    bk_exchange_refuse(x, 400, "expected {\"channel\": \"/a/b\"}, or {\"pattern\": \"/a/**\"} for all that it covers");
    release(&d->asked);
    return NULL;
  }
  d->names = json_array();
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  return d;
}

void bk_admin_unsubscribe(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_slice id = bk_exchange_parameter(x, "id");
  if (id.len > MAX_ID) {
    bk_exchange_refuse(x, 404, "no such client");
    return;
  }
  struct deed *d = strip_begin(a, x, id);
  if (!d) return;
  strip_one(d, id);
  close_one(d);
}

void bk_admin_unsubscribe_user(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_buffer user = {0};
  if (!read_user(x, &user)) return;
  struct deed *d = strip_begin(a, x, bx_buffer_view(&user));
  bx_buffer_fini(&user);
  if (d) for_each_of_user(d, strip_one);
}

// -- draining --------------------------------------------------------------------------------------

void bk_admin_begin_drain(struct bk_admin *a, struct bk_exchange *x) {
  bk_exchange_close_after(x);
  json_t *body = json_pack("{s:b, s:s}", "draining", 1, "node", a->options.node);
  bk_admin_answer(x, body);
  a->options.drain(a->options.drain_context);
}
