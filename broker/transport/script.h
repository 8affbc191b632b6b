// SPDX-License-Identifier: Apache-2.0
// Faye's browser client, read into memory once at start, so that a page can load it from the mount it
// connects to: <mount>.js, <mount>/client.js, and the files by their own names. No path ever reaches the
// file system.
#pragma once

#include "bayeux/base.h"

#include <time.h>

enum { BK_SCRIPTS = 4 };

struct bk_script {
  const char *name;
  struct bx_slice bytes;   // owned; at = NULL: there is no such file
  char etag[41];           // SHA-1 in hex, without quotes, as Faye has it
  char modified[32];       // as a header has it
  time_t mtime;
};

struct bk_scripts {
  struct bk_script at[BK_SCRIPTS];
};

// From ../share/mora/client as seen from the program, or from where it is installed. A missing file is
// logged, and 404 for those who ask for it.
void bk_scripts_load(struct bk_scripts *);
void bk_scripts_fini(struct bk_scripts *);

// The one that the last segment of a path below `mount` names; NULL: none.
const struct bk_script *bk_scripts_find(const struct bk_scripts *, struct bx_slice mount, struct bx_slice path);
// Whether one who has what these headers say (empty: absent) has it already.
bool bk_script_is_known(const struct bk_script *, const char *if_none_match, const char *if_modified_since);
