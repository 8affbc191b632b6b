// SPDX-License-Identifier: Apache-2.0
#include "config/check.h"

#include <arpa/inet.h>
#include <sys/un.h>

#define SOCKET_PATH sizeof((struct sockaddr_un *)0)->sun_path   // 108
#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool only(struct bx_slice text, const char *allowed) {
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] == '\0' || !strchr(allowed, text.at[i])) return false;
  }
  return true;
}

static bool is_ip(int family, struct bx_slice text) {
  char copy[INET6_ADDRSTRLEN];
  unsigned char address[sizeof(struct in6_addr)];
  if (text.len >= sizeof copy) return false;
  memcpy(copy, text.at, text.len);
  copy[text.len] = '\0';
  return inet_pton(family, copy, address) == 1;
}

static bool is_host(struct bx_slice text) {
  if (text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']') {
    return is_ip(AF_INET6, (struct bx_slice){text.at + 1, text.len - 2});
  }
  if (text.len == 0 || text.len > 253) return false;
  if (only(text, "0123456789.")) return is_ip(AF_INET, text);
  return only(text, ALNUM "-._") && text.at[0] != '-' && text.at[0] != '.';
}

static bool is_port(struct bx_slice text) {
  unsigned port = 0;
  if (text.len == 0 || text.len > 5 || !only(text, "0123456789")) return false;
  for (size_t i = 0; i < text.len; i++) port = port * 10 + (unsigned)(text.at[i] - '0');
  return port <= 65535;
}

static bool is_host_and_port(struct bx_slice text, bool port_needed) {
  const char *colon = text.len > 0 ? memrchr(text.at, ':', text.len) : NULL;
  if (colon && memchr(colon, ']', text.len - (size_t)(colon - text.at))) colon = NULL;   // inside [v6]
  if (!colon) return !port_needed && is_host(text);
  struct bx_slice host = {text.at, (size_t)(colon - text.at)};
  struct bx_slice port = {colon + 1, text.len - host.len - 1};
  return is_host(host) && is_port(port);
}

static bool is_socket_path(struct bx_slice path) {
  return path.len > 1 && path.len < SOCKET_PATH && path.at[0] == '/' && !memchr(path.at, '\0', path.len);
}

const char *cf_check_address(struct bx_slice text) {
  struct bx_slice scheme = BX_LIT("unix:");
  if (bx_slice_starts(text, scheme) && text.len - scheme.len >= SOCKET_PATH)
    return "a shorter path: that of a socket has at most 107 bytes";
  bool good = bx_slice_starts(text, scheme)
                  ? is_socket_path((struct bx_slice){text.at + scheme.len, text.len - scheme.len})
                  : is_host_and_port(text, true);
  return good ? NULL : "an address: \"127.0.0.1:8000\", \"[::1]:8000\" or \"unix:/path\"";
}

// Printable ASCII without blanks, and none of `forbidden`.
static bool is_plain(struct bx_slice text, const char *forbidden) {
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] <= ' ' || text.at[i] > '~' || strchr(forbidden, text.at[i])) return false;
  }
  return true;
}

// Of http:// and https://; 0: neither.
static size_t scheme_length(struct bx_slice url) {
  struct bx_slice http = BX_LIT("http://"), https = BX_LIT("https://");
  return bx_slice_starts(url, http) ? http.len : bx_slice_starts(url, https) ? https.len : 0;
}

const char *cf_check_http_url(struct bx_slice url) {
  static const char expected[] = "a URL such as \"http://127.0.0.1:8002\"";
  size_t scheme = scheme_length(url);
  if (scheme == 0 || !is_plain(url, "?#\"<>\\^`{|}")) return expected;
  struct bx_slice rest = {url.at + scheme, url.len - scheme};
  size_t host = 0;
  while (host < rest.len && rest.at[host] != '/') host++;
  return is_host_and_port((struct bx_slice){rest.at, host}, false) ? NULL : expected;
}

const char *cf_check_service_url(struct bx_slice url) {
  static const char expected[] = "an http:// or https:// URL";
  size_t scheme = scheme_length(url);
  if (scheme == 0 || url.len == scheme || url.at[scheme] == '/') return expected;
  for (size_t i = 0; i < url.len; i++)
    if ((unsigned char)url.at[i] <= ' ' || url.at[i] == 0x7f) return expected;
  return NULL;
}

const char *cf_check_mount(struct bx_slice path) {
  static const char expected[] = "a path such as \"/bayeux\"";
  if (path.len == 0 || path.at[0] != '/' || !is_plain(path, "?#%\"<>\\^`{|}")) return expected;
  if (path.len == 1) return NULL;
  for (size_t i = 0; i < path.len;) {
    size_t from = ++i;   // behind a slash
    while (i < path.len && path.at[i] != '/') i++;
    struct bx_slice part = {path.at + from, i - from};
    if (part.len == 0 || bx_slice_equal(part, BX_LIT(".")) || bx_slice_equal(part, BX_LIT(".."))) return expected;
  }
  return NULL;
}
