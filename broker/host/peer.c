// SPDX-License-Identifier: Apache-2.0
#include "broker/host/peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};   // ::ffff:0:0/96

static void set_v4(struct bk_peer *p, const void *ip) {
  p->family = BK_FAMILY_V4;
  memcpy(p->ip, mapped, sizeof mapped);
  memcpy(p->ip + sizeof mapped, ip, 4);
}

static void set_v6(struct bk_peer *p, const void *ip) {
  memcpy(p->ip, ip, sizeof p->ip);
  p->family = memcmp(p->ip, mapped, sizeof mapped) == 0 ? BK_FAMILY_V4 : BK_FAMILY_V6;
}

// -- addresses ---------------------------------------------------------------------------------

static bool parse_ip(struct bk_peer *p, int family, struct bx_slice text) {
  char copy[INET6_ADDRSTRLEN];
  unsigned char ip[16];
  if (text.len == 0 || text.len >= sizeof copy || memchr(text.at, '\0', text.len)) return false;
  memcpy(copy, text.at, text.len);
  copy[text.len] = '\0';
  if (inet_pton(family, copy, ip) != 1) return false;
  if (family == AF_INET)
    set_v4(p, ip);
  else
    set_v6(p, ip);
  return true;
}

static bool parse_port(struct bx_slice text, uint16_t *port) {
  unsigned n = 0;
  if (text.len == 0 || text.len > 5) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    n = n * 10 + (unsigned)(text.at[i] - '0');
  }
  *port = (uint16_t)n;
  return n <= 65535;
}

static struct bx_slice part(struct bx_slice text, size_t from, size_t to) {
  return (struct bx_slice){text.at + from, to - from};
}

static bool parse_bracketed(struct bk_peer *p, struct bx_slice text) {
  const char *close = memchr(text.at, ']', text.len);
  if (!close) return false;
  size_t end = (size_t)(close - text.at);
  if (!parse_ip(p, AF_INET6, part(text, 1, end))) return false;
  if (end + 1 == text.len) return true;
  return text.at[end + 1] == ':' && parse_port(part(text, end + 2, text.len), &p->port);
}

bool bk_peer_parse(struct bk_peer *out, struct bx_slice text) {
  struct bk_peer p = {0};
  bool good;
  const char *colon = text.len > 0 ? memchr(text.at, ':', text.len) : NULL;
  if (text.len > 0 && text.at[0] == '[') {
    good = parse_bracketed(&p, text);
  } else if (!colon) {
    good = parse_ip(&p, AF_INET, text);
  } else if (memchr(colon + 1, ':', text.len - (size_t)(colon + 1 - text.at))) {
    good = parse_ip(&p, AF_INET6, text);
  } else {
    size_t at = (size_t)(colon - text.at);
    good = parse_ip(&p, AF_INET, part(text, 0, at)) && parse_port(part(text, at + 1, text.len), &p.port);
  }
  if (good) *out = p;
  return good;
}

void bk_peer_of_socket(struct bk_peer *p, const struct sockaddr *address) {
  *p = (struct bk_peer){0};
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    set_v4(p, &v4->sin_addr);
    p->port = ntohs(v4->sin_port);
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    set_v6(p, &v6->sin6_addr);
    p->port = ntohs(v6->sin6_port);
  } else if (address->sa_family == AF_UNIX) {
    p->family = BK_FAMILY_UNIX;
  }
}

void bk_peer_text(const struct bk_peer *p, char *out, size_t size) {
  char ip[INET6_ADDRSTRLEN];
  switch (p->family) {
  case BK_FAMILY_NONE: snprintf(out, size, "?"); return;
  case BK_FAMILY_UNIX: snprintf(out, size, "unix"); return;
  case BK_FAMILY_V4: inet_ntop(AF_INET, p->ip + sizeof mapped, ip, sizeof ip); break;
  case BK_FAMILY_V6: inet_ntop(AF_INET6, p->ip, ip, sizeof ip); break;
  }
  if (p->port == 0)
    snprintf(out, size, "%s", ip);
  else
    snprintf(out, size, p->family == BK_FAMILY_V6 ? "[%s]:%u" : "%s:%u", ip, p->port);
}

// -- networks ----------------------------------------------------------------------------------

static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits) {
  unsigned whole = bits / 8, rest = bits % 8;
  if (memcmp(a, b, whole) != 0) return false;
  return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool nothing_behind(const unsigned char *ip, unsigned bits) {
  unsigned whole = bits / 8, rest = bits % 8;
  if (rest && (ip[whole++] & (0xff >> rest))) return false;
  while (whole < 16)
    if (ip[whole++]) return false;
  return true;
}

bool bk_network_parse(struct bk_network *n, struct bx_slice text) {
  struct bk_peer p;
  uint16_t bits;
  if (bx_slice_equal(text, BX_LIT("unix"))) {
    *n = (struct bk_network){.family = BK_FAMILY_UNIX};
    return true;
  }
  const char *slash = text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
  struct bx_slice ip = slash ? part(text, 0, (size_t)(slash - text.at)) : text;
  if ((ip.len > 0 && ip.at[0] == '[') || !bk_peer_parse(&p, ip) || p.port) return false;
  bool dotted = !memchr(ip.at, ':', ip.len);
  if (!dotted && memchr(ip.at, '.', ip.len)) return false;   // ::ffff:10.0.0.0/104 would be two ways to say one thing
  unsigned room = dotted ? 32 : 128;
  bits = (uint16_t)room;
  if (slash && (!parse_port(part(text, ip.len + 1, text.len), &bits) || bits > room)) return false;
  *n = (struct bk_network){.family = BK_FAMILY_V6, .bits = bits + (dotted ? 96u : 0u)};
  memcpy(n->ip, p.ip, sizeof n->ip);
  return nothing_behind(n->ip, n->bits);
}

bool bk_network_has(const struct bk_network *n, const struct bk_peer *p) {
  if (n->family == BK_FAMILY_UNIX || p->family == BK_FAMILY_UNIX) return n->family == p->family;
  if (p->family == BK_FAMILY_NONE) return false;
  if (n->bits < 96 && p->family == BK_FAMILY_V4) return false;   // ::/0 is IPv6, 0.0.0.0/0 the other
  return same_prefix(n->ip, p->ip, n->bits);
}

const char *bk_network_check(struct bx_slice text) {
  struct bk_network n;
  return bk_network_parse(&n, text) ? NULL
                                    : "an address or a network without bits behind its prefix: \"10.0.0.0/8\", "
                                      "\"192.0.2.7\", \"2001:db8::/32\"; or \"unix\"";
}

void bk_proxies_init(struct bk_proxies *proxies, struct cf_strings networks) {
  *proxies = (struct bk_proxies){.count = networks.count};
  if (networks.count > 0) proxies->at = bx_alloc(networks.count * sizeof *proxies->at);
  for (size_t i = 0; i < networks.count; i++)
    BX_BUG_ON(!bk_network_parse(&proxies->at[i], bx_slice_of(networks.at[i])));
}

void bk_proxies_fini(struct bk_proxies *proxies) {
  bx_free(proxies->at);
  *proxies = (struct bk_proxies){0};
}

bool bk_proxies_have(const struct bk_proxies *proxies, const struct bk_peer *p) {
  for (size_t i = 0; proxies && i < proxies->count; i++)
    if (bk_network_has(&proxies->at[i], p)) return true;
  return false;
}

// -- X-Forwarded-For ---------------------------------------------------------------------------

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

void bk_peer_forwarded(struct bk_peer *peer, struct bx_slice header, const struct bk_proxies *proxies) {
  size_t end = header.len;
  while (bk_proxies_have(proxies, peer)) {
    size_t from = end;
    while (from > 0 && header.at[from - 1] != ',') from--;
    struct bx_slice item = part(header, from, end);
    while (item.len > 0 && is_blank(item.at[0])) item = part(item, 1, item.len);
    while (item.len > 0 && is_blank(item.at[item.len - 1])) item.len--;
    if (!bk_peer_parse(peer, item) || from == 0) return;
    end = from - 1;
  }
}

// -- PROXY headers: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt --------------------

#define V1_MAX 107
static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

// Whether `bytes` can be the beginning of `whole`, or begin with it.
static bool may_start(struct bx_slice bytes, struct bx_slice whole) {
  size_t len = bytes.len < whole.len ? bytes.len : whole.len;
  return memcmp(bytes.at, whole.at, len) == 0;
}

static bool take_word(struct bx_slice *line, struct bx_slice *word) {
  if (line->len == 0 || line->at[0] != ' ') return false;
  size_t end = 1;
  while (end < line->len && line->at[end] != ' ') end++;
  *word = part(*line, 1, end);
  *line = part(*line, end, line->len);
  return word->len > 0;
}

// " TCP4 source destination port port", behind "PROXY".
static bool read_v1(struct bx_slice line, struct bk_peer *peer) {
  struct bx_slice protocol, source, destination, from, to;
  struct bk_peer p = {0}, other = {0};
  if (!take_word(&line, &protocol)) return false;
  if (bx_slice_equal(protocol, BX_LIT("UNKNOWN"))) return true;   // whatever follows is to be ignored
  int family = bx_slice_equal(protocol, BX_LIT("TCP4")) ? AF_INET : AF_INET6;
  if (family == AF_INET6 && !bx_slice_equal(protocol, BX_LIT("TCP6"))) return false;
  if (!take_word(&line, &source) || !take_word(&line, &destination) || !take_word(&line, &from) ||
      !take_word(&line, &to) || line.len > 0)
    return false;
  if (!parse_ip(&p, family, source) || !parse_ip(&other, family, destination) || !parse_port(from, &p.port) ||
      !parse_port(to, &other.port))
    return false;
  *peer = p;
  return true;
}

static long header_v1(struct bx_slice bytes, struct bk_peer *peer) {
  size_t room = bytes.len < V1_MAX ? bytes.len : V1_MAX;
  const char *end = memmem(bytes.at, room, "\r\n", 2);
  if (!end) return bytes.len < V1_MAX ? 0 : -1;
  size_t len = (size_t)(end - bytes.at);
  if (len < 5 || memchr(bytes.at, '\0', len)) return -1;
  return read_v1(part(bytes, 5, len), peer) ? (long)len + 2 : -1;
}

// The addresses of a version 2 header: source, destination, source port, destination port.
static bool read_v2(unsigned family, const unsigned char *at, size_t len, struct bk_peer *peer) {
  size_t ip = family == 1 ? 4 : 16;
  if (family != 1 && family != 2) return true;   // unspecified or a unix socket
  if (len < 2 * ip + 4) return false;
  *peer = (struct bk_peer){0};
  if (family == 1)
    set_v4(peer, at);
  else
    set_v6(peer, at);
  peer->port = (uint16_t)(at[2 * ip] << 8 | at[2 * ip + 1]);
  return true;
}

static long header_v2(struct bx_slice bytes, struct bk_peer *peer) {
  if (bytes.len < 16) return 0;
  const unsigned char *at = (const unsigned char *)bytes.at;
  unsigned version = at[12] >> 4, command = at[12] & 15, family = at[13] >> 4, protocol = at[13] & 15;
  size_t len = (size_t)at[14] << 8 | at[15];
  if (version != 2 || command > 1 || family > 3 || protocol > 2 || 16 + len > BK_PROXY_HEADER_MAX) return -1;
  if (bytes.len < 16 + len) return 0;
  bool stream = protocol == 1;
  if (command == 1 && stream && !read_v2(family, at + 16, len, peer)) return -1;
  return (long)(16 + len);
}

long bk_proxy_header(struct bx_slice bytes, struct bk_peer *peer) {
  struct bx_slice v1 = BX_LIT("PROXY "), v2 = {v2_signature, sizeof v2_signature};
  if (bytes.len == 0) return 0;
  if (may_start(bytes, v2)) return bytes.len < v2.len ? 0 : header_v2(bytes, peer);
  if (may_start(bytes, v1)) return bytes.len < v1.len ? 0 : header_v1(bytes, peer);
  return -1;
}
