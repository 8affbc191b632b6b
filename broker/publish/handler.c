// SPDX-License-Identifier: Apache-2.0
// `POST /v1/publish`: parse, publish the good entries in one call, answer slot for slot.
#include "broker/publish/handler.h"

const struct bk_metric bk_publish_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_publish_counters, field), 0},
    BK_PUBLISH_COUNTERS(X)
#undef X
        {0}};

// What a broker says of such an entry, and a gateway passes on with the same status.
#define TOO_LARGE "data: too large"

// A request whose publish is under way. It borrows from the body of the exchange.
struct job {
  struct bk_asked asked;
  struct bk_publish_handler *handler;
  struct bk_publish_request request;
};

static void job_free(struct bk_asked *a) { bx_free(bx_container_of(a, struct job, asked)); }

static void respond(struct bk_exchange *x, int status, const struct bx_buffer *body) {
  bk_exchange_respond(x, &(struct bk_response){
                             .status = status,
                             .content_type = "application/json",
                             .body = bx_buffer_view(body),
                         });
}

static void write_error(struct bx_buffer *out, const struct bx_buffer *text) {
  bx_buffer_lit(out, "\"error\":");
  bx_buffer_json_string(out, bx_buffer_view(text));
  bx_buffer_char(out, '}');
}

static void write_result(struct bx_buffer *out, const struct bk_publish_result *r, struct bx_slice channel) {
  if (r->outcome == BK_PUBLISH_ACKNOWLEDGED) {
    bx_buffer_lit(out, "{\"position\":");
    bx_buffer_u64(out, r->position);
    bx_buffer_lit(out, ",\"epoch\":");
    bx_buffer_u64(out, r->epoch);
    bx_buffer_lit(out, ",\"outcome\":\"acknowledged\"}");
    return;
  }
  bx_buffer_char(out, '{');
  if (r->outcome != BK_PUBLISH_BAD) bx_buffer_printf(out, "\"outcome\":\"%s\",", bk_publish_outcome_name(r->outcome));
  struct bx_buffer text = {0};
  bk_publish_error_text(r, channel, &text);
  write_error(out, &text);
  bx_buffer_fini(&text);
}

static void write_fault(struct bx_buffer *out, const struct bk_publish_entry *e) {
  struct bx_buffer text = {0};
  bk_publish_entry_error(e, &text);
  bx_buffer_char(out, '{');
  write_error(out, &text);
  bx_buffer_fini(&text);
}

static int status_of(const struct bk_publish_result *r) {
  switch (r->outcome) {
  case BK_PUBLISH_ACKNOWLEDGED: return 200;
  case BK_PUBLISH_REFUSED: return 503;
  case BK_PUBLISH_UNKNOWN: return 504;
  case BK_PUBLISH_BAD: break;
  }
  return bx_slice_equal(r->error, BX_LIT(TOO_LARGE)) ? 413 : 400;
}

// One slot per entry: faults where they were found, results for the rest, in order.
static void answer(struct bk_exchange *x, const struct bk_publish_request *r, const struct bk_publish_result *results) {
  struct bx_buffer body = {0};
  int status = 200;
  if (r->list) bx_buffer_char(&body, '[');
  for (size_t i = 0; i < r->count; i++) {
    const struct bk_publish_entry *e = &r->entries[i];
    BX_BUG_ON(!e->fault && !results);
    if (i > 0) bx_buffer_char(&body, ',');
    if (!r->list) status = e->too_large ? 413 : e->fault ? 400 : status_of(results);
    if (e->fault)
      write_fault(&body, e);
    else
      write_result(&body, results++, e->item.channel);
  }
  if (r->list) bx_buffer_char(&body, ']');
  respond(x, status, &body);
  bx_buffer_fini(&body);
}

static void count(struct bk_publish_counters *c, const struct bk_publish_result *results, size_t n) {
  for (size_t i = 0; i < n; i++) {
    switch (results[i].outcome) {
    case BK_PUBLISH_ACKNOWLEDGED: c->acknowledged++; break;
    case BK_PUBLISH_REFUSED: c->refused++; break;
    case BK_PUBLISH_UNKNOWN: c->unknown++; break;
    case BK_PUBLISH_BAD: c->bad++; break;
    }
  }
}

static void published(void *context, const struct bk_publish_result *results, size_t n) {
  struct job *j = context;
  count(&j->handler->counters, results, n);
  struct bk_exchange *x = bk_asked_answer(&j->asked);
  if (x)
    answer(x, &j->request, results);
  else
    j->handler->counters.abandoned++;
  bk_publish_request_fini(&j->request);   // the exchange may go on for long
  bk_asked_done(&j->asked);
}

// Moves the request into a job and hands its good entries to the publisher.
static void publish(struct bk_publish_handler *h, struct bk_exchange *x, struct bk_publish_request *r, size_t good) {
  struct bk_publish_item *items = bx_alloc(good * sizeof *items);
  size_t n = 0;
  for (size_t i = 0; i < r->count; i++)
    if (!r->entries[i].fault) items[n++] = r->entries[i].item;
  struct job *j = bx_alloc(sizeof *j);
  *j = (struct job){.handler = h, .request = *r};
  bk_asked_begin(&j->asked, x, h->owed, job_free);
  bk_publisher_publish(h->publisher, items, n, (struct bk_publish_done){published, j});
  bx_free(items);
}

// Returns how many entries are good.
static size_t judge_sizes(struct bk_publish_request *r, size_t max) {
  size_t good = 0;
  for (size_t i = 0; i < r->count; i++) {
    struct bk_publish_entry *e = &r->entries[i];
    if (e->fault) continue;
    e->too_large = max > 0 && e->item.data.len + e->item.ext.len > max;
    if (e->too_large)
      e->fault = TOO_LARGE;
    else
      good++;
  }
  return good;
}

void bk_publish_handle(void *context, struct bk_exchange *x) {
  struct bk_publish_handler *h = context;
  h->counters.requests++;
  if (!bk_tokens_admit(h->tokens, x)) {
    h->counters.unauthorized++;
    return;
  }
  struct bk_publish_request r;
  struct bx_buffer error = {0};
  enum bk_publish_parse parse = bk_publish_request_parse(&r, bk_exchange_body(x), &error);
  if (parse != BK_PUBLISH_PARSED) {
    bk_exchange_refuse(x, parse == BK_PUBLISH_TOO_MANY ? 413 : 400, "%.*s", (int)error.len, error.at);
    bk_publish_request_fini(&r);
    bx_buffer_fini(&error);
    h->counters.bad++;
    return;
  }
  size_t good = judge_sizes(&r, h->max_data);
  h->counters.bad += r.count - good;
  if (good > 0) {
    publish(h, x, &r, good);
    return;
  }
  answer(x, &r, NULL);
  bk_publish_request_fini(&r);
}
