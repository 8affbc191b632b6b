// SPDX-License-Identifier: Apache-2.0
// The room page: GET /rooms/:roomId. A shell of HTML; what it shows is fetched and written by
// room.js. The page runs no inline script and shows nobody's text as markup.
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"
#include "broker/host/http.h"

struct gw_page {
  struct bx_slice template;   // borrowed: room.html
  const char *broker;         // borrowed: the URL of the mount, as browsers see it
  struct bx_buffer policy;    // Content-Security-Policy
};

void gw_page_init(struct gw_page *, struct bx_slice template, const char *broker);
void gw_page_fini(struct gw_page *);

// For struct bk_route.handle; the context is the struct gw_page.
void gw_page_serve(void *context, struct bk_exchange *);

// -- for tests -------------------------------------------------------------------------------------

// `text` fit for the inside of an element or of a quoted attribute.
void gw_html_escape(struct bx_buffer *, struct bx_slice text);

struct gw_value {
  const char *name;
  struct bx_slice text;
};

// Copies the template; {{name}} becomes the escaped value, an unknown name nothing.
void gw_template_write(struct bx_buffer *, struct bx_slice template, const struct gw_value *values, size_t count);

// The policy of a page whose broker is at `url`: only own files, only that broker.
void gw_policy_write(struct bx_buffer *, const char *url);
