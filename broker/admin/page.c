// SPDX-License-Identifier: Apache-2.0
// A page of a long listing. Twice the page's rows are kept, sorted and cut whenever they are full,
// so that a listing of everything costs neither its memory nor its sorting.
#include "broker/admin/parts.h"

#include <stdlib.h>

enum { MAX_LIMIT = 1000 };

static int compare_slices(struct bx_slice a, struct bx_slice b) {
  size_t len = a.len < b.len ? a.len : b.len;
  int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
  return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_rows(const void *a, const void *b) {
  const struct bk_page_row *x = a, *y = b;
  int order = compare_slices(x->key, y->key);
  return order != 0 ? order : compare_slices(x->second, y->second);
}

static bool read_limit(struct bk_page *p, struct bx_slice query) {
  struct bx_buffer text = {0};
  p->limit = MAX_LIMIT;
  bool good = true;
  if (bk_query_get(query, "limit", &text)) {
    bx_buffer_char(&text, 0);
    char *end;
    unsigned long limit = strtoul(text.at, &end, 10);
    good = text.at[0] >= '0' && text.at[0] <= '9' && *end == 0 && end == text.at + text.len - 1 && limit >= 1 &&
           limit <= MAX_LIMIT;
    p->limit = limit;
  }
  bx_buffer_fini(&text);
  return good;
}

bool bk_page_set_limit(struct bk_page *p, long long limit) {
  if (limit < 1 || limit > MAX_LIMIT) return false;
  p->limit = (size_t)limit;
  p->rows = bx_alloc(2 * (p->limit + 1) * sizeof *p->rows);
  return true;
}

// As names of channels and clients are; other brokers are asked with it, in JSON.
static bool is_plain(const struct bx_buffer *text) {
  for (size_t i = 0; i < text->len; i++)
    if (text->at[i] < ' ' || text->at[i] > '~') return false;
  return true;
}

bool bk_page_init(struct bk_page *p, struct bk_exchange *x) {
  struct bx_slice query = bk_exchange_query(x);
  *p = (struct bk_page){0};
  if (!read_limit(p, query)) {
    bk_exchange_refuse(x, 400, "limit is a number from 1 to %d", MAX_LIMIT);
    return false;
  }
  bk_query_get(query, "prefix", &p->prefix);
  bk_query_get(query, "after", &p->after);
  if (!is_plain(&p->prefix) || !is_plain(&p->after)) {
    bk_page_fini(p);
    bk_exchange_refuse(x, 400, "prefix and after are texts in ASCII, as names are");
    return false;
  }
  return bk_page_set_limit(p, (long long)p->limit);
}

void bk_page_fini(struct bk_page *p) {
  bx_buffer_fini(&p->prefix);
  bx_buffer_fini(&p->after);
  bx_free(p->rows);
}

// One row more than the page tells whether there is a next one.
static void cut(struct bk_page *p) {
  qsort(p->rows, p->count, sizeof *p->rows, compare_rows);
  if (p->count > p->limit + 1) p->count = p->limit + 1;
}

// `after` is a key, or key and second with a blank between them.
static bool is_behind(const struct bk_page *p, const struct bk_page_row *row) {
  if (p->after.len == 0) return true;
  const char *blank = memchr(p->after.at, ' ', p->after.len);
  size_t len = blank ? (size_t)(blank - p->after.at) : p->after.len;
  struct bk_page_row after = {.key = {p->after.at, len}};
  if (blank) after.second = (struct bx_slice){blank + 1, p->after.len - len - 1};
  return compare_rows(row, &after) > 0;
}

void bk_page_offer(struct bk_page *p, struct bx_slice key, struct bx_slice second, const void *item) {
  struct bk_page_row row = {key, second, item};
  if (!bx_slice_starts(key, bx_buffer_view(&p->prefix)) || !is_behind(p, &row)) return;
  p->rows[p->count++] = row;
  if (p->count == 2 * (p->limit + 1)) cut(p);
}

void bk_page_sort(struct bk_page *p) { cut(p); }
void bk_page_clear(struct bk_page *p) { p->count = 0; }

void bk_page_close(struct bk_page *p, json_t *answer) {
  cut(p);
  p->more = p->count > p->limit;
  if (!p->more) return;
  p->count = p->limit;
  const struct bk_page_row *last = &p->rows[p->count - 1];
  struct bx_buffer next = {0};
  bx_buffer_slice(&next, last->key);
  if (last->second.len > 0) {
    bx_buffer_char(&next, ' ');
    bx_buffer_slice(&next, last->second);
  }
  json_object_set_new(answer, "next", bk_admin_string(bx_buffer_view(&next)));
  bx_buffer_fini(&next);
}
