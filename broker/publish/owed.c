// SPDX-License-Identifier: Apache-2.0
#include "broker/publish/owed.h"

static void free_when_over(struct bk_asked *a) {
  if (!a->exchange && !a->asking) a->release(a);
}

static void exchange_ended(struct bk_exchange *x, enum bk_arrival arrival) {
  (void)arrival;
  struct bk_asked *a = bk_exchange_user(x);
  a->exchange = NULL;
  bk_debt_end(&a->debt);
  free_when_over(a);
}

void bk_asked_begin(struct bk_asked *a, struct bk_exchange *x, struct bk_owed *owed,
                    void (*release)(struct bk_asked *)) {
  static const struct bk_exchange_ops held = {.ended = exchange_ended};
  *a = (struct bk_asked){.exchange = x, .asking = true, .release = release};
  bk_debt_begin(&a->debt, owed);
  bk_exchange_hold(x, &held, a);
}

struct bk_exchange *bk_asked_answer(struct bk_asked *a) {
  if (a->exchange) bk_debt_answer(&a->debt, a->exchange);
  return a->exchange;
}

void bk_asked_done(struct bk_asked *a) {
  a->asking = false;
  free_when_over(a);
}
