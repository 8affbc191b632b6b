// SPDX-License-Identifier: Apache-2.0
#include "web-gateway/assets.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 8 << 20, MAX_FILES = 256 };

static const char *type_of(const char *name) {
  static const struct {
    const char *ending, *type;
  } types[] = {
      {".html", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".svg", "image/svg+xml"},
  };
  size_t len = strlen(name);
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    size_t n = strlen(types[i].ending);
    if (len > n && strcmp(name + len - n, types[i].ending) == 0) return types[i].type;
  }
  return NULL;
}

static void spell_etag(struct gw_asset *a) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256((const unsigned char *)a->bytes.at, a->bytes.len, digest);
  char *p = a->etag;
  *p++ = '"';
  for (size_t i = 0; i < 16; i++, p += 2) snprintf(p, 3, "%02x", digest[i]);
  *p++ = '"';
  *p = 0;
}

// The whole file; at = NULL when it cannot be read (errno says why).
static struct bx_slice read_file(const char *path) {
  struct bx_slice none = {0};
  FILE *f = fopen(path, "re");
  struct stat st;
  if (!f) return none;
  if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
    fclose(f);
    errno = EFBIG;
    return none;
  }
  char *bytes = bx_alloc((size_t)st.st_size + 1);
  size_t len = fread(bytes, 1, (size_t)st.st_size, f);
  fclose(f);
  return (struct bx_slice){bytes, len};
}

static bool load_one(struct gw_assets *assets, const char *folder, const char *name, char *error, size_t size) {
  char path[PATH_MAX];
  const char *type = type_of(name);
  if (!type || name[0] == '.' || assets->count == MAX_FILES) return true;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  struct bx_slice bytes = read_file(path);
  if (!bytes.at) {
    snprintf(error, size, "%s: %s", path, strerror(errno));
    return false;
  }
  assets->at = bx_realloc(assets->at, (assets->count + 1) * sizeof *assets->at);
  struct gw_asset *a = &assets->at[assets->count++];
  *a = (struct gw_asset){.name = strdup(name), .type = type, .bytes = bytes};
  spell_etag(a);
  return true;
}

bool gw_assets_load(struct gw_assets *assets, const char *folder, char *error, size_t size) {
  *assets = (struct gw_assets){0};
  DIR *d = opendir(folder);
  if (!d) {
    snprintf(error, size, "%s: %s", folder, strerror(errno));
    return false;
  }
  bool good = true;
  for (struct dirent *e; good && (e = readdir(d));) good = load_one(assets, folder, e->d_name, error, size);
  closedir(d);
  return good;
}

void gw_assets_fini(struct gw_assets *assets) {
  for (size_t i = 0; i < assets->count; i++) {
    free(assets->at[i].name);
    bx_free((char *)assets->at[i].bytes.at);
  }
  bx_free(assets->at);
  *assets = (struct gw_assets){0};
}

const struct gw_asset *gw_assets_find(const struct gw_assets *assets, struct bx_slice name) {
  for (size_t i = 0; i < assets->count; i++)
    if (bx_slice_equal(bx_slice_of(assets->at[i].name), name)) return &assets->at[i];
  return NULL;
}

void gw_assets_serve(void *context, struct bk_exchange *x) {
  const struct gw_asset *a = gw_assets_find(context, bk_exchange_parameter(x, "name"));
  if (!a || strncmp(a->type, "text/html", 9) == 0) {   // pages have their own routes
    bk_exchange_refuse(x, 404, "no such file");
    return;
  }
  const struct bk_header headers[] = {
      {"etag", bx_slice_of(a->etag)},
      {"cache-control", BX_LIT("no-cache")},   // asked again each time, answered 304
      {"x-content-type-options", BX_LIT("nosniff")},
  };
  char known[256] = "";
  bk_exchange_header(x, "if-none-match", known, sizeof known);
  bool fresh = strstr(known, a->etag) != NULL;
  bk_exchange_respond(x, &(struct bk_response){
                             .status = fresh ? 304 : 200,
                             .content_type = fresh ? NULL : a->type,
                             .headers = headers,
                             .header_count = 3,
                             .body = fresh ? (struct bx_slice){0} : a->bytes,
                         });
}

void gw_assets_default_folder(char *out, size_t size) {
  char program[PATH_MAX] = "";
  ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
  char *slash = len > 0 ? strrchr(program, '/') : NULL;
  if (slash) {
    *slash = 0;
    snprintf(out, size, "%s/../share/mora/web", program);
    if (access(out, R_OK | X_OK) == 0) return;
  }
  snprintf(out, size, "%s", MORA_WEB_FILES);
}
