// SPDX-License-Identifier: Apache-2.0
// What the authority answers. The first byte says how many answers are expected; the rest is the body. An
// answer is taken for each of them or for none, and what it says can be written into a reply.
#include <stdlib.h>

#include "bayeux/scan.h"
#include "broker/access/authority_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH = 64 };

static size_t taken;

static void must(bool good) {
  if (!good) abort();
}

// What is written into a reply must not end what stands around it.
static void must_be_json(struct bx_slice text, enum bx_json type) {
  struct bx_value value;
  struct bx_scan s;
  bx_scan_init(&s, text, DEPTH);
  must(bx_scan_value(&s, &value) && bx_scan_end(&s) && value.type == type);
}

static void take(void *context, size_t index, const struct bk_authority_answer *a) {
  const struct bx_access_answer *x = &a->access;
  struct bx_buffer text = {0};
  (void)context;
  must(index == taken++);
  must(x->verdict == BX_ALLOW || x->verdict == BX_DENY || x->verdict == BX_UNAVAILABLE);
  must(x->user.len == 0 || bx_user_is_valid(x->user));
  must(x->error.len == 0 || (x->error.len > 4 && x->error.at[3] == ':'));
  bx_buffer_char(&text, '"');
  bx_buffer_slice(&text, x->error);
  bx_buffer_char(&text, '"');
  must_be_json(bx_buffer_view(&text), BX_JSON_STRING);
  if (x->ext.len > 0) must_be_json(x->ext, BX_JSON_OBJECT);
  bx_buffer_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  size_t wanted = data[0] % 8;
  taken = 0;
  bool good = bk_authority_read((struct bx_slice){(const char *)data + 1, size - 1}, wanted, take, NULL);
  must(taken == (good ? wanted : 0));
  return 0;
}
