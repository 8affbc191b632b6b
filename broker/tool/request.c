// SPDX-License-Identifier: Apache-2.0
// Requests to the admin listener, one after the other.
#include <curl/curl.h>
#include <stdio.h>

#include "broker/tool/tool.h"

enum { TIMEOUT = 30, CONNECT_TIMEOUT = 5 };   // seconds

struct request {
  CURL *curl;
  struct curl_slist *headers;
  struct bx_buffer url;
};

static void add_url(struct request *r, const struct tool *t, const char *path, const char *key, const char *value) {
  size_t len = strlen(t->admin);
  while (len > 0 && t->admin[len - 1] == '/') len--;
  if (strncmp(t->admin, "unix:", 5) == 0) {
    curl_easy_setopt(r->curl, CURLOPT_UNIX_SOCKET_PATH, t->admin + 5);
    bx_buffer_lit(&r->url, "http://localhost");
  } else {
    bx_buffer_add(&r->url, t->admin, len);
  }
  bx_buffer_printf(&r->url, "%s", path);
  if (key) {
    char *encoded = curl_easy_escape(r->curl, value, 0);
    bx_buffer_printf(&r->url, "%c%s=%s", strchr(path, '?') ? '&' : '?', key, encoded);
    curl_free(encoded);
  }
  bx_buffer_char(&r->url, 0);
  curl_easy_setopt(r->curl, CURLOPT_URL, r->url.at);
}

static void request_init(struct request *r, const struct tool *t, const char *path, const char *key,
                         const char *value) {
  *r = (struct request){.curl = curl_easy_init()};
  add_url(r, t, path, key, value);
  curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT);
  curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
  if (!t->token) return;
  struct bx_buffer header = {0};
  bx_buffer_printf(&header, "Authorization: Bearer %s", t->token);
  bx_buffer_char(&header, 0);
  r->headers = curl_slist_append(r->headers, header.at);
  bx_buffer_fini(&header);
}

static void request_fini(struct request *r) {
  curl_slist_free_all(r->headers);
  curl_easy_cleanup(r->curl);
  bx_buffer_fini(&r->url);
}

// The status; 0: no whole answer came, which was said.
static int perform(struct request *r, const struct tool *t) {
  char words[CURL_ERROR_SIZE] = "";
  long status = 0;
  curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, words);
  curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
  CURLcode code = curl_easy_perform(r->curl);
  if (code != CURLE_OK) {
    tool_fail(TOOL_FAILED, "%s: %s", t->admin, words[0] ? words : curl_easy_strerror(code));
    return 0;
  }
  curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
  return (int)status;
}

static size_t collect(char *at, size_t size, size_t count, void *body) {
  bx_buffer_add(body, at, size * count);
  return size * count;
}

static int request_with(const struct tool *t, const char *method, const char *path, const char *key, const char *value,
                        struct bx_slice post, struct bx_buffer *body) {
  struct request r;
  request_init(&r, t, path, key, value);
  if (method) curl_easy_setopt(r.curl, CURLOPT_CUSTOMREQUEST, method);
  if (post.len > 0) {
    r.headers = curl_slist_append(r.headers, "Content-Type: application/json");
    curl_easy_setopt(r.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post.len);
    curl_easy_setopt(r.curl, CURLOPT_POSTFIELDS, post.at);
  }
  curl_easy_setopt(r.curl, CURLOPT_TIMEOUT, (long)TIMEOUT);
  curl_easy_setopt(r.curl, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(r.curl, CURLOPT_WRITEDATA, body);
  int status = perform(&r, t);
  request_fini(&r);
  return status;
}

int tool_request(const struct tool *t, const char *path, const char *key, const char *value, struct bx_slice post,
                 struct bx_buffer *body) {
  return request_with(t, NULL, path, key, value, post, body);
}

int tool_refused(int status, const struct bx_buffer *body) {
  json_t *answer = json_loadb(body->at ? body->at : "", body->len, 0, NULL);
  const char *error = json_string_value(json_object_get(answer, "error"));
  if (status == 401)
    tool_fail(TOOL_FAILED, "refused: give the broker's admin.token with --token or MORA_TOKEN");
  else
    tool_fail(TOOL_FAILED, "%s (status %d)", error ? error : "an answer that is no JSON", status);
  json_decref(answer);
  return TOOL_FAILED;
}

static json_t *answer_of(const struct tool *t, int status, struct bx_buffer *body_of) {
  struct bx_buffer body = *body_of;
  json_t *answer = NULL;
  if (status == 200) {
    answer = json_loadb(body.at, body.len, 0, NULL);
    if (!answer) tool_fail(TOOL_FAILED, "%s: what answers there is no broker's admin listener", t->admin);
  } else if (status > 0) {
    tool_refused(status, &body);
  }
  bx_buffer_fini(body_of);
  return answer;
}

json_t *tool_get(const struct tool *t, const char *path, const char *key, const char *value) {
  struct bx_buffer body = {0};
  int status = tool_request(t, path, key, value, (struct bx_slice){0}, &body);
  return answer_of(t, status, &body);
}

json_t *tool_send(const struct tool *t, const char *method, const char *path, struct bx_slice post) {
  struct bx_buffer body = {0};
  int status = request_with(t, method, path, NULL, NULL, post, &body);
  return answer_of(t, status, &body);
}

void tool_add_segment(struct bx_buffer *path, const char *text) {
  char *encoded = curl_easy_escape(NULL, text, 0);
  bx_buffer_printf(path, "%s", encoded);
  curl_free(encoded);
}

json_t *tool_get_all(const struct tool *t, const char *path, const char *key, const char *value, const char *list) {
  json_t *all = tool_get(t, path, key, value), *next = json_incref(json_object_get(all, "next"));
  struct bx_buffer paged = {0};
  while (next) {
    char *after = curl_easy_escape(NULL, json_string_value(next), 0);
    bx_buffer_clear(&paged);
    bx_buffer_printf(&paged, "%s?after=%s", path, after);
    bx_buffer_char(&paged, 0);
    curl_free(after);
    json_decref(next);
    json_t *page = tool_get(t, paged.at, key, value);
    if (!page) {
      json_decref(all);
      all = NULL;
    }
    json_array_extend(json_object_get(all, list), json_object_get(page, list));
    for (const char *const *mark = (const char *const[]){"partial", "missing", NULL}; *mark; mark++)
      if (json_object_get(page, *mark)) json_object_set(all, *mark, json_object_get(page, *mark));
    next = json_incref(json_object_get(page, "next"));
    json_decref(page);
  }
  json_object_del(all, "next");
  bx_buffer_fini(&paged);
  return all;
}

// -- streams ---------------------------------------------------------------------------------------

struct stream {
  const struct tool *tool;
  CURL *curl;
  struct bx_buffer text;   // an incomplete line; of a refusal, all of it
  void (*line)(const struct tool *, struct bx_slice);
};

static size_t take_lines(char *at, size_t size, size_t count, void *context) {
  struct stream *s = context;
  long status = 0;
  bx_buffer_add(&s->text, at, size * count);
  curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) return size * count;
  size_t from = 0;
  for (const char *end; (end = memchr(s->text.at + from, '\n', s->text.len - from)) != NULL;) {
    size_t next = (size_t)(end - s->text.at) + 1;
    s->line(s->tool, (struct bx_slice){s->text.at + from, next - 1 - from});
    from = next;
  }
  memmove(s->text.at, s->text.at + from, s->text.len - from);
  s->text.len -= from;
  return ferror(stdout) ? 0 : size * count;
}

int tool_stream(const struct tool *t, const char *path, const char *key, const char *value,
                void (*line)(const struct tool *, struct bx_slice)) {
  struct request r;
  request_init(&r, t, path, key, value);
  struct stream s = {.tool = t, .curl = r.curl, .line = line};
  curl_easy_setopt(r.curl, CURLOPT_WRITEFUNCTION, take_lines);
  curl_easy_setopt(r.curl, CURLOPT_WRITEDATA, &s);
  int status = perform(&r, t);
  if (status == 200)
    tool_fail(TOOL_FAILED, "%s: the broker ended the stream", t->admin);
  else if (status > 0)
    tool_refused(status, &s.text);
  request_fini(&r);
  bx_buffer_fini(&s.text);
  return TOOL_FAILED;
}
