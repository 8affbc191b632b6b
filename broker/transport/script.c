// SPDX-License-Identifier: Apache-2.0
#include "broker/transport/script.h"

#include "broker/host/log.h"
#include "broker/transport/link.h"

#include <errno.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE (4 << 20)
#define DATE "%a, %d %b %Y %H:%M:%S GMT"

static const char *const names[BK_SCRIPTS] = {"faye-browser-min.js", "faye-browser-min.js.map", "faye-browser.js",
                                              "faye-browser.js.map"};

// -- files -----------------------------------------------------------------------------------------

static void find_folder(char *out, size_t size) {
  char program[PATH_MAX - 32] = "";
  ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
  char *slash = len > 0 ? strrchr(program, '/') : NULL;
  if (slash) {
    *slash = 0;
    snprintf(out, size, "%s/../share/mora/client", program);
    if (access(out, R_OK | X_OK) == 0) return;
  }
  snprintf(out, size, "%s", MORA_CLIENT_FILES);
}

static void describe(struct bk_script *s, time_t mtime) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  struct tm tm;
  SHA1((const unsigned char *)s->bytes.at, s->bytes.len, digest);
  for (size_t i = 0; i < sizeof digest; i++) snprintf(s->etag + 2 * i, 3, "%02x", digest[i]);
  s->mtime = mtime;
  strftime(s->modified, sizeof s->modified, DATE, gmtime_r(&mtime, &tm));
}

static bool load(struct bk_script *s, const char *path) {
  FILE *f = fopen(path, "re");
  struct stat st;
  if (!f) return false;
  if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
    fclose(f);
    errno = EFBIG;
    return false;
  }
  char *bytes = bx_alloc((size_t)st.st_size + 1);
  s->bytes = (struct bx_slice){bytes, fread(bytes, 1, (size_t)st.st_size, f)};
  fclose(f);
  describe(s, st.st_mtime);
  return true;
}

void bk_scripts_load(struct bk_scripts *scripts) {
  char folder[PATH_MAX], path[PATH_MAX + 64];
  find_folder(folder, sizeof folder);
  *scripts = (struct bk_scripts){0};
  for (size_t i = 0; i < BK_SCRIPTS; i++) {
    struct bk_script *s = &scripts->at[i];
    s->name = names[i];
    snprintf(path, sizeof path, "%s/%s", folder, s->name);
    if (!load(s, path)) bk_warn("script.missing", bk_s("file", path), bk_s("error", strerror(errno)));
  }
}

void bk_scripts_fini(struct bk_scripts *scripts) {
  for (size_t i = 0; i < BK_SCRIPTS; i++) bx_free((char *)scripts->at[i].bytes.at);
  *scripts = (struct bk_scripts){0};
}

// -- requests --------------------------------------------------------------------------------------

static bool ends_in(struct bx_slice text, struct bx_slice suffix) {
  return text.len >= suffix.len && memcmp(text.at + text.len - suffix.len, suffix.at, suffix.len) == 0;
}

bool bk_script_is(struct bx_slice path) { return ends_in(path, BX_LIT(".js")) || ends_in(path, BX_LIT(".map")); }

static bool is_client(struct bx_slice name, struct bx_slice mount) {
  struct bx_slice base = bk_last_segment(mount);
  if (bx_slice_equal(name, BX_LIT("client.js"))) return true;
  return name.len == base.len + 3 && bx_slice_starts(name, base) && ends_in(name, BX_LIT(".js"));
}

const struct bk_script *bk_scripts_find(const struct bk_scripts *scripts, struct bx_slice mount, struct bx_slice path) {
  struct bx_slice name = bk_last_segment(path);
  if (is_client(name, mount)) name = bx_slice_of(names[0]);
  for (size_t i = 0; i < BK_SCRIPTS; i++)
    if (scripts->at[i].bytes.at && bx_slice_equal(bx_slice_of(scripts->at[i].name), name)) return &scripts->at[i];
  return NULL;
}

bool bk_script_is_known(const struct bk_script *s, const char *if_none_match, const char *if_modified_since) {
  struct tm tm = {0};
  if (strcmp(if_none_match, s->etag) == 0) return true;
  const char *end = strptime(if_modified_since, DATE, &tm);
  return end && *end == 0 && s->mtime <= timegm(&tm);
}

void bk_script_serve(struct bk_endpoint *e, struct bk_exchange *x) {
  struct bk_transport *t = e->transport;
  const struct bk_script *s = bk_scripts_find(t->options.scripts, e->mount->path, bk_exchange_path(x));
  char none_match[64] = "", modified_since[64] = "";
  t->counters.scripts++;
  if (!s) {
    t->counters.missing_scripts++;
    bk_exchange_respond(x, &(struct bk_response){.status = 404});
    return;
  }
  bk_exchange_header(x, "if-none-match", none_match, sizeof none_match);
  bk_exchange_header(x, "if-modified-since", modified_since, sizeof modified_since);
  bool known = bk_script_is_known(s, none_match, modified_since);
  bool script = ends_in(bx_slice_of(s->name), BX_LIT(".js"));
  const struct bk_header headers[] = {
      {"etag", bx_slice_of(s->etag)},
      {"last-modified", bx_slice_of(s->modified)},
      {"x-content-type-options", BX_LIT("nosniff")},
  };
  bk_exchange_respond(x, &(struct bk_response){
                             .status = known ? 304 : 200,
                             .content_type = known    ? NULL
                                             : script ? "text/javascript; charset=utf-8"
                                                      : "application/json; charset=utf-8",
                             .headers = headers,
                             .header_count = 3,
                             .body = known ? (struct bx_slice){0} : s->bytes,
                         });
}
