// SPDX-License-Identifier: Apache-2.0
// The publisher that posts to a broker's admin URL.
//
// A call of publish() is a struct call: the JSON text of its items and the `done` that waits. Calls
// move from `waiting` to the batch under way, or to `overflown`; every list is emptied from the
// turn hook or from the answer, so that no `done` comes from inside publish().
#include "broker/publish/remote.h"

#include "bayeux/scan.h"
#include "broker/host/log.h"
#include "broker/publish/probe.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  BATCH_ITEMS = BK_PUBLISH_MAX_ITEMS,
  BATCH_BYTES = 1 << 20,
  ANSWER_BYTES = 1 << 20,
};

const struct bk_metric bk_remote_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_remote_counters, field), 0},
    BK_REMOTE_COUNTERS(X)
#undef X
        {0}};

struct call {
  struct bx_list link;
  struct bk_publish_done done;
  size_t count;
  struct bx_buffer text;   // entries, separated by commas
};

struct batch {
  struct remote *remote;   // NULL: the publisher is gone, only memory is left to free
  struct bx_list calls;
  size_t count;
};

struct remote {
  struct bk_publisher base;
  struct bk_loop *loop;
  struct bk_http_client *client;
  char *publish_url, *ready_url, *unix_path, *token;
  bx_millis timeout;

  struct bx_list waiting, overflown;
  size_t waiting_items, waiting_bytes;
  struct batch *under_way;   // NULL: none
  struct bk_turn_hook hook;

  struct bk_probe probe;
  struct bk_remote_counters counters;
};

static struct remote *remote_of(struct bk_publisher *p) { return bx_container_of(p, struct remote, base); }

// -- ending calls ----------------------------------------------------------------------------------

static void count_results(struct remote *r, const struct bk_publish_result *results, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (results[i].outcome == BK_PUBLISH_REFUSED) r->counters.refused++;
    if (results[i].outcome == BK_PUBLISH_UNKNOWN) r->counters.unknown++;
  }
}

static void call_end(struct remote *r, struct call *c, const struct bk_publish_result *results) {
  count_results(r, results, c->count);
  c->done.call(c->done.context, results, c->count);
  bx_buffer_fini(&c->text);
  bx_free(c);
}

// Ends every call on the list with one outcome and the standard text.
static void end_all(struct remote *r, struct bx_list *calls, enum bk_publish_outcome outcome) {
  struct bx_list mine;
  bx_list_init(&mine);
  bx_list_splice(&mine, calls);
  for (struct bx_list *l; (l = bx_list_take(&mine));) {
    struct call *c = bx_container_of(l, struct call, link);
    struct bk_publish_result *results = bx_alloc(c->count * sizeof *results);
    for (size_t i = 0; i < c->count; i++) results[i].outcome = outcome;
    call_end(r, c, results);
    bx_free(results);
  }
}

// -- answers ---------------------------------------------------------------------------------------

static bool whole_number(const struct bx_value *v, uint64_t *out) {
  if (v->type != BX_JSON_NUMBER || v->raw.len > 19) return false;
  uint64_t n = 0;
  for (size_t i = 0; i < v->raw.len; i++) {
    unsigned digit = (unsigned)(v->raw.at[i] - '0');
    if (digit > 9) return false;
    n = n * 10 + digit;
  }
  *out = n;
  return true;
}

// One slot. What cannot be understood is unknown. `strings` has room for all strings of the answer.
static bool read_slot(struct bx_scan *s, struct bk_publish_result *out, struct bx_buffer *strings) {
  struct bx_value position = {0}, epoch = {0}, outcome = {0}, error = {0}, key, ignored;
  *out = (struct bk_publish_result){.outcome = BK_PUBLISH_UNKNOWN};
  if (!bx_scan_enter(s)) return false;
  while (bx_scan_item(s, &key)) {
    struct bx_value *member = bx_value_is(&key, BX_LIT("position"))  ? &position
                              : bx_value_is(&key, BX_LIT("epoch"))   ? &epoch
                              : bx_value_is(&key, BX_LIT("outcome")) ? &outcome
                              : bx_value_is(&key, BX_LIT("error"))   ? &error
                                                                     : &ignored;
    if (!bx_scan_value(s, member)) return false;
  }
  if (bx_scan_failed(s)) return false;
  if (error.type == BX_JSON_STRING) {
    size_t begin = strings->len;
    bx_value_decode(&error, strings);
    out->error = (struct bx_slice){strings->at + begin, strings->len - begin};
  }
  if (outcome.type == BX_JSON_NONE && out->error.len > 0) out->outcome = BK_PUBLISH_BAD;
  if (outcome.type != BX_JSON_STRING) return true;
  if (bx_value_is(&outcome, BX_LIT("refused"))) out->outcome = BK_PUBLISH_REFUSED;
  if (bx_value_is(&outcome, BX_LIT("acknowledged")) && whole_number(&position, &out->position) &&
      whole_number(&epoch, &out->epoch))
    out->outcome = BK_PUBLISH_ACKNOWLEDGED;
  return true;
}

// True when the answer is a list of exactly `count` slots.
static bool read_answer(struct bx_slice body, struct bk_publish_result *results, size_t count,
                        struct bx_buffer *strings) {
  struct bx_scan s;
  struct bx_value none;
  size_t n = 0;
  bx_buffer_reserve(strings, body.len);
  bx_scan_init(&s, body, 8);
  if (bx_scan_peek(&s) != BX_JSON_ARRAY || !bx_scan_enter(&s)) return false;
  while (bx_scan_item(&s, &none)) {
    if (n == count || bx_scan_peek(&s) != BX_JSON_OBJECT || !read_slot(&s, &results[n++], strings)) return false;
  }
  return n == count && bx_scan_end(&s);
}

static enum bk_publish_outcome outcome_of_status(int status) {
  if (status == BK_HTTP_UNSENT || status == 503 || (status >= 400 && status < 500)) return BK_PUBLISH_REFUSED;
  return BK_PUBLISH_UNKNOWN;
}

static void batch_end(struct remote *r, struct batch *b, int status, struct bx_slice body, const char *error) {
  struct bk_publish_result *results = bx_alloc(b->count * sizeof *results);
  struct bx_buffer strings = {0};
  if (status == 200 && read_answer(body, results, b->count, &strings)) {
    for (struct bx_list *l; (l = bx_list_take(&b->calls));) {
      struct call *c = bx_container_of(l, struct call, link);
      size_t n = c->count;
      call_end(r, c, results);
      results += n;
    }
    results -= b->count;
  } else {
    if (status <= 0) bk_probe_failed(&r->probe, error);
    bk_warn("publisher.failed", bk_s("url", r->publish_url), bk_u("status", status > 0 ? (uint64_t)status : 0),
            bk_s("reason", status == 200 ? "the answer is not what was expected" : error), bk_u("messages", b->count));
    end_all(r, &b->calls, outcome_of_status(status));
  }
  bx_buffer_fini(&strings);
  bx_free(results);
}

static void answered(void *context, int status, struct bx_slice body, const char *error) {
  struct batch *b = context;
  if (b->remote) {
    b->remote->under_way = NULL;
    bk_loop_again(b->remote->loop);   // what waits goes out at the end of this turn
    batch_end(b->remote, b, status, body, error);
  }
  bx_free(b);
}

// -- sending ---------------------------------------------------------------------------------------

// Moves calls from `waiting` to a new batch, at least one; spells its body.
static struct batch *batch_take(struct remote *r, struct bx_buffer *body) {
  struct batch *b = bx_alloc(sizeof *b);
  b->remote = r;
  bx_list_init(&b->calls);
  bx_buffer_char(body, '[');
  while (!bx_list_empty(&r->waiting)) {
    struct call *c = bx_container_of(r->waiting.next, struct call, link);
    bool fits = b->count + c->count <= BATCH_ITEMS && body->len + c->text.len <= BATCH_BYTES;
    if (b->count > 0 && !fits) break;
    if (b->count > 0) bx_buffer_char(body, ',');
    bx_buffer_slice(body, bx_buffer_view(&c->text));
    r->waiting_items -= c->count;
    r->waiting_bytes -= c->text.len;
    b->count += c->count;
    bx_buffer_fini(&c->text);
    bx_list_remove(&c->link);
    bx_list_append(&b->calls, &c->link);
  }
  bx_buffer_char(body, ']');
  r->counters.waiting = r->waiting_items;
  return b;
}

static void turn(struct bk_turn_hook *hook) {
  struct remote *r = bx_container_of(hook, struct remote, hook);
  end_all(r, &r->overflown, BK_PUBLISH_REFUSED);
  if (r->under_way || bx_list_empty(&r->waiting)) return;
  struct bx_buffer body = {0};
  r->under_way = batch_take(r, &body);
  r->counters.requests++;
  r->counters.items += r->under_way->count;
  bk_http_client_send(r->client, &(struct bk_http_client_request){
                                     .method = "POST",
                                     .url = r->publish_url,
                                     .unix_path = r->unix_path,
                                     .content_type = "application/json",
                                     .bearer = r->token,
                                     .body = bx_buffer_view(&body),
                                     .timeout = r->timeout,
                                     .max_answer = ANSWER_BYTES,
                                     .done = answered,
                                     .context = r->under_way,
                                 });
  bx_buffer_fini(&body);
}

static void write_item(struct bx_buffer *out, const struct bk_publish_item *item) {
  bx_buffer_lit(out, "{\"channel\":");
  bx_buffer_json_string(out, item->channel);
  bx_buffer_lit(out, ",\"data\":");
  bx_buffer_slice(out, item->data);
  if (item->ext.len > 0) {
    bx_buffer_lit(out, ",\"ext\":");
    bx_buffer_slice(out, item->ext);
  }
  if (item->id.len > 0) {
    bx_buffer_lit(out, ",\"id\":");
    bx_buffer_json_string(out, item->id);
  }
  bx_buffer_char(out, '}');
}

static void publish(struct bk_publisher *p, const struct bk_publish_item *items, size_t count,
                    struct bk_publish_done done) {
  struct remote *r = remote_of(p);
  BX_BUG_ON(count == 0 || count > BK_PUBLISH_MAX_ITEMS);
  struct call *c = bx_alloc(sizeof *c);
  *c = (struct call){.done = done, .count = count};
  for (size_t i = 0; i < count; i++) {
    if (i > 0) bx_buffer_char(&c->text, ',');
    write_item(&c->text, &items[i]);
  }
  bool fits =
      r->waiting_items + count <= BK_REMOTE_MAX_WAITING && r->waiting_bytes + c->text.len <= BK_REMOTE_MAX_BYTES;
  if (fits) {
    bx_list_append(&r->waiting, &c->link);
    r->waiting_items += count;
    r->waiting_bytes += c->text.len;
    r->counters.waiting = r->waiting_items;
  } else {
    bx_list_append(&r->overflown, &c->link);
    r->counters.overflows += count;
  }
  bk_loop_again(r->loop);   // our hook may have had its turn already
}

// -- life ------------------------------------------------------------------------------------------

static const char *not_ready(struct bk_publisher *p) { return bk_probe_not_ready(&remote_of(p)->probe); }

static void destroy(struct bk_publisher *p) {
  struct remote *r = remote_of(p);
  bk_loop_remove_hook(r->loop, &r->hook);
  bk_probe_stop(&r->probe);
  if (r->under_way) {
    r->under_way->remote = NULL;
    end_all(r, &r->under_way->calls, BK_PUBLISH_UNKNOWN);
  }
  end_all(r, &r->overflown, BK_PUBLISH_REFUSED);
  end_all(r, &r->waiting, BK_PUBLISH_REFUSED);
  free(r->publish_url);
  free(r->ready_url);
  free(r->unix_path);
  free(r->token);
  bx_free(r);
}

static const struct bk_publisher_ops remote_ops = {.publish = publish, .not_ready = not_ready, .destroy = destroy};

static char *joined(const char *url, const char *path) {
  size_t len = strlen(url);
  while (len > 0 && url[len - 1] == '/') len--;
  char *out;
  if (asprintf(&out, "%.*s%s", (int)len, url, path) < 0) abort();
  return out;
}

struct bk_publisher *bk_remote_create(struct bk_loop *loop, struct bk_http_client *client,
                                      const struct bk_remote_options *options) {
  struct remote *r = bx_alloc(sizeof *r);
  const char *url = options->url;
  r->base.ops = &remote_ops;
  r->loop = loop;
  r->client = client;
  if (strncmp(url, "unix:", 5) == 0) {
    r->unix_path = strdup(url + 5);
    url = "http://localhost";
  }
  r->publish_url = joined(url, "/v1/publish");
  r->ready_url = joined(url, "/readyz");
  r->token = options->token ? strdup(options->token) : NULL;
  r->timeout = options->timeout;
  bx_list_init(&r->waiting);
  bx_list_init(&r->overflown);
  r->hook.turn = turn;
  bk_loop_add_hook(loop, &r->hook);
  r->probe = (struct bk_probe){.what = "broker",
                               .url = r->ready_url,
                               .unix_path = r->unix_path,
                               .token = r->token,
                               .loop = loop,
                               .client = client};
  bk_probe_start(&r->probe);
  return &r->base;
}

const struct bk_remote_counters *bk_remote_counters(const struct bk_publisher *p) {
  return &((const struct remote *)(const void *)p)->counters;
}
