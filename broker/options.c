// SPDX-License-Identifier: Apache-2.0
// The option table of mora-broker.
#include "broker/options.h"

#include "bayeux/scan.h"
#include "broker/access/origin.h"
#include "config/check.h"

// -- mounts ----------------------------------------------------------------------------------------

static const char a_mount[] = "a path such as \"/bayeux\", or {\"path\": \"/faye\", \"timeout\": \"300s\"}";

// A string without escapes: no path or duration needs one.
static bool plain_text(const struct bx_value *v, struct bx_slice *text) {
  if (v->type != BX_JSON_STRING || v->escaped) return false;
  *text = bx_value_inside(v);
  return true;
}

static const char *read_path(const struct bx_value *v, struct bx_mount *mount) {
  if (!plain_text(v, &mount->path)) return a_mount;
  return cf_check_mount(mount->path);
}

static const char *read_member(const struct bx_value *key, const struct bx_value *v, struct bx_mount *mount) {
  struct bx_slice text;
  if (bx_value_is(key, BX_LIT("path"))) return read_path(v, mount);
  if (bx_value_is(key, BX_LIT("sequence")))
    return v->type == BX_JSON_FALSE ? NULL : "\"sequence\": false; true is not supported yet";
  if (!bx_value_is(key, BX_LIT("timeout"))) return a_mount;
  if (!plain_text(v, &text) || !cf_read_duration(text, &mount->timeout) || mount->timeout == 0)
    return "a duration such as \"60s\" as the timeout of a mount";
  return NULL;
}

static const char *read_object(struct bx_scan *scan, struct bx_mount *mount) {
  struct bx_value key, value;
  const char *fault = NULL;
  if (!bx_scan_enter(scan)) return a_mount;
  while (bx_scan_item(scan, &key)) {
    if (!bx_scan_value(scan, &value)) return a_mount;
    if (!fault) fault = read_member(&key, &value, mount);
  }
  if (!fault && mount->path.len == 0) return a_mount;
  return fault;
}

static const char *read_mount(struct bx_scan *scan, struct bx_mount *mount) {
  struct bx_value value;
  if (bx_scan_peek(scan) == BX_JSON_OBJECT) return read_object(scan, mount);
  if (!bx_scan_value(scan, &value)) return a_mount;
  return read_path(&value, mount);
}

static const char *read_mounts(struct bx_slice json, const struct bx_mount *standard, struct bx_mount **mounts,
                               size_t *count) {
  struct bx_scan scan;
  struct bx_value key;
  bx_scan_init(&scan, json, 8);
  if (bx_scan_peek(&scan) != BX_JSON_ARRAY || !bx_scan_enter(&scan)) return a_mount;
  while (bx_scan_item(&scan, &key)) {
    struct bx_mount mount = *standard;
    const char *fault = read_mount(&scan, &mount);
    if (fault) return fault;
    *mounts = bx_realloc(*mounts, (*count + 1) * sizeof **mounts);
    (*mounts)[(*count)++] = mount;
  }
  return *count > 0 ? NULL : "at least one mount";
}

const char *bk_mounts_read(struct bx_slice json, const struct bx_mount *standard, struct bx_mount **mounts,
                           size_t *count) {
  *mounts = NULL;
  *count = 0;
  const char *fault = read_mounts(json, standard, mounts, count);
  if (!fault) return NULL;
  bx_free(*mounts);
  *mounts = NULL;
  return fault;
}

static const char *check_mounts(struct bx_slice json) {
  static const struct bx_mount standard = {.timeout = 1};
  struct bx_mount *mounts;
  size_t count;
  const char *fault = bk_mounts_read(json, &standard, &mounts, &count);
  bx_free(mounts);
  return fault;
}

// -- the table -------------------------------------------------------------------------------------

static const char *const modes[] = {"open", NULL};

const char *const bk_foreign_options[] = {"api.", "web.", NULL};

#define FIELD(field) offsetof(struct bk_options, field)

const struct cf_option bk_options[] = {
    {.key = "broker.listen",
     .type = CF_STRINGS,
     .offset = FIELD(listen),
     .standard = "[\"127.0.0.1:8000\"]",
     .check = cf_check_address,
     .doc = "Addresses on which Bayeux clients are served. Port 0 takes any free one."},
    {.key = "broker.mounts",
     .type = CF_JSON,
     .offset = FIELD(mounts),
     .standard = "[\"/bayeux\"]",
     .check = check_mounts,
     .doc = "Paths that clients connect to, each with everything below it. An object instead of a path gives a "
            "mount a timeout of its own: {\"path\": \"/faye\", \"timeout\": \"300s\"}."},
    {.key = "broker.timeout",
     .type = CF_DURATION,
     .offset = FIELD(timeout),
     .standard = "60s",
     .min = 100,
     .max = 86400000,
     .doc = "How long a connect is held when there is nothing to deliver. Also the cap of what a client may ask for. "
            "A session expires twice this time after its last connect."},
    {.key = "broker.interval",
     .type = CF_DURATION,
     .offset = FIELD(interval),
     .standard = "0s",
     .max = 86400000,
     .doc = "How long clients are advised to wait between two connects. Raise it to slow pollers down."},
    {.key = "broker.ping",
     .type = CF_DURATION,
     .offset = FIELD(ping),
     .standard = "40s",
     .min = 100,
     .max = 86400000,
     .doc = "Every so often each websocket is pinged; one that misses two pings is closed. Keep it below the idle "
            "time-out of proxies on the way."},
    {.key = "broker.drain",
     .type = CF_DURATION,
     .offset = FIELD(drain),
     .standard = "15s",
     .max = 86400000,
     .doc = "How long a SIGTERM waits at most for clients to take their leave."},

    {.key = "journal.bytes",
     .type = CF_SIZE,
     .offset = FIELD(journal_bytes),
     .standard = "256MB",
     .min = 1 << 10,
     .doc = "Their size, at most."},
    {.key = "journal.age",
     .type = CF_DURATION,
     .offset = FIELD(journal_age),
     .standard = "5m",
     .min = 1000,
     .doc = "Their age, at most. Should be more than a session lives without a connection."},

    {.key = "access.mode",
     .type = CF_ENUM,
     .offset = FIELD(access_mode),
     .standard = "open",
     .choices = modes,
     .doc = "open: everybody may do everything. Off loopback that needs access.insecure."},
    {.key = "access.insecure",
     .type = CF_BOOL,
     .offset = FIELD(insecure),
     .standard = "false",
     .doc = "Confirms that an open broker may listen where other machines reach it."},
    {.key = "access.origins",
     .type = CF_STRINGS,
     .offset = FIELD(origins),
     .standard = "[]",
     .check = bk_origin_check,
     .doc = "Web sites whose pages may connect, such as https://chat.example.org; * for all. Pages of this machine "
            "may always connect to a listener on loopback."},
    {.key = "access.jsonp",
     .type = CF_BOOL,
     .offset = FIELD(jsonp),
     .standard = "true",
     .doc = "Answers callback-polling. Browsers send no Origin with it: turn it off where access.origins has to hold "
            "for every request; Faye's browser client then cannot shake hands from another site."},

    {.key = "limits.body",
     .type = CF_SIZE,
     .offset = FIELD(max_body),
     .standard = "1MB",
     .min = 256,
     .max = 1u << 30,
     .doc = "Bytes of one HTTP request or websocket message, which may hold many messages."},
    {.key = "limits.batch",
     .type = CF_NUMBER,
     .offset = FIELD(max_batch),
     .standard = "1000",
     .min = 1,
     .max = 100000,
     .doc = "Messages in one request or websocket message."},
    {.key = "limits.channels",
     .type = CF_NUMBER,
     .offset = FIELD(max_channels),
     .standard = "1000",
     .min = 1,
     .max = 1000000,
     .doc = "Subscriptions of one session."},
    {.key = "limits.clients",
     .type = CF_NUMBER,
     .offset = FIELD(max_clients),
     .standard = "100000",
     .min = 1,
     .max = 100000000,
     .doc = "Sessions of this process. More handshakes are refused."},
    {.key = "limits.handshake_rate",
     .type = CF_NUMBER,
     .offset = FIELD(handshake_rate),
     .standard = "1000",
     .min = 1,
     .max = 1000000,
     .doc =
         "Handshakes a second that this process can take. When all sessions are lost at once, their clients are told "
         "to come back spread over as many seconds as that needs."},
    {.key = "limits.json_depth",
     .type = CF_NUMBER,
     .offset = FIELD(max_json_depth),
     .standard = "32",
     .min = 3,
     .max = 64,
     .doc = "Brackets that may be open at once in a request."},
    {.key = "limits.outbox",
     .type = CF_SIZE,
     .offset = FIELD(max_outbox),
     .standard = "64KB",
     .min = 1 << 10,
     .max = 1u << 30,
     .doc = "Bytes that wait for one slow connection. More is left in the journal and read when the connection "
            "takes bytes again."},

    {.key = "admin.listen",
     .type = CF_STRINGS,
     .offset = FIELD(admin_listen),
     .standard = "[\"127.0.0.1:8001\"]",
     .check = cf_check_address,
     .doc = "Addresses of the inspection and control API. Off loopback it needs admin.token."},
    {.key = "admin.token",
     .type = CF_SECRET,
     .offset = FIELD(admin_token),
     .doc = "The bearer token that the admin API demands."},
    {0}};
