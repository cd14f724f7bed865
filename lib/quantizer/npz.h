/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a .npz as np.savez writes it: a zip archive without compression.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3 */
#ifndef LT_QUANTIZER_NPZ_H
#define LT_QUANTIZER_NPZ_H

#include <leat/leat.h>

/* Bytes of entry NAME.npy, which lie in `data`. name NULL: of the only entry.
 * Errors:   CORRUPT; UNSUPPORTED for compressed entries and archives of 4 GB; NOT_FOUND. */
leat_status lt_npz_entry(const void *data, size_t bytes, const char *name, const void **out_data,
                         size_t *out_bytes, leat_error *err) LEAT_MUST_CHECK;

#endif
