// SPDX-License-Identifier: Apache-2.0
#include "broker/access/authority.h"

#include "bayeux/server.h"
#include "broker/access/authority_wire.h"
#include "broker/access/breaker.h"
#include "broker/access/grants.h"
#include "broker/access/shares.h"
#include "broker/host/log.h"

enum {
  MAX_WAITING = 20000,    // messages, queued or asked; half of it for one address
  MAX_BYTES = 64 << 20,   // of questions, and of the texts whose messages wait; likewise
  MAX_ASK = 16 << 20,     // questions of one message
  BATCH = 100,            // questions of one request, unless one message has more
  BATCH_BYTES = 256 << 10,
  MAX_ANSWER = 4 << 20,
  MAX_GRANTS = 100000,
};

const struct bk_metric bk_authority_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_authority_counters, field), 0},
    BK_AUTHORITY_COUNTERS(X)
#undef X
        {0}};

// A message that waits. Its request stands in `holder`, alone; cancelled: nothing does.
struct ask {
  struct bx_list link;   // in `waiting`, then in its call
  struct bx_list holder;
  struct bx_buffer text;   // its questions, separated by commas
  size_t bytes;            // that it holds, with its client's text unless another ask counts that
  struct bk_share *share;
  size_t questions;
  struct bx_slice *channels;   // of the questions; NULL: a handshake
  bx_millis until;             // waiting: no longer than that
  struct bx_buffer user;       // of its session
  struct bx_access_answer answer;
  struct bx_buffer new_user, ext, error;   // what the answer points to
  bool cacheable;                          // so far
  bool kept;                               // an answer that does not say so is kept, too
  bool answered, sent;
  bool alone;   // it was asked together with others, and the answer was none
};

struct call {
  struct bx_list link;
  struct bk_authority *authority;
  struct bx_list asks;
  size_t questions;
  uint64_t asked_at;   // the number of revocations before it
  bool is_try;
};

// Kept as long as an answer may be older than it.
struct revocation {
  struct bx_list link;
  uint64_t number;
  bx_millis until;
  struct bx_buffer user;
};

struct bk_authority {
  struct bx_access access;
  struct bk_loop *loop;
  struct bk_guard *guard;
  struct bk_authority_options options;
  struct bk_http_client *client;
  struct bk_authority_counters counters;
  struct bk_breaker breaker;
  struct bk_grants grants;
  struct bx_list waiting, calls, revocations;   // oldest first
  size_t held, bytes;                           // of all asks
  struct bk_shares shares;
  bool counted;   // the text that is being asked for: in one of its asks
  uint64_t revoked;
  struct bx_timer late;
};

static struct bk_authority *of(struct bx_access *x) { return bx_container_of(x, struct bk_authority, access); }
static struct ask *ask_of(struct bx_list *link) { return bx_container_of(link, struct ask, link); }

static struct bx_access_request *request_of(const struct ask *a) {
  return bx_list_empty(&a->holder) ? NULL : bx_container_of(a->holder.next, struct bx_access_request, link);
}

// -- the end of a question -------------------------------------------------------------------------

static void ask_free(struct bk_authority *x, struct ask *a) {
  x->held--;
  x->bytes -= a->bytes;
  bk_shares_give(&x->shares, a->share, a->bytes);
  bx_list_remove(&a->link);
  bx_buffer_fini(&a->text);
  bx_buffer_fini(&a->user);
  bx_buffer_fini(&a->new_user);
  bx_buffer_fini(&a->ext);
  bx_buffer_fini(&a->error);
  bx_free(a->channels);
  bx_free(a);
}

static bool was_revoked(const struct bk_authority *x, struct bx_slice user, uint64_t since) {
  for (struct bx_list *link = x->revocations.prev; link != &x->revocations; link = link->prev) {
    const struct revocation *r = bx_container_of(link, struct revocation, link);
    if (r->number <= since) return false;
    if (r->user.len == 0 || bx_slice_equal(bx_buffer_view(&r->user), user)) return true;
  }
  return false;
}

static void keep(struct bk_authority *x, const struct ask *a, const struct bx_access_request *r) {
  char verb = r->verb == BX_ACCESS_SUBSCRIBE ? 's' : 'p';
  for (size_t i = 0; a->channels && i < a->questions; i++)
    bk_grants_add(&x->grants, verb, bx_buffer_view(&a->user), a->channels[i], bk_loop_now(x->loop));
}

static void count(struct bk_authority *x, enum bx_verdict verdict) {
  if (verdict == BX_ALLOW)
    x->counters.allowed++;
  else if (verdict == BX_DENY)
    x->counters.denied++;
  else
    x->counters.unavailable++;
}

// Tells the server, and frees it.
static void decide(struct bk_authority *x, struct ask *a, uint64_t asked_at) {
  struct bx_access_request *r = request_of(a);
  bx_list_remove(&a->link);   // what the answer sets off may look at the others that wait
  if (r && a->answer.verdict == BX_ALLOW &&
      (was_revoked(x, bx_buffer_view(&a->user), asked_at) || was_revoked(x, a->answer.user, asked_at))) {
    x->counters.discarded++;
    a->answer = (struct bx_access_answer){.verdict = BX_UNAVAILABLE};
  }
  if (r) {
    count(x, a->answer.verdict);
    if (a->answer.verdict == BX_ALLOW && a->cacheable) keep(x, a, r);
    bx_list_remove(&r->link);
    bk_guard_decide(x->guard, r, &a->answer);
    bk_loop_again(x->loop);
  }
  ask_free(x, a);
}

static void give_up(struct bk_authority *x, struct ask *a) {
  a->answer = (struct bx_access_answer){.verdict = BX_UNAVAILABLE};
  decide(x, a, x->revoked);
}

// -- answers ---------------------------------------------------------------------------------------

// Where the reader of a call's answers stands.
struct reading {
  struct call *call;
  struct ask *ask;
  size_t left;   // answers of it that are still to come
};

static void copy(struct bx_slice *to, struct bx_buffer *buffer, struct bx_slice from) {
  bx_buffer_clear(buffer);
  bx_buffer_slice(buffer, from);
  *to = bx_buffer_view(buffer);
}

// All channels of a message must be allowed; a denial counts more than not knowing.
static void merge(struct ask *a, const struct bk_authority_answer *b) {
  static const int weight[] = {[BX_ALLOW] = 0, [BX_UNAVAILABLE] = 1, [BX_DENY] = 2};
  const struct bx_access_answer *more = &b->access;
  bool first = !a->answered;
  a->answered = true;
  a->cacheable &=
      b->cache != BK_CACHE_NEVER && (b->cache == BK_CACHE_YES || a->kept) && more->ext.len == 0 && !more->unjournalled;
  if (first || weight[more->verdict] > weight[a->answer.verdict]) {
    bx_buffer_clear(&a->ext);
    a->answer = *more;
    copy(&a->answer.user, &a->new_user, more->user);
    copy(&a->answer.error, &a->error, more->error);
    copy(&a->answer.ext, &a->ext, more->ext);
  } else if (a->answer.verdict == BX_ALLOW && a->answer.ext.len == 0) {
    copy(&a->answer.ext, &a->ext, more->ext);
  }
}

static void take(void *context, size_t index, const struct bk_authority_answer *answer) {
  struct reading *r = context;
  (void)index;
  while (r->left == 0) {
    r->ask = r->ask ? ask_of(r->ask->link.next) : ask_of(r->call->asks.next);
    r->left = r->ask->questions;
  }
  r->left--;
  merge(r->ask, answer);
}

static void pump(struct bk_authority *x);

static void judge(struct bk_authority *x, const struct call *c, bool good, int status, const char *error) {
  if (good) {
    if (x->breaker.pause > 0) bk_info("authority.back");
    bk_breaker_succeeded(&x->breaker);
    return;
  }
  x->counters.failures++;
  if (!bk_breaker_failed(&x->breaker, bk_loop_now(x->loop), c->is_try)) return;
  x->counters.openings++;
  if (status > 0)
    bk_warn("authority.unavailable", bk_u("status", (uint64_t)status),
            bk_s("error", "no answer as docs/authority.md has it"));
  else
    bk_warn("authority.unavailable", bk_u("status", 0), bk_s("error", error ? error : ""));
}

// One question that the service cannot stand spoils those of others that were gathered with it: each is asked
// again by itself. A service that stands none is left alone soon: the breaker opens.
static void ask_each(struct bk_authority *x, struct call *c) {
  struct bx_list again;
  bx_list_init(&again);
  for (struct bx_list *link; (link = bx_list_take(&c->asks));) {
    struct ask *a = ask_of(link);
    bx_list_append(&again, link);
    a->sent = false;
    a->alone = true;
    if (!request_of(a)) ask_free(x, a);   // cancelled: the place is not needed
  }
  bx_list_splice(&again, &x->waiting);
  bx_list_splice(&x->waiting, &again);
}

static void done(void *context, int status, struct bx_slice body, const char *error) {
  struct call *c = context;
  struct bk_authority *x = c->authority;
  struct reading reading = {.call = c};
  bool good = status == 200 && bk_authority_read(body, c->questions, take, &reading);
  x->counters.in_flight--;
  judge(x, c, good, status, error);
  if (!good && status > 0 && c->asks.next != c->asks.prev) ask_each(x, c);
  while (!bx_list_empty(&c->asks)) {
    struct ask *a = ask_of(c->asks.next);
    if (!good) a->answer = (struct bx_access_answer){.verdict = BX_UNAVAILABLE};
    decide(x, a, c->asked_at);
  }
  bx_list_remove(&c->link);
  bx_free(c);
  pump(x);
}

// -- requests --------------------------------------------------------------------------------------

static void send(struct bk_authority *x, struct call *c) {
  struct bx_buffer body = {0};
  bx_buffer_lit(&body, "{\"requests\":[");
  for (struct bx_list *link = c->asks.next; link != &c->asks; link = link->next) {
    if (link != c->asks.next) bx_buffer_char(&body, ',');
    bx_buffer_slice(&body, bx_buffer_view(&ask_of(link)->text));
  }
  bx_buffer_lit(&body, "]}");
  x->counters.requests++;
  x->counters.in_flight++;
  bk_http_client_send(x->client, &(struct bk_http_client_request){.method = "POST",
                                                                  .url = x->options.url,
                                                                  .content_type = "application/json",
                                                                  .bearer = x->options.token,
                                                                  .body = bx_buffer_view(&body),
                                                                  .timeout = x->options.timeout,
                                                                  .max_answer = MAX_ANSWER,
                                                                  .done = done,
                                                                  .context = c});
  bx_buffer_fini(&body);
}

static struct call *gather(struct bk_authority *x, bool is_try) {
  struct call *c = bx_alloc(sizeof *c);
  size_t bytes = 0;
  *c = (struct call){.authority = x, .asked_at = x->revoked, .is_try = is_try};
  bx_list_init(&c->link);
  bx_list_init(&c->asks);
  bx_list_append(&x->calls, &c->link);
  while (!bx_list_empty(&x->waiting)) {
    struct ask *a = ask_of(x->waiting.next);
    bool full = a->alone || c->questions + a->questions > BATCH || bytes + a->text.len > BATCH_BYTES;
    if (c->questions > 0 && full) break;
    bx_list_remove(&a->link);
    bx_list_append(&c->asks, &a->link);
    a->sent = true;
    c->questions += a->questions;
    bytes += a->text.len;
    if (a->alone) break;
  }
  return c;
}

static void refuse_waiting(struct bk_authority *x) {
  while (!bx_list_empty(&x->waiting)) give_up(x, ask_of(x->waiting.next));
}

static void pump(struct bk_authority *x) {
  bx_millis now = bk_loop_now(x->loop);
  while (!bx_list_empty(&x->waiting) && x->counters.in_flight < x->options.concurrency) {
    bool closed = x->breaker.pause == 0;
    if (!bk_breaker_admits(&x->breaker, now)) {
      refuse_waiting(x);
      return;
    }
    send(x, gather(x, !closed));
  }
  if (!bx_list_empty(&x->waiting)) bx_wheel_set(bk_loop_wheel(x->loop), &x->late, ask_of(x->waiting.next)->until);
}

static void too_late(struct bx_timer *timer) {
  struct bk_authority *x = bx_container_of(timer, struct bk_authority, late);
  bx_millis now = bk_loop_now(x->loop);
  while (!bx_list_empty(&x->waiting) && ask_of(x->waiting.next)->until <= now) give_up(x, ask_of(x->waiting.next));
  pump(x);
}

// -- the decider -----------------------------------------------------------------------------------

static bool granted(struct bk_authority *x, const struct bx_access_request *r, struct bx_slice channel) {
  char verb = r->verb == BX_ACCESS_SUBSCRIBE ? 's' : 'p';
  return bk_grants_have(&x->grants, verb, r->user, channel, bk_loop_now(x->loop));
}

// An answer may go by what stands in `ext`: such a message is asked for every time.
static bool is_plain(const struct bx_access_request *r) {
  return r->verb != BX_ACCESS_HANDSHAKE && r->message->ext.type == BX_JSON_NONE;
}

static void add_question(struct ask *a, const struct bx_access_request *r, struct bx_slice channel) {
  struct bx_slice address =
      r->connection && r->verb == BX_ACCESS_HANDSHAKE ? r->connection->address : (struct bx_slice){0};
  if (a->questions > 0) bx_buffer_char(&a->text, ',');
  bk_authority_write(&a->text, r, channel, address);
  if (a->channels) a->channels[a->questions] = channel;
  a->questions++;
}

// No more of it is written. `ext` and data stand in each question.
static bool is_too_much(const struct ask *a) { return a->text.len > MAX_ASK; }

// NULL: all of it was granted before.
static struct ask *make_ask(struct bk_authority *x, struct bx_access_request *r) {
  struct ask *a = bx_alloc(sizeof *a);
  bool plain = is_plain(r);
  bx_list_init(&a->link);
  bx_list_init(&a->holder);
  a->cacheable = plain && x->options.cache > 0;
  if (r->channel_count > 0) a->channels = bx_alloc(r->channel_count * sizeof *a->channels);
  for (size_t i = 0; i < r->channel_count && !is_too_much(a); i++)
    if (bk_guard_hands_on(x->guard, r, i) && (!plain || !granted(x, r, r->channels[i])))
      add_question(a, r, r->channels[i]);
  if (r->verb == BX_ACCESS_HANDSHAKE) add_question(a, r, (struct bx_slice){0});
  if (a->questions > 0) a->bytes = a->text.len + (x->counted ? 0 : r->held);
  if (a->questions > 0 && r->connection) a->share = bk_shares_take(&x->shares, r->connection->address, a->bytes);
  x->held++;
  x->bytes += a->bytes;
  if (a->questions > 0) return a;
  ask_free(x, a);
  return NULL;
}

static bool has_room(const struct bk_authority *x, const struct ask *a) {
  const struct bk_share *share = a->share;
  if (is_too_much(a) || x->held > MAX_WAITING || x->bytes > MAX_BYTES) return false;
  return !share || (share->held <= MAX_WAITING / 2 && share->bytes <= MAX_BYTES / 2);
}

static enum bx_verdict ask(struct bx_access *access, struct bx_access_request *r, struct bx_access_answer *answer) {
  struct bk_authority *x = of(access);
  (void)answer;
  x->counters.asked++;
  struct ask *a = make_ask(x, r);
  if (!a) {
    x->counters.cache_hits++;
    return BX_ALLOW;
  }
  if (bk_breaker_is_open(&x->breaker, bk_loop_now(x->loop)) || !has_room(x, a)) {
    x->counters.unavailable++;
    ask_free(x, a);
    return BX_UNAVAILABLE;
  }
  x->counted = true;
  // What an answer says of publishing may go by the data, and of a session without a user by the
  // session: it is kept only if the answer says so.
  a->kept = r->verb == BX_ACCESS_SUBSCRIBE && r->user.len > 0;
  bx_buffer_slice(&a->user, r->user);
  a->until = bk_loop_now(x->loop) + x->options.timeout;
  bx_list_append(&a->holder, &r->link);
  bx_list_append(&x->waiting, &a->link);
  return BX_LATER;
}

// Secrets of servers are not its business.
static bool is_server(struct bx_access *access, const struct bx_message *m) {
  (void)access, (void)m;
  return false;
}

static void asked(struct bx_access *access) {
  of(access)->counted = false;
  pump(of(access));
}

// One that was sent stays in its call, as a place for its answers.
static void cancel(struct bx_access *access, struct bx_access_request *r) {
  struct bk_authority *x = of(access);
  struct ask *a = bx_container_of(r->link.next, struct ask, holder);
  bx_list_remove(&r->link);
  if (!a->sent) ask_free(x, a);
}

// -- revocation ------------------------------------------------------------------------------------

static void forget_revocations(struct bk_authority *x, bx_millis now) {
  while (!bx_list_empty(&x->revocations)) {
    struct revocation *r = bx_container_of(x->revocations.next, struct revocation, link);
    if (now < r->until) return;
    bx_list_remove(&r->link);
    bx_buffer_fini(&r->user);
    bx_free(r);
  }
}

static void revoked(struct bx_access *access, struct bx_slice user) {
  struct bk_authority *x = of(access);
  bx_millis now = bk_loop_now(x->loop);
  struct revocation *r = bx_alloc(sizeof *r);
  forget_revocations(x, now);
  if (user.len > 0)
    bk_grants_forget(&x->grants, user);
  else
    bk_grants_clear(&x->grants);
  bx_list_init(&r->link);
  r->number = ++x->revoked;
  r->until = now + 2 * x->options.timeout + 1000;
  bx_buffer_slice(&r->user, user);
  bx_list_append(&x->revocations, &r->link);
}

// -- life ------------------------------------------------------------------------------------------

const struct bk_authority_counters *bk_authority_counters(struct bk_authority *x) {
  x->counters.open = x->breaker.pause > 0;
  x->counters.waiting = x->held;
  x->counters.grants = bk_grants_count(&x->grants);
  return &x->counters;
}

struct bk_authority *bk_authority_create(struct bk_loop *loop, struct bk_guard *guard,
                                         const struct bk_authority_options *options, struct bx_table_key secret) {
  static const struct bx_access_ops ops = {
      .is_server = is_server, .ask = ask, .asked = asked, .cancel = cancel, .revoked = revoked};
  struct bk_authority *x = bx_alloc(sizeof *x);
  x->access.ops = &ops;
  x->loop = loop;
  x->guard = guard;
  guard->authority = &x->access;
  x->options = *options;
  x->client = bk_http_client_create(loop);
  bk_shares_init(&x->shares, secret);
  bk_grants_init(&x->grants, options->cache, MAX_GRANTS, secret);
  bx_list_init(&x->waiting);
  bx_list_init(&x->calls);
  bx_list_init(&x->revocations);
  bx_timer_init(&x->late, too_late);
  return x;
}

void bk_authority_destroy(struct bk_authority *x) {
  if (!x) return;
  BX_BUG_ON(!bx_list_empty(&x->waiting));   // the server is gone
  bx_wheel_cancel(bk_loop_wheel(x->loop), &x->late);
  bk_http_client_destroy(x->client);   // ends all calls
  forget_revocations(x, BX_NEVER);
  bk_grants_fini(&x->grants);
  bk_shares_fini(&x->shares);
  bx_free(x);
}
