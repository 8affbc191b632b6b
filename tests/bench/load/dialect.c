// SPDX-License-Identifier: Apache-2.0
// What is said, and what the answers mean. Answers are searched, not parsed: the servers are known.
#include <stdio.h>
#include <strings.h>

#include "tests/bench/load/dialect.h"

static const char *find(struct bx_slice text, const char *what) {
  return memmem(text.at, text.len, what, strlen(what));
}

// Copies the JSON string that follows `name`. False: there is none, or it is too long.
static bool copy_string(struct bx_slice text, const char *name, char *out, size_t size) {
  const char *from = find(text, name), *end = text.at + text.len;
  if (!from) return false;
  from += strlen(name);
  const char *to = memchr(from, '"', (size_t)(end - from));
  if (!to || (size_t)(to - from) >= size) return false;
  memcpy(out, from, (size_t)(to - from));
  out[to - from] = '\0';
  return true;
}

// -- Bayeux ----------------------------------------------------------------------------------------

static void say(struct bn_conn *c, const char *text) {
  if (c->role->kind == BN_HTTP)
    bn_conn_post(c, c->target->path, "application/json", bx_slice_of(text));
  else
    bn_conn_send_text(c, bx_slice_of(text));
}

static const char *connection_type(const struct bn_conn *c) {
  return c->role->kind == BN_HTTP ? "long-polling" : "websocket";
}

static void connect_again(struct bn_conn *c) {
  char text[256];
  snprintf(text, sizeof text,
           "[{\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"%s\",\"id\":\"%u\"}]", c->id,
           connection_type(c), ++c->message_id);
  say(c, text);
}

static void bayeux_opened(struct bn_conn *c) {
  char text[256];
  if (c->id[0]) {
    connect_again(c);
    bn_load_ready(c);
    return;
  }
  snprintf(
      text, sizeof text,
      "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"%s\"],\"id\":\"%u\"}]",
      connection_type(c), ++c->message_id);
  say(c, text);
}

static void subscribe(struct bn_conn *c) {
  char text[256];
  snprintf(text, sizeof text,
           "[{\"channel\":\"/meta/subscribe\",\"clientId\":\"%s\",\"subscription\":\"/bench/%06u\",\"id\":\"%u\"}]",
           c->id, c->channel, ++c->message_id);
  say(c, text);
}

static void on_meta(struct bn_conn *c, struct bx_slice text) {
  if (find(text, "\"successful\":false") || find(text, "\"successful\": false")) {
    bn_conn_fail(c, "a request was refused");
    return;
  }
  if (!c->ready && find(text, "\"/meta/subscribe\"")) {
    connect_again(c);
    bn_load_ready(c);
  }
  if (find(text, "\"/meta/connect\"")) connect_again(c);
}

// The first text is the answer to the handshake.
static bool took_handshake(struct bn_conn *c, struct bx_slice text) {
  if (c->id[0]) return false;
  if (!copy_string(text, "\"clientId\":\"", c->id, sizeof c->id)) bn_conn_fail(c, "the handshake was refused");
  return true;
}

static void subscriber_message(struct bn_conn *c, struct bx_slice text) {
  if (took_handshake(c, text)) {
    if (c->state == BN_OPEN) subscribe(c);
  } else if (find(text, "\"/meta/")) {
    on_meta(c, text);
  } else if (!c->role->publish && c->net->taken_stamps == 0) {
    bn_conn_fail(c, "an answer that was not asked for");
  }
}

// Acknowledgements name the channel, as deliveries do. A publisher that is a subscriber gets both.
static void count_acks(struct bn_conn *c, struct bx_slice text) {
  const char *at = text.at, *end = text.at + text.len;
  unsigned long acks = 0;
  while ((at = memmem(at, (size_t)(end - at), "\"successful\":", 13)) != NULL) {
    at += 13;
    acks++;
    if (end - at > 5 && memcmp(at, "false", 5) == 0) bn_conn_fail(c, "a publish was refused");
    if (c->state == BN_CLOSED) return;
  }
  if (find(text, "\"/meta/connect\"")) acks--;
  bn_load_acked(c, acks);
}

static void publisher_message(struct bn_conn *c, struct bx_slice text) {
  if (took_handshake(c, text)) {
    if (c->state != BN_OPEN) return;
    connect_again(c);
    bn_load_ready(c);
  } else {
    count_acks(c, text);
    if (c->state == BN_OPEN && find(text, "\"/meta/connect\"")) on_meta(c, text);
  }
}

// Publishes to its own channel: a subscriber first.
static void both_message(struct bn_conn *c, struct bx_slice text) {
  if (!c->ready)
    subscriber_message(c, text);
  else
    publisher_message(c, text);
}

// Five subscriptions in one frame: a client that comes back.
enum { FIVE = 5 };

static void subscribe_five(struct bn_conn *c) {
  struct bx_buffer text = {0};
  for (unsigned i = 0; i < FIVE; i++)
    bx_buffer_printf(&text,
                     "%c{\"channel\":\"/meta/subscribe\",\"clientId\":\"%s\",\"subscription\":\"/bench/%06u/%u\","
                     "\"id\":\"%u\"}",
                     i == 0 ? '[' : ',', c->id, c->channel, i, ++c->message_id);
  bx_buffer_char(&text, ']');
  bn_conn_send_text(c, bx_buffer_view(&text));
  bx_buffer_fini(&text);
}

static void five_message(struct bn_conn *c, struct bx_slice text) {
  static const char name[] = "\"subscription\":";
  const char *end = text.at + text.len;
  if (took_handshake(c, text)) {
    c->asked = 0;
    if (c->state == BN_OPEN) subscribe_five(c);
    return;
  }
  for (const char *at = text.at; (at = memmem(at, (size_t)(end - at), name, sizeof name - 1)) != NULL; at++) c->asked++;
  bool done = c->asked == FIVE && !c->ready;
  if (find(text, "\"successful\":false")) {
    bn_conn_fail(c, "a request was refused");
  } else if (done) {
    connect_again(c);
    bn_load_ready(c);
  } else if (find(text, "\"/meta/connect\"")) {
    connect_again(c);
  }
}

static void bayeux_publish(struct bn_conn *c, uint32_t channel, struct bx_slice data) {
  bn_conn_printf(c, "[{\"channel\":\"/bench/%06u\",\"data\":%.*s,\"clientId\":\"%s\",\"id\":\"%u\"}]", channel,
                 (int)data.len, data.at, c->id, ++c->message_id);
}

static const struct bn_role bayeux_subscriber = {
    .kind = BN_WEBSOCKET, .talks = true, .opened = bayeux_opened, .message = subscriber_message};
static const struct bn_role bayeux_five = {
    .kind = BN_WEBSOCKET, .talks = true, .opened = bayeux_opened, .message = five_message};
static const struct bn_role bayeux_poller = {
    .kind = BN_HTTP, .talks = true, .opened = bayeux_opened, .message = subscriber_message};
static const struct bn_role bayeux_publisher = {.kind = BN_WEBSOCKET,
                                                .talks = true,
                                                .opened = bayeux_opened,
                                                .message = publisher_message,
                                                .publish = bayeux_publish};
static const struct bn_role bayeux_both = {
    .kind = BN_WEBSOCKET, .talks = true, .opened = bayeux_opened, .message = both_message, .publish = bayeux_publish};

// -- plain -----------------------------------------------------------------------------------------

static void ignore(struct bn_conn *c, struct bx_slice text) {
  (void)c;
  (void)text;
}

static void plain_publish(struct bn_conn *c, uint32_t channel, struct bx_slice data) {
  (void)channel;
  bn_conn_send_text(c, data);
}

// Subscribers that never said a word would cost the server less: the kernel of a client that has spoken
// delays its acknowledgements, and over loopback those are then the sender's work.
static void plain_opened(struct bn_conn *c) {
  bn_conn_send_pong(c);
  bn_load_ready(c);
}

// As long as a connect of Bayeux is.
static void renew(struct bn_conn *c, struct bx_slice text) {
  (void)text;
  bn_conn_send_text(c, BX_LIT("[{\"channel\":\"/meta/connect\",\"clientId\":\"0123456789abcdefghijklmnopqrstu\","
                              "\"connectionType\":\"websocket\",\"id\":\"12345\"}]"));
}

static void renew_opened(struct bn_conn *c) {
  renew(c, (struct bx_slice){0});
  bn_load_ready(c);
}

static void echo_opened(struct bn_conn *c) {
  c->asked = 0;
  renew(c, (struct bx_slice){0});
}

static void echoed(struct bn_conn *c, struct bx_slice text) {
  if (++c->asked < 3)
    renew(c, text);
  else
    bn_load_ready(c);
}

static const struct bn_role plain_subscriber = {.kind = BN_WEBSOCKET, .opened = plain_opened, .message = ignore};
static const struct bn_role plain_publisher = {
    .kind = BN_WEBSOCKET, .opened = bn_load_ready, .message = ignore, .publish = plain_publish};
static const struct bn_role renewing = {.kind = BN_WEBSOCKET, .opened = renew_opened, .message = renew};
static const struct bn_role echoing = {.kind = BN_WEBSOCKET, .opened = echo_opened, .message = echoed};

// -- plain, polled ---------------------------------------------------------------------------------

static void get(struct bn_conn *c) {
  char path[256];
  bn_path(path, c->target->path, c->channel);
  bn_conn_get(c, path);
}

static void poll_opened(struct bn_conn *c) {
  get(c);
  bn_load_ready(c);
}

static void polled(struct bn_conn *c, struct bx_slice text) {
  (void)text;
  if (c->status >= 400)
    bn_conn_fail(c, "a poll was refused");
  else
    get(c);
}

static const struct bn_role plain_poller = {
    .kind = BN_HTTP, .talks = true, .places = true, .opened = poll_opened, .message = polled};

// -- Centrifugo ------------------------------------------------------------------------------------

static void centrifugo_opened(struct bn_conn *c) { bn_conn_send_text(c, BX_LIT("{\"id\":1,\"connect\":{}}")); }

static void centrifugo_ready(struct bn_conn *c) {
  c->message_id = 2;
  bn_load_ready(c);
}

// Several objects may come in one frame, a line each; an empty one asks whether we are there.
static void centrifugo_line(struct bn_conn *c, struct bx_slice line) {
  if (bx_slice_equal(line, BX_LIT("{}"))) {
    bn_conn_send_text(c, BX_LIT("{}"));
  } else if (find(line, "\"error\":")) {
    bn_conn_fail(c, "a command was refused");
  } else if (bx_slice_starts(line, BX_LIT("{\"id\":1,"))) {
    if (c->role->publish)
      centrifugo_ready(c);
    else
      bn_conn_printf(c, "{\"id\":2,\"subscribe\":{\"channel\":\"c%06u\"}}", c->channel);
  } else if (bx_slice_starts(line, BX_LIT("{\"id\":2,")) && !c->ready) {
    centrifugo_ready(c);
  } else if (bx_slice_starts(line, BX_LIT("{\"id\":"))) {
    bn_load_acked(c, 1);
  }
}

static void centrifugo_message(struct bn_conn *c, struct bx_slice text) {
  const char *end = text.at + text.len;
  for (const char *at = text.at; at < end && c->state == BN_OPEN;) {
    const char *line = memchr(at, '\n', (size_t)(end - at));
    if (!line) line = end;
    centrifugo_line(c, (struct bx_slice){at, (size_t)(line - at)});
    at = line + 1;
  }
}

static void centrifugo_publish(struct bn_conn *c, uint32_t channel, struct bx_slice data) {
  bn_conn_printf(c, "{\"id\":%u,\"publish\":{\"channel\":\"c%06u\",\"data\":%.*s}}", ++c->message_id, channel,
                 (int)data.len, data.at);
}

static const struct bn_role centrifugo_subscriber = {
    .kind = BN_WEBSOCKET, .talks = true, .opened = centrifugo_opened, .message = centrifugo_message};
static const struct bn_role centrifugo_publisher = {.kind = BN_WEBSOCKET,
                                                    .talks = true,
                                                    .opened = centrifugo_opened,
                                                    .message = centrifugo_message,
                                                    .publish = centrifugo_publish};

// -- the list --------------------------------------------------------------------------------------

static const struct bn_dialect dialects[] = {
    {"bayeux", &bayeux_subscriber, &bayeux_publisher, false},
    {"bayeux-five", &bayeux_five, &bayeux_publisher, false},
    {"bayeux-self", &bayeux_both, &bayeux_both, false},
    {"bayeux-poll", &bayeux_poller, &bayeux_publisher, false},
    {"plain", &plain_subscriber, &plain_publisher, true},
    {"plain-poll", &plain_poller, &plain_publisher, true},
    {"renew", &renewing, &plain_publisher, true},
    {"echo", &echoing, &plain_publisher, true},
    {"centrifugo", &centrifugo_subscriber, &centrifugo_publisher, false},
};

const struct bn_dialect *bn_dialect_find(const char *name) {
  for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
    if (strcmp(dialects[i].name, name) == 0) return &dialects[i];
  return NULL;
}
