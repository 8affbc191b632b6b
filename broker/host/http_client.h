// SPDX-License-Identifier: Apache-2.0
// HTTP requests that Mora makes itself (authority, publisher, web gateway): libcurl's multi handle
// on the loop. Connections are kept and reused; names are resolved off the loop.
//
// Lifetime: create per loop; destroy cancels what is under way (each `done` still comes, with
// status 0). `done` is called exactly once per request, never from inside bk_http_client_send().
//
// Status 0: no answer, `error` says why in words. BK_HTTP_UNSENT: the same, and it is certain that
// no byte of the request was sent (no such host, connection refused): a publisher may then say
// "refused" instead of "unknown".
#pragma once

#include "bayeux/base.h"
#include "broker/host/loop.h"

enum { BK_HTTP_UNSENT = -1 };

struct bk_http_client;

struct bk_http_client_request {
  const char *method;         // "POST"
  const char *url;            // http:// or https://; unix sockets by unix_path
  const char *unix_path;      // NULL: TCP
  const char *content_type;   // of the body; NULL when there is none
  const char *bearer;         // token for Authorization; NULL: none
  const char *signature;      // Mora-Signature; NULL: none
  struct bx_slice body;       // copied
  bx_millis timeout;          // whole request
  size_t max_answer;          // bytes; more ends the request with status 0
  void (*done)(void *context, int status, struct bx_slice body, const char *error);
  void *context;
};

struct bk_http_client *bk_http_client_create(struct bk_loop *);
void bk_http_client_send(struct bk_http_client *, const struct bk_http_client_request *);
void bk_http_client_destroy(struct bk_http_client *);
