// SPDX-License-Identifier: Apache-2.0
// Messages as they arrive: the text of one request or websocket frame, parsed in one pass into the
// messages it holds. Values stay slices of the text.
//
// Top level: an array of messages, or one object. `null` items are dropped, as Faye does; items
// that are neither objects nor null are messages without members. Of a member that occurs twice the
// last value counts, in the place of the first (as JavaScript does it).
// Lifetime: messages borrow from the text; bx_messages_fini() frees the arrays only.
#pragma once

#include "bayeux/scan.h"

struct bx_member {
  struct bx_value key, value;
  struct bx_slice name;   // the key, decoded
  bool hidden;            // not for subscribers
};

// A member that is absent has the type BX_JSON_NONE.
struct bx_message {
  struct bx_value channel, client_id, id, data, ext, advice, subscription, version, connection_type, connection_types,
      error;
  struct bx_slice raw;     // the whole message
  uint32_t first, count;   // all its members, in `members` of the set
};

struct bx_messages {
  struct bx_message *at;
  size_t count, cap;
  struct bx_member *members;
  size_t member_count, member_cap;
  struct bx_buffer names;   // of keys with escapes
};

struct bx_message_limits {
  unsigned depth;     // of JSON, 1..64
  unsigned batch;     // messages in one text
  unsigned members;   // top-level members of one message
};

enum bx_parse {
  BX_PARSE_OK,
  BX_PARSE_NULL,       // the text is `null`
  BX_PARSE_BAD,        // not JSON, or neither an array nor an object. From here on nothing is of use
  BX_PARSE_TOO_MANY,   // more messages or members than the limits allow
  BX_PARSE_TOO_DEEP,   // more brackets open at once than the limits allow
};

// {0} is an empty set. Whatever is returned, call bx_messages_fini() in the end.
enum bx_parse bx_messages_parse(struct bx_messages *, struct bx_slice text, const struct bx_message_limits *);
void bx_messages_fini(struct bx_messages *);

// The wire text for subscribers: the members as sent, without those that belong to the exchange
// between publisher and broker (clientId, ext) or could fake a reply (advice, successful, error,
// subscription, version). `out` NULL: only the length is computed.
size_t bx_message_wire(const struct bx_messages *, const struct bx_message *, char *out);
