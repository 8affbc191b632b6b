// SPDX-License-Identifier: Apache-2.0
// Rules as data: who may subscribe to and publish on which channels. Pure.
//
//   [{"channel": "/users/{user}/**", "subscribe": "owner", "publish": "server", "deny": "403::Not yours"}, ...]
//
// A rule's channel is a pattern (/a/b, /a/*, /a/**) in which a segment may be {name}: any one segment.
// {user} is one, too, and for `owner` it has to be the session's user. A rule decides about its
// channels wholly: a verb that it does not mention is `server`.
//
// Of a channel the first rule that matches it decides. A *pattern* that a client asks for is granted
// by the first rule that is at least as wide, if no rule in front of it decides otherwise about some
// of its channels. Wide means: * and ** are covered by * and ** of a rule, not by {name}.
// So a granted pattern never delivers a channel that would be refused by itself.
// What no rule is wide enough for is denied. To servers everything is allowed but `none`.
//
// A rule with "presence": true counts who is on its channels (bayeux/presence.h). Where there is one, companions
// ("/presence/a/b") are subscribed to by whoever may subscribe to what they tell of ("/a/b"), and nobody
// publishes on them: no rule is about them.
//
// Lifetime: rules borrow from the JSON text.
#pragma once

#include "bayeux/buffer.h"
#include "bayeux/scan.h"

enum bk_grant {
  BK_GRANT_NONE,        // nobody
  BK_GRANT_ANY,         // everybody, with or without a user
  BK_GRANT_USER,        // sessions with a user
  BK_GRANT_OWNER,       // the session of the user that {user} names
  BK_GRANT_AUTHORITY,   // whomever the authority says
  BK_GRANT_SERVER,      // messages with a secret of servers
  BK_GRANT_ACK,         // publish: sessions; they are answered, and nobody gets the message
};
const char *bk_grant_name(enum bk_grant);

enum bk_verb { BK_SUBSCRIBE, BK_PUBLISH };

struct bk_rule {
  struct bx_slice channel;   // as configured
  enum bk_grant grants[2];   // by verb
  struct bx_slice deny[2];   // by verb: the inside of a JSON string; empty: the standard text
  bool forward_ext, presence;
};

struct bk_rules {
  struct bk_rule *at;
  size_t count;
  bool presence;   // one of them counts
};

struct bk_subject {
  struct bx_slice user;   // empty: none
  bool server;
};

enum bk_ruling { BK_RULING_DENY, BK_RULING_ALLOW, BK_RULING_ASK, BK_RULING_ACK };

struct bk_decision {
  enum bk_ruling ruling;
  const struct bk_rule *rule;       // that decided; NULL: none is wide enough
  const struct bk_rule *blocking;   // denied: it decides otherwise about some channels of the pattern; NULL: none
};

// NULL: good, and bk_rules_fini() frees. Else what was expected; nothing is to be freed.
const char *bk_rules_read(struct bx_slice json, struct bk_rules *);
void bk_rules_fini(struct bk_rules *);

// `channel` is valid: a name, or a pattern (subscribe only).
struct bk_decision bk_rules_decide(const struct bk_rules *, enum bk_verb, struct bx_slice channel,
                                   const struct bk_subject *);
// Who is on this channel (a name) is counted.
bool bk_rules_count(const struct bk_rules *, struct bx_slice channel);
// Why it is denied, as the inside of a JSON string: {channel} is replaced in the rule's text.
void bk_rules_error(const struct bk_decision *, enum bk_verb, struct bx_slice channel, struct bx_buffer *out);

// The set operations, for who wants to explain them. `rule` is a rule's channel.
bool bk_pattern_covers(struct bx_slice rule, struct bx_slice pattern);
bool bk_pattern_overlaps(struct bx_slice rule, struct bx_slice pattern);
