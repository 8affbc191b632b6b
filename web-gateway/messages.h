// SPDX-License-Identifier: Apache-2.0
// POST /rooms/:roomId/messages: what the form of a room page sends, passed on to mora-api, which
// judges it and makes the message. Only pages of this site may post: another site's page is refused
// by its Origin (or Sec-Fetch-Site), and a body that is not application/json is refused at all.
//
//   200, 400, 413, 503, 504   as mora-api answered
//   403, 415                  not our page
//   502                       mora-api refused us: its token, or another program at that address
#pragma once

#include "broker/host/http.h"
#include "broker/host/http_client.h"
#include "broker/publish/owed.h"

struct gw_messages {
  struct bk_http_client *client;
  const char *api;     // "http://127.0.0.1:8002"
  const char *token;   // NULL: none
  struct bk_owed *owed;
};

// For struct bk_route.handle; the context is the struct gw_messages, which lives until the client
// has called every `done`.
void gw_messages_post(void *context, struct bk_exchange *);

// True when a request with these headers was made by a page of `host` itself, or by no browser.
bool gw_same_site(struct bx_slice fetch_site, struct bx_slice origin, struct bx_slice host);
