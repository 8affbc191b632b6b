// SPDX-License-Identifier: Apache-2.0
// The events of a broker with the memory engine: a bounded queue.
#include <stdio.h>

#include "broker/webhook/parts.h"

struct item {
  struct bx_list link;
  size_t len;
  char text[];   // JSON
};

struct queue {
  struct bk_webhook_source source;
  char prefix[64];
  uint64_t number, max, length, missed;   // missed: not yet told of
  struct bx_list waiting, given;          // oldest first
};

static struct queue *of(struct bk_webhook_source *s) { return bx_container_of(s, struct queue, source); }

static void drop(struct queue *q, struct bx_list *link) {
  q->length--;
  bx_free(bx_container_of(link, struct item, link));
}

static void next(struct bk_webhook_source *source, bool told, size_t limit) {
  struct queue *q = of(source);
  struct bk_webhook_given given = {.again = true};
  struct bx_buffer text = {0};
  struct bx_list *link;
  while (told && (link = bx_list_take(&q->given)) != NULL) drop(q, link);
  if (limit > 0) {
    if (bx_list_empty(&q->given))
      for (size_t i = 0; i < limit && (link = bx_list_take(&q->waiting)) != NULL; i++) bx_list_append(&q->given, link);
    bx_list_each (l, &q->given) {
      const struct item *item = bx_container_of(l, struct item, link);
      if (given.count++ > 0) bx_buffer_char(&text, ',');
      bx_buffer_add(&text, item->text, item->len);
    }
    given.missed = q->missed;
    q->missed = 0;
  }
  given.events = bx_buffer_view(&text);
  source->done(source->context, &given);
  bx_buffer_fini(&text);
}

static void destroy(struct bk_webhook_source *source) {
  struct queue *q = of(source);
  struct bx_list *link;
  while ((link = bx_list_take(&q->waiting)) != NULL || (link = bx_list_take(&q->given)) != NULL) drop(q, link);
  bx_free(q);
}

// What is on its way is not dropped: it may be taken already.
void bk_webhook_queue_add(struct bk_webhook_source *source, struct bk_webhook_event *e) {
  struct queue *q = of(source);
  struct bx_buffer text = {0};
  char id[24];
  snprintf(id, sizeof id, "%llu", (unsigned long long)++q->number);
  e->prefix = q->prefix;
  e->id = bx_slice_of(id);
  BX_BUG_ON(!bk_webhook_write_event(&text, e));
  struct item *item = bx_alloc(sizeof *item + text.len);
  memcpy(item->text, text.at, text.len);
  item->len = text.len;
  bx_buffer_fini(&text);
  bx_list_append(&q->waiting, &item->link);
  if (++q->length <= q->max) return;
  q->missed++;
  drop(q, bx_list_take(&q->waiting));
}

uint64_t bk_webhook_queue_length(const struct bk_webhook_source *source) {
  return bx_container_of(source, const struct queue, source)->length;
}

struct bk_webhook_source *bk_webhook_queue_create(const char *node, uint64_t max) {
  struct queue *q = bx_alloc(sizeof *q);
  q->source = (struct bk_webhook_source){.next = next, .destroy = destroy};
  q->max = max;
  snprintf(q->prefix, sizeof q->prefix, "%s-", node);
  bx_list_init(&q->waiting);
  bx_list_init(&q->given);
  return &q->source;
}
