// SPDX-License-Identifier: Apache-2.0
// The commands: what is asked of the broker and how it is shown.
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "bayeux/scan.h"
#include "broker/tool/tool.h"

// -- listings --------------------------------------------------------------------------------------

// To standard error, so that tables and JSON stay what they are.
static void tell_if_partial(const json_t *answer) {
  const json_t *missing = json_object_get(answer, "missing"), *node;
  size_t i;
  if (!json_is_true(json_object_get(answer, "partial"))) return;
  if (json_array_size(missing) == 0) fputs("Redis does not answer: only the node that was asked is listed.\n", stderr);
  json_array_foreach(missing, i, node)
      fprintf(stderr, "Node %s does not answer: its part is missing.\n", json_string_value(node));
}

static int show_list(const struct tool *t, json_t *answer, const char *list, const struct tool_column *columns) {
  tell_if_partial(answer);
  if (!answer) return TOOL_FAILED;
  if (t->json)
    tool_print_json(answer);
  else
    tool_print_table(columns, json_object_get(answer, list));
  json_decref(answer);
  return TOOL_OK;
}

static int channels(const struct tool *t) {
  static const struct tool_column columns[] = {{"SUBSCRIBERS", "subscribers"}, {"CHANNEL", "channel"}, {0}};
  return show_list(t, tool_get_all(t, "/v1/channels", NULL, NULL, "channels"), "channels", columns);
}

static const struct tool_column client_columns[] = {
    {"CLIENT", "client"}, {"STATE", "state"},     {"TRANSPORT", "transport"}, {"CHANNELS", "subscriptions"},
    {"LAG", "lag"},       {"ADDRESS", "address"}, {"USER", "user"},           {0}};

static int clients(const struct tool *t) {
  return show_list(t, tool_get_all(t, "/v1/clients", NULL, NULL, "clients"), "clients", client_columns);
}

static int subscribers(const struct tool *t) {
  static const struct tool_column columns[] = {{"CLIENT", "client"}, {"PATTERN", "pattern"}, {"USER", "user"}, {0}};
  json_t *answer = tool_get_all(t, "/v1/subscribers", "channel", t->arguments[0], "subscribers");
  return show_list(t, answer, "subscribers", columns);
}

// Sessions without a user are one member, which has no name.
static int presence(const struct tool *t) {
  static const struct tool_column columns[] = {{"SESSIONS", "sessions"}, {"USER", "user"}, {0}};
  json_t *answer = tool_get(t, "/v1/presence", "channel", t->arguments[0]);
  if (json_is_true(json_object_get(answer, "more"))) fputs("There are more users.\n", stderr);
  return show_list(t, answer, "members", columns);
}

static int nodes(const struct tool *t) {
  static const struct tool_column columns[] = {
      {"NODE", "node"}, {"ROLE", "role"}, {"ADDRESS", "address"}, {"SESSIONS", "sessions"},
      {"HEAD", "head"}, {"MARK", "mark"}, {"AGE", "age"},         {0}};
  json_t *answer = tool_get(t, "/v1/nodes", NULL, NULL);
  return show_list(t, answer, "nodes", columns);
}

// Exit status 1 when there is something to mend.
static int doctor(const struct tool *t) {
  static const struct tool_column columns[] = {{"FINDING", "id"}, {"WHAT IT MEANS", "text"}, {0}};
  json_t *answer = tool_get(t, "/v1/doctor", NULL, NULL);
  bool healthy = json_array_size(json_object_get(answer, "findings")) == 0;
  if (answer && healthy && !t->json) {
    puts("Nothing to mend.");
    json_decref(answer);
    return TOOL_OK;
  }
  int status = show_list(t, answer, "findings", columns);
  return status == TOOL_OK && !healthy ? TOOL_FAILED : status;
}

// -- one thing -------------------------------------------------------------------------------------

static int stats(const struct tool *t) {
  static const struct tool_column columns[] = {
      {"LISTENER", "listener"}, {"ADDRESS", "address"}, {"CONNECTIONS", "connections"}, {0}};
  json_t *answer = tool_get(t, "/v1/stats", NULL, NULL);
  if (!answer) return TOOL_FAILED;
  if (t->json) {
    tool_print_json(answer);
  } else {
    tool_print_members(answer);
    putchar('\n');
    tool_print_table(columns, json_object_get(answer, "listeners"));
  }
  json_decref(answer);
  return TOOL_OK;
}

// Milliseconds since 1970 as people read them.
static void show_time(json_t *object, const char *member) {
  time_t seconds = (time_t)(json_integer_value(json_object_get(object, member)) / 1000);
  char text[32];
  struct tm tm;
  if (seconds == 0 || !gmtime_r(&seconds, &tm)) return;
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
  json_object_set_new(object, member, json_string(text));
}

static int client(const struct tool *t) {
  static const struct tool_column columns[] = {{"PATTERN", "pattern"}, {"FROM", "start"}, {0}};
  struct bx_buffer path = {0};
  for (const char *at = t->arguments[0]; *at; at++) {
    // Client ids need no escapes; what does is none.
    if (strchr("/?#% ", *at)) return tool_fail(TOOL_USAGE, "%s is not a client's id", t->arguments[0]);
  }
  bx_buffer_printf(&path, "/v1/clients/%s", t->arguments[0]);
  bx_buffer_char(&path, 0);
  json_t *answer = tool_get(t, path.at, NULL, NULL);
  bx_buffer_fini(&path);
  if (!answer) return TOOL_FAILED;
  if (t->json) {
    tool_print_json(answer);
  } else {
    show_time(answer, "created");
    show_time(answer, "last_connect");
    show_time(answer, "deadline");
    tool_print_members(answer);
    putchar('\n');
    tool_print_table(columns, json_object_get(answer, "subscriptions"));
  }
  json_decref(answer);
  return TOOL_OK;
}

// -- publishing ------------------------------------------------------------------------------------

static bool is_json(const char *text) {
  struct bx_scan scan;
  struct bx_value value;
  bx_scan_init(&scan, bx_slice_of(text), 64);
  return bx_scan_value(&scan, &value) && bx_scan_end(&scan);
}

static int show_published(const struct tool *t, int status, const struct bx_buffer *body) {
  json_t *answer = json_loadb(body->at, body->len, 0, NULL);
  const char *outcome = json_string_value(json_object_get(answer, "outcome"));
  if (!outcome) {
    json_decref(answer);
    return tool_refused(status, body);
  }
  bool good = strcmp(outcome, "acknowledged") == 0;
  if (t->json)
    tool_print_json(answer);
  else if (good)
    printf("acknowledged at %lld\n", (long long)json_integer_value(json_object_get(answer, "position")));
  else
    tool_fail(TOOL_FAILED, "%s: %s", outcome, json_string_value(json_object_get(answer, "error")));
  json_decref(answer);
  return good ? TOOL_OK : TOOL_FAILED;
}

static int publish(const struct tool *t) {
  const char *channel = t->arguments[0], *data = t->arguments[1];
  if (!is_json(data))
    return tool_fail(TOOL_USAGE, "%s is not JSON; a text needs quotes of its own: '\"%s\"'", data, data);
  struct bx_buffer post = {0}, body = {0};
  bx_buffer_lit(&post, "{\"channel\":");
  bx_buffer_json_string(&post, bx_slice_of(channel));
  bx_buffer_printf(&post, ",\"data\":%s}", data);
  int status = tool_request(t, "/v1/publish", NULL, NULL, bx_buffer_view(&post), &body);
  int result = status == 0 ? TOOL_FAILED : show_published(t, status, &body);
  bx_buffer_fini(&post);
  bx_buffer_fini(&body);
  return result;
}

// -- control ---------------------------------------------------------------------------------------

// Takes the answer.
static int show_done(const struct tool *t, json_t *answer, const char *words) {
  if (!answer) return TOOL_FAILED;
  if (t->json)
    tool_print_json(answer);
  else
    puts(words);
  json_decref(answer);
  return TOOL_OK;
}

// "/v1/<kind>/<name><rest>"
static struct bx_buffer path_of(const char *kind, const char *name, const char *rest) {
  struct bx_buffer path = {0};
  bx_buffer_printf(&path, "/v1/%s/", kind);
  tool_add_segment(&path, name);
  bx_buffer_printf(&path, "%s", rest);
  bx_buffer_char(&path, 0);
  return path;
}

static int disconnect(const struct tool *t) {
  struct bx_buffer path = path_of("clients", t->arguments[0], "");
  int status = show_done(t, tool_send(t, "DELETE", path.at, (struct bx_slice){0}), "ended");
  bx_buffer_fini(&path);
  return status;
}

// "/v1/<path>?user=<name>"
static struct bx_buffer user_path(const char *path_of_all, const char *name) {
  struct bx_buffer path = {0};
  bx_buffer_printf(&path, "/v1/%s?user=", path_of_all);
  tool_add_segment(&path, name);
  bx_buffer_char(&path, 0);
  return path;
}

// Takes the answer: a number of it, then the words.
static int show_number(const struct tool *t, json_t *answer, const char *member, const char *words) {
  char text[64];
  snprintf(text, sizeof text, "%lld %s", (long long)json_integer_value(json_object_get(answer, member)), words);
  return show_done(t, answer, text);
}

static int disconnect_user(const struct tool *t) {
  struct bx_buffer path = user_path("clients", t->arguments[0]);
  int status = show_number(t, tool_send(t, "DELETE", path.at, (struct bx_slice){0}), "ended", "ended");
  bx_buffer_fini(&path);
  return status;
}

static int revoke_user(const struct tool *t) {
  struct bx_buffer path = user_path("revoke", t->arguments[0]);
  int status = show_done(t, tool_send(t, NULL, path.at, BX_LIT("{}")), "revoked");
  bx_buffer_fini(&path);
  return status;
}

// "-": from standard input, for arguments can be seen by others on the machine.
static bool read_token(const char *argument, char *out, size_t size) {
  if (strcmp(argument, "-") != 0) return snprintf(out, size, "%s", argument) < (int)size;
  if (!fgets(out, (int)size, stdin)) return false;
  size_t len = strcspn(out, "\r\n");
  bool whole = len < size - 1;   // else it may have been cut
  out[len] = '\0';
  return whole;
}

static json_t *of_token(const struct tool *t, const char *path) {
  char token[16384];
  struct bx_buffer post = {0};
  if (!read_token(t->arguments[0], token, sizeof token)) {
    fprintf(stderr, "mora: no token, or one that is too long\n");
    return NULL;
  }
  bx_buffer_lit(&post, "{\"token\":");
  bx_buffer_json_string(&post, bx_slice_of(token));
  bx_buffer_char(&post, '}');
  json_t *answer = tool_send(t, NULL, path, bx_buffer_view(&post));
  bx_buffer_fini(&post);
  return answer;
}

static int disconnect_token(const struct tool *t) {
  return show_number(t, of_token(t, "/v1/disconnect-token"), "ended", "ended");
}

static int revoke_token(const struct tool *t) { return show_done(t, of_token(t, "/v1/revoke-token"), "revoked"); }

static struct bx_buffer channel_body(const char *channel) {
  struct bx_buffer post = {0};
  bx_buffer_lit(&post, "{\"channel\":");
  bx_buffer_json_string(&post, bx_slice_of(channel));
  bx_buffer_char(&post, '}');
  return post;
}

static int unsubscribe_user(const struct tool *t) {
  struct bx_buffer path = user_path("unsubscribe", t->arguments[0]), post = channel_body(t->arguments[1]);
  int status =
      show_number(t, tool_send(t, NULL, path.at, bx_buffer_view(&post)), "unsubscribed", "subscriptions taken away");
  bx_buffer_fini(&post);
  bx_buffer_fini(&path);
  return status;
}

// The names that were taken away, a line each.
static int show_unsubscribed(const struct tool *t, json_t *answer) {
  const json_t *names = json_object_get(answer, "unsubscribed"), *name;
  size_t i;
  if (!t->json && json_array_size(names) > 0) {
    json_array_foreach(names, i, name) puts(json_string_value(name));
    json_decref(answer);
    return TOOL_OK;
  }
  return show_done(t, answer, "nothing: it has no such subscription");
}

static int unsubscribe(const struct tool *t) {
  struct bx_buffer path = path_of("clients", t->arguments[0], "/unsubscribe"), post = channel_body(t->arguments[1]);
  int status = show_unsubscribed(t, tool_send(t, NULL, path.at, bx_buffer_view(&post)));
  bx_buffer_fini(&post);
  bx_buffer_fini(&path);
  return status;
}

static int drain(const struct tool *t) {
  return show_done(t, tool_send(t, NULL, "/v1/drain", BX_LIT("{}")),
                   "draining; the broker ends when its clients are gone");
}

// -- watching --------------------------------------------------------------------------------------

static void interrupted(int signo) {
  (void)signo;
  _exit(TOOL_OK);   // lines are flushed one by one
}

// "channel data" with the bytes of the data. JSON text holds control characters as escapes only.
static void show_line(const struct tool *t, struct bx_slice line) {
  struct bx_scan scan;
  struct bx_value key, value, channel = {0}, data = {0};
  bx_scan_init(&scan, line, 64);
  if (!t->json && bx_scan_enter(&scan)) {
    while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &value)) {
      if (bx_value_is(&key, BX_LIT("channel"))) channel = value;
      if (bx_value_is(&key, BX_LIT("data"))) data = value;
    }
  }
  if (channel.type == BX_JSON_STRING) {
    struct bx_slice name = bx_value_inside(&channel);
    printf("%.*s %.*s\n", (int)name.len, name.at, (int)data.raw.len, data.raw.at);
  } else {
    printf("%.*s\n", (int)line.len, line.at);
  }
  fflush(stdout);
}

static int tail(const struct tool *t) {
  signal(SIGINT, interrupted);
  signal(SIGTERM, interrupted);
  return tool_stream(t, "/v1/tail", "channel", t->arguments[0], show_line);
}

// --------------------------------------------------------------------------------------------------

const struct tool_command tool_commands[] = {
    {"stats", "", "numbers of the broker", 0, stats},
    {"channels", "", "channels and patterns with subscribers", 0, channels},
    {"clients", "", "sessions", 0, clients},
    {"client", "ID", "one session with its subscriptions", 1, client},
    {"subscribers", "CHANNEL", "whom a message there reaches", 1, subscribers},
    {"presence", "CHANNEL", "who is there, where a rule says that it is counted", 1, presence},
    {"tail", "PATTERN", "messages as they are published, until interrupted", 1, tail},
    {"publish", "CHANNEL JSON", "publish a message", 2, publish},
    {"disconnect", "ID", "end a session: its client is told, and may come back", 1, disconnect},
    {"unsubscribe", "ID CHANNEL", "take a subscription from a session", 2, unsubscribe},
    {"disconnect-user", "USER", "end all sessions of a user", 1, disconnect_user},
    {"revoke", "USER", "end all sessions of a user, and what was allowed to it before", 1, revoke_user},
    {"disconnect-token", "TOKEN",
     "end all sessions that it opened: jti:..., sha256:..., the token, or - for standard input", 1, disconnect_token},
    {"revoke-token", "TOKEN", "the same, and it opens no more until it expires, or for access.revoked_for", 1,
     revoke_token},
    {"unsubscribe-user", "USER CHANNEL", "take a subscription from all sessions of a user", 2, unsubscribe_user},
    {"drain", "", "let the clients go elsewhere, then end the broker", 0, drain},
    {"nodes", "", "brokers and publishers that share the journal", 0, nodes},
    {"doctor", "", "what the broker and its Redis promise less than they could", 0, doctor},
    {"token", "--user U ...", "make a token: --expires 1h, --audience A, --key PEM, --kid K, --config FILE", -1,
     tool_token},
    {"check-config", "...", "which rule decides: --config FILE, --user U or --server, --subscribe or --publish CHANNEL",
     -1, tool_check_config},
    {0}};
