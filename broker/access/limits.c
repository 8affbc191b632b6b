// SPDX-License-Identifier: Apache-2.0
#include "broker/access/limits.h"

#include "broker/host/log.h"
#include "broker/host/metrics.h"

// -- messages --------------------------------------------------------------------------------------

// What is not `data` is limited by itself: a message with as much data as is allowed has room for its id.
static const char *incoming(struct bx_extension *extension, const struct bx_incoming *in) {
  const struct bk_limits *limits = bx_container_of(extension, struct bk_limits, extension);
  size_t data = in->message->data.raw.len;
  if (data <= limits->options.message && in->message->raw.len - data <= limits->options.message) return NULL;
  BX_OVER(&in->server->counters, message);
  return "413::Message too large";
}

// -- handshakes ------------------------------------------------------------------------------------

static uint64_t half(uint64_t rate) { return rate < 2 ? 1 : rate / 2; }

// The address is asked first: what it may not have is not taken from the others.
static bool is_too_fast(struct bk_limits *l, struct bk_quota *quota) {
  bx_millis now = bk_loop_now(l->loop);
  uint64_t rate = l->options.handshake_rate;
  if (quota && bk_bucket_wait(&quota->handshakes, half(rate), now) > 0) return true;
  if (!bk_bucket_take(&l->handshakes, rate, now)) return true;
  if (quota) (void)bk_bucket_take(&quota->handshakes, half(rate), now);
  return false;
}

const char *bk_limits_admit(struct bk_limits *l, struct bx_slice address, void **tally) {
  struct bk_peer peer;
  struct bk_quota *quota = bk_peer_parse(&peer, address) ? bk_quotas_find(&l->quotas, &peer) : NULL;
  if (quota && quota->sessions >= l->options.clients_per_address) {
    BX_OVER(&l->server->counters, clients_per_address);
    return "429::Too many clients from this address";
  }
  if (is_too_fast(l, quota)) {
    BX_OVER(&l->server->counters, handshake_rate);
    return "429::Too many handshakes";
  }
  if (quota) bk_quota_join(&l->quotas, quota);
  *tally = quota;
  return NULL;
}

void bk_limits_leave(struct bk_limits *l, void *tally) { bk_quota_leave(&l->quotas, tally); }

// -- connections -----------------------------------------------------------------------------------

static bx_millis gate_wait(void *context) {
  const struct bk_limits *l = context;
  return bk_bucket_wait(&l->connections, l->options.accept_rate, bk_loop_now(l->loop));
}

static bool gate_admit(void *context, const struct bk_peer *peer) {
  struct bk_limits *l = context;
  struct bk_quota *quota = bk_proxies_have(l->options.proxies, peer) ? NULL : bk_quotas_find(&l->quotas, peer);
  bx_millis now = bk_loop_now(l->loop);
  if (quota && !bk_bucket_take(&quota->connections, half(l->options.accept_rate), now)) return false;
  return bk_bucket_take(&l->connections, l->options.accept_rate, now);
}

// -- the log ---------------------------------------------------------------------------------------

enum { QUIET = 1000 };   // ms

static void watch(struct bk_limits *l, const char *key, const uint64_t *counter) {
  BX_BUG_ON(l->watched_count == BK_LIMITS_WATCHED);
  l->watched[l->watched_count].key = key;
  l->watched[l->watched_count].counter = counter;
  l->watched[l->watched_count++].told = *counter;
}

static void watch_all(struct bk_limits *l) {
  const struct bx_counters *c = &l->server->counters;
  watch(l, "limits.message", &c->over_message);
  watch(l, "limits.batch", &c->over_batch);
  watch(l, "limits.json_depth", &c->over_depth);
  watch(l, "limits.channels", &c->over_channels);
  watch(l, "limits.channel_length, limits.channel_depth", &c->over_channel_name);
  watch(l, "limits.clients", &c->over_clients);
  watch(l, "limits.clients_per_address", &c->over_clients_per_address);
  watch(l, "limits.handshake_rate", &c->over_handshake_rate);
  watch(l, "limits.waiting", &c->over_waiting);
  watch(l, "limits.lag", &c->lagging_sessions);
  watch(l, "limits.body", &bk_host_counters.websocket_too_large);
  watch(l, "limits.body, limits.header", &bk_host_counters.too_large);
  watch(l, "limits.gathered", &l->gathered.refused);
  watch(l, "limits.accept_rate", &bk_host_counters.accept_refused);
  watch(l, "limits.accept_rate", &bk_host_counters.accept_pauses);
}

void bk_limits_watch(struct bk_limits *l) {
  bx_millis now = bk_loop_now(l->loop);
  if (now < l->watched_at) return;
  for (size_t i = 0; i < l->watched_count; i++) {
    uint64_t count = *l->watched[i].counter, times = count - l->watched[i].told;
    if (times == 0) continue;
    bk_warn("limit.reached", bk_s("limit", l->watched[i].key), bk_u("times", times));
    l->watched[i].told = count;
    l->watched_at = now + QUIET;
  }
}

// -- life ------------------------------------------------------------------------------------------

void bk_limits_init(struct bk_limits *l, const struct bk_limits_options *options, struct bk_loop *loop,
                    struct bx_table_key secret) {
  *l = (struct bk_limits){.extension.incoming = incoming, .options = *options, .loop = loop};
  l->gate = (struct bk_gate){.wait = gate_wait, .admit = gate_admit, .context = l};
  l->gathered.limit = options->gathered;
  bk_quotas_init(&l->quotas, secret);
}

void bk_limits_fini(struct bk_limits *l) { bk_quotas_fini(&l->quotas); }

void bk_limits_attach(struct bk_limits *l, struct bx_server *server) {
  l->server = server;
  watch_all(l);
  bx_server_extend(server, &l->extension);
}
