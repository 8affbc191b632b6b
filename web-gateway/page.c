// SPDX-License-Identifier: Apache-2.0
#include "web-gateway/page.h"

#include "api-bridge/chat.h"

void gw_html_escape(struct bx_buffer *out, struct bx_slice text) {
  for (size_t i = 0; i < text.len; i++) {
    switch (text.at[i]) {
    case '&': bx_buffer_lit(out, "&amp;"); break;
    case '<': bx_buffer_lit(out, "&lt;"); break;
    case '>': bx_buffer_lit(out, "&gt;"); break;
    case '"': bx_buffer_lit(out, "&quot;"); break;
    case '\'': bx_buffer_lit(out, "&#39;"); break;
    default: bx_buffer_char(out, text.at[i]);
    }
  }
}

static void write_value(struct bx_buffer *out, struct bx_slice name, const struct gw_value *values, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!bx_slice_equal(bx_slice_of(values[i].name), name)) continue;
    gw_html_escape(out, values[i].text);
    return;
  }
}

void gw_template_write(struct bx_buffer *out, struct bx_slice template, const struct gw_value *values, size_t count) {
  const char *at = template.at, *end = template.at + template.len;
  for (;;) {
    const char *open = memmem(at, (size_t)(end - at), "{{", 2);
    const char *close = open ? memmem(open, (size_t)(end - open), "}}", 2) : NULL;
    if (!close) break;
    bx_buffer_add(out, at, (size_t)(open - at));
    write_value(out, (struct bx_slice){open + 2, (size_t)(close - open - 2)}, values, count);
    at = close + 2;
  }
  bx_buffer_add(out, at, (size_t)(end - at));
}

// " http://host:port" or nothing for a path: then the broker is 'self'.
static struct bx_slice origin_of(const char *url) {
  const char *mark = strstr(url, "://");
  return mark ? (struct bx_slice){url, (size_t)(mark - url) + 3 + strcspn(mark + 3, "/")} : (struct bx_slice){0};
}

// Faye's client loads callback-polling answers as scripts from the broker, so its origin is one of
// script-src; its websocket is one of connect-src.
void gw_policy_write(struct bx_buffer *out, const char *url) {
  struct bx_slice origin = origin_of(url);
  int len = (int)origin.len;
  bx_buffer_lit(out, "default-src 'none'; script-src 'self'");
  if (len > 0) bx_buffer_printf(out, " %.*s", len, origin.at);
  bx_buffer_lit(out, "; style-src 'self'; img-src 'self'; connect-src 'self'");
  // http://h is followed by ws://h, https://h by wss://h.
  if (len > 0) bx_buffer_printf(out, " %.*s ws%.*s", len, origin.at, len - 4, origin.at + 4);
  bx_buffer_lit(out, "; form-action 'none'; base-uri 'none'; frame-ancestors 'none'");
}

void gw_page_init(struct gw_page *p, struct bx_slice template, const char *broker) {
  *p = (struct gw_page){.template = template, .broker = broker};
  gw_policy_write(&p->policy, broker);
}

void gw_page_fini(struct gw_page *p) { bx_buffer_fini(&p->policy); }

void gw_page_serve(void *context, struct bk_exchange *x) {
  const struct gw_page *p = context;
  struct bx_slice room = bk_exchange_parameter(x, "roomId");
  if (!ab_room_is_good(room)) {
    bk_exchange_refuse(x, 404, "no such room: a name of letters, digits and -_!~()$@ was expected");
    return;
  }
  const struct gw_value values[] = {{"room", room}, {"broker", bx_slice_of(p->broker)}};
  const struct bk_header headers[] = {
      {"content-security-policy", bx_buffer_view(&p->policy)},
      {"cache-control", BX_LIT("no-cache")},
      {"referrer-policy", BX_LIT("strict-origin")},   // Faye shakes hands by callback-polling: the broker asks who does
      {"x-content-type-options", BX_LIT("nosniff")},
  };
  struct bx_buffer html = {0};
  gw_template_write(&html, p->template, values, 2);
  bk_exchange_respond(x, &(struct bk_response){
                             .status = 200,
                             .content_type = "text/html; charset=utf-8",
                             .headers = headers,
                             .header_count = 4,
                             .body = bx_buffer_view(&html),
                         });
  bx_buffer_fini(&html);
}
