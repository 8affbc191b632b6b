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

static const char *read_flag(const struct bx_value *v, bool *flag) {
  *flag = v->type == BX_JSON_TRUE;
  return *flag || v->type == BX_JSON_FALSE ? NULL : "\"sequence\": true or false";
}

static const char *read_member(const struct bx_value *key, const struct bx_value *v, struct bx_mount *mount) {
  struct bx_slice text;
  if (bx_value_is(key, BX_LIT("path"))) return read_path(v, mount);
  if (bx_value_is(key, BX_LIT("sequence"))) return read_flag(v, &mount->sequence);
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

// -- certificates ------------------------------------------------------------------------------------

static const char a_pair[] = "a list of {\"certificate\": \"/path/a.pem\", \"key\": \"/path/a.key\"}";

static bool read_file_name(const struct bx_value *v, const char **name) {
  struct bx_slice text;
  if (*name || !plain_text(v, &text) || text.len == 0) return false;
  char *copy = bx_alloc(text.len + 1);
  *name = memcpy(copy, text.at, text.len);
  return true;
}

static bool read_pair(struct bx_scan *scan, struct bk_tls_files *pair) {
  struct bx_value key, value;
  if (bx_scan_peek(scan) != BX_JSON_OBJECT || !bx_scan_enter(scan)) return false;
  while (bx_scan_item(scan, &key)) {
    const char **field = bx_value_is(&key, BX_LIT("certificate")) ? &pair->certificate
                         : bx_value_is(&key, BX_LIT("key"))       ? &pair->key
                                                                  : NULL;
    if (!field || !bx_scan_value(scan, &value) || !read_file_name(&value, field)) return false;
  }
  return pair->certificate && pair->key;
}

static bool read_pairs(struct bx_slice json, struct bk_certificates *c) {
  struct bx_scan scan;
  struct bx_value key;
  bx_scan_init(&scan, json, 8);
  if (bx_scan_peek(&scan) != BX_JSON_ARRAY || !bx_scan_enter(&scan)) return false;
  while (bx_scan_item(&scan, &key)) {
    c->at = bx_realloc(c->at, (c->count + 1) * sizeof *c->at);
    c->at[c->count++] = (struct bk_tls_files){0};
    if (!read_pair(&scan, &c->at[c->count - 1])) return false;
  }
  return true;
}

static char *copy_text(const char *text) {
  size_t len = strlen(text) + 1;
  return memcpy(bx_alloc(len), text, len);
}

void bk_certificates_read(const struct bk_options *o, struct bk_certificates *c) {
  *c = (struct bk_certificates){0};
  if (o->tls.certificate && o->tls.key) {
    c->at = bx_alloc(sizeof *c->at);
    c->at[c->count++] = (struct bk_tls_files){copy_text(o->tls.certificate), copy_text(o->tls.key)};
  }
  BX_BUG_ON(!read_pairs(o->certificates, c));   // checked
}

void bk_certificates_fini(struct bk_certificates *c) {
  for (size_t i = 0; i < c->count; i++) {
    bx_free((char *)c->at[i].certificate);
    bx_free((char *)c->at[i].key);
  }
  bx_free(c->at);
  *c = (struct bk_certificates){0};
}

static const char *check_certificates(struct bx_slice json) {
  struct bk_certificates c = {0};
  bool good = read_pairs(json, &c);
  bk_certificates_fini(&c);
  return good ? NULL : a_pair;
}

// -- listeners ---------------------------------------------------------------------------------------

// An octal number of permission bits, as chmod takes it.
static bool read_mode(struct bx_slice text, unsigned *mode) {
  *mode = 0;
  if (text.len < 3 || text.len > 4) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] < '0' || text.at[i] > '7') return false;
    *mode = *mode * 8 + (unsigned)(text.at[i] - '0');
  }
  return *mode > 0 && *mode <= 0777;
}

static const char *check_mode(struct bx_slice text) {
  unsigned mode;
  return read_mode(text, &mode) ? NULL : "permissions as chmod takes them: \"0660\"";
}

unsigned bk_mode_read(const char *text) {
  unsigned mode = 0;
  BX_BUG_ON(text && !read_mode(bx_slice_of(text), &mode));   // checked
  return mode;
}

// -- the table -------------------------------------------------------------------------------------

const char *const bk_foreign_options[] = {"api.", "web.", NULL};

#define FIELD(field) offsetof(struct bk_options, field)

const struct cf_option bk_options[] = {
    {.key = "broker.listen",
     .type = CF_STRINGS,
     .offset = FIELD(listen),
     .standard = "[\"127.0.0.1:8000\"]",
     .check = cf_check_address,
     .doc = "Addresses on which Bayeux clients are served. Port 0 takes any free one."},
    {.key = "broker.socket_mode",
     .type = CF_STRING,
     .offset = FIELD(socket_mode),
     .check = check_mode,
     .doc = "Permissions of the files of unix: addresses, such as \"0660\". Without it the umask decides."},
    {.key = "broker.trusted_proxies",
     .type = CF_STRINGS,
     .offset = FIELD(trusted_proxies),
     .standard = "[]",
     .check = bk_network_check,
     .doc = "Proxies in front of broker.listen: addresses, networks such as 10.0.0.0/8, or unix for all peers of "
            "unix: addresses. Of these, and of nobody else, X-Forwarded-For and X-Forwarded-Proto are believed: the "
            "client is the right-most address that is not a trusted proxy."},
    {.key = "broker.proxy_protocol",
     .type = CF_BOOL,
     .offset = FIELD(proxy_protocol),
     .standard = "false",
     .doc = "Every connection of a trusted proxy begins with a PROXY header, version 1 or 2, or is closed. "
            "Connections of others have none."},
    {.key = "broker.workers",
     .type = CF_NUMBER,
     .offset = FIELD(workers),
     .standard = "1",
     .min = 1,
     .max = 256,
     .doc = "Processes that serve the listeners, one a core; with more than 1 they meet in Redis, and are nodes of "
            "their own. Limits of rates and of clients are each worker's."},
    {.key = "broker.deflate",
     .type = CF_BOOL,
     .offset = FIELD(deflate),
     .standard = "false",
     .doc = "Compresses messages of 128 bytes and more to websockets that offer permessage-deflate, each for itself "
            "(no context takeover). Saves traffic and costs CPU; a message is compressed once, however many get it."},
    {.key = "broker.mounts",
     .type = CF_JSON,
     .offset = FIELD(mounts),
     .standard = "[\"/bayeux\"]",
     .check = check_mounts,
     .doc =
         "Paths that clients connect to, each with everything below it. An object instead of a path gives a "
         "mount a timeout of its own: {\"path\": \"/faye\", \"timeout\": \"300s\"}. With \"sequence\": true each "
         "message carries its number for that client, from 1 on, as ext.c, which Gitter's realtime client looks at."},
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
    {.key = "broker.retry",
     .type = CF_DURATION,
     .offset = FIELD(retry),
     .standard = "0s",
     .max = 86400000,
     .doc =
         "After how long clients whose session is gone are advised to shake hands again. 0s: 1 to 2 seconds, so "
         "that not all come at once, and as in Faye replies to subscribe, unsubscribe and disconnect advise nothing."},
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
            "may always connect to a listener on loopback, but not through one of broker.trusted_proxies."},
    {.key = "access.jsonp",
     .type = CF_BOOL,
     .offset = FIELD(jsonp),
     .standard = "true",
     .doc = "Answers callback-polling. Browsers send no Origin with it. Newer ones say that another site asks, whose "
            "pages then have to send their Referer; older ones say nothing: turn it off where access.origins has to "
            "hold for those, too. Faye's browser client then cannot shake hands from another site."},

    {.key = "presence.grace",
     .type = CF_DURATION,
     .offset = FIELD(presence_grace),
     .standard = "5s",
     .max = 3600000,
     .doc = "How long a user whose last session on a channel has ended stays present there. Who is back within it "
            "never left. See docs/presence.md."},
    {.key = "presence.members",
     .type = CF_NUMBER,
     .offset = FIELD(presence_members),
     .standard = "100",
     .min = 1,
     .max = 1000,
     .doc = "How many users a list in the reply to a subscribe names at most. The numbers in it count all."},
    {.key = "limits.body",
     .type = CF_SIZE,
     .offset = FIELD(max_body),
     .standard = "1MB",
     .min = 256,
     .max = 1u << 30,
     .doc = "Bytes of one HTTP request or websocket message, which may hold many messages."},
    {.key = "limits.gathered",
     .type = CF_SIZE,
     .offset = FIELD(max_gathered),
     .standard = "64MB",
     .min = 256,
     .doc = "Bytes of requests and websocket messages that are not complete, of all clients together. Beyond it "
            "those that are longer than 8 KB are answered 503, or closed with 1013."},
    {.key = "limits.waiting",
     .type = CF_SIZE,
     .offset = FIELD(max_waiting),
     .standard = "256MB",
     .min = 1 << 20,
     .doc = "Bytes of requests and websocket messages that wait for Redis or the authority, with what they take beside "
            "their bytes, of all clients together. Beyond it requests that are longer than 8 KB are answered 503, and "
            "websockets of which more than 8 KB wait are not read."},
    {.key = "limits.header",
     .type = CF_SIZE,
     .offset = FIELD(max_head),
     .standard = "16KB",
     .min = 1024,
     .max = 1048576,
     .doc = "Request line and headers of a request. More is answered 414 or 431."},
    {.key = "limits.header_time",
     .type = CF_DURATION,
     .offset = FIELD(header_time),
     .standard = "30s",
     .min = 100,
     .max = 3600000,
     .doc = "How long a request's headers may take, and each 64 KB of its body. Longer is answered 408."},
    {.key = "limits.idle_time",
     .type = CF_DURATION,
     .offset = FIELD(idle_time),
     .standard = "30s",
     .min = 100,
     .max = 3600000,
     .doc = "How long a connection stays open between two requests."},
    {.key = "limits.answer_time",
     .type = CF_DURATION,
     .offset = FIELD(answer_time),
     .standard = "30s",
     .min = 100,
     .max = 3600000,
     .doc = "How long a connection stays open whose peer takes not one byte of its answer."},
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
    {.key = "limits.clients_per_address",
     .type = CF_NUMBER,
     .offset = FIELD(max_clients_per_address),
     .standard = "30000",
     .min = 1,
     .max = 100000000,
     .doc = "Sessions of one address: an IPv4 address or 64 bits of an IPv6 one. Lower it where clients are seen "
            "with their own addresses; behind a proxy that needs broker.trusted_proxies."},
    {.key = "limits.handshake_rate",
     .type = CF_NUMBER,
     .offset = FIELD(handshake_rate),
     .standard = "5000",
     .min = 1,
     .max = 1000000,
     .doc = "Handshakes a second, and four seconds of them at once; one address gets half of it. More are refused, "
            "with the advice to try again. When all sessions are lost at once, their clients are told to come back "
            "spread over as many seconds as that needs."},
    {.key = "limits.handshake_time",
     .type = CF_DURATION,
     .offset = FIELD(handshake_time),
     .standard = "30s",
     .min = 100,
     .max = 86400000,
     .doc = "How long a connection may be open without a request, and a websocket without a session. One that "
            "publishes needs none."},
    {.key = "limits.accept_rate",
     .type = CF_NUMBER,
     .offset = FIELD(accept_rate),
     .standard = "10000",
     .min = 1,
     .max = 1000000,
     .doc = "Connections a second, and four seconds of them at once; more wait until they are accepted. One address "
            "gets half of it; more from there are reset."},
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
    {.key = "limits.lag",
     .type = CF_NUMBER,
     .offset = FIELD(max_lag),
     .standard = "1000000",
     .min = 1,
     .max = 1u << 30,
     .doc = "Messages that a session may have missed when it begins to catch up; one that matches two of its "
            "patterns counts twice. Beyond it the client is told to shake hands, as it is when the journal no longer "
            "has what it missed."},

    {.key = "tls.certificate",
     .type = CF_STRING,
     .offset = FIELD(tls.certificate),
     .doc = "A PEM file: the certificate, then those of the authorities between it and the root. With it all "
            "addresses of broker.listen speak TLS, 1.2 or later, except unix: ones. SIGHUP reads the files again."},
    {.key = "tls.key",
     .type = CF_STRING,
     .offset = FIELD(tls.key),
     .doc = "The PEM file of its private key, without a passphrase."},
    {.key = "tls.certificates",
     .type = CF_JSON,
     .offset = FIELD(certificates),
     .standard = "[]",
     .check = check_certificates,
     .doc = "More certificates, for other names: [{\"certificate\": FILE, \"key\": FILE}]. A client gets the first "
            "one that has the name it asks for, or else tls.certificate."},

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
