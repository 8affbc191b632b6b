// SPDX-License-Identifier: Apache-2.0
// Who is at the other end: addresses, networks, and what proxies say about those they forward.
//
// A proxy names the client in a PROXY header (versions 1 and 2, in front of the first byte) or in
// X-Forwarded-For. Both are believed of peers in a list of networks only. All of this is pure: bytes
// in, values out.
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"
#include "config/config.h"

struct sockaddr;

enum bk_family { BK_FAMILY_NONE, BK_FAMILY_UNIX, BK_FAMILY_V4, BK_FAMILY_V6 };

// IPv4 addresses are kept as ::ffff:a.b.c.d, so `ip` alone is a key. An IPv4 address that comes in
// that form is BK_FAMILY_V4.
struct bk_peer {
  enum bk_family family;
  uint16_t port;   // 0: not known
  unsigned char ip[16];
};

#define BK_PEER_TEXT 56   // bytes for bk_peer_text(), with the end

// "10.1.2.3", "10.1.2.3:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80".
bool bk_peer_parse(struct bk_peer *, struct bx_slice) BX_MUST_CHECK;
void bk_peer_of_socket(struct bk_peer *, const struct sockaddr *);
// As above; "unix" for the peer of a unix socket, "?" for none.
void bk_peer_text(const struct bk_peer *, char *out, size_t size);

// "10.0.0.0/8", "2001:db8::/32", an address alone, or "unix": every peer of a unix socket.
struct bk_network {
  enum bk_family family;   // BK_FAMILY_UNIX, or V6 for both
  unsigned bits;           // of the 128 of bk_peer.ip
  unsigned char ip[16];
};
// Bits behind the prefix must be 0: 10.1.2.3/8 is more often a mistake than meant.
bool bk_network_parse(struct bk_network *, struct bx_slice) BX_MUST_CHECK;
bool bk_network_has(const struct bk_network *, const struct bk_peer *);
// A cf_option.check.
const char *bk_network_check(struct bx_slice);

// Proxies that are believed.
struct bk_proxies {
  struct bk_network *at;
  size_t count;
};
void bk_proxies_init(struct bk_proxies *, struct cf_strings networks);   // each checked before
void bk_proxies_fini(struct bk_proxies *);
bool bk_proxies_have(const struct bk_proxies *, const struct bk_peer *);

// Who asks, by X-Forwarded-For: *peer is the peer of the socket, and becomes the right-most address
// that no trusted proxy has. Stays when the peer is not trusted. An entry that is no address ends
// the search: what is known by then is kept.
void bk_peer_forwarded(struct bk_peer *, struct bx_slice header, const struct bk_proxies *);

// The longest PROXY header that is taken: version 1 has 107 bytes at most, version 2 may carry more
// (TLS, authorities), which is skipped.
#define BK_PROXY_HEADER_MAX 2048

// Reads a PROXY header at the beginning of `bytes`. Returns its length; 0 when it goes on beyond them;
// -1 when this is none, or a bad one, or one over the limit. *peer changes only when the header names
// an address: "UNKNOWN", LOCAL and other families keep what it was.
long bk_proxy_header(struct bx_slice bytes, struct bk_peer *);
