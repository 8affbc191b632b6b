// SPDX-License-Identifier: Apache-2.0
// Certificates of TLS listeners: read from files, chosen by the name a client asks for, read again
// while the process runs.
//
// TLS 1.2 and later, HTTP/1.1 only. The first certificate serves clients that ask for no name or for
// one that no certificate has. Connections keep the certificate they began with.
#pragma once

#include "bayeux/base.h"

struct bk_tls_files {
  const char *certificate;   // PEM: the certificate, then those of the authorities below the root
  const char *key;           // PEM, without a passphrase
};

struct bk_tls;

// NULL: a file cannot be used. *file is which one (of `files`), `error` says why, without its name,
// and what to do.
struct bk_tls *bk_tls_create(const struct bk_tls_files *files, size_t count, const char **file, char *error,
                             size_t size);
// Reads the files again. False, as above: the old certificates stay.
bool bk_tls_reload(struct bk_tls *, const char **file, char *error, size_t size) BX_MUST_CHECK;
// Outlives the loop of its listeners.
void bk_tls_destroy(struct bk_tls *);
