// SPDX-License-Identifier: Apache-2.0
// Chat messages in, events out.
#include "api-bridge/chat.h"

#include "bayeux/channel.h"

#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const struct bk_metric ab_chat_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct ab_chat_counters, field), 0},
    AB_CHAT_COUNTERS(X)
#undef X
        {0}};

// A post whose publish is under way.
struct post {
  struct bk_asked asked;
  struct ab_chat *chat;
  char *model;   // JSON text, the answer; NULL: given
};

// -- what a post says ------------------------------------------------------------------------------

// Characters of checked UTF-8.
static size_t characters(const char *text, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
  return n;
}

// NULL when the value is a string of 1..max characters; else what is wrong with it.
static const char *check_string(const json_t *value, size_t max) {
  if (!json_is_string(value)) return "is required, a string";
  size_t n = characters(json_string_value(value), json_string_length(value));
  if (n == 0) return "is required, it is empty";
  return n <= max ? NULL : "is too long";
}

bool ab_room_is_good(struct bx_slice room) {
  if (room.len < 1 || room.len > AB_MAX_ROOM || memchr(room.at, '/', room.len)) return false;
  char name[AB_MAX_ROOM + 1] = "/";
  memcpy(name + 1, room.at, room.len);
  return bx_channel_classify((struct bx_slice){name, room.len + 1}) == BX_CHANNEL_NAME;
}

// {"id", "username", "displayName"} from the member `fromUser`, which may be NULL. NULL: *fault says
// what was wrong.
static json_t *user_from(const json_t *from, const char **fault) {
  json_t *username = json_object_get(from, "username"), *display = json_object_get(from, "displayName");
  if (from && !json_is_object(from))
    *fault = "fromUser: an object was expected";
  else if (username && check_string(username, AB_MAX_NAME))
    *fault = "fromUser.username: 1 to 64 characters were expected";
  else if (display && check_string(display, AB_MAX_NAME))
    *fault = "fromUser.displayName: 1 to 64 characters were expected";
  if (*fault) return NULL;
  const char *name = username ? json_string_value(username) : "guest";
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256((const unsigned char *)name, strlen(name), digest);
  char id[AB_OBJECT_ID_LEN + 1];
  for (size_t i = 0; i < AB_OBJECT_ID_LEN / 2; i++) snprintf(id + 2 * i, 3, "%02x", digest[i]);
  return json_pack("{s:s, s:s, s:s}", "id", id, "username", name, "displayName",
                   display ? json_string_value(display) : name);
}

static void iso_time(uint64_t ms, char out[32]) {
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(out + len, 32 - len, ".%03uZ", (unsigned)(ms % 1000));
}

// The model of a new message; NULL: *fault says what was wrong with the body. `id` is filled.
static json_t *model_from(struct ab_chat *chat, const json_t *body, char id[AB_OBJECT_ID_LEN + 1], const char **fault) {
  json_t *text = json_object_get(body, "text");
  if (!json_is_object(body))
    *fault = "an object with text was expected";
  else if (check_string(text, AB_MAX_TEXT))
    *fault = "text: 1 to 4096 characters were expected";
  if (*fault) return NULL;
  json_t *user = user_from(json_object_get(body, "fromUser"), fault);
  if (!user) return NULL;
  uint64_t now = bk_wall_clock();
  char sent[32];
  iso_time(now, sent);
  ab_object_id_next(&chat->ids, now, id);
  return json_pack("{s:s, s:O, s:s, s:o}", "id", id, "text", text, "sent", sent, "fromUser", user);
}

// -- the answer ------------------------------------------------------------------------------------

static void post_free(struct bk_asked *a) { bx_free(bx_container_of(a, struct post, asked)); }

static void published(void *context, const struct bk_publish_result *result, size_t count) {
  struct post *p = context;
  BX_BUG_ON(count != 1);
  bool created = result->outcome == BK_PUBLISH_ACKNOWLEDGED;
  if (created)
    p->chat->counters.created++;
  else
    p->chat->counters.failed++;
  struct bk_exchange *x = bk_asked_answer(&p->asked);
  if (x && created) {
    bk_exchange_respond(x, &(struct bk_response){
                               .status = 200,
                               .content_type = "application/json",
                               .body = bx_slice_of(p->model),
                           });
  } else if (x && result->outcome == BK_PUBLISH_UNKNOWN) {
    bk_exchange_refuse(x, 504, "it is not known whether the message was published");
  } else if (x) {
    bk_exchange_refuse(x, 503, "the message was not published");
  }
  free(p->model);
  p->model = NULL;
  bk_asked_done(&p->asked);
}

// Takes `model`. The text of the event is put together around the text of the model.
static void publish(struct ab_chat *chat, struct bk_exchange *x, struct bx_slice room, const char *id, json_t *model) {
  struct post *p = bx_alloc(sizeof *p);
  *p = (struct post){.chat = chat, .model = json_dumps(model, JSON_COMPACT)};
  BX_BUG_ON(!p->model);
  json_decref(model);
  struct bx_buffer channel = {0}, event = {0};
  bx_buffer_printf(&channel, "/api/v1/rooms/%.*s/chatMessages", (int)room.len, room.at);
  bx_buffer_lit(&event, "{\"operation\":\"create\",\"model\":");
  bx_buffer_slice(&event, bx_slice_of(p->model));
  bx_buffer_char(&event, '}');
  struct bk_publish_item item = {
      .channel = bx_buffer_view(&channel), .data = bx_buffer_view(&event), .id = bx_slice_of(id)};
  bk_asked_begin(&p->asked, x, chat->owed, post_free);
  bk_publisher_publish(chat->publisher, &item, 1, (struct bk_publish_done){published, p});
  bx_buffer_fini(&channel);
  bx_buffer_fini(&event);
}

void ab_chat_post(void *context, struct bk_exchange *x) {
  struct ab_chat *chat = context;
  chat->counters.posts++;
  if (!bk_tokens_admit(chat->tokens, x)) {
    chat->counters.unauthorized++;
    return;
  }
  struct bx_slice room = bk_exchange_parameter(x, "roomId"), text = bk_exchange_body(x);
  const char *fault = NULL;
  json_error_t error;
  char id[AB_OBJECT_ID_LEN + 1];
  json_t *body = json_loadb(text.at ? text.at : "", text.len, 0, &error), *model = NULL;
  if (!ab_room_is_good(room))
    fault = "room: a name of letters, digits and -_!~()$@ was expected";
  else if (body)
    model = model_from(chat, body, id, &fault);
  if (model) {
    publish(chat, x, room, id, model);
  } else {
    chat->counters.bad++;
    if (fault)
      bk_exchange_refuse(x, 400, "%s", fault);
    else
      bk_exchange_refuse(x, 400, "body, line %d, column %d: %s", error.line, error.column, error.text);
  }
  json_decref(body);
}
