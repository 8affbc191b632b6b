// SPDX-License-Identifier: Apache-2.0
// A call of publish() becomes one struct call with a request per item. The engine completes the
// requests one by one; what was refused on the spot has its result at once. Calls that are complete are
// told from the turn hook, so never from inside publish().
#include "broker/publish/direct.h"

struct direct;

struct item {
  struct bx_outside_publish publish;
  struct call *call;
};

struct call {
  struct bx_list link;   // among the complete ones
  struct direct *direct;
  struct bk_publish_done done;
  struct bk_publish_result *results;
  struct item *items;
  size_t count, open;
  struct bx_buffer text;   // channels, ids: they must outlive publish()
};

struct direct {
  struct bk_publisher base;
  struct bk_loop *loop;
  struct bx_engine *engine;
  bk_direct_submit *submit;
  void *context;
  size_t under_way;
  struct bx_list complete;
  struct bk_turn_hook hook;
};

static struct direct *direct_of(struct bk_publisher *p) { return bx_container_of(p, struct direct, base); }

static void call_free(struct call *c) {
  c->direct->under_way--;
  bx_free(c->results);
  bx_free(c->items);
  bx_buffer_fini(&c->text);
  bx_free(c);
}

static void tell(struct direct *d) {
  struct bx_list todo, *link;
  bx_list_init(&todo);
  bx_list_splice(&todo, &d->complete);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct call *c = bx_container_of(link, struct call, link);
    c->done.call(c->done.context, c->results, c->count);
    call_free(c);
  }
}

static void turn(struct bk_turn_hook *hook) { tell(bx_container_of(hook, struct direct, hook)); }

static void completed(struct call *c) {
  if (--c->open == 0) bx_list_append(&c->direct->complete, &c->link);
}

static void done(struct bx_outside_publish *p, enum bx_outcome outcome, bx_position position) {
  static const enum bk_publish_outcome outcomes[] = {
      [BX_ACKNOWLEDGED] = BK_PUBLISH_ACKNOWLEDGED,
      [BX_REFUSED] = BK_PUBLISH_REFUSED,
      [BX_UNKNOWN] = BK_PUBLISH_UNKNOWN,
      [BX_NO_SESSION] = BK_PUBLISH_REFUSED,
  };
  struct item *item = bx_container_of(p, struct item, publish);
  struct call *c = item->call;
  struct bk_publish_result *result = &c->results[item - c->items];
  result->outcome = outcomes[outcome];
  if (outcome == BX_ACKNOWLEDGED) {
    result->position = position;
    result->epoch = c->direct->engine->epoch;
  }
  completed(c);
}

static struct bx_slice keep(struct bx_buffer *text, struct bx_slice s) {
  BX_BUG_ON(text->len + s.len > text->cap);   // growing would move what was kept before
  bx_buffer_slice(text, s);
  return (struct bx_slice){text->at + text->len - s.len, s.len};
}

static void hand_over(struct call *c, size_t i, const struct bk_publish_item *in) {
  struct bx_slice channel = keep(&c->text, in->channel), id = keep(&c->text, in->id);
  struct item *item = &c->items[i];
  item->call = c;
  item->publish.done = done;
  const char *error = c->direct->submit(c->direct->context, &item->publish, channel, in->data, id);
  if (!error) return;
  c->results[i] = (struct bk_publish_result){.outcome = BK_PUBLISH_BAD, .error = bx_slice_of(error)};   // static text
  completed(c);
}

static void publish(struct bk_publisher *p, const struct bk_publish_item *items, size_t count,
                    struct bk_publish_done when_done) {
  struct direct *d = direct_of(p);
  struct call *c = bx_alloc(sizeof *c);
  size_t room = 0;
  for (size_t i = 0; i < count; i++) room += items[i].channel.len + items[i].id.len;
  *c = (struct call){.direct = d, .done = when_done, .count = count, .open = count};
  c->results = bx_alloc(count * sizeof *c->results);
  c->items = bx_alloc(count * sizeof *c->items);
  bx_buffer_reserve(&c->text, room);   // slices into it stay where they are
  bx_list_init(&c->link);
  d->under_way++;
  for (size_t i = 0; i < count; i++) hand_over(c, i, &items[i]);
  bk_loop_again(d->loop);
}

static const char *not_ready(struct bk_publisher *p) {
  struct bx_engine *engine = direct_of(p)->engine;
  return engine->ops->not_ready(engine);
}

static void destroy(struct bk_publisher *p) {
  struct direct *d = direct_of(p);
  tell(d);
  BX_BUG_ON(d->under_way > 0);
  bk_loop_remove_hook(d->loop, &d->hook);
  bx_free(d);
}

struct bk_publisher *bk_direct_create(struct bk_loop *loop, struct bx_engine *engine, bk_direct_submit *submit,
                                      void *context) {
  static const struct bk_publisher_ops ops = {.publish = publish, .not_ready = not_ready, .destroy = destroy};
  struct direct *d = bx_alloc(sizeof *d);
  *d = (struct direct){
      .base.ops = &ops, .loop = loop, .engine = engine, .submit = submit, .context = context, .hook.turn = turn};
  bx_list_init(&d->complete);
  bk_loop_add_hook(loop, &d->hook);
  return &d->base;
}
