// SPDX-License-Identifier: Apache-2.0
// The files of the pages, read into memory once at start. A request names one of them or nothing:
// no path ever reaches the file system.
#pragma once

#include "bayeux/base.h"
#include "broker/host/http.h"

struct gw_asset {
  char *name;              // "room.js"
  const char *type;        // content-type
  struct bx_slice bytes;   // owned
  char etag[35];           // with its quotes
};

struct gw_assets {
  struct gw_asset *at;
  size_t count;
};

// Reads every .html, .css, .js and .svg file of a folder. False: the reason is in `error`.
bool gw_assets_load(struct gw_assets *, const char *folder, char *error, size_t size) BX_MUST_CHECK;
void gw_assets_fini(struct gw_assets *);

// NULL when there is none.
const struct gw_asset *gw_assets_find(const struct gw_assets *, struct bx_slice name);

// For struct bk_route.handle of GET /static/:name; the context is the struct gw_assets.
void gw_assets_serve(void *context, struct bk_exchange *);

// The folder to use when none is configured, into `out`: ../share/mora/web seen from the program
// (so it is both in a build and where it was installed), else the one compiled in.
void gw_assets_default_folder(char *out, size_t size);
