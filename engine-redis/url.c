// SPDX-License-Identifier: Apache-2.0
// engine.url, read from left to right: scheme, credentials, place, database.
#include <sys/un.h>

#include "engine-redis/url.h"

enum { DEFAULT_PORT = 6379, SENTINEL_PORT = 26379, MAX_DB = 65535, MAX_TEXT = 512 };

static bool take_prefix(struct bx_slice *text, struct bx_slice prefix) {
  if (!bx_slice_starts(*text, prefix)) return false;
  text->at += prefix.len;
  text->len -= prefix.len;
  return true;
}

// Splits at the first `c`: *text keeps what is behind it. Without `c`, false and *text as it was.
static bool take_until(struct bx_slice *text, char c, struct bx_slice *before) {
  const char *at = memchr(text->at, c, text->len);
  if (!at) return false;
  *before = (struct bx_slice){text->at, (size_t)(at - text->at)};
  *text = (struct bx_slice){at + 1, text->len - before->len - 1};
  return true;
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// A copy with %XX decoded; NULL when a % is not followed by two digits, or a zero byte would be in it.
static char *decode(struct bx_slice text) {
  char *out = bx_alloc(text.len + 1), *to = out;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.at[i];
    if (c == '%') {
      int high = i + 2 < text.len ? hex(text.at[i + 1]) : -1, low = high < 0 ? -1 : hex(text.at[i + 2]);
      c = low < 0 ? 0 : (char)(high * 16 + low);
      i += 2;
    }
    if (c == 0) {
      bx_free(out);
      return NULL;
    }
    *to++ = c;
  }
  return out;
}

static bool number(struct bx_slice text, unsigned max, unsigned *out) {
  unsigned n = 0;
  if (text.len == 0 || text.len > 5) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    n = n * 10 + (unsigned)(text.at[i] - '0');
  }
  *out = n;
  return n <= max;
}

// "user:password@", if it is there. The last @ ends it, so that a password may hold one.
static const char *credentials(struct er_url *u, struct bx_slice *rest, struct bx_slice authority) {
  const char *at = memrchr(authority.at, '@', authority.len);
  if (!at) return NULL;
  struct bx_slice password = {authority.at, (size_t)(at - authority.at)}, user;
  *rest = (struct bx_slice){at + 1, rest->len - password.len - 1};
  if (!take_until(&password, ':', &user)) return "a user without a password: user:password@ is expected";
  if (password.len == 0) return "an empty password";
  if (user.len > 0 && !(u->user = decode(user))) return "a user with a bad %XX";
  if (!(u->password = decode(password))) return "a password with a bad %XX";
  return NULL;
}

static const char *host_and_port(struct er_place *place, struct bx_slice text, unsigned default_port) {
  struct bx_slice host = text, port = {0};
  bool bracketed = text.len > 0 && text.at[0] == '[';
  if (bracketed) {
    struct bx_slice inside = {text.at + 1, text.len - 1};
    if (!take_until(&inside, ']', &host)) return "a [ without its ]";
    if (inside.len > 0 && inside.at[0] != ':') return "host:port is expected";
    port = inside.len > 0 ? (struct bx_slice){inside.at + 1, inside.len - 1} : (struct bx_slice){0};
    if (inside.len > 0 && port.len == 0) return "a port from 1 to 65535 is expected";
  } else if (take_until(&text, ':', &host)) {
    port = text;
    if (port.len == 0) return "a port from 1 to 65535 is expected";
  }
  if (host.len == 0) return "a host is expected";
  for (size_t i = 0; i < host.len; i++)
    if (!strchr(bracketed ? ":.%" : ".-_", host.at[i]) && hex(host.at[i]) < 0 &&
        !((host.at[i] | 32) >= 'a' && (host.at[i] | 32) <= 'z'))
      return "a host of letters, digits, dots and dashes is expected";
  unsigned n = default_port;
  if (port.len > 0 && (!number(port, 65535, &n) || n == 0)) return "a port from 1 to 65535 is expected";
  place->port = (uint16_t)n;
  place->host = memcpy(bx_alloc(host.len + 1), host.at, host.len);
  return NULL;
}

static const char *parse_tcp(struct er_url *u, struct bx_slice text) {
  if (memchr(text.at, '?', text.len) || memchr(text.at, '#', text.len))
    return "no ? and no # are expected here; in a password write %3F and %23";
  const char *wrong = credentials(u, &text, text);
  if (wrong) return wrong;
  struct bx_slice place;
  bool has_db = take_until(&text, '/', &place);
  if (!has_db) place = text;
  if ((wrong = host_and_port(&u->place, place, DEFAULT_PORT))) return wrong;
  if (has_db && text.len > 0 && !number(text, MAX_DB, &u->db)) return "a database number is expected behind the last /";
  return NULL;
}

static const char *parse_unix(struct er_url *u, struct bx_slice text) {
  // The path begins at the first slash behind the credentials; a @ further on is part of it.
  struct bx_slice authority = text, path;
  if (text.len == 0 || text.at[0] != '/') {
    const char *slash = memmem(text.at, text.len, "@/", 2);
    if (!slash) return "redis+unix:///path is expected";
    authority.len = (size_t)(slash - text.at) + 1;
    const char *wrong = credentials(u, &text, authority);
    if (wrong) return wrong;
  }
  path = text;
  if (take_until(&text, '?', &path)) {
    if (!take_prefix(&text, BX_LIT("db=")) || !number(text, MAX_DB, &u->db)) return "only ?db=<number> is known";
  }
  if (!(u->path = decode(path))) return "a path with a bad %XX";
  size_t len = strlen(u->path);
  if (len < 2) return "redis+unix:///path is expected";
  if (len >= sizeof((struct sockaddr_un){0}).sun_path) return "a path that is too long for a unix socket";
  return NULL;
}

static const char *parse_sentinel(struct er_url *u, struct bx_slice text) {
  struct bx_slice authority, one;
  const char *end = memrchr(text.at, '/', text.len), *wrong;
  if (!end) return "the name of the primary is expected behind a /, as in redis+sentinel://host:26379/mymaster";
  authority = (struct bx_slice){text.at, (size_t)(end - text.at)};
  struct bx_slice name = {end + 1, text.len - authority.len - 1}, option = name;
  if (take_until(&option, '?', &name) && (!take_prefix(&option, BX_LIT("db=")) || !number(option, MAX_DB, &u->db)))
    return "only ?db=<number> is known";
  if (name.len == 0) return "the name of the primary is expected behind the last /";
  u->primary = memcpy(bx_alloc(name.len + 1), name.at, name.len);
  struct bx_slice hosts = authority;
  if ((wrong = credentials(u, &hosts, authority))) return wrong;
  for (bool more = true; more;) {
    more = take_until(&hosts, ',', &one);
    if (!more) one = hosts;
    if (u->sentinel_count == ER_SENTINELS_MAX) return "more than 16 Sentinels";
    if ((wrong = host_and_port(&u->sentinels[u->sentinel_count], one, SENTINEL_PORT))) return wrong;
    u->sentinel_count++;
  }
  return NULL;
}

const char *er_url_parse(struct er_url *out, struct bx_slice text) {
  *out = (struct er_url){0};
  const char *wrong;
  if (text.len > MAX_TEXT) return "longer than 512 bytes";
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.at[i] <= ' ' || text.at[i] == 127) return "blanks and control characters are not allowed";
  if (take_prefix(&text, BX_LIT("rediss://")))
    return "rediss:// is not supported: there is no TLS to Redis; put a TLS sidecar in front of it";
  if (take_prefix(&text, BX_LIT("redis://")))
    wrong = parse_tcp(out, text);
  else if (take_prefix(&text, BX_LIT("redis+unix://")))
    wrong = parse_unix(out, text);
  else if (take_prefix(&text, BX_LIT("redis+sentinel://")))
    wrong = parse_sentinel(out, text);
  else
    wrong = "redis://host:port, redis+unix:///path or redis+sentinel://host:port,host:port/name is expected";
  if (wrong) er_url_fini(out);
  return wrong;
}

static char *copy(const char *text) {
  size_t size = text ? strlen(text) + 1 : 0;
  return text ? memcpy(bx_alloc(size), text, size) : NULL;
}

void er_url_copy(struct er_url *out, const struct er_url *u) {
  *out = *u;
  out->user = copy(u->user);
  out->password = copy(u->password);
  out->place.host = copy(u->place.host);
  out->path = copy(u->path);
  out->primary = copy(u->primary);
  for (size_t i = 0; i < u->sentinel_count; i++) out->sentinels[i].host = copy(u->sentinels[i].host);
}

void er_url_fini(struct er_url *u) {
  bx_free(u->user);
  bx_free(u->password);
  bx_free(u->place.host);
  bx_free(u->path);
  bx_free(u->primary);
  for (size_t i = 0; i < u->sentinel_count; i++) bx_free(u->sentinels[i].host);
  *u = (struct er_url){0};
}

static void show_place(const struct er_place *p, struct bx_buffer *out) {
  bx_buffer_printf(out, strchr(p->host, ':') ? "[%s]:%u" : "%s:%u", p->host, p->port);
}

void er_url_show(const struct er_url *u, struct bx_buffer *out) {
  if (u->path) {
    bx_buffer_printf(out, "redis+unix://%s?db=%u", u->path, u->db);
  } else if (u->primary) {
    bx_buffer_printf(out, "redis+sentinel://");
    for (size_t i = 0; i < u->sentinel_count; i++) {
      if (i > 0) bx_buffer_printf(out, ",");
      show_place(&u->sentinels[i], out);
    }
    bx_buffer_printf(out, "/%s?db=%u", u->primary, u->db);
  } else {
    bx_buffer_printf(out, "redis://");
    show_place(&u->place, out);
    bx_buffer_printf(out, "/%u", u->db);
  }
}
