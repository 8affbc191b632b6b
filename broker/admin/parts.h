// SPDX-License-Identifier: Apache-2.0
// Inside of broker/admin.
#pragma once

#include <jansson.h>

#include "broker/admin/numbers.h"

// A route and what it does once the token was seen.
struct bk_admin_verb {
  struct bk_admin *admin;
  void (*handle)(struct bk_admin *, struct bk_exchange *);
};

enum { BK_ADMIN_VERBS = 18 };

struct bk_admin {
  struct bk_admin_options options;
  struct bk_secrets tokens;
  struct bk_publish_handler publish;
  struct bk_admin_counters counters;
  struct bk_admin_verb verbs[BK_ADMIN_VERBS];
  struct bx_list tails;
  bx_millis started;
};

// Answers 200 with `body`, whose reference it takes.
void bk_admin_answer(struct bk_exchange *, json_t *body);
json_t *bk_admin_string(struct bx_slice);

// From now on the questions of other brokers are answered.
void bk_admin_listing_init(struct bk_admin *);
// A row of /v1/clients.
json_t *bk_admin_describe(const struct bk_admin *, const struct bx_session *);
json_t *bk_admin_describe_whole(const struct bk_admin *, const struct bx_session *);   // of /v1/clients/<id>

void bk_admin_stats(struct bk_admin *, struct bk_exchange *);
void bk_admin_metrics(struct bk_admin *, struct bk_exchange *);
void bk_admin_channels(struct bk_admin *, struct bk_exchange *);
void bk_admin_subscribers(struct bk_admin *, struct bk_exchange *);
void bk_admin_clients(struct bk_admin *, struct bk_exchange *);
void bk_admin_client(struct bk_admin *, struct bk_exchange *);
void bk_admin_presence(struct bk_admin *, struct bk_exchange *);
void bk_admin_nodes(struct bk_admin *, struct bk_exchange *);
void bk_admin_doctor(struct bk_admin *, struct bk_exchange *);
void bk_admin_tail(struct bk_admin *, struct bk_exchange *);
void bk_admin_kick(struct bk_admin *, struct bk_exchange *);
void bk_admin_unsubscribe(struct bk_admin *, struct bk_exchange *);
void bk_admin_kick_user(struct bk_admin *, struct bk_exchange *);
void bk_admin_unsubscribe_user(struct bk_admin *, struct bk_exchange *);
void bk_admin_revoke(struct bk_admin *, struct bk_exchange *);
void bk_admin_kick_token(struct bk_admin *, struct bk_exchange *);
void bk_admin_revoke_token(struct bk_admin *, struct bk_exchange *);
void bk_admin_begin_drain(struct bk_admin *, struct bk_exchange *);

// -- strip.c: a session loses subscriptions ----------------------------------------------------------

// `taken` of the names were taken away; all of them when acknowledged.
typedef void bk_admin_stripped(void *context, enum bx_outcome, const json_t *names, size_t taken);
// The subscription `channel`, or (covered) all that it covers. `done` comes once, perhaps from inside.
void bk_admin_strip(struct bk_admin *, struct bx_slice id, struct bx_slice channel, bool covered,
                    bk_admin_stripped *done, void *context);

// -- page.c: the first `limit` of many, in order ---------------------------------------------------

struct bk_page_row {
  struct bx_slice key, second;   // borrowed; ordered by both
  const void *item;
};

struct bk_page {
  struct bx_buffer prefix, after;
  size_t limit;
  struct bk_page_row *rows;
  size_t count;
  bool more;
};

// Reads ?prefix=, ?after=, ?limit= of the request. False: it was answered with 400.
bool bk_page_init(struct bk_page *, struct bk_exchange *);
// Of a page whose texts are set by hand. False: no such limit.
bool bk_page_set_limit(struct bk_page *, long long limit) BX_MUST_CHECK;
void bk_page_fini(struct bk_page *);
void bk_page_offer(struct bk_page *, struct bx_slice key, struct bx_slice second, const void *item);
// All was offered: what counts is in order, one row more than the page when there is more.
void bk_page_sort(struct bk_page *);
void bk_page_clear(struct bk_page *);   // for other rows of the same page
// All was offered: sorts, cuts. Sets `next` in the answer when there is more.
void bk_page_close(struct bk_page *, json_t *answer);
