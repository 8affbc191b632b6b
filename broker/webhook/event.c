// SPDX-License-Identifier: Apache-2.0
#include "broker/host/secrets.h"
#include "broker/webhook/parts.h"

enum { SESSION_NAME = 32 };   // digits: 128 bits of the digest

static void member(struct bx_buffer *out, const char *name, struct bx_slice text) {
  if (text.len == 0) return;
  bx_buffer_printf(out, ",\"%s\":", name);
  bx_buffer_json_string(out, text);
}

// The client id is what protects a session: it goes to nobody. Its digest names the session as well.
bool bk_webhook_write_event(struct bx_buffer *out, const struct bk_webhook_event *e) {
  static const struct {
    const char *kind, *detail;
  } kinds[] = {{"handshake", NULL}, {"subscribe", "channel"}, {"unsubscribe", "channel"}, {"disconnect", "reason"}};
  char session[BK_DIGEST_HEX];
  size_t i = 0;
  while (i < 4 && !bx_slice_equal(e->kind, bx_slice_of(kinds[i].kind))) i++;
  if (i == 4) return false;
  bk_digest(e->client, session);
  bx_buffer_printf(out, "{\"id\":\"%s%.*s\",\"time\":%llu,\"event\":\"%s\",\"session\":\"%.*s\"",
                   e->prefix ? e->prefix : "", (int)e->id.len, e->id.at, (unsigned long long)e->time, kinds[i].kind,
                   SESSION_NAME, session);
  member(out, "user", e->user);
  if (kinds[i].detail) member(out, kinds[i].detail, e->detail);
  bx_buffer_char(out, '}');
  return true;
}

void bk_webhook_write_signature(struct bx_buffer *out, struct cf_strings secrets, uint64_t seconds,
                                struct bx_slice body) {
  struct bx_buffer text = {0};
  char signature[BK_DIGEST_HEX];
  bx_buffer_printf(&text, "%llu.", (unsigned long long)seconds);
  bx_buffer_slice(&text, body);
  bx_buffer_printf(out, "t=%llu", (unsigned long long)seconds);
  for (size_t i = 0; i < secrets.count; i++) {
    bk_sign(secrets.at[i], bx_buffer_view(&text), signature);
    bx_buffer_printf(out, ",v1=%s", signature);
  }
  bx_buffer_char(out, '\0');
  bx_buffer_fini(&text);
}
