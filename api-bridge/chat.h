// SPDX-License-Identifier: Apache-2.0
// `POST /v1/rooms/:roomId/chatMessages`: a chat message becomes an event.
//
//   {"text": "1 to 4096 characters", "fromUser"?: {"username", "displayName"?}}     other members are ignored
//
//   200  the model: {"id", "text", "sent", "fromUser": {"id", "username", "displayName"}}
//   400  {"error"}      text, room or JSON at fault
//   401  {"error"}      token
//   503  {"error"}      not published
//   504  {"error"}      it may have been published
//
// The event {"operation":"create","model":...} goes to /api/v1/rooms/<roomId>/chatMessages. Ids are
// made here and nowhere else (object_id.h); an id is also the idempotency key of its publish, so
// that a request which the connection to the broker made twice is one message.
//
// There is no identity yet: who a message is from is what the body says, else "guest". The user's
// id is derived from the name: equal names are equal users.
#pragma once

#include "api-bridge/object_id.h"
#include "broker/host/http.h"
#include "broker/host/metrics.h"
#include "broker/publish/auth.h"
#include "broker/publish/owed.h"
#include "broker/publish/publisher.h"

enum { AB_MAX_TEXT = 4096, AB_MAX_NAME = 64, AB_MAX_ROOM = 128 };   // characters

#define AB_CHAT_COUNTERS(X)                                                                     \
  X(posts, BK_COUNTER, "mora_chat_posts_total", "Requests to post a chat message.")             \
  X(unauthorized, BK_COUNTER, "mora_chat_unauthorized_total", "Posts refused for their token.") \
  X(created, BK_COUNTER, "mora_chat_created_total", "Chat messages published.")                 \
  X(bad, BK_COUNTER, "mora_chat_bad_total", "Posts refused for what they said.")                \
  X(failed, BK_COUNTER, "mora_chat_failed_total", "Posts that were not, or perhaps not, published.")

struct ab_chat_counters {
#define X(field, kind, name, help) uint64_t field;
  AB_CHAT_COUNTERS(X)
#undef X
};
extern const struct bk_metric ab_chat_metrics[];

// Lives as long as its route and until the publisher has called every `done`.
struct ab_chat {
  struct bk_publisher *publisher;
  const struct bk_secrets *tokens;
  struct bk_owed *owed;
  struct ab_object_ids ids;
  struct ab_chat_counters counters;
};

// For struct bk_route.handle; the context is the struct ab_chat.
void ab_chat_post(void *context, struct bk_exchange *);

// A room's id is one segment of a channel, of at most AB_MAX_ROOM characters.
bool ab_room_is_good(struct bx_slice room);
